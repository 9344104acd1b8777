//! The file that a program writes when its checkpoint is whole, and reading it back.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};

use crate::process::Process;
use crate::wait;

/// How long a marker must stay as it is, for one that is written in place.
const SETTLED: Duration = Duration::from_millis(300);

/// The longest marker whose sums are read: some hundred files.
const LONGEST: u64 = 64 * 1024;

/// Hexadecimal digits of a SHA-256.
const SUM_DIGITS: usize = 64;

/// A marker as it was before the signal.
pub(super) struct Marker {
    path: PathBuf,
    sums: bool,
    before: Option<Look>,
}

/// What was read back.
#[derive(Debug, Default)]
pub(super) struct Proof {
    pub(super) files: Vec<String>,
    pub(super) bytes: u64,
    /// How many files had the sum that the marker says.
    pub(super) sums: u64,
}

/// Why the checkpoint is not known to be whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum MarkerError {
    #[error("`{path}` was not written in time; raise `timeout_seconds`")]
    Late { path: String },
    #[error("the program ended and has not written `{path}`")]
    Ended { path: String },
    #[error("`{path}` was written but cannot be read back")]
    Read { path: String, source: io::Error },
    #[error("`{path}` was written and is still read back; raise `timeout_seconds`")]
    Slow { path: String },
    #[error("`{path}` holds no line of `sha256sum`")]
    NoSums { path: String },
    #[error("`{file}` does not have the sum that `{path}` says")]
    OtherSum { path: String, file: String },
}

/// What a file looks like from outside. Another one means that it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Look {
    fn at(path: &Path) -> Option<Self> {
        Some(Self::of(&fs::metadata(path).ok()?))
    }

    fn of(meta: &Metadata) -> Self {
        let modified = (meta.mtime(), meta.mtime_nsec());
        Self { inode: meta.ino(), bytes: meta.len(), modified }
    }
}

impl Marker {
    /// Looks at the marker; to be done before the signal.
    pub(super) fn before(path: &Path, sums: bool) -> Self {
        Self { path: path.to_owned(), sums, before: Look::at(path) }
    }

    /// Waits until it is written and reads it back.
    pub(super) fn wait(&self, processes: &[Process], until: Instant) -> Result<Proof, MarkerError> {
        let mut seen: Option<(Look, Instant)> = None;
        let mut last = MarkerError::Late { path: self.shown() };
        loop {
            // Looked at first: what ended after this has nothing more to write.
            let has_ended = processes.iter().all(Process::is_gone);
            let look = Look::at(&self.path).filter(|look| self.before.as_ref() != Some(look));
            match (look, &seen) {
                (Some(look), Some((known, since))) if look == *known => {
                    if has_ended || since.elapsed() >= SETTLED {
                        match self.read_back(until) {
                            // One with a wrong sum may be half written.
                            Err(error @ MarkerError::OtherSum { .. }) if !has_ended => {
                                last = error;
                                seen = Some((look, Instant::now()));
                            }
                            // The time ended in the middle of another try.
                            Err(MarkerError::Slow { .. }) if is_wrong(&last) => return Err(last),
                            result => return result,
                        }
                    }
                }
                (Some(look), _) => seen = Some((look, Instant::now())),
                (None, _) if has_ended => return Err(MarkerError::Ended { path: self.shown() }),
                (None, _) => seen = None,
            }
            if !wait::pause(until) {
                return Err(last);
            }
        }
    }

    fn read_back(&self, until: Instant) -> Result<Proof, MarkerError> {
        let (path, sums) = (self.path.clone(), self.sums);
        let mut results = wait::gather(vec![move || proof(&path, sums)], until);
        results.pop().flatten().unwrap_or_else(|| Err(MarkerError::Slow { path: self.shown() }))
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

fn is_wrong(error: &MarkerError) -> bool {
    matches!(error, MarkerError::OtherSum { .. })
}

/// Reads the marker and, with sums, the files that it names; has the kernel write them out.
fn proof(path: &Path, sums: bool) -> Result<Proof, MarkerError> {
    let shown = path.display().to_string();
    let read = |file: &Path| {
        let path = file.display().to_string();
        move |source| MarkerError::Read { path, source }
    };
    let mut proof = Proof::default();
    let text = proof.take(path, LONGEST).map_err(read(path))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    if sums {
        let text = String::from_utf8_lossy(&text.head).into_owned();
        let named: Vec<_> = text.lines().filter_map(sum_and_name).collect();
        if named.is_empty() || text.lines().any(|line| sum_and_name(line).is_none()) {
            return Err(MarkerError::NoSums { path: shown });
        }
        for (sum, name) in named {
            let file = folder.join(name);
            if proof.take(&file, 0).map_err(read(&file))?.sum != sum.to_ascii_lowercase() {
                return Err(MarkerError::OtherSum {
                    path: shown,
                    file: file.display().to_string(),
                });
            }
            proof.sums += 1;
        }
    }
    // The new names, too, must be on disk.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(read(folder))?;
    Ok(proof)
}

/// What was read of a file: its first bytes, and the sum of all.
struct Content {
    head: Vec<u8>,
    sum: String,
}

impl Proof {
    /// Reads a file to its end, and has the kernel write it out.
    fn take(&mut self, path: &Path, head: u64) -> io::Result<Content> {
        // A pipe would never end.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let mut first = Vec::new();
        let mut hash = Sha256::new();
        let mut bytes = Read::by_ref(&mut file).take(head).read_to_end(&mut first)?;
        hash.update(&first);
        let mut chunk = vec![0; 1 << 16];
        loop {
            let read = file.read(&mut chunk)?;
            let Some(piece) = chunk.get(..read).filter(|piece| !piece.is_empty()) else { break };
            hash.update(piece);
            bytes += read;
        }
        file.sync_all()?;
        self.files.push(path.display().to_string());
        self.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
        let sum = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Content { head: first, sum })
    }
}

/// The parts of a line of `sha256sum`: digits, a blank, a blank or `*`, the name.
fn sum_and_name(line: &str) -> Option<(&str, &str)> {
    let (sum, rest) = line.split_at_checked(SUM_DIGITS)?;
    let name = rest.strip_prefix("  ").or_else(|| rest.strip_prefix(" *"))?;
    let is_sum = sum.bytes().all(|digit| digit.is_ascii_hexdigit());
    (is_sum && !name.is_empty()).then_some((sum, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_sha256sum_writes_them() {
        let sum = "a".repeat(64);
        assert_eq!(sum_and_name(&format!("{sum}  a b")), Some((sum.as_str(), "a b")));
        assert_eq!(sum_and_name(&format!("{sum} *x")), Some((sum.as_str(), "x")));
        for line in ["", "x", &sum, &format!("{sum}  "), &format!("{}  x", "g".repeat(64))] {
            assert_eq!(sum_and_name(line), None, "{line}");
        }
    }

    #[test]
    fn a_marker_that_is_a_pipe_is_refused_and_not_waited_for() {
        let folder = tempfile::TempDir::new().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let error = proof(&pipe, false).unwrap_err();
        assert!(matches!(error, MarkerError::Read { .. }), "{error}");
    }
}
