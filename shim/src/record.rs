//! What the journal keeps: one record for each change of an incident's state.
//!
//! An incident is the fold of its records ([`crate::incident::Incident::apply`]), while the
//! daemon runs as well as after it was killed, so that both can never differ.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use snooze_event::{IncidentKey, PluginName};
use snooze_policy::{Step, StepId};

use crate::clock::milliseconds;
use crate::plugins;

/// One line of the journal: a record and when it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// By the wall clock, which may jump.
    pub at: Timestamp,
    /// Milliseconds since boot, suspended time included.
    pub clock_ms: u64,
    /// The boot that `clock_ms` counts from.
    pub boot: String,
    /// The incident it belongs to.
    pub incident: String,
    /// What changed.
    #[serde(flatten)]
    pub record: Record,
}

/// A change of an incident's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// The first signal of it came.
    Opened {
        /// The event, as a CloudEvent.
        event: Value,
        /// When the instance goes, in milliseconds since boot; `None` without a deadline.
        due_ms: Option<u64>,
        /// All steps of all policies that match.
        steps: Vec<StepRecord>,
    },
    /// A signal of another kind belongs to it, or one with an earlier deadline.
    Joined {
        /// The key that the signal has by itself.
        key: String,
        /// The earlier of the deadlines.
        due_ms: Option<u64>,
        /// Steps that the first signal had not brought.
        steps: Vec<StepRecord>,
    },
    /// The notice still stands, long after the incident was closed.
    Seen,
    /// A step began.
    Started {
        /// Which.
        step: String,
        /// 1, or more after a restart of the daemon.
        attempt: u32,
        /// How long it may take.
        budget_ms: u64,
    },
    /// A step ended, or never ran.
    Ended {
        /// Which.
        step: String,
        /// How.
        outcome: StepOutcome,
    },
    /// The loss was called off.
    Cancelled,
    /// All steps ended.
    Closed {
        /// How it ended.
        outcome: Outcome,
        /// Why, for a person.
        text: String,
    },
    /// The instance is still there after the time of the loss.
    Survived,
    /// A command of the cloud side tells of it.
    Told {
        /// The incident in the cloud that the command belongs to.
        by: String,
    },
    /// The bus took its outcome.
    Reported {
        /// How many incidents of the cloud the report named.
        told: usize,
    },
}

/// How an incident ended; each ends in exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every step did its work.
    Done,
    /// Some steps did their work, others did not.
    Partial,
    /// No step did its work.
    Failed,
    /// The time was over before a step could start.
    Expired,
    /// The loss was called off.
    Cancelled,
    /// Steps were cut, and nobody knows how far they came.
    Unknown,
}

impl Outcome {
    /// The word on every wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepOutcome {
    /// In one word.
    pub kind: Ending,
    /// In a sentence for people; empty where the word says it all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// How long it took.
    #[serde(default)]
    pub milliseconds: u64,
    /// How much of that the plugin took to start; 0 where it was ready, as it mostly is.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_milliseconds: u64,
    /// Whether the plugin read back what it had saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// What the plugin answered, without secrets.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub result: Map<String, Value>,
}

impl StepOutcome {
    /// An outcome of a step that no plugin had a part in.
    #[must_use]
    pub fn plain(kind: Ending, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            milliseconds: 0,
            start_milliseconds: 0,
            verified: None,
            result: Map::new(),
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How a step ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The plugin handled the event.
    Done,
    /// The plugin handled the event, but says that its work did not succeed.
    Degraded,
    /// The plugin does not care for such events.
    NotHandled,
    /// The plugin said that it failed.
    Failed,
    /// It took longer than its budget.
    TimedOut,
    /// It took longer than its budget, and the kernel could not kill it.
    Unkillable,
    /// The plugin could not be started.
    CannotStart,
    /// The plugin answered what is no answer.
    BrokenReply,
    /// The plugin wrote more than it may.
    TooMuchOutput,
    /// The plugin ended by itself before it had answered.
    Died,
    /// The plugin's file is not the one that is allowed.
    Untrusted,
    /// It never ran: there was no time.
    Dropped,
    /// It never ran: another step, or the same one for another signal, had done the work.
    NotNeeded,
    /// The loss was called off before it ran.
    Cancelled,
    /// A drill: it would have run.
    Rehearsed,
    /// The daemon was killed while it ran, and it may not be run twice.
    Unknown,
}

impl Ending {
    /// The word on every wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Degraded => "degraded",
            Self::NotHandled => "not-handled",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Unkillable => "unkillable",
            Self::CannotStart => "cannot-start",
            Self::BrokenReply => "broken-reply",
            Self::TooMuchOutput => "too-much-output",
            Self::Died => "died",
            Self::Untrusted => "untrusted",
            Self::Dropped => "dropped",
            Self::NotNeeded => "not-needed",
            Self::Cancelled => "cancelled",
            Self::Rehearsed => "rehearsed",
            Self::Unknown => "unknown",
        }
    }
}

/// A step as the journal keeps it: all but its configuration, which may name secrets and is
/// in the policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    id: String,
    policy: String,
    plugin: String,
    priority: i64,
    timeout_ms: u64,
    minimum_ms: u64,
    reserve_ms: u64,
    #[serde(default)]
    repeatable: bool,
    #[serde(default)]
    instant: bool,
    #[serde(default)]
    first_handled: bool,
    #[serde(default)]
    rehearse: bool,
}

impl StepRecord {
    /// The record of a step.
    #[must_use]
    pub fn of(step: &Step) -> Self {
        Self {
            id: step.id.to_string(),
            policy: step.policy.to_string(),
            plugin: step.plugin.to_string(),
            priority: step.priority,
            timeout_ms: milliseconds(step.timeout),
            minimum_ms: milliseconds(step.minimum),
            reserve_ms: milliseconds(step.reserve),
            repeatable: step.repeatable,
            instant: step.instant,
            first_handled: step.first_handled,
            rehearse: step.rehearse,
        }
    }

    /// The step of a record, without its configuration; `None` when its policy or plugin has
    /// no name that one can have.
    #[must_use]
    pub fn step(&self) -> Option<Step> {
        Some(Step {
            id: StepId::stored(&self.id),
            policy: self.policy.parse().ok()?,
            plugin: self.plugin.parse::<PluginName>().ok()?,
            priority: self.priority,
            timeout: Duration::from_millis(self.timeout_ms),
            minimum: Duration::from_millis(self.minimum_ms),
            reserve: Duration::from_millis(self.reserve_ms),
            repeatable: self.repeatable,
            instant: self.instant,
            first_handled: self.first_handled,
            rehearse: self.rehearse,
            config: Map::new(),
        })
    }
}

impl Entry {
    /// The key of the incident it belongs to.
    #[must_use]
    pub fn key(&self) -> IncidentKey {
        IncidentKey::stored(&self.incident)
    }
}

impl From<plugins::StepOutcome> for StepOutcome {
    fn from(ended: plugins::StepOutcome) -> Self {
        use plugins::Outcome as How;
        let whole =
            |seconds| milliseconds(Duration::try_from_secs_f64(seconds).unwrap_or_default());
        let kind = match &ended.outcome {
            How::Done => Ending::Done,
            How::Degraded => Ending::Degraded,
            How::NotHandled => Ending::NotHandled,
            How::Failed(_) => Ending::Failed,
            How::TimedOut => Ending::TimedOut,
            How::Unkillable(_) => Ending::Unkillable,
            How::CannotStart(_) => Ending::CannotStart,
            How::BrokenReply(_) => Ending::BrokenReply,
            How::TooMuchOutput => Ending::TooMuchOutput,
            How::Exited { .. } | How::Killed { .. } => Ending::Died,
            How::Untrusted(_) => Ending::Untrusted,
        };
        Self {
            kind,
            text: ended.outcome.reason().unwrap_or(ended.status),
            milliseconds: whole(ended.seconds),
            start_milliseconds: whole(ended.start_seconds),
            verified: ended.verified,
            result: ended.result,
        }
    }
}
