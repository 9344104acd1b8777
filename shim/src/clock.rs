//! The two clocks that the daemon reads, and the one value that it passes down.

use std::time::Duration;

use jiff::Timestamp;

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The wall clock. It may be wrong and may jump; it is good for stamps, and for comparing
    /// with what AWS says.
    pub wall: Timestamp,
    /// Time since boot, suspended time included, so that a deadline that passed during
    /// hibernation has passed. Every deadline is kept on it.
    pub boot: Duration,
}

impl Now {
    /// Reads both clocks.
    #[must_use]
    pub fn read() -> Self {
        let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(since_boot.tv_sec).unwrap_or_default();
        let nanoseconds = u32::try_from(since_boot.tv_nsec).unwrap_or_default();
        Self { wall: Timestamp::now(), boot: Duration::new(seconds, nanoseconds) }
    }

    /// Milliseconds since boot, as the journal writes them.
    #[must_use]
    pub fn clock_ms(self) -> u64 {
        milliseconds(self.boot)
    }
}

/// A duration in whole milliseconds, as far as 64 bits reach.
#[must_use]
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
