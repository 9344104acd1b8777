//! Waiting, always with an end.

use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// How long to wait between two looks at something that cannot be waited for.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits a moment; `false` when the time is over.
pub(crate) fn pause(until: Instant) -> bool {
    pause_for(PAUSE, until)
}

/// Waits for so long; `false` when the time is over.
#[expect(clippy::disallowed_methods, reason = "bounded by `until`, in a process of its own")]
pub(crate) fn pause_for(pause: Duration, until: Instant) -> bool {
    let left = left(until);
    thread::sleep(pause.min(left));
    !left.is_zero()
}

/// Waits until something can be read from the descriptor, or it has ended; `false` when the time
/// is over before.
pub(crate) fn readable(descriptor: impl AsFd, until: Instant) -> bool {
    loop {
        let left = left(until);
        let Ok(left) = Timespec::try_from(left) else { return false };
        let mut watched = [PollFd::new(&descriptor, PollFlags::IN)];
        match poll(&mut watched, Some(&left)) {
            Err(Errno::INTR) => {}
            Ok(0) | Err(_) => return false,
            Ok(_) => return true,
        }
    }
}

/// Does things side by side that cannot be broken off, and returns what came of those that were
/// done in time.
pub(crate) fn gather<T: Send + 'static>(
    works: Vec<impl FnOnce() -> T + Send + 'static>,
    until: Instant,
) -> Vec<Option<T>> {
    let begun: Vec<_> = works
        .into_iter()
        .map(|work| {
            let (done, result) = mpsc::channel();
            // It ends with the process at the latest, and then nobody is left to hear of it.
            let _thread = thread::spawn(move || done.send(work()));
            result
        })
        .collect();
    begun.into_iter().map(|result| result.recv_timeout(left(until)).ok()).collect()
}

/// How long it is until then.
pub(crate) fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}
