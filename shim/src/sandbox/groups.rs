//! The control group (cgroup v2) that systemd delegated to the daemon, and the groups in it.
//!
//! ```text
//!  snoozed.service       delegated: `Delegate=yes` of the unit
//!  ├── snoozed           the daemon and the keepers
//!  └── STEP-1f2e3d4c     a plugin with all that it started, one group for each step
//! ```
//!
//! Groups are made only where systemd says that they are ours; everywhere else the daemon stays
//! where it was started (<https://systemd.io/CGROUP_DELEGATION>, read 2026-11-21).

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Where control groups are, on every system that has only the second version.
const MOUNT: &str = "/sys/fs/cgroup";

/// The group of the daemon itself; processes stand in groups without others below them only.
const OWN: &str = "snoozed";

/// The daemon goes before its plugins when the processors are short; the most that can be said.
const OWN_WEIGHT: &str = "10000";

/// Where steps get groups, and what these can limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    /// The group in which they are made.
    pub root: PathBuf,
    /// They can limit memory.
    pub memory: bool,
    /// They can limit the number of processes.
    pub processes: bool,
}

impl Groups {
    /// Moves this process into a group of its own, where its group was delegated; whether it was.
    ///
    /// # Errors
    /// When the delegated group cannot be used: something made it read-only.
    pub fn enter() -> io::Result<bool> {
        let Some(group) = own(Path::new(MOUNT)) else { return Ok(false) };
        if !is_delegated(&group) {
            return Ok(false);
        }
        enter(&group)?;
        Ok(true)
    }

    /// The groups that [`enter`](Self::enter) made room for; changes nothing.
    #[must_use]
    pub fn find() -> Option<Self> {
        Self::above(&own(Path::new(MOUNT))?)
    }

    fn above(own: &Path) -> Option<Self> {
        let root = own.parent().filter(|_| own.ends_with(OWN))?;
        let controllers = fs::read_to_string(root.join("cgroup.subtree_control")).ok()?;
        let has = |name| controllers.split_whitespace().any(|controller| controller == name);
        Some(Self { root: root.to_owned(), memory: has("memory"), processes: has("pids") })
    }
}

/// The group of this process.
fn own(mount: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    Some(mount.join(path_in(&text)?))
}

/// The path in the lines of `/proc/self/cgroup`: that of the second version has the number 0.
fn path_in(text: &str) -> Option<&str> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // Only the root has no name, and it is nobody's.
    (!path.is_empty()).then_some(path)
}

/// systemd marks what it delegates, since version 251 so that every user can see it.
fn is_delegated(group: &Path) -> bool {
    let mut value = [0; 1];
    ["user.delegate", "trusted.delegate"]
        .iter()
        .any(|name| rustix::fs::getxattr(group, *name, &mut value) == Ok(1) && value == *b"1")
}

fn enter(group: &Path) -> io::Result<()> {
    let own = group.join(OWN);
    match fs::create_dir(&own) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => return Err(source),
        Ok(()) | Err(_) => {}
    }
    // 0 is whoever writes.
    fs::write(own.join("cgroup.procs"), "0")?;
    for controller in ["+memory", "+pids", "+cpu"] {
        // What is not there is found missing, and told of each plugin that wants it.
        let _ = fs::write(group.join("cgroup.subtree_control"), controller);
    }
    let _ = fs::write(own.join("cpu.weight"), OWN_WEIGHT);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_second_version_is_found() {
        let both = "12:pids:/system.slice\n0::/system.slice/snoozed.service\n";
        assert_eq!(path_in(both), Some("system.slice/snoozed.service"));
        assert_eq!(path_in("0::/\n"), None);
        assert_eq!(path_in("3:cpu:/a\n"), None);
    }

    #[test]
    fn the_daemon_stands_beside_the_groups_of_its_steps() {
        let folder = tempfile::tempdir().unwrap();
        let group = folder.path().join("snoozed.service");
        fs::create_dir(&group).unwrap();
        enter(&group).unwrap();
        // A daemon that comes after a killed one finds the group there.
        enter(&group).unwrap();
        let own = group.join("snoozed");
        let read = |path: &str| fs::read_to_string(group.join(path)).unwrap();
        assert_eq!(
            [read("snoozed/cgroup.procs"), read("snoozed/cpu.weight")],
            ["0".to_owned(), OWN_WEIGHT.to_owned()]
        );
        fs::write(group.join("cgroup.subtree_control"), "cpu pids\n").unwrap();
        let found = Groups { root: group.clone(), memory: false, processes: true };
        assert_eq!(Groups::above(&own), Some(found));
        assert_eq!(Groups::above(&group), None);
    }

    #[test]
    fn a_group_that_nobody_delegated_is_left_alone() {
        assert!(!is_delegated(tempfile::tempdir().unwrap().path()));
    }
}
