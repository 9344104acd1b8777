//! The directories that images are in.
//!
//! ```text
//!  <images_directory>/<name>-<pid>-<start>/early-1   of a warning
//!                                          early-2   what had changed since
//!                                          dump-3    the rest: `criu restore` begins here
//! ```
//!
//! While it is written a directory ends in `.new`. What ends so when the machine is gone is half a
//! dump, and useless.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::process::Process;

/// Nobody else reads them: they hold all that was in memory.
const MODE: u32 = 0o700;

/// What every dump has besides an image of each process (Documentation of CRIU, "Images").
const NEEDED: [&str; 2] = ["inventory.img", "pstree.img"];

/// The images of one process.
#[derive(Debug)]
pub(super) struct Images {
    folder: PathBuf,
}

impl Images {
    pub(super) fn of(process: &Process, directory: &Path) -> Self {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let name: String =
            process.stat.name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
        let folder =
            format!("{}-{}-{}", name.trim_start_matches('.'), process.pid, process.stat.started);
        Self { folder: directory.join(folder) }
    }

    /// A new directory for images, which is not whole yet.
    pub(super) fn begin(&self, kind: &str) -> io::Result<PathBuf> {
        DirBuilder::new().recursive(true).mode(MODE).create(&self.folder)?;
        let path = self.folder.join(format!("{kind}-{}.new", self.last().0 + 1));
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        DirBuilder::new().mode(MODE).create(&path)?;
        Ok(path)
    }

    /// What a next one can build on, seen from beside it: only what was written early, since a
    /// dump may be of a process that was stopped.
    pub(super) fn parent(&self) -> Option<String> {
        let name = self.last().1?;
        name.starts_with("early-").then(|| format!("../{name}"))
    }

    /// The highest number that was given, and the name of the whole directory that has it.
    fn last(&self) -> (u64, Option<String>) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let numbered = names.filter_map(|name| {
            let number = name.split_once('-')?.1.parse().ok()?;
            Some((number, Some(name)))
        });
        numbered.max().unwrap_or((0, None))
    }
}

/// Reads back that the images are there, has the kernel write them out, and gives the directory
/// its name; returns the bytes that the images take.
pub(super) fn finish(new: &Path, pid: i32, is_dump: bool) -> io::Result<(PathBuf, u64)> {
    let mut bytes = 0;
    for entry in fs::read_dir(new)? {
        let entry = entry?;
        if entry.metadata()?.is_file() {
            let file = File::open(entry.path())?;
            file.sync_all()?;
            bytes += file.metadata()?.len();
        }
    }
    let core = format!("core-{pid}.img");
    for name in NEEDED.into_iter().chain([core.as_str()]).filter(|_| is_dump) {
        let is_there = fs::metadata(new.join(name)).is_ok_and(|meta| meta.len() > 0);
        if !is_there {
            return Err(io::Error::other(format!("`{name}` is missing or empty")));
        }
    }
    File::open(new)?.sync_all()?;
    let whole = new.with_extension("");
    fs::rename(new, &whole)?;
    if let Some(folder) = whole.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok((whole, bytes))
}
