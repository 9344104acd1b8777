//! An event as a plugin sees it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use snooze_event::Severity;

/// What happened, as it came over the wire.
///
/// Everything that is absent or unreadable is empty, so that a plugin always gets its event.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PluginEvent {
    /// What kind of event, for example `cloud.spot.interrupt`.
    pub kind: String,
    /// Who says so.
    pub source: String,
    /// The id of the event. Each channel gives its own: see [`PluginEvent::incident`].
    pub id: String,
    /// When it happened.
    pub timestamp: Option<Timestamp>,
    /// How much it matters.
    pub severity: Severity,
    /// When the instance goes.
    pub deadline: Option<Timestamp>,
    /// What the event says beyond that; for a Spot interruption `action`, `time`,
    /// `timeRemaining`, `instanceID` and `instanceType`; always what the next three fields hold.
    pub data: Map<String, Value>,
    /// The loss it belongs to, the same however often it was signalled.
    pub incident: Option<String>,
    /// How often this step was begun for the incident, from 1.
    pub attempt: u64,
    /// An exercise: show what would be done, and hold back from what cannot be undone.
    pub drill: bool,
    /// The whole event as it came.
    pub raw: Value,
}

/// The types of events that take the instance away, and with `custom*` an operator's own, by which
/// a policy says that it means this plugin. For [`supported_events`](crate::Plugin::supported_events).
pub const LOSSES: [&str; 4] =
    ["cloud.spot.interrupt", "cloud.instance.termination", "cloud.autoscaling.scale", "custom*"];

/// The types of events before which to save and to take nothing away: the instance may stay.
pub const WARNINGS: [&str; 2] = ["cloud.spot.rebalance", "instance.idle"];

/// The longest time that is left: a bound for figures that make no sense.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

impl PluginEvent {
    /// Reads the value of `params.event`.
    #[must_use]
    pub fn read(raw: Value) -> Self {
        let said = |key: &str| raw.get(key).and_then(Value::as_str).map(str::to_owned);
        let time = |key: &str| raw.get(key)?.as_str()?.parse().ok();
        let number = |key: &str| raw.get(key).and_then(Value::as_u64);
        let data = raw.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
        Self {
            kind: said("type").unwrap_or_default(),
            source: said("source").unwrap_or_default(),
            id: said("id").unwrap_or_default(),
            timestamp: time("timestamp"),
            severity: number("severity").and_then(Severity::from_number).unwrap_or(Severity::Info),
            deadline: time("deadline"),
            incident: data.get("incident").and_then(Value::as_str).map(str::to_owned),
            attempt: data.get("attempt").and_then(Value::as_u64).unwrap_or(1).max(1),
            drill: data.get("drill").and_then(Value::as_bool).unwrap_or(false),
            data,
            raw,
        }
    }

    /// Whether it is one of [`WARNINGS`].
    #[must_use]
    pub fn is_warning(&self) -> bool {
        WARNINGS.contains(&self.kind.as_str())
    }

    /// How long the instance had left when the request was written: `data.timeRemaining`, whole
    /// or broken seconds. `None` when the event does not say, as it may stay; zero when the time
    /// is over.
    #[must_use]
    pub fn time_remaining(&self) -> Option<Duration> {
        let seconds = self.data.get("timeRemaining")?.as_f64()?;
        Some(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(LONGEST).min(LONGEST))
    }

    /// How long a step may take that may take `most`: that, or what is left if that is less.
    #[must_use]
    pub fn budget(&self, most: Duration) -> Duration {
        self.time_remaining().map_or(most, |left| left.min(most))
    }

    /// What a plugin remembers to do a thing once: the incident, or the event where it belongs
    /// to none. `None` when the event has neither.
    #[must_use]
    pub fn once_key(&self) -> Option<&str> {
        [self.incident.as_deref(), Some(&self.id)].into_iter().flatten().find(|key| !key.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use snooze_event::wire::plugin::write;
    use snooze_event::{Cause, Event, EventType, IncidentKey, LossAction};

    use super::*;

    // S1-37 to S1-39, S0-54, D-5
    #[test]
    fn an_event_is_read_as_the_host_writes_it() {
        let notice: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let deadline = "2026-03-01T12:02:00Z".parse().unwrap();
        let mut event = Event::new(
            EventType::SpotInterrupt,
            "aws.ec2.metadata-service",
            notice,
            "e-1".parse().unwrap(),
        );
        event.severity = Severity::Urgent;
        event.cause = Some(Cause::Spot);
        event.action = Some(LossAction::Terminate);
        event.drill = true;
        let left = Duration::from_millis(118_500);
        let incident = IncidentKey::stored("i-1/b/spot/terminate");
        let event = PluginEvent::read(write(&event, left, Some(deadline), None, &incident, 2));
        assert_eq!(event.kind, "cloud.spot.interrupt");
        assert_eq!((event.source.as_str(), event.id.as_str()), ("aws.ec2.metadata-service", "e-1"));
        assert_eq!((event.severity, event.attempt, event.drill), (Severity::Urgent, 2, true));
        assert_eq!((event.timestamp, event.deadline), (Some(notice), Some(deadline)));
        assert_eq!(event.data["action"], "terminate");
        assert_eq!(event.time_remaining(), Some(left));
        assert_eq!(event.once_key(), Some("i-1/b/spot/terminate"));
    }

    // D-2
    #[test]
    fn time_remaining_may_be_whole_broken_negative_huge_or_absent() {
        let remaining = |value: Value| {
            PluginEvent::read(json!({ "data": { "timeRemaining": value } })).time_remaining()
        };
        assert_eq!(remaining(json!(120)), Some(Duration::from_secs(120)));
        assert_eq!(remaining(json!(0.5)), Some(Duration::from_millis(500)));
        assert_eq!(remaining(json!(-3)), Some(Duration::ZERO));
        assert_eq!(remaining(json!(1e300)), Some(LONGEST));
        assert_eq!(remaining(json!("soon")), None);
    }

    #[test]
    fn an_event_that_is_nothing_is_still_an_event() {
        let event = PluginEvent::read(json!(null));
        assert_eq!((event.kind.as_str(), event.attempt, event.once_key()), ("", 1, None));
    }
}
