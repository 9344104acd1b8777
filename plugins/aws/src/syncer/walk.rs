//! The files of a directory, newest first. Links are not followed, on no level.

use std::fs::File as Opened;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use glob::{MatchOptions, Pattern};
use jiff::Timestamp;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, open, openat, statat};
use snooze_cloud::objects::LONGEST_KEY;

/// How deep directories are entered.
const DEEPEST: usize = 64;

/// The most files that are copied: a manifest of so many is some thirty megabytes.
pub(crate) const MOST_FILES: usize = 100_000;

/// Globs match over `/`, so that `*.tmp` means every such file.
const GLOBS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: false,
    require_literal_leading_dot: false,
};

/// A file as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// Its path below the directory, which is also the end of its key.
    pub(crate) path: String,
    /// In bytes.
    pub(crate) size: u64,
    /// When it was changed last.
    pub(crate) changed: Timestamp,
}

/// The directory, held open so that its files are those that were walked.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

/// What a walk found.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Newest first.
    pub(crate) files: Vec<File>,
    /// What cannot be copied, and why.
    pub(crate) unfit: Vec<(String, String)>,
    /// How many links, pipes, sockets and devices there are, which are not copied.
    pub(crate) others: usize,
}

impl Root {
    /// Opens the directory; it may itself be a link.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(open(directory, flags, Mode::empty())?))
    }

    /// Opens a file below it.
    pub(crate) fn file(&self, path: &str) -> io::Result<Opened> {
        let mut at: Option<OwnedFd> = None;
        let mut parts = Path::new(path).components().peekable();
        while let Some(part) = parts.next() {
            let Component::Normal(name) = part else { break };
            let from = at.as_ref().map_or(self.0.as_fd(), AsFd::as_fd);
            let kind = match parts.peek() {
                Some(_) => OFlags::DIRECTORY,
                // A pipe that took the file's place would wait for a writer.
                None => OFlags::NONBLOCK,
            };
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | kind;
            at = Some(openat(from, name, flags, Mode::empty())?);
        }
        at.map(Opened::from).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// All files below it that are wanted.
    pub(crate) fn walk(&self, include: &[Pattern], exclude: &[Pattern]) -> io::Result<Walk> {
        let mut walk = Walk::default();
        let wanted = Wanted { include, exclude };
        enter(&self.0, Path::new(""), DEEPEST, &wanted, &mut walk)?;
        walk.files.sort_by(|a, b| b.changed.cmp(&a.changed).then_with(|| a.path.cmp(&b.path)));
        Ok(walk)
    }
}

/// What a file is now.
pub(crate) fn seen(path: &str, file: &Opened) -> io::Result<File> {
    let stat = fstat(file)?;
    match FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        true => Ok(of(path, &stat)),
        false => Err(io::Error::other("it is no file any more")),
    }
}

struct Wanted<'a> {
    include: &'a [Pattern],
    exclude: &'a [Pattern],
}

impl Wanted<'_> {
    fn excludes(&self, path: &str) -> bool {
        self.exclude.iter().any(|glob| glob.matches_with(path, GLOBS))
    }

    fn takes(&self, path: &str) -> bool {
        let is_included = self.include.is_empty()
            || self.include.iter().any(|glob| glob.matches_with(path, GLOBS));
        is_included && !self.excludes(path)
    }
}

fn enter(
    directory: &OwnedFd,
    at: &Path,
    depth: usize,
    wanted: &Wanted<'_>,
    walk: &mut Walk,
) -> io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if [c".", c".."].contains(&name) {
            continue;
        }
        let Ok(text) = name.to_str() else {
            let shown = at.join(name.to_string_lossy().as_ref());
            walk.unfit.push((shown.display().to_string(), "its name is not UTF-8".to_owned()));
            continue;
        };
        let path = at.join(text);
        let shown = path.display().to_string();
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // It went meanwhile.
            Err(rustix::io::Errno::NOENT) => continue,
            Err(error) => {
                walk.unfit.push((shown, io::Error::from(error).to_string()));
                continue;
            }
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::RegularFile {
            if wanted.takes(&shown) {
                walk.files.push(of(&shown, &stat));
            }
        } else if kind != FileType::Directory {
            walk.others += 1;
        } else if depth == 0 {
            walk.unfit.push((shown, format!("more than {DEEPEST} directories deep")));
        } else if !wanted.excludes(&shown)
            && let Err(error) = below(directory, text, &path, depth - 1, wanted, walk)
        {
            walk.unfit.push((shown, error.to_string()));
        }
    }
    Ok(())
}

fn below(
    parent: &OwnedFd,
    name: &str,
    path: &Path,
    depth: usize,
    wanted: &Wanted<'_>,
    walk: &mut Walk,
) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(parent, name, flags, Mode::empty())?;
    enter(&directory, path, depth, wanted, walk)
}

fn of(path: &str, stat: &Stat) -> File {
    let nanoseconds = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    let changed = Timestamp::new(stat.st_mtime, nanoseconds).unwrap_or_default();
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    File { path: path.to_owned(), size, changed }
}

/// Whether a key is longer than S3 takes.
pub(crate) fn too_long(key: &str) -> bool {
    key.len() > LONGEST_KEY
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn files_come_newest_first_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        for (age, path) in [(30, "old"), (10, "a/new.bin"), (20, "a/b/middle"), (5, "a/x.tmp")] {
            let path = folder.path().join(path);
            fs::write(&path, "x").unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age);
            fs::File::open(&path).unwrap().set_modified(time).unwrap();
        }
        symlink(outside.path(), folder.path().join("a/link")).unwrap();
        symlink(outside.path().join("secret"), folder.path().join("secret")).unwrap();
        let odd = std::ffi::OsStr::from_bytes(b"odd\xff");
        fs::write(folder.path().join(odd), "x").unwrap();
        let root = Root::open(folder.path()).unwrap();
        let walk = root.walk(&[], &[Pattern::new("*.tmp").unwrap()]).unwrap();
        let paths: Vec<_> = walk.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a/new.bin", "a/b/middle", "old"]);
        assert_eq!((walk.others, walk.unfit.len()), (2, 1));
        assert!(walk.unfit[0].1.contains("UTF-8"));
        for path in ["secret", "a/link/secret", "../x", ""] {
            assert!(root.file(path).is_err(), "{path}");
        }
        assert_eq!(seen("old", &root.file("old").unwrap()).unwrap(), walk.files[2]);
    }

    #[test]
    fn a_directory_that_is_excluded_is_not_entered_and_includes_choose_files() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["run/a.ckpt", "run/a.log", "cache/b.ckpt"] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let globs = |glob: &str| [Pattern::new(glob).unwrap()];
        let root = Root::open(folder.path()).unwrap();
        let walk = root.walk(&globs("*.ckpt"), &globs("cache")).unwrap();
        assert_eq!(walk.files.len(), 1);
        assert_eq!(walk.files[0].path, "run/a.ckpt");
    }
}
