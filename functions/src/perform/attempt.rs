//! One attempt: takes the task of an order, does it, writes down how it went.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use snooze_cloud::breakers::Pass;
use snooze_cloud::incidents::Stored;
use snooze_cloud::{CloudError, Kind};
use snooze_policy::ledger::{Finish, Task};
use tokio::sync::Mutex;
use tracing::{error, info, warn};

use super::act::{self, Work};
use super::done::{Did, Trouble, Verdict, is_unwell, verdict};
use super::taking::{Start, next, start, until};
use super::{Perform, hooks};
use crate::failure::{Failure, Name};
use crate::order::Order;
use crate::telemetry::{By, Metric};

/// How long an action may take, of [`super::LIMIT`]: enough is left to write down how it went.
const CALL: Duration = Duration::from_millis(5500);
/// SQS holds a message back for this long at most.
const LONGEST_DELAY: Duration = Duration::from_secs(900);

/// One attempt at one order.
pub(super) struct Attempt<'a> {
    /// A number nobody else has.
    pub(super) id: String,
    /// The turn of those who change the same incident at the same time, since each of them would
    /// else make the others read it again.
    pub(super) turn: &'a Mutex<()>,
    pub(super) now: Timestamp,
}

impl Perform {
    /// Obeys an order. A failure means that the queue is to give its message again.
    pub(super) async fn obey(&self, order: &Order, attempt: &Attempt<'_>) -> Result<(), Failure> {
        let Order { incident: id, task, .. } = order;
        let turn = attempt.turn.lock().await;
        let started =
            self.incidents.change(id, |incident| start(incident, order, &attempt.id, attempt.now));
        let started = started.await.map_err(|e| Failure::of(Name::LedgerUnavailable, &e))?;
        drop(turn);
        let Some((started, stored)) = started else {
            error!(correlationid = id, task, "order for an incident that is not known");
            return Ok(());
        };
        match started {
            Start::Go => self.run(stored, order, attempt).await,
            Start::Busy(left) => {
                let soon = left.saturating_add(Duration::from_secs(1));
                self.again(order, soon).await
            }
            Start::Over => Ok(()),
            Start::Late => {
                warn!(correlationid = id, task, "order came too late");
                Ok(())
            }
        }
    }

    async fn run(
        &self,
        stored: Stored,
        order: &Order,
        attempt: &Attempt<'_>,
    ) -> Result<(), Failure> {
        let now = attempt.now;
        let Some(task) = stored.incident.task(&order.task).cloned() else { return Ok(()) };
        let work = Work { perform: self, incident: &stored.incident, task: &task, now };
        let did = Box::pin(act::act(&work)).await.unwrap_or_else(Did::from);
        let until = until(&stored.incident, order);
        let most = hooks::patience(&stored.incident, &task);
        let verdict = verdict(did, task.attempts, &attempt.id, most, now, until);
        self.tell(order, &task, &verdict);
        let sent = match verdict.again {
            Some(delay) => self.again(&next(order, &stored.incident, &verdict, now), delay).await,
            None => Ok(()),
        };
        let turn = attempt.turn.lock().await;
        let written = self.incidents.change_from(stored, |incident| {
            incident.finish(&order.task, &attempt.id, verdict.finish.clone(), now);
        });
        let written = written.await;
        drop(turn);
        match written {
            Ok(_) => sent,
            // The order that was sent finds the task taken, and waits for the end of the lease.
            Err(error) if verdict.again.is_some() && sent.is_ok() => {
                warn!(correlationid = order.incident, task = order.task, %error, "not written down");
                Ok(())
            }
            Err(error) => Err(Failure::of(Name::LedgerUnavailable, &error)),
        }
    }

    /// Puts an order into the queue again.
    async fn again(&self, order: &Order, delay: Duration) -> Result<(), Failure> {
        let message = (order.write(), delay.min(LONGEST_DELAY));
        let sent = self.queues.send(&self.settings.actions, &[message]).await;
        let sent = sent.and_then(|answers| answers.into_iter().next().unwrap_or(Ok(())));
        sent.map_err(|error| Failure::of(Name::OrdersNotSent, &error))
    }

    /// Makes a call, unless the breaker of its destination is open, and tells it how that went.
    /// A breaker that cannot be asked holds nothing back.
    pub(super) async fn through<T>(
        &self,
        destination: &str,
        now: Timestamp,
        call: impl Future<Output = Result<T, CloudError>>,
    ) -> Result<T, Trouble> {
        match Box::pin(self.breakers.pass(destination, now)).await {
            Ok(Pass::Go) => {}
            Ok(Pass::Wait(left)) => return Err(Trouble::Open(left)),
            Err(error) => warn!(destination, %error, "breaker cannot be asked"),
        }
        let result = timed(Box::pin(call)).await;
        let worked = !result.as_ref().is_err_and(is_unwell);
        if let Err(error) = Box::pin(self.breakers.told(destination, worked, now)).await {
            warn!(destination, %error, "breaker cannot be told");
        }
        Ok(result?)
    }

    fn tell(&self, order: &Order, task: &Task, verdict: &Verdict) {
        let by = task.action().map_or(By::ALL, |(name, _)| By::action(name));
        let (correlationid, task, attempts) = (&order.incident, &order.task, task.attempts);
        match &verdict.finish {
            Finish::Done(text) => {
                self.meter.count(Metric::Actions, by, 1);
                info!(correlationid, task, attempts, text, "task done");
            }
            Finish::Skipped(text) => info!(correlationid, task, attempts, text, "task skipped"),
            Finish::Beaten => info!(correlationid, task, attempts, "hook kept waiting"),
            Finish::Again { error, text } => {
                self.meter.count(Metric::ActionFailures, by, 1);
                warn!(correlationid, task, attempts, error, text, "task is tried again");
            }
            Finish::Failed { error, text } => {
                self.meter.count(Metric::ActionFailures, by, 1);
                error!(correlationid, task, attempts, error, text, "task failed");
            }
        }
    }
}

/// Makes a call within [`CALL`].
pub(super) async fn timed<T>(
    call: impl Future<Output = Result<T, CloudError>>,
) -> Result<T, CloudError> {
    let late = |_late| {
        let text = "it did not end in time, and may have worked";
        Err(CloudError::new("Action", Kind::Unreachable, "Timeout", text))
    };
    tokio::time::timeout(CALL, call).await.unwrap_or_else(late)
}
