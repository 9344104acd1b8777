//! Files of the kernel, read below a root.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// More than any file that is read here has; what is longer is cut.
const LONGEST: u64 = 4 << 20;

/// Where `proc`, `sys` and `dev` are, with one buffer for all that is read.
#[derive(Debug)]
pub(crate) struct Files {
    root: PathBuf,
    buffer: Vec<u8>,
}

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `/{path}`: {error}")]
pub(crate) struct Trouble {
    path: String,
    error: io::Error,
}

impl Files {
    pub(crate) fn below(root: &Path) -> Self {
        Self { root: root.to_owned(), buffer: Vec::new() }
    }

    /// The whole text of a file; bytes that are no UTF-8 are replaced.
    pub(crate) fn text(&mut self, path: &str) -> Result<Cow<'_, str>, Trouble> {
        self.head(path, LONGEST)
    }

    /// The first bytes of a file.
    pub(crate) fn head(&mut self, path: &str, most: u64) -> Result<Cow<'_, str>, Trouble> {
        self.buffer.clear();
        let read = File::open(self.root.join(path))
            .and_then(|file| file.take(most).read_to_end(&mut self.buffer));
        read.map_err(|error| Trouble::of(path, error))?;
        Ok(String::from_utf8_lossy(&self.buffer))
    }

    /// The names in a directory.
    pub(crate) fn names(&self, path: &str) -> Result<Vec<String>, Trouble> {
        let entries = fs::read_dir(self.root.join(path)).map_err(|e| Trouble::of(path, e))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.collect())
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

impl Trouble {
    pub(crate) fn of(path: &str, error: io::Error) -> Self {
        Self { path: path.to_owned(), error }
    }

    pub(crate) fn is_missing(&self) -> bool {
        self.error.kind() == io::ErrorKind::NotFound
    }

    /// The kernel knows the file and not what it tells: a kernel that was started with `psi=0`.
    pub(crate) fn is_unsupported(&self) -> bool {
        self.error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error())
    }

    /// The process whose file it was has ended, before or while it was read.
    pub(crate) fn is_gone(&self) -> bool {
        let gone = rustix::io::Errno::SRCH.raw_os_error();
        self.is_missing() || self.error.raw_os_error() == Some(gone)
    }
}

/// The reason of a figure that cannot be had.
impl From<Trouble> for String {
    fn from(trouble: Trouble) -> Self {
        trouble.to_string()
    }
}
