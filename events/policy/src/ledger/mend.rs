//! What the sweep mends, and when it looks next.

use std::time::Duration;

use jiff::Timestamp;

use super::{By, HEARTBEAT, Hook, Incident, PATIENCE, Task, TaskState, What};
use crate::ActionName;

/// What was not sent within this time is sent by the sweep.
const LATE: Duration = Duration::from_secs(20);
/// What stands in the queue this long without an attempt that ends was lost with it.
const LOST: Duration = Duration::from_secs(300);
/// The time-out of a hook that could not be learnt: the shortest that Auto Scaling allows.
const SHORTEST_HOOK: Duration = Duration::from_secs(30);
/// How long the outcome of an event is waited for that sets no deadline.
const NO_DEADLINE: Duration = Duration::from_secs(900);

impl Hook {
    /// How long it waits without a heartbeat.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout_seconds.map_or(SHORTEST_HOOK, Duration::from_secs)
    }

    /// How long after one heartbeat the next is due: half of the time-out.
    #[must_use]
    pub fn beat(&self) -> Duration {
        self.timeout() / 2
    }
}

impl Incident {
    /// When nobody waits for the outcome any more.
    #[must_use]
    pub fn overdue_at(&self) -> Timestamp {
        let after = |moment: Timestamp, wait| moment.checked_add(wait).unwrap_or(moment);
        match self.deadline {
            Some(deadline) => after(deadline.max(self.opened_at), PATIENCE),
            None => after(self.opened_at, NO_DEADLINE),
        }
    }

    /// Mends what time has brought; says whether anything changed.
    pub fn mend(&mut self, now: Timestamp) -> bool {
        let before = self.clone();
        if self.ended.is_none() && now >= self.overdue_at() {
            self.end("unknown", By::Sweep, "the instance did not tell how it ended", now);
        }
        let overdue = now >= self.overdue_at();
        for task in &mut self.tasks {
            if overdue && task.what == What::Command {
                task.give_up();
            }
            let stands_since = match task.state {
                TaskState::Sent { at } if task.what != What::Heartbeat => at,
                TaskState::Running { until, .. } => until,
                TaskState::Sent { .. }
                | TaskState::Waiting
                | TaskState::Pending { .. }
                | TaskState::Done { .. }
                | TaskState::Failed { .. }
                | TaskState::Skipped { .. } => continue,
            };
            if Duration::try_from(now.duration_since(stands_since)).unwrap_or_default() >= LOST {
                task.state = TaskState::Pending { since: Some(now) };
            }
        }
        let beat = self.hook.as_ref().is_some_and(|hook| {
            let last = hook.beat_at.unwrap_or(self.opened_at);
            now.duration_since(last).unsigned_abs() >= hook.beat() + LATE
        });
        if beat
            && let Some(task) = self.tasks.iter_mut().find(|task| task.id == HEARTBEAT)
            && task.may_be_taken(now)
        {
            task.state = TaskState::Pending { since: Some(now) };
        }
        *self != before
    }

    /// When the sweep has to look at it; `None` when it is closed.
    #[must_use]
    pub fn look_at(&self) -> Option<Timestamp> {
        if !self.is_open() {
            return None;
        }
        let after = |moment: Timestamp, wait: Duration| moment.checked_add(wait).unwrap_or(moment);
        let of = |task: &Task| match &task.state {
            TaskState::Pending { since } => Some(after(since.unwrap_or(self.opened_at), LATE)),
            TaskState::Sent { at } => match (&task.what, &self.hook) {
                (What::Heartbeat, Some(hook)) => {
                    Some(after(hook.beat_at.unwrap_or(self.opened_at), hook.beat() + LATE))
                }
                (What::Heartbeat | What::Command | What::Action { .. }, _) => {
                    Some(after(*at, LOST))
                }
            },
            TaskState::Running { until, .. } => match task.what {
                What::Heartbeat => Some(after(*until, LATE)),
                What::Command | What::Action { .. } => Some(after(*until, LOST)),
            },
            TaskState::Waiting
            | TaskState::Done { .. }
            | TaskState::Failed { .. }
            | TaskState::Skipped { .. } => None,
        };
        let tasks = self.tasks.iter().filter_map(of);
        let overdue = self.ended.is_none().then(|| self.overdue_at());
        tasks.chain(overdue).min()
    }

    /// Whether the hook has its answer.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        self.tasks.iter().any(|task| {
            task.action().map(|(name, _)| name) == Some(ActionName::CompleteLifecycle)
                && matches!(task.state, TaskState::Done { .. })
        })
    }
}
