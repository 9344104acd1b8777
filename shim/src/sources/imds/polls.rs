//! How often the metadata service was asked, and how often in vain.

use std::sync::atomic::{AtomicU64, Ordering};

use snooze_imds::SignalPath;

/// Questions and misses of each path, counted by the source and read by whoever shows them.
#[derive(Debug)]
pub struct Polls([(SignalPath, AtomicU64, AtomicU64); 4]);

impl Default for Polls {
    fn default() -> Self {
        Self(SignalPath::ALL.map(|path| (path, AtomicU64::new(0), AtomicU64::new(0))))
    }
}

impl Polls {
    pub(super) fn count(&self, path: SignalPath, is_missed: bool) {
        let Some((_, asked, missed)) = self.0.iter().find(|(known, ..)| *known == path) else {
            return;
        };
        asked.fetch_add(1, Ordering::Relaxed);
        missed.fetch_add(u64::from(is_missed), Ordering::Relaxed);
    }

    /// Each path, how often it was asked for, and how often without a usable answer.
    pub fn counts(&self) -> impl Iterator<Item = (SignalPath, u64, u64)> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        self.0.iter().map(move |(path, asked, missed)| (*path, read(asked), read(missed)))
    }
}
