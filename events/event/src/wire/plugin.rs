//! The event as a plugin reads it, and the events that a person gives.
//!
//! ```json
//! {"type": "cloud.spot.interrupt", "source": "aws.ec2.metadata-service",
//!  "timestamp": "2026-03-14T09:26:53Z", "id": "…", "severity": 2,
//!  "deadline": "2026-03-14T09:28:53Z",
//!  "data": {"action": "terminate", "time": "2026-03-14T09:28:53Z", "timeRemaining": 119.4,
//!           "instanceID": "i-0a1b2c3d4e5f60718", "instanceType": "m6i.large",
//!           "drill": false, "incident": "…", "attempt": 1}}
//! ```
//!
//! The first five keys of `data` are there for every event that takes an instance away, whatever
//! its source; `instanceType` is empty and `time` null when unknown. Other events have the
//! instance where it is known, and `timeRemaining` where they have a deadline: of an instance that
//! stays, no time is left to be told.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::field::{self, given, severity};
use super::time::moment;
use super::{ReadError, loss};
use crate::{Cause, Event, EventId, EventType, IncidentKey, LossAction, SPOT_NOTICE};

/// The source of an event that a person gives without naming one.
pub const CUSTOM_SOURCE: &str = "cloudsnooze.custom";

/// The longest time a person can give, in seconds: as long as a lifecycle hook can last.
const LONGEST_SECONDS: f64 = 172_800.0;

/// The members of an event that a person gives.
const CUSTOM_KEYS: [&str; 8] =
    ["type", "source", "id", "data", "severity", "deadline", "deadline_seconds", "drill"];

/// Writes an event for one attempt of one handler.
///
/// `left` and `deadline` are those of that moment; without a deadline that of the event stands.
/// `left` is told when there is a deadline, or the event takes the instance away.
#[must_use]
pub fn write(
    event: &Event,
    left: Duration,
    deadline: Option<Timestamp>,
    instance_type: Option<&str>,
    incident: &IncidentKey,
    attempt: u32,
) -> Value {
    let deadline = deadline.or(event.deadline);
    let mut told = event.clone();
    if let Some(cause) = event.cause {
        told.data.insert("cause".to_owned(), cause.as_str().into());
        loss::name(&mut told, left, deadline, instance_type);
    } else {
        let known = [
            ("instanceID", event.instance.as_ref().map(|id| json!(id.as_str()))),
            ("instanceType", instance_type.map(Value::from)),
            ("timeRemaining", deadline.map(|_| json!(left.as_secs_f64()))),
        ];
        let known = known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        // A time that the data tells does not run.
        told.data.remove("timeRemaining");
        told.data.extend(known);
    }
    let extras = [
        ("drill", json!(event.drill)),
        ("incident", json!(incident.as_str())),
        ("attempt", json!(attempt)),
    ];
    told.data.extend(extras.map(|(key, value)| (key.to_owned(), value)));
    json!({
        "type": event.kind.as_str(),
        "source": event.source,
        "timestamp": event.time.to_string(),
        "id": event.id.as_str(),
        "severity": event.severity.number(),
        "deadline": deadline.map(|deadline| deadline.to_string()),
        "data": told.data,
    })
}

/// Reads what [`write()`] wrote, tolerantly: only the type must be there.
///
/// Without a readable timestamp the event is of 1970, without a usable id its id is `unknown`;
/// a plugin has no better source for either, and both matter less than the event.
///
/// # Errors
/// The value is no object, or names no type.
pub fn read(value: &Value) -> Result<Event, ReadError> {
    let members =
        value.as_object().ok_or_else(|| field::wrong("$", value, "an event as an object"))?;
    let kind = kind(members)?;
    let time = field::maybe(members, "timestamp").and_then(moment);
    let id = field::maybe(members, "id").and_then(|id| id.parse().ok());
    let source = field::maybe(members, "source").unwrap_or_default();
    let unknown = || "unknown".parse().map_err(|_bad| field::missing("id", "an event id"));
    let mut event = Event::new(
        kind,
        source,
        time.unwrap_or(Timestamp::UNIX_EPOCH),
        id.map_or_else(unknown, Ok)?,
    );
    event.deadline = field::maybe(members, "deadline").and_then(moment);
    event.data = members.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
    event.drill = event.data.get("drill").and_then(Value::as_bool).unwrap_or(false);
    event.instance = field::maybe(&event.data, "instanceID").and_then(|id| id.parse().ok());
    if let Some(severity) = members.get("severity").and_then(severity) {
        event.severity = severity;
    }
    let cause = field::maybe(&event.data, "cause").and_then(Cause::of);
    let action = field::maybe(&event.data, "action").map(LossAction::of);
    loss::set(&mut event, cause, action);
    Ok(event)
}

/// The seconds a handler still has: what the data says, whole or with a fraction, and 120 when it
/// says nothing; never below zero.
#[must_use]
pub fn time_remaining(event: &Event) -> f64 {
    let said = match event.data.get("timeRemaining") {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok().filter(|left: &f64| left.is_finite()),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => None,
    };
    said.map_or(SPOT_NOTICE.as_secs_f64(), |left| left.max(0.0))
}

/// Reads an event that a person gives; `now` and `id` supply what is not given.
///
/// Strict, since a person can mend it. A Spot interruption without a deadline gets two minutes.
///
/// # Errors
/// The value is no object, has an unknown member, or a member that cannot be used. Sources that
/// begin with `aws.` are refused: those come from AWS alone.
pub fn read_custom(value: &Value, now: Timestamp, id: EventId) -> Result<Event, ReadError> {
    let members =
        value.as_object().ok_or_else(|| field::wrong("$", value, "an event as an object"))?;
    if let Some((key, value)) = members.iter().find(|(key, _)| !CUSTOM_KEYS.contains(&key.as_str()))
    {
        const KNOWN: &str =
            "only type, source, id, data, severity, deadline, deadline_seconds and drill";
        return Err(field::wrong(key, value, KNOWN));
    }
    let kind = kind(members)?;
    if let EventType::Unknown(name) = &kind {
        return Err(field::wrong("type", &json!(name), "a known type, `custom` or `custom.*`"));
    }
    let source = given(members, "source", "a text that does not begin with `aws.`", |value| {
        value.as_str().filter(|text| is_own_source(text))
    })?;
    let id =
        given(members, "id", "an event id", |value| value.as_str()?.parse().ok())?.unwrap_or(id);
    let mut event = Event::new(kind, source.unwrap_or(CUSTOM_SOURCE), now, id);
    if let Some(data) = given(members, "data", "an object", Value::as_object)? {
        event.data.clone_from(data);
    }
    if let Some(severity) = given(members, "severity", "0 to 3, or its word", severity)? {
        event.severity = severity;
    }
    event.drill = given(members, "drill", "true or false", Value::as_bool)?.unwrap_or(false);
    event.instance =
        given(&event.data, "instanceID", "an instance id", |value| value.as_str()?.parse().ok())?;
    let action =
        given(&event.data, "action", "a word", |value| value.as_str().map(LossAction::of))?;
    loss::set(&mut event, None, action);
    event.deadline = custom_deadline(members, now)?;
    if event.kind == EventType::SpotInterrupt && event.deadline.is_none() {
        event.deadline = Some(loss::spot_deadline(event.action.as_ref(), now));
    }
    Ok(event)
}

fn custom_deadline(
    members: &Map<String, Value>,
    now: Timestamp,
) -> Result<Option<Timestamp>, ReadError> {
    let moment = given(members, "deadline", "a moment such as `2026-03-14T09:28:53Z`", |value| {
        moment(value.as_str()?)
    })?;
    let seconds = given(members, "deadline_seconds", "0 to 172800 seconds", |value| {
        let seconds = value.as_f64().filter(|seconds| (0.0..=LONGEST_SECONDS).contains(seconds))?;
        now.checked_add(Duration::try_from_secs_f64(seconds).ok()?).ok()
    })?;
    match (moment, seconds) {
        (Some(_), Some(_)) => {
            Err(field::wrong("deadline_seconds", &json!(0), "no second deadline"))
        }
        (moment, seconds) => Ok(moment.or(seconds)),
    }
}

fn kind(members: &Map<String, Value>) -> Result<EventType, ReadError> {
    const EXPECTED: &str = "an event type such as `cloud.spot.interrupt`";
    let text = field::text(members, "type", "type", EXPECTED)?;
    text.parse().map_err(|_bad| field::wrong("type", &text.into(), EXPECTED))
}

fn is_own_source(text: &str) -> bool {
    let fine = (1..=128).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic());
    fine && !text.starts_with("aws.")
}

#[cfg(test)]
mod tests;
