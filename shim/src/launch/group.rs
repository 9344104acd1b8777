//! The control group of one step: made and removed by its keeper, entered by the second stage.

use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use tokio::time::{Instant, sleep};

use crate::sandbox::Group;

/// How long to wait before looking again whether what was killed has left.
const STEP: Duration = Duration::from_millis(5);

/// Makes the group anew and sets its limits; what an earlier keeper left in it is killed, and
/// waited for so long.
pub(super) async fn make(group: &Group, limit: Duration) -> io::Result<()> {
    let end = Instant::now() + limit;
    while let Err(source) = remove(&group.path) {
        if Instant::now() >= end {
            return Err(source);
        }
        kill(&group.path);
        sleep(STEP).await;
    }
    fs::create_dir(&group.path)?;
    for (file, most) in [("pids.max", group.processes), ("memory.max", group.memory)] {
        let Some(most) = most else { continue };
        fs::write(group.path.join(file), most.to_string())?;
    }
    if group.memory.is_some() {
        // A machine without swap has no such file.
        let _ = fs::write(group.path.join("memory.swap.max"), "0");
    }
    Ok(())
}

/// Moves this process into the group.
pub(super) fn enter(group: &Group) -> io::Result<()> {
    // 0 is whoever writes.
    fs::write(group.path.join("cgroup.procs"), "0")
}

/// Kills all that is in the group, at once: nothing can start others faster than it is killed.
pub(super) fn kill(path: &Path) {
    // Before Linux 5.14 there is no such file, and the tree of processes is all there is.
    let _ = fs::write(path.join("cgroup.kill"), "1");
}

/// Removes the group; fails as long as a process is in it.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(source),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    #[test]
    fn a_group_is_made_with_its_limits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders-redis");
        fs::create_dir(&path).unwrap();
        let group = Group { path: path.clone(), processes: Some(32), memory: None };
        runtime().block_on(make(&group, Duration::from_secs(30))).unwrap();
        enter(&group).unwrap();
        let read = |file: &str| fs::read_to_string(path.join(file)).ok();
        let files = ["pids.max", "memory.max", "cgroup.procs"].map(read);
        assert_eq!(files, [Some("32".to_owned()), None, Some("0".to_owned())]);
    }

    #[test]
    fn what_an_earlier_keeper_left_is_killed_and_a_group_that_stays_full_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders-redis");
        fs::create_dir(&path).unwrap();
        // A file in it stands for a process in it.
        fs::write(path.join("held"), "").unwrap();
        let group = Group { path: path.clone(), processes: None, memory: None };
        assert!(runtime().block_on(make(&group, Duration::ZERO)).is_err());
        assert!(runtime().block_on(make(&group, STEP)).is_err());
        assert_eq!(fs::read_to_string(path.join("cgroup.kill")).unwrap(), "1");
    }
}
