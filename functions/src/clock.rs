//! The time of one invocation.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;
use snooze_cloud::{CloudError, Kind};
use tokio::time::{self, Instant};

/// A function answers within this time; what does not fit is left to the queue and the sweep.
pub const WORK: Duration = Duration::from_secs(8);

/// The moment at which an invocation began, and how long that is ago.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Timestamp,
    begun: Instant,
}

impl Clock {
    /// A clock that stands at `now`, and goes.
    #[must_use]
    pub fn begin(now: Timestamp) -> Self {
        Self { start: now, begun: Instant::now() }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.start.checked_add(self.begun.elapsed()).unwrap_or(self.start)
    }

    /// When the work of this invocation ends.
    #[must_use]
    pub fn end(&self) -> Instant {
        self.begun + WORK
    }

    /// How long ago a moment was; nothing for one that is to come.
    #[must_use]
    pub fn since(&self, moment: Timestamp) -> Duration {
        Duration::try_from(self.now().duration_since(moment)).unwrap_or_default()
    }

    /// A call that may take so long, and never longer than the work. It fails as one that AWS
    /// did not answer.
    pub fn within<'a, T: 'a>(
        &self,
        limit: Duration,
        operation: &'static str,
        call: impl Future<Output = Result<T, CloudError>> + Send + 'a,
    ) -> Call<'a, T> {
        let until = self.end().min(Instant::now() + limit);
        let call = time::timeout_at(until, call);
        Box::pin(async move {
            call.await.unwrap_or_else(|_elapsed| {
                Err(CloudError {
                    operation,
                    code: "Timeout".to_owned(),
                    text: "no answer within our own limit".to_owned(),
                    kind: Kind::Unreachable,
                })
            })
        })
    }
}

/// A call that has a limit; boxed, since those of the SDK are large.
pub type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, CloudError>> + Send + 'a>>;
