//! What an instance was, kept with its incident: a stop or a loss is worth what its instance cost.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use snooze_event::Event;

use super::{Incident, Task, TaskState};
use crate::Facts;

/// The longest word that is kept of an event, in characters.
const WORD: usize = 64;
/// A state of EC2 that is told within this time of our own stop is of that stop.
const OWN: Duration = Duration::from_secs(600);

/// What an instance was when its incident was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its type, for example `m7g.large`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its Availability Zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its Region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How it is bought: `spot`, `on-demand`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<String>,
    /// The boot that the event tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
}

impl Machine {
    /// What is known, and what the event says of it.
    #[must_use]
    pub fn of(facts: &Facts, event: &Event) -> Self {
        let boot = event.data.get("boot_id").and_then(Value::as_str);
        Self {
            kind: facts.kind.clone(),
            zone: facts.zone.clone(),
            region: facts.region.clone().or_else(|| event.region.clone()),
            lifecycle: facts.lifecycle.clone(),
            boot: boot.map(|boot| boot.chars().take(WORD).collect()),
        }
    }
}

impl Incident {
    /// When we stopped or ended the instance; `None` when no stop was done.
    #[must_use]
    pub fn stopped_at(&self) -> Option<Timestamp> {
        self.tasks.iter().filter(|task| task.stops()).find_map(|task| match task.state {
            TaskState::Done { at, .. } => Some(at),
            TaskState::Waiting
            | TaskState::Pending { .. }
            | TaskState::Sent { .. }
            | TaskState::Running { .. }
            | TaskState::Failed { .. }
            | TaskState::Skipped { .. } => None,
        })
    }

    /// When the instance that we stopped ran again.
    #[must_use]
    pub fn back_at(&self) -> Option<Timestamp> {
        self.fate.get("running").copied()
    }

    /// Whether a state that EC2 tells at a moment comes of a stop of ours, which may not be
    /// written down as done yet.
    #[must_use]
    pub fn is_own_stop(&self, moment: Timestamp) -> bool {
        let is_near = |at: Timestamp| moment.duration_since(at).unsigned_abs() <= OWN;
        let may_be_done = |task: &Task| match task.state {
            TaskState::Done { at, .. } => is_near(at),
            TaskState::Running { until, .. } => is_near(until),
            // An attempt was made, of which it is not known how it ended.
            TaskState::Sent { at } => task.attempts > 0 && is_near(at),
            TaskState::Waiting
            | TaskState::Pending { .. }
            | TaskState::Failed { .. }
            | TaskState::Skipped { .. } => false,
        };
        let mut stops = self.tasks.iter().filter(|task| task.stops());
        !self.drill && self.back_at().is_none() && stops.any(may_be_done)
    }

    /// The instance that we stopped runs again; says whether that is news.
    pub fn back(&mut self, at: Timestamp) -> bool {
        let is_news =
            self.back_at().is_none() && self.stopped_at().is_some_and(|stopped| stopped <= at);
        if is_news {
            self.fated("running", at);
        }
        is_news
    }
}
