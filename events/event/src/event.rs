//! What happened, in our own words.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{Cause, EventId, InstanceId};

/// What happened, whatever the channel that told it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What kind of event it is.
    pub kind: EventType,
    /// Who says so, for example `aws.ec2.metadata-service`; free text.
    pub source: String,
    /// When it happened, by the clock of the source.
    pub time: Timestamp,
    /// The id that the channel gave it. Two channels give the same event two ids.
    pub id: EventId,
    /// The instance it is about, where it is about one.
    pub instance: Option<InstanceId>,
    /// The account it comes from: 12 digits, as text.
    pub account: Option<String>,
    /// The Region it comes from.
    pub region: Option<String>,
    /// How much it matters.
    pub severity: Severity,
    /// When the instance is taken away; `None` when the source does not say.
    pub deadline: Option<Timestamp>,
    /// Why the instance goes; `None` for an event that takes nothing away.
    pub cause: Option<Cause>,
    /// What is done to the instance; `None` for an event that takes nothing away.
    pub action: Option<LossAction>,
    /// The loss that was announced is off.
    pub cancelled: bool,
    /// An exercise: handlers may hold back.
    pub drill: bool,
    /// Told a second time from an archive; it must never act on an instance.
    pub replay: Option<String>,
    /// What the event says beyond that, by the names the plugin wire knows.
    pub data: Map<String, Value>,
}

impl Event {
    /// An event of which nothing more is known: of the usual severity, without an instance.
    #[must_use]
    pub fn new(kind: EventType, source: &str, time: Timestamp, id: EventId) -> Self {
        Self {
            severity: kind.severity(),
            kind,
            source: source.to_owned(),
            time,
            id,
            instance: None,
            account: None,
            region: None,
            deadline: None,
            cause: None,
            action: None,
            cancelled: false,
            drill: false,
            replay: None,
            data: Map::new(),
        }
    }

    /// What in the event is not ours; `None` when nothing speaks against it.
    ///
    /// What the event or we do not know is not compared.
    #[must_use]
    pub fn foreign(&self, home: &Home<'_>) -> Option<Foreign> {
        fn differ<T: PartialEq + ?Sized>(theirs: Option<&T>, ours: Option<&T>) -> bool {
            theirs.zip(ours).is_some_and(|(theirs, ours)| theirs != ours)
        }
        if differ(self.account.as_deref(), home.account) {
            return Some(Foreign::Account);
        }
        if differ(self.region.as_deref(), home.region) {
            return Some(Foreign::Region);
        }
        differ(self.instance.as_ref(), home.instance).then_some(Foreign::Instance)
    }
}

/// Where we are: what an event must not contradict to be ours.
#[derive(Debug, Clone, Copy, Default)]
pub struct Home<'a> {
    /// Our account.
    pub account: Option<&'a str>,
    /// Our Region.
    pub region: Option<&'a str>,
    /// Our instance; `None` where we are no instance.
    pub instance: Option<&'a InstanceId>,
}

/// What shows that an event is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// It comes from another account.
    Account,
    /// It comes from another Region.
    Region,
    /// It is about another instance.
    Instance,
}

/// A kind of event. Kinds we do not know are values too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each variant is the name of its text in `as_str`")]
pub enum EventType {
    SpotInterrupt,
    SpotRebalance,
    InstanceTermination,
    AutoscalingScale,
    DiskLow,
    CpuHigh,
    MemoryPressure,
    NetworkDown,
    InstanceIdle,
    InstanceActive,
    InstanceRegistered,
    InstanceUpdated,
    InstanceDeleted,
    IncidentPhase,
    IncidentOutcome,
    HealthChanged,
    TriggerTeardown,
    TriggerScale,
    TriggerUpdate,
    TriggerStart,
    /// `custom`, or a name below it such as `custom.deploy`.
    Custom(String),
    /// A kind of which this version knows nothing.
    Unknown(String),
}

/// The kinds with a fixed name.
const NAMED: [(&str, EventType); 20] = [
    ("cloud.spot.interrupt", EventType::SpotInterrupt),
    ("cloud.spot.rebalance", EventType::SpotRebalance),
    ("cloud.instance.termination", EventType::InstanceTermination),
    ("cloud.autoscaling.scale", EventType::AutoscalingScale),
    ("system.disk.low", EventType::DiskLow),
    ("system.cpu.high", EventType::CpuHigh),
    ("system.memory.pressure", EventType::MemoryPressure),
    ("system.network.down", EventType::NetworkDown),
    ("instance.idle", EventType::InstanceIdle),
    ("instance.active", EventType::InstanceActive),
    ("instance.registered", EventType::InstanceRegistered),
    ("instance.updated", EventType::InstanceUpdated),
    ("instance.deleted", EventType::InstanceDeleted),
    ("incident.phase", EventType::IncidentPhase),
    ("incident.outcome", EventType::IncidentOutcome),
    ("health.changed", EventType::HealthChanged),
    ("trigger.teardown", EventType::TriggerTeardown),
    ("trigger.scale", EventType::TriggerScale),
    ("trigger.update", EventType::TriggerUpdate),
    ("trigger.start", EventType::TriggerStart),
];

impl EventType {
    /// The name on every wire, in policies and in logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        if let Self::Custom(text) | Self::Unknown(text) = self {
            return text;
        }
        NAMED.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name)
    }

    /// How much an event of this kind matters when nothing more is said.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::SpotInterrupt | Self::InstanceTermination => Severity::Urgent,
            Self::SpotRebalance
            | Self::DiskLow
            | Self::CpuHigh
            | Self::MemoryPressure
            | Self::NetworkDown => Severity::Warning,
            Self::AutoscalingScale
            | Self::InstanceIdle
            | Self::InstanceActive
            | Self::InstanceRegistered
            | Self::InstanceUpdated
            | Self::InstanceDeleted
            | Self::IncidentPhase
            | Self::IncidentOutcome
            | Self::HealthChanged
            | Self::TriggerTeardown
            | Self::TriggerScale
            | Self::TriggerUpdate
            | Self::TriggerStart
            | Self::Custom(_)
            | Self::Unknown(_) => Severity::Info,
        }
    }

    /// The names of all kinds that have a fixed one.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, _)| *name)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text cannot name a kind of event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an event type: expected 1 to 128 letters, digits, `.`, `-` and `_`")]
pub struct NotAnEventType(String);

impl FromStr for EventType {
    type Err = NotAnEventType;

    fn from_str(text: &str) -> Result<Self, NotAnEventType> {
        let fine = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
        if text.is_empty() || text.len() > 128 || !text.bytes().all(fine) {
            return Err(NotAnEventType(text.chars().take(64).collect()));
        }
        if let Some((_, kind)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(kind.clone());
        }
        Ok(match text == "custom" || text.starts_with("custom.") {
            true => Self::Custom(text.to_owned()),
            false => Self::Unknown(text.to_owned()),
        })
    }
}

/// How much an event matters; on the wire a number from 0 to 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// 0: good to know.
    Info,
    /// 1: something may follow.
    Warning,
    /// 2: something follows soon.
    Urgent,
    /// 3: now.
    Critical,
}

impl Severity {
    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Info => 0,
            Self::Warning => 1,
            Self::Urgent => 2,
            Self::Critical => 3,
        }
    }

    /// The severity of a number on the wire, `None` above 3.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Urgent, Self::Critical]
            .into_iter()
            .find(|severity| u64::from(severity.number()) == number)
    }

    /// The word for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Urgent => "urgent",
            Self::Critical => "critical",
        }
    }
}

/// What is done to the instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LossAction {
    /// It ends for good.
    Terminate,
    /// It stops; its volumes stay.
    Stop,
    /// Its memory is frozen to disk, at once: there is no time at all.
    Hibernate,
    /// It restarts.
    Reboot,
    /// A word we do not know, kept; treated as [`LossAction::Terminate`].
    Other(String),
}

impl LossAction {
    /// The word as the source wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Terminate => "terminate",
            Self::Stop => "stop",
            Self::Hibernate => "hibernate",
            Self::Reboot => "reboot",
            Self::Other(word) => word,
        }
    }

    /// The action of a word; any word is one. Words are cut at 64 characters, and what is not a
    /// letter, digit or hyphen becomes `?`, since the action stands in incident keys.
    #[must_use]
    pub fn of(word: &str) -> Self {
        match word {
            "terminate" => Self::Terminate,
            "stop" => Self::Stop,
            "hibernate" => Self::Hibernate,
            "reboot" => Self::Reboot,
            other => Self::Other(
                other
                    .chars()
                    .take(64)
                    .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '?' })
                    .collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s1_30_to_s1_36_every_name_is_its_kind() {
        for name in EventType::names() {
            let kind: EventType = name.parse().unwrap();
            assert_eq!(kind.as_str(), name);
            assert!(!matches!(kind, EventType::Custom(_) | EventType::Unknown(_)), "{name}");
        }
        for (text, is_custom) in
            [("custom", true), ("custom.deploy", true), ("customs", false), ("a.b", false)]
        {
            let kind: EventType = text.parse().unwrap();
            assert_eq!((kind.as_str(), matches!(kind, EventType::Custom(_))), (text, is_custom));
        }
    }

    #[test]
    fn c11_hostile_texts_are_no_kinds() {
        for text in ["", "a b", "a/b", "a\n", "\u{1b}[2J", "${x}", &"x".repeat(129)] {
            assert!(text.parse::<EventType>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn s1_38_severities_are_the_numbers_0_to_3() {
        let words = (0..5).map(|n| Severity::from_number(n).map(Severity::as_str));
        let words: Vec<_> = words.collect();
        assert_eq!(words, [Some("info"), Some("warning"), Some("urgent"), Some("critical"), None]);
    }

    #[test]
    fn c11_an_action_word_is_cut_and_cleaned() {
        let action = LossAction::of(&format!("a\n/{}", "x".repeat(100)));
        assert_eq!(action.as_str(), format!("a??{}", "x".repeat(61)));
    }
}
