//! Waiting for what other processes do, always with a limit.

use std::time::{Duration, Instant};

/// Longer than anything takes that a test waits for, on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until there is something.
///
/// # Panics
/// When [`PATIENCE`] is over; `what` says what was missed.
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_or(|| what.to_owned(), look)
}

/// Waits until there is something.
///
/// # Panics
/// When [`PATIENCE`] is over; `missed` says what was missed, and what was there instead.
pub fn until_or<T>(missed: impl FnOnce() -> String, look: impl FnMut() -> Option<T>) -> T {
    let missed = || format!("waited {PATIENCE:?} for {}", missed());
    within(PATIENCE, LOOK, look).unwrap_or_else(|| panic!("{}", missed()))
}

/// Waits until there is something, and looks so often that the wait can be measured.
///
/// # Panics
/// When [`PATIENCE`] is over.
pub fn soon<T>(look_every: Duration, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, look_every, look).expect("it comes")
}

/// Waits until there is something, no longer than this.
pub fn within<T>(
    limit: Duration,
    look_every: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if start.elapsed() > limit {
            return None;
        }
        pause(look_every);
    }
}

/// Lets time pass in which nothing may happen, or something else does.
#[expect(clippy::disallowed_methods, reason = "other processes need real time")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
