//! Which file systems are never frozen: those that the machine, the daemon or the thaw needs.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::freeze::Surroundings;
use super::mounts::{Mount, device_of};
use crate::process;

/// Directories that everything needs, or that the daemon writes to.
const NEEDED: [&str; 11] = [
    "/",
    "/bin",
    "/etc",
    "/lib",
    "/run",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib/cloudsnooze",
    "/var/log",
    "/var/tmp",
];

/// Why a file system is not frozen; `None` when it may be.
pub(super) fn why(mount: &Mount, surroundings: &Surroundings) -> Option<String> {
    let Ok(meta) = fs::metadata(&mount.point) else { return Some("it is gone".to_owned()) };
    let is_on = |path: &Path| {
        // Parts of one btrfs have numbers of their own, so that both are compared.
        fs::metadata(path).is_ok_and(|other| other.dev() == meta.dev())
            || device_of(path).is_some_and(|device| device == mount.device)
    };
    if let Some(needed) = NEEDED.into_iter().find(|path| is_on(Path::new(path))) {
        return Some(format!("`{needed}` is on it"));
    }
    let programs = [
        surroundings.programs.find("fsfreeze").ok().map(|program| program.path),
        Some(surroundings.guard.clone()),
    ];
    if programs.into_iter().flatten().any(|path| is_on(&path)) {
        return Some("the programs that would thaw it are on it".to_owned());
    }
    let mut open = process::untouchable().into_iter().filter(|pid| *pid != 1).flat_map(files_of);
    open.find(|path| is_on(path))
        .map(|_| "the daemon or the plugin has a file open on it".to_owned())
}

/// What a process has open, runs and stands in.
fn files_of(pid: i32) -> Vec<PathBuf> {
    let own = PathBuf::from(format!("/proc/{pid}"));
    let open = fs::read_dir(own.join("fd")).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = open.map(|entry| entry.path()).collect();
    files.extend(["cwd", "exe"].map(|link| own.join(link)));
    files
}
