//! CloudEvents 1.0 in JSON, both ways: our own events on the bus, and those of others.
//!
//! | attribute | in the event |
//! |---|---|
//! | `id`, `source`, `type`, `time` | of the same name |
//! | `subject` | the instance |
//! | `data` | the data; what is no object stands under `data` in it |
//! | `severity` | 0 to 3 |
//! | `deadline` | RFC 3339 |
//! | `cause`, `action` | the words of [`Cause`] and [`LossAction`] |
//! | `drill`, `cancelled` | only when true |
//! | `replayname` | only on a replay |
//! | `awsaccount`, `awsregion` | account and Region |
//! | `correlationid` | the incident key |
//! | `schemaversion` | [`SCHEMA_VERSION`] |
//!
//! What is written obeys the naming rule ([`check_name`]). What is read may carry hyphens,
//! capitals and the vendor prefix `roostkeeper-` in the names of extensions.

use std::borrow::Cow;
use std::fmt::Write;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::base64;
use super::field::{self, given};
use super::time::{self, moment};
use super::{ReadError, loss};
use crate::{Cause, Event, EventId, EventType, IncidentKey, LossAction};

/// The version of the attributes and the data, `major` or `major.minor`. The major number rises
/// when a reader of the old one would misread the new one; fields are added without.
pub const SCHEMA_VERSION: &str = "1";

/// The source of an event that has none, since the attribute must not be empty.
const NO_SOURCE: &str = "cloudsnooze";

/// A prefix that one producer puts before the names of its extensions.
const VENDOR: &str = "roostkeeper-";

/// Writes an event, with the incident it belongs to.
#[must_use]
pub fn write(event: &Event, correlation: Option<&IncidentKey>) -> Value {
    // Only keys that are no texts could make it fail.
    serde_json::to_value(written(event, correlation)).unwrap_or_default()
}

/// The same as what serializes so, without a value of it.
#[must_use]
pub fn written<'a>(event: &'a Event, correlation: Option<&'a IncidentKey>) -> Written<'a> {
    let text = |text: &'a str| Attribute::Text(Cow::Borrowed(text));
    let moment = |moment: Timestamp| Attribute::Text(Cow::Owned(time::text(moment)));
    // In the order of their names, as a value has them.
    Written([
        ("action", event.action.as_ref().map(|action| text(action.as_str()))),
        ("awsaccount", event.account.as_deref().map(text)),
        ("awsregion", event.region.as_deref().map(text)),
        ("cancelled", event.cancelled.then_some(Attribute::True)),
        ("cause", event.cause.map(|cause| text(cause.as_str()))),
        ("correlationid", correlation.map(|key| text(key.as_str()))),
        ("data", Some(Attribute::Data(&event.data))),
        ("datacontenttype", Some(text("application/json"))),
        ("deadline", event.deadline.map(moment)),
        ("drill", event.drill.then_some(Attribute::True)),
        ("id", Some(text(event.id.as_str()))),
        ("replayname", event.replay.as_deref().map(text)),
        ("schemaversion", Some(text(SCHEMA_VERSION))),
        ("severity", Some(Attribute::Number(event.severity.number()))),
        ("source", Some(Attribute::Text(uri_reference(&event.source)))),
        ("specversion", Some(text("1.0"))),
        ("subject", event.instance.as_ref().map(|id| text(id.as_str()))),
        ("time", Some(moment(event.time))),
        ("type", Some(text(event.kind.as_str()))),
    ])
}

/// An event as a CloudEvent, ready to be serialized.
#[derive(Debug)]
pub struct Written<'a>([(&'static str, Option<Attribute<'a>>); 19]);

#[derive(Debug)]
enum Attribute<'a> {
    Text(Cow<'a, str>),
    Number(u8),
    True,
    Data(&'a Map<String, Value>),
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let set = self.0.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        serializer.collect_map(set)
    }
}

impl Serialize for Attribute<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Attribute::Text(text) => serializer.serialize_str(text),
            Attribute::Number(number) => serializer.serialize_u8(*number),
            Attribute::True => serializer.serialize_bool(true),
            Attribute::Data(data) => data.serialize(serializer),
        }
    }
}

/// Reads an event; `received` stands in for a time that is not given.
///
/// A null attribute counts as unset. A kind we do not know is an event too. An unreadable deadline
/// counts as none, since the rest of such an event still saves data.
///
/// # Errors
/// A required attribute is missing or unusable, or the event is of a newer major version.
pub fn read(value: &Value, received: Timestamp) -> Result<Event, ReadError> {
    let members =
        value.as_object().ok_or_else(|| field::wrong("$", value, "a CloudEvent as an object"))?;
    check_versions(members)?;
    let kind = field::text(members, "type", "type", "an event type")?;
    let kind: EventType =
        kind.parse().map_err(|_bad| field::wrong("type", &kind.into(), "an event type"))?;
    let id = field::text(members, "id", "id", "an event id")?;
    let id: EventId = id.parse().map_err(|_bad| field::wrong("id", &id.into(), "an event id"))?;
    let source = field::text(members, "source", "source", SOURCE)?;
    if source.is_empty() || source.contains(char::is_control) {
        return Err(field::wrong("source", &source.into(), SOURCE));
    }
    let time = given(members, "time", "a moment in RFC 3339", |time| moment(time.as_str()?))?;

    let mut event = Event::new(kind, source, time.unwrap_or(received), id);
    event.instance = given(members, "subject", "a subject", Value::as_str)?
        .map(subject_instance)
        .transpose()?
        .flatten();
    event.data = data(members)?;
    read_extensions(&mut event, members)?;
    Ok(event)
}

const SOURCE: &str = "a URI reference without control characters";

/// The incident that an event belongs to, where it says so.
#[must_use]
pub fn correlation(value: &Value) -> Option<IncidentKey> {
    let text = extension(value.as_object()?, "correlationid")?.as_str()?;
    Some(text).filter(|text| !text.is_empty()).map(IncidentKey::stored)
}

/// The name cannot be the name of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an attribute name: expected lower-case letters and digits, and not `data`")]
pub struct NotAnAttributeName(String);

/// Checks the name of an attribute by the rules that MUST be kept (CloudEvents 1.0, "Naming
/// conventions"). Beyond them a name SHOULD begin with a letter and have at most 20 characters,
/// as all that [`write()`] emits do.
///
/// # Errors
/// The name breaks a rule.
pub fn check_name(name: &str) -> Result<(), NotAnAttributeName> {
    let fine = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.is_empty() || name == "data" || !name.bytes().all(fine) {
        return Err(NotAnAttributeName(name.chars().take(64).collect()));
    }
    Ok(())
}

/// Refuses what a newer major version wrote; newer minor ones only add.
fn check_versions(members: &Map<String, Value>) -> Result<(), ReadError> {
    const SPEC: &str = "CloudEvents version 1.0";
    const OURS: &str = "schema version 1, or 1 with a minor number";
    let is_one = |text: &str| text == "1" || text.starts_with("1.");
    let spec = field::text(members, "specversion", "specversion", SPEC)?;
    if !is_one(spec) {
        return Err(field::wrong("specversion", &spec.into(), SPEC));
    }
    match extension(members, "schemaversion") {
        None => Ok(()),
        Some(Value::String(text)) if is_one(text) => Ok(()),
        Some(Value::Number(number)) if is_one(&number.to_string()) => Ok(()),
        Some(other) => Err(field::wrong("schemaversion", other, OURS)),
    }
}

/// The instance of a subject such as `i-0a1b2c3d` or `instance/i-0a1b2c3d`; other subjects have
/// none.
fn subject_instance(subject: &str) -> Result<Option<crate::InstanceId>, ReadError> {
    let name = subject.strip_prefix("instance/").unwrap_or(subject);
    if !name.starts_with("i-") {
        return Ok(None);
    }
    let bad = |_bad| field::wrong("subject", &subject.into(), "an instance id");
    name.parse().map(Some).map_err(bad)
}

fn data(members: &Map<String, Value>) -> Result<Map<String, Value>, ReadError> {
    let plain = members.get("data").filter(|value| !value.is_null());
    let bytes = members.get("data_base64").filter(|value| !value.is_null());
    let (key, value) = match (plain, bytes) {
        (None, None) => return Ok(Map::new()),
        (Some(value), None) => ("data", value.clone()),
        (None, Some(value)) if is_json(members) => ("data", decoded(value)?),
        (None, Some(value)) => ("data_base64", value.clone()),
        (Some(_), Some(value)) => {
            return Err(field::wrong("data_base64", value, "nothing beside `data`"));
        }
    };
    match value {
        Value::Object(data) => Ok(data),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Ok(Map::from_iter([(key.to_owned(), value)]))
        }
    }
}

fn is_json(members: &Map<String, Value>) -> bool {
    let media = field::maybe(members, "datacontenttype").unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media.ends_with("/json") || media.ends_with("+json")
}

fn decoded(value: &Value) -> Result<Value, ReadError> {
    let bytes = value.as_str().and_then(base64::decode);
    let bytes = bytes.ok_or_else(|| field::wrong("data_base64", value, "base64 text"))?;
    super::parse(super::text(&bytes)?)
}

fn read_extensions(event: &mut Event, members: &Map<String, Value>) -> Result<(), ReadError> {
    let text = |name| extension(members, name).and_then(Value::as_str);
    if let Some(severity) = extension(members, "severity").and_then(field::severity) {
        event.severity = severity;
    }
    event.deadline = text("deadline").and_then(moment);
    let cause = text("cause").and_then(Cause::of);
    let action = text("action").or_else(|| field::maybe(&event.data, "action"));
    let action = action.map(LossAction::of);
    loss::set(event, cause, action);
    // In doubt it is a drill, which harms nobody, and not cancelled.
    event.drill = extension(members, "drill").is_some_and(|value| flag(value).unwrap_or(true));
    event.cancelled =
        extension(members, "cancelled").is_some_and(|value| flag(value).unwrap_or(false));
    event.replay = extension(members, "replayname").map(|name| match name.as_str() {
        Some(name) => name.to_owned(),
        None => name.to_string(),
    });
    event.account = checked(members, "awsaccount", "12 digits", field::is_account)?;
    event.region = checked(members, "awsregion", "the name of a Region", field::is_place)?;
    Ok(())
}

/// A boolean, also as text.
fn flag(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| value.as_str()?.parse().ok())
}

fn checked(
    members: &Map<String, Value>,
    name: &str,
    expected: &'static str,
    fine: impl Fn(&str) -> bool,
) -> Result<Option<String>, ReadError> {
    let Some(value) = extension(members, name) else { return Ok(None) };
    match value.as_str().filter(|text| fine(text)) {
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(field::wrong(name, value, expected)),
    }
}

/// An extension by its legal name, also where it was written with hyphens or capitals.
fn extension<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let exact = members.get(name);
    let lenient =
        || members.iter().find(|(key, _)| legal_name(key) == name).map(|(_, value)| value);
    exact.or_else(lenient).filter(|value| !value.is_null())
}

fn legal_name(key: &str) -> String {
    let key = key.to_ascii_lowercase();
    let key = key.strip_prefix(VENDOR).unwrap_or(&key);
    key.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// A text as a URI reference: what may not stand in one is percent-encoded.
fn uri_reference(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    if out.is_empty() { Cow::Borrowed(NO_SOURCE) } else { Cow::Owned(out) }
}

#[cfg(test)]
mod tests;
