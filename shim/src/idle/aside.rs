//! Work that may hang, done on a thread of its own.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// How long an answer is waited for. What is asked here takes less than a millisecond unless
/// something is wrong, and the one who waits has other things to measure.
const LIMIT: Duration = Duration::from_millis(300);

/// A thread that does one thing whenever it is asked.
///
/// While it hangs, nobody else does: the one who asks hears that there is no answer. It ends when
/// this is dropped, or never, where the kernel does not let it go.
#[derive(Debug)]
pub(crate) struct Aside<T> {
    ask: SyncSender<()>,
    answers: Receiver<T>,
    asked: Option<Duration>,
}

impl<T: Send + 'static> Aside<T> {
    pub(crate) fn new(
        name: &str,
        mut work: impl FnMut() -> T + Send + 'static,
    ) -> io::Result<Self> {
        let (ask, asked) = sync_channel(1);
        let (answer, answers) = sync_channel(1);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            while asked.recv().is_ok() {
                if answer.send(work()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { ask, answers, asked: None })
    }

    /// Asks, and waits a moment for the answer. A question that is still open is not asked again.
    pub(crate) fn ask(&mut self, at: Duration) -> Result<T, String> {
        let since = *self.asked.get_or_insert_with(|| {
            // It fails only when the thread is gone, which the answer tells.
            let _ = self.ask.try_send(());
            at
        });
        match self.answers.recv_timeout(LIMIT) {
            Ok(answer) => {
                self.asked = None;
                Ok(answer)
            }
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("no answer for {} s", at.saturating_sub(since).as_secs()))
            }
            Err(RecvTimeoutError::Disconnected) => Err("the thread that asks has failed".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn idle_work_that_hangs_holds_up_nobody_and_its_answer_is_taken_later() {
        let (go, wait) = channel();
        let mut aside = Aside::new("test", move || wait.recv().unwrap_or(0)).unwrap();
        let seconds = Duration::from_secs;
        assert_eq!(aside.ask(seconds(100)), Err("no answer for 0 s".to_owned()));
        assert_eq!(aside.ask(seconds(160)), Err("no answer for 60 s".to_owned()));
        go.send(7).unwrap();
        let found = (0..100).find_map(|_| aside.ask(seconds(161)).ok());
        assert_eq!(found, Some(7));
        go.send(8).unwrap();
        assert_eq!((0..100).find_map(|_| aside.ask(seconds(162)).ok()), Some(8));
    }
}
