//! What an order finds, and for how long one is worth something: pure.

use std::time::Duration;

use jiff::Timestamp;
use snooze_policy::ActionName;
use snooze_policy::ledger::{Finish, Incident, Take, Task, What};

use super::done::Verdict;
use super::hooks;
use crate::order::Order;

/// What an attempt finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The task is ours.
    Go,
    /// Another attempt does it; look again after this.
    Busy(Duration),
    /// It is over, or another order looks after it.
    Over,
    /// The order came too late.
    Late,
}

/// Takes the task of an order.
pub fn start(incident: &mut Incident, order: &Order, attempt: &str, now: Timestamp) -> Start {
    if hooks::is_surplus(incident, &order.task, now) {
        return Start::Over;
    }
    let taken = incident.take(&order.task, attempt, now);
    match taken {
        Take::Over => Start::Over,
        Take::Busy(left) if now < until(incident, order) => Start::Busy(left),
        Take::Busy(_) => Start::Late,
        Take::Go if now < until(incident, order) => Start::Go,
        Take::Go => {
            let text = "the order came too late".to_owned();
            let finish = Finish::Failed { error: "Expired".to_owned(), text };
            incident.finish(&order.task, attempt, finish, now);
            Start::Late
        }
    }
}

/// Until when an order is worth something: one for a hook, for as long as the hook waits.
#[must_use]
pub fn until(incident: &Incident, order: &Order) -> Timestamp {
    let answers = incident.task(&order.task).is_some_and(is_of_hook);
    match (&incident.hook, answers) {
        (Some(hook), true) => {
            let last = hook.beat_at.unwrap_or(incident.opened_at);
            let end = last.checked_add(hook.timeout()).unwrap_or(last);
            end.max(order.expires_at)
        }
        _ => order.expires_at,
    }
}

fn is_of_hook(task: &Task) -> bool {
    let of_hook = [ActionName::CompleteLifecycle, ActionName::Heartbeat];
    task.what == What::Heartbeat || task.action().is_some_and(|(name, _)| of_hook.contains(&name))
}

/// The order that follows. A hook that was kept waiting keeps its next heartbeat worth something.
#[must_use]
pub fn next(order: &Order, incident: &Incident, verdict: &Verdict, now: Timestamp) -> Order {
    let mut next = order.clone();
    if let (Finish::Beaten, Some(delay), Some(hook)) =
        (&verdict.finish, verdict.again, &incident.hook)
    {
        let end = now.checked_add(delay.saturating_add(hook.timeout())).unwrap_or(now);
        next.expires_at = next.expires_at.max(end);
    }
    next
}
