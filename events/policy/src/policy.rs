//! A policy: which events, on which instances, run which handlers and which actions.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use snooze_event::PluginName;
use snooze_pattern::Pattern;

/// What stays free before the deadline when a policy does not say: reports are sent in it.
pub const DEFAULT_RESERVE: Duration = Duration::from_secs(5);

/// The least a handler starts with when it does not say: a process needs some of it to start.
pub const DEFAULT_MINIMUM: Duration = Duration::from_secs(1);

/// The priority of a handler that names none: the middle of the medium band.
pub const DEFAULT_PRIORITY: i64 = 50;

/// The longest duration a policy may name: a lifecycle hook can hold an instance for 48 hours
/// (Auto Scaling User Guide, "Lifecycle hooks", checked 2026-11).
pub const LONGEST: Duration = Duration::from_secs(48 * 3600);

/// What an operator stored, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Its name, the first part of the ids of its steps.
    pub name: PolicyName,
    /// A policy that is switched off is kept and never selected.
    pub enabled: bool,
    /// What it applies to; see [`document`](crate::document).
    pub pattern: Pattern,
    /// How many of its handlers run.
    pub dispatch: Dispatch,
    /// What stays free before the deadline.
    pub reserve: Duration,
    /// What its handlers do in a drill.
    pub drill: Drill,
    /// What runs on the instance.
    pub handlers: Vec<Handler>,
    /// What runs on the instance when the loss did not come true: it was cancelled, or the
    /// instance outlived its deadline.
    pub undo: Vec<Handler>,
    /// What the cloud side does.
    pub actions: Vec<Action>,
}

/// One entry of a policy: a plugin with its place in the order, its time and its parameters.
#[derive(Clone, PartialEq)]
pub struct Handler {
    /// The plugin that does it.
    pub plugin: PluginName,
    /// Larger goes first; equal ones run side by side.
    pub priority: i64,
    /// The longest it may take.
    pub timeout: Duration,
    /// With less than this it is not started: it no longer fits.
    pub minimum: Duration,
    /// Running it twice does no harm, so that it is run again when a crash cut it.
    pub repeatable: bool,
    /// It is so quick that it is started when there is no time left at all.
    pub instant: bool,
    /// Its parameters, handed to the plugin as they are.
    pub config: Map<String, Value>,
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("plugin", &self.plugin)
            .field("priority", &self.priority)
            .field("timeout", &self.timeout)
            .field("minimum", &self.minimum)
            .field("repeatable", &self.repeatable)
            .field("instant", &self.instant)
            .field("config", &Keys(&self.config))
            .finish()
    }
}

/// One entry of a policy that the cloud side does.
#[derive(Clone, PartialEq)]
pub struct Action {
    /// What is done.
    pub name: ActionName,
    /// When it is done.
    pub when: When,
    /// Its parameters.
    pub config: Map<String, Value>,
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Action")
            .field("name", &self.name)
            .field("when", &self.when)
            .field("config", &Keys(&self.config))
            .finish()
    }
}

/// Shows the keys of a configuration and none of its values, which may be secrets.
pub(crate) struct Keys<'a>(pub(crate) &'a Map<String, Value>);

impl fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The name of a policy: a letter or digit, then up to 63 letters, digits, `.`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName(Arc<str>);

impl PolicyName {
    /// The text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not the name of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a policy name: expected a letter or digit, then up to 63 letters, digits, \
     `.`, `_` and `-`"
)]
pub struct NotAPolicyName(String);

impl FromStr for PolicyName {
    type Err = NotAPolicyName;

    fn from_str(text: &str) -> Result<Self, NotAPolicyName> {
        let fine = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        let starts = text.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric());
        if starts && text.len() <= 64 && text.bytes().all(fine) {
            Ok(Self(text.into()))
        } else {
            Err(NotAPolicyName(text.chars().take(64).collect()))
        }
    }
}

/// How many handlers of a policy run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dispatch {
    /// All of them.
    All,
    /// They run until one reports that it handled the event.
    FirstHandled,
}

impl Dispatch {
    /// The words in policies.
    pub(crate) const WORDS: [(&'static str, Self); 2] =
        [("all", Self::All), ("first_handled", Self::FirstHandled)];
}

/// What the handlers of a policy do in a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drill {
    /// They really run, told that it is a drill.
    Run,
    /// They are planned and reported, and do not run.
    Rehearse,
}

impl Drill {
    /// The words in policies.
    pub(crate) const WORDS: [(&'static str, Self); 2] =
        [("run", Self::Run), ("rehearse", Self::Rehearse)];
}

/// When an action is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// As soon as the event is known.
    Now,
    /// When the outcome of the incident is known.
    Outcome,
}

impl When {
    /// The words in policies.
    pub(crate) const WORDS: [(&'static str, Self); 2] =
        [("now", Self::Now), ("outcome", Self::Outcome)];
}

/// What the cloud side can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the name of its text in `WORDS`")]
pub enum ActionName {
    Notify,
    Webhook,
    CompleteLifecycle,
    Heartbeat,
    StopInstance,
    HibernateInstance,
    TerminateInGroup,
    StartInstance,
    Tag,
    PutEvent,
    ScaleGroup,
    SnapshotVolumes,
    DrainTarget,
    Invoke,
}

impl ActionName {
    /// The words in policies.
    pub(crate) const WORDS: [(&'static str, Self); 14] = [
        ("notify", Self::Notify),
        ("webhook", Self::Webhook),
        ("complete-lifecycle", Self::CompleteLifecycle),
        ("heartbeat", Self::Heartbeat),
        ("stop-instance", Self::StopInstance),
        ("hibernate-instance", Self::HibernateInstance),
        ("terminate-in-group", Self::TerminateInGroup),
        ("start-instance", Self::StartInstance),
        ("tag", Self::Tag),
        ("put-event", Self::PutEvent),
        ("scale-group", Self::ScaleGroup),
        ("snapshot-volumes", Self::SnapshotVolumes),
        ("drain-target", Self::DrainTarget),
        ("invoke", Self::Invoke),
    ];

    /// The word in policies, logs and outcomes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, name)| *name == self).map_or("", |(word, _)| word)
    }

    /// The action of a word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, name)| *name)
    }

    /// It only tells somebody, so that it is done in a drill, too.
    #[must_use]
    pub fn only_tells(self) -> bool {
        matches!(self, Self::Notify | Self::Webhook | Self::PutEvent)
    }

    /// It stops or ends one instance of ours.
    #[must_use]
    pub fn stops(self) -> bool {
        matches!(self, Self::StopInstance | Self::HibernateInstance | Self::TerminateInGroup)
    }

    /// It takes an instance away, or lets it go.
    #[must_use]
    pub fn takes_away(self) -> bool {
        self.stops() || self == Self::ScaleGroup
    }
}

/// Three classes of priority, for reports and for time-outs that are not named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Band {
    /// Below 40: telling and logging.
    Low,
    /// 40 to 69: checkpoints of applications.
    Medium,
    /// At least 70: saving data.
    High,
}

impl Band {
    /// The band of a priority.
    #[must_use]
    pub fn of(priority: i64) -> Self {
        match priority {
            70.. => Self::High,
            40..=69 => Self::Medium,
            _ => Self::Low,
        }
    }

    /// The time-out of a handler that names none: half of a Spot notice for saving data, and
    /// little enough below that a message never costs a checkpoint.
    #[must_use]
    pub fn timeout(self) -> Duration {
        match self {
            Self::High => Duration::from_secs(60),
            Self::Medium => Duration::from_secs(45),
            Self::Low => Duration::from_secs(10),
        }
    }

    /// The word in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // S0-43, D-3
    #[test]
    fn bands_begin_at_40_and_70() {
        let bands = [-1, 0, 39, 40, 69, 70, 1000].map(|priority| Band::of(priority).as_str());
        assert_eq!(bands, ["low", "low", "low", "medium", "medium", "high", "high"]);
    }

    #[test]
    fn a_policy_name_is_a_short_word() {
        for good in ["a", "0", "orders-db", "local.cloud.spot.interrupt", &"x".repeat(64)] {
            assert!(good.parse::<PolicyName>().is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "a b", "a/b", "ä", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<PolicyName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_output_shows_no_value_of_a_configuration() {
        let mut config = Map::new();
        config.insert("password".to_owned(), Value::from("hunter2"));
        let handler = Handler {
            plugin: "redis-flusher".parse().unwrap(),
            priority: 1,
            timeout: Duration::from_secs(1),
            minimum: Duration::from_secs(1),
            repeatable: false,
            instant: false,
            config: config.clone(),
        };
        let action = Action { name: ActionName::Webhook, when: When::Now, config };
        let shown = format!("{handler:?} {action:?}");
        assert!(shown.contains("password") && !shown.contains("hunter2"), "{shown}");
    }
}
