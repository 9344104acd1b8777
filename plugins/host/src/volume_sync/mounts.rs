//! Which file systems there are, and writing them to their disks.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{Mode, OFlags};

use crate::report::{Missed, Report};
use crate::wait;

/// File systems over the network or in another program. The kernel counts them to those without a
/// device, but they hold data all the same.
const REMOTE: [&str; 10] =
    ["nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "virtiofs", "9p", "zfs", "glusterfs"];

/// The most file systems that are written side by side.
const MOST: usize = 64;

/// A mounted file system (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) point: PathBuf,
    /// The file system as the kernel numbers it; the same for all mounts and parts of it.
    pub(super) device: String,
    kind: String,
}

impl Mount {
    /// Where it is, for people and for programs.
    pub(super) fn shown(&self) -> String {
        self.point.display().to_string()
    }

    fn read(line: &str) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let mut words = front.split(' ');
        let device = words.nth(2)?.to_owned();
        let point = unescaped(words.nth(1)?);
        let kind = back.split(' ').next()?.to_owned();
        Some(Self { point, device, kind })
    }

    fn holds_data(&self, without_device: &[String]) -> bool {
        let is_remote = REMOTE.contains(&self.kind.as_str()) || self.kind.starts_with("fuse");
        is_remote || !without_device.contains(&self.kind)
    }
}

/// The file systems of these paths, each once, and the paths that have none with the reason; all
/// file systems that hold data when there are no paths.
pub(super) fn of(paths: &[PathBuf]) -> io::Result<(Vec<Mount>, Missed)> {
    let all = all()?;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for path in paths {
        match directory(path).map(|path| around(&path, &all)) {
            Ok(mount) => found.extend(mount),
            Err(error) => missing.push((path.display().to_string(), error.to_string())),
        }
    }
    if paths.is_empty() {
        let known = fs::read_to_string("/proc/filesystems")?;
        let without = known.lines().filter_map(|line| line.strip_prefix("nodev"));
        let without: Vec<String> = without.map(|kind| kind.trim().to_owned()).collect();
        found.extend(all.into_iter().filter(|mount| mount.holds_data(&without)));
    }
    let mut mounts: Vec<Mount> = Vec::new();
    for mount in found {
        if mounts.iter().all(|known| known.device != mount.device) {
            mounts.push(mount);
        }
    }
    Ok((mounts, missing))
}

/// The file system that a path is in.
pub(super) fn device_of(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    Some(around(&path, &all().ok()?)?.device)
}

/// Writes file systems to their disks, side by side; returns those that are there.
pub(super) fn sync(mounts: &[Mount], until: Instant, report: &mut Report) -> Vec<Mount> {
    let (now, later) = mounts.split_at(mounts.len().min(MOST));
    for mount in later {
        report.missed(mount.shown(), format!("only {MOST} file systems are written at once"));
    }
    let point = |mount: &Mount| mount.point.clone();
    let works = now.iter().map(point).map(|point| move || sync_one(&point)).collect();
    let mut synced = Vec::new();
    for (mount, result) in now.iter().zip(wait::gather(works, until)) {
        match result {
            Some(Ok(())) => {
                report.saved.push(mount.shown());
                synced.push(mount.clone());
            }
            Some(Err(error)) => report.missed(mount.shown(), error),
            None => report.missed(mount.shown(), "not on disk in time; raise `timeout_seconds`"),
        }
    }
    synced
}

/// How many bytes all file systems have not written yet; `None` when the kernel does not say.
pub(super) fn unwritten() -> Option<u64> {
    let said = fs::read_to_string("/proc/meminfo").ok()?;
    let figure = |key: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    Some(figure("Dirty:")?.saturating_add(figure("Writeback:")?).saturating_mul(1024))
}

fn all() -> io::Result<Vec<Mount>> {
    let said = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(said.lines().filter_map(Mount::read).collect())
}

fn directory(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize()? {
        path if path.is_dir() => Ok(path),
        _ => Err(io::Error::other("expected a directory")),
    }
}

/// The mount with the longest way to the path; of those at one place the last hides the others.
fn around(path: &Path, mounts: &[Mount]) -> Option<Mount> {
    let over = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    over.max_by_key(|mount| mount.point.components().count()).cloned()
}

fn sync_one(point: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = File::from(rustix::fs::open(point, flags, Mode::empty())?);
    Ok(rustix::fs::syncfs(&directory)?)
}

/// A path in which the kernel wrote blanks and the like as `\040`.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let digits = more.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = more.get(3..).unwrap_or_default();
            }
            Some(_) | None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "\
21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
22 21 0:20 / /proc rw - proc proc rw
30 21 8:2 / /data rw shared:1 master:2 - xfs /dev/sdb rw
31 30 8:3 /sub /data/my\\040disk rw - ext4 /dev/sdc rw
32 21 0:40 / /home rw - nfs4 server:/home rw
33 21 0:41 / /data2 rw - fuse.s3fs s3fs rw";

    fn mounts() -> Vec<Mount> {
        INFO.lines().map(|line| Mount::read(line).unwrap()).collect()
    }

    #[test]
    fn a_path_is_in_the_mount_with_the_longest_way_to_it() {
        for (path, device) in [
            ("/etc", "8:1"),
            ("/data/x", "8:2"),
            ("/data2", "0:41"),
            ("/data3", "8:1"),
            ("/data/my disk/a", "8:3"),
        ] {
            assert_eq!(around(Path::new(path), &mounts()).unwrap().device, device, "{path}");
        }
    }

    #[test]
    fn what_holds_data_is_on_a_device_or_far_away() {
        let without = ["proc", "nfs4", "fuse"].map(str::to_owned);
        let mounts = mounts();
        let holding = mounts.iter().filter(|mount| mount.holds_data(&without));
        let kinds: Vec<&str> = holding.map(|mount| mount.kind.as_str()).collect();
        assert_eq!(kinds, ["ext4", "xfs", "ext4", "nfs4", "fuse.s3fs"]);
    }
}
