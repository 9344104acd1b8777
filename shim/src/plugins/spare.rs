//! Descriptors that are held back for the start of a plugin, however many others are open.

use std::fs::File;
use std::sync::{Mutex, PoisonError};

/// So many are held back: a start needs pipes for three streams and for its own report, a
/// directory, a secret and the handle of the process, some of them at both ends.
const SPARE: usize = 12;

/// Descriptors that are open for nothing else than to be closed when they are needed.
#[derive(Debug)]
pub(super) struct Spare(Mutex<Vec<File>>);

/// While this lives, the spare descriptors are free for others.
pub(super) struct Lent<'a>(&'a Spare);

impl Spare {
    pub(super) fn new() -> Self {
        let spare = Self(Mutex::default());
        spare.fill();
        spare
    }

    /// Closes them, until what this returns is dropped.
    pub(super) fn lend(&self) -> Lent<'_> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Lent(self)
    }

    /// As far as there are any; the next time more may be.
    fn fill(&self) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let more = (held.len()..SPARE).map_while(|_| File::open("/dev/null").ok());
        held.extend(more.collect::<Vec<_>>());
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.0.fill();
    }
}
