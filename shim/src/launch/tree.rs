//! Who descends from whom, read from `/proc`.
//!
//! `/proc/<pid>/task/*/children` would be shorter but is missing on kernels without
//! `CONFIG_PROC_CHILDREN`, so the parent of each process is read from its `stat`.

use std::collections::BTreeMap;

use rustix::process::Pid;

/// The processes whose parent is `pid`, zombies included, lowest first. Empty when `/proc` cannot
/// be read.
#[must_use]
pub fn children_of(pid: Pid) -> Vec<Pid> {
    let mut children = snapshot().remove(&pid.as_raw_nonzero().get()).unwrap_or_default();
    children.sort_by_key(|child| child.as_raw_nonzero());
    children
}

/// All processes below `pid`, parents before their children.
#[must_use]
pub fn descendants_of(pid: Pid) -> Vec<Pid> {
    let mut families = snapshot();
    let mut found = families.remove(&pid.as_raw_nonzero().get()).unwrap_or_default();
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        let children = families.remove(&parent.as_raw_nonzero().get()).unwrap_or_default();
        found.extend(children);
        next += 1;
    }
    found
}

/// Whether a process is there and runs, or could: not once it only waits to be reaped.
#[must_use]
pub fn is_alive(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| !matches!(words_in(&stat).next(), None | Some("Z" | "X")))
}

/// The children of each process that has some.
fn snapshot() -> BTreeMap<i32, Vec<Pid>> {
    let mut families: BTreeMap<i32, Vec<Pid>> = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir("/proc") else { return families };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(super::pid) else { continue };
        // A process that ended meanwhile has no file any more.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(parent) = parent_in(&stat) {
            families.entry(parent).or_default().push(pid);
        }
    }
    families
}

/// The parent in a line of `stat`: the second word after the name.
fn parent_in(stat: &str) -> Option<i32> {
    words_in(stat).nth(1)?.parse().ok()
}

/// The words of a line of `stat` from the state on: the name before it stands in parentheses and
/// may hold anything, parentheses too (proc_pid_stat(5)).
fn words_in(stat: &str) -> impl Iterator<Item = &str> {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent_in("12 (sh) S 7 12 12 0"), Some(7));
        assert_eq!(parent_in("12 (a) S 9 (b)) Z 7 12"), Some(7));
        assert_eq!(parent_in("nothing"), None);
    }

    #[test]
    fn a_child_is_seen_until_it_is_reaped() {
        let me = rustix::process::getpid();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        assert!(children_of(me).contains(&pid));
        assert!(descendants_of(me).contains(&pid) && is_alive(pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children_of(me).contains(&pid) && !is_alive(pid));
    }
}
