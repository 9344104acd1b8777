//! One process, held so that its number cannot come to mean another one.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant, SystemTime};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::time::{ClockId, clock_gettime};

use crate::wait;

/// The process of the kernel's own threads (kthreadd).
const KERNEL: i32 = 2;

/// A process that was alive when it was opened. Signals reach it or nobody.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) stat: Stat,
    /// Whose it is.
    pub(crate) uid: u32,
    descriptor: OwnedFd,
}

impl Process {
    /// The process of that number; `None` when there is none, or it has ended and was not reaped.
    pub(crate) fn open(pid: i32) -> io::Result<Option<Self>> {
        let Some(raw) = Pid::from_raw(pid) else { return Ok(None) };
        let descriptor = match pidfd_open(raw, PidfdFlags::empty()) {
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            opened => opened?,
        };
        let uid = fs::metadata(format!("/proc/{pid}")).map(|meta| meta.uid());
        let stat = Stat::of(pid);
        let (Ok(uid), Some(stat)) = (uid, stat) else { return Ok(None) };
        let process = Self { pid, stat, uid, descriptor };
        // It still lives, so that what was read of this number is of this process.
        Ok(if process.is_gone() { None } else { Some(process) })
    }

    /// Sends it a signal; one that has ended is no failure.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.descriptor, signal) {
            Err(Errno::SRCH) => Ok(()),
            sent => Ok(sent?),
        }
    }

    /// Whether it has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone_by(Instant::now())
    }

    /// Waits until it has ended, or the time is over.
    pub(crate) fn is_gone_by(&self, until: Instant) -> bool {
        wait::readable(&self.descriptor, until)
    }

    /// When it was started, by the clock of the wall.
    pub(crate) fn started(&self) -> Option<SystemTime> {
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        let since_boot = Duration::from_millis(self.stat.started.saturating_mul(1000) / ticks);
        let now = clock_gettime(ClockId::Boottime);
        let now = Duration::from_secs(u64::try_from(now.tv_sec).ok()?);
        SystemTime::now().checked_sub(now.saturating_sub(since_boot))
    }

    /// Its name and number for people.
    pub(crate) fn label(&self) -> String {
        format!("{} (pid {})", self.stat.name, self.pid)
    }
}

/// What the kernel says of a process (proc_pid_stat(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The first 15 bytes of its name.
    pub(crate) name: String,
    /// It has ended, and nobody asked how.
    pub(crate) is_zombie: bool,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// In ticks of the clock since the boot.
    pub(crate) started: u64,
}

impl Stat {
    pub(crate) fn of(pid: i32) -> Option<Self> {
        Self::read(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Reads a line of `stat`. The name stands in parentheses and may hold anything, these too.
    fn read(line: &str) -> Option<Self> {
        let (front, back) = line.rsplit_once(')')?;
        let (_, name) = front.split_once('(')?;
        let words: Vec<&str> = back.split_whitespace().collect();
        let word = |index: usize| words.get(index).copied();
        Some(Self {
            name: name.to_owned(),
            is_zombie: matches!(word(0)?, "Z" | "X"),
            parent: word(1)?.parse().ok()?,
            group: word(2)?.parse().ok()?,
            started: word(19)?.parse().ok()?,
        })
    }
}

/// Every process that lives and is not the kernel's own, lowest number first.
pub(crate) fn all() -> Vec<(i32, Stat)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: Vec<(i32, Stat)> = pids
        // A process that ended meanwhile has no file any more.
        .filter_map(|pid| Some((pid, Stat::of(pid)?)))
        .filter(|(pid, stat)| !stat.is_zombie && *pid != KERNEL && stat.parent != KERNEL)
        .collect();
    found.sort_by_key(|(pid, _)| *pid);
    found
}

/// The processes that these have started, and all below them.
pub(crate) fn below(pids: &[i32]) -> Vec<(i32, Stat)> {
    let all = all();
    let mut parents = pids.to_vec();
    let mut found: Vec<(i32, Stat)> = Vec::new();
    while let Some(parent) = parents.pop() {
        for child in all.iter().filter(|(_, stat)| stat.parent == parent) {
            if found.iter().all(|known| known != child) {
                parents.push(child.0);
                found.push(child.clone());
            }
        }
    }
    found
}

/// The processes that are never touched: process 1, this one, and all between them.
pub(crate) fn untouchable() -> Vec<i32> {
    let mut line = vec![1];
    let mut pid = i32::try_from(std::process::id()).unwrap_or(1);
    while pid > 1 && !line.contains(&pid) {
        line.push(pid);
        pid = Stat::of(pid).map_or(1, |stat| stat.parent);
    }
    line
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_figures_are_found_behind_any_name() {
        let line = "12 (a) S 9 (b) Z 7 11 12 0 -1 1 2 3 4 5 6 7 8 9 20 0 1 0 4711 99";
        let stat = Stat::read(line).unwrap();
        assert_eq!((stat.name.as_str(), stat.is_zombie), ("a) S 9 (b", true));
        assert_eq!((stat.parent, stat.group, stat.started), (7, 11, 4711));
        assert_eq!(Stat::read("nothing"), None);
    }

    #[test]
    fn a_process_that_ended_is_gone_though_nobody_reaped_it() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let process = Process::open(pid).unwrap().unwrap();
        assert_eq!(process.stat.name, "sleep");
        assert!(!process.is_gone());
        let age = SystemTime::now().duration_since(process.started().unwrap());
        assert!(age.unwrap_or_default() < Duration::from_secs(60));
        process.signal(Signal::KILL).unwrap();
        assert!(process.is_gone_by(Instant::now() + Duration::from_secs(60)));
        assert!(Process::open(pid).unwrap().is_none(), "a zombie");
        child.wait().unwrap();
        process.signal(Signal::KILL).unwrap();
        assert!(Process::open(pid).unwrap().is_none());
    }

    #[test]
    fn this_process_its_parent_and_the_first_are_not_touched() {
        let line = untouchable();
        let parent = rustix::process::getppid().unwrap().as_raw_nonzero().get();
        let me = i32::try_from(std::process::id()).unwrap();
        assert!([1, me, parent].iter().all(|pid| line.contains(pid)), "{line:?}");
    }
}
