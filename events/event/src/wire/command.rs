//! Commands: orders from the cloud side to one instance, or to all; JSON on the SNS topic.
//!
//! ```json
//! { "version": 1, "id": "i-0123456789abcdef0/spot/terminate/20261121T100000Z#command",
//!   "kind": "handle", "instance": "i-0123456789abcdef0", "issued_at": "2026-11-21T10:00:01Z",
//!   "expires_at": "2026-11-21T10:02:00Z", "policies": 12,
//!   "correlationid": "i-0123456789abcdef0/spot/terminate/20261121T100000Z", "event": {} }
//! ```
//!
//! `instance` is `*` for all. `policies` is the version of the policies that the cloud side acts
//! on, where it knows. `event` is a CloudEvent; `handle` and `drill` have one.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::field::{self, given};
use super::time::moment;
use super::{ReadError, cloudevents};
use crate::{Event, IncidentKey, InstanceId};

/// The version of the form.
pub const VERSION: u64 = 1;
/// The largest command: SNS takes 256 KiB with everything, an event needs far less.
pub const MAX_COMMAND: usize = 64 << 10;
/// The name of the message attribute that subscriptions filter on.
pub const ATTRIBUTE: &str = "instance_id";
/// The instance of a command to all.
pub const ALL: &str = "*";

/// An order to one instance, or to all.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The same whenever the same command is sent again.
    pub id: String,
    /// What is to be done.
    pub kind: Kind,
    /// Whom it is for; `None` for all.
    pub instance: Option<InstanceId>,
    /// When it was first sent.
    pub issued_at: Timestamp,
    /// After this it is worth nothing.
    pub expires_at: Timestamp,
    /// The version of the policies it is meant with; `None`: the instance's own copy.
    pub policies: Option<u64>,
    /// The incident in the cloud that it belongs to.
    pub correlation: Option<IncidentKey>,
}

/// What a command orders.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Handle this event.
    Handle(Box<Event>),
    /// Handle this event as a drill, whatever it says itself.
    Drill(Box<Event>),
    /// The policies in the table changed.
    PoliciesChanged,
}

/// Writes a command.
#[must_use]
pub fn write(command: &Command) -> Value {
    let (kind, event) = match &command.kind {
        Kind::Handle(event) => ("handle", Some(event)),
        Kind::Drill(event) => ("drill", Some(event)),
        Kind::PoliciesChanged => ("policies-changed", None),
    };
    let correlation = command.correlation.as_ref();
    let members = [
        ("version", Some(json!(VERSION))),
        ("id", Some(json!(command.id))),
        ("kind", Some(json!(kind))),
        ("instance", Some(json!(command.instance.as_ref().map_or(ALL, InstanceId::as_str)))),
        ("issued_at", Some(json!(command.issued_at.to_string()))),
        ("expires_at", Some(json!(command.expires_at.to_string()))),
        ("policies", command.policies.map(|version| json!(version))),
        ("correlationid", correlation.map(|key| json!(key.as_str()))),
        ("event", event.map(|event| cloudevents::write(event, correlation))),
    ];
    let set = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(set.collect())
}

/// Reads a command.
///
/// # Errors
/// It is too long, lacks a member, or is of a version that we do not know.
pub fn read(text: &str) -> Result<Command, ReadError> {
    if text.len() > MAX_COMMAND {
        return Err(ReadError::Size { size: text.len(), limit: MAX_COMMAND });
    }
    let members = super::object(text, "a command")?;
    let number = |key, expected| given(&members, key, expected, Value::as_u64);
    if number("version", "1")? != Some(VERSION) {
        let found = members.get("version").unwrap_or(&Value::Null);
        return Err(field::wrong("version", found, "version 1"));
    }
    let id = field::text(&members, "id", "id", ID)?;
    if id.is_empty() || id.len() > 512 || id.contains(char::is_control) {
        return Err(field::wrong("id", &id.into(), ID));
    }
    let instance = match field::text(&members, "instance", "instance", "an instance id or `*`")? {
        ALL => None,
        _ => Some(field::instance(&members, "instance", "instance")?),
    };
    let issued_at = required_moment(&members, "issued_at")?;
    let expires_at = required_moment(&members, "expires_at")?;
    let correlation = given(&members, "correlationid", ID, |value| {
        value.as_str().filter(|text| !text.is_empty() && text.len() <= 512)
    })?;
    let event = || match members.get("event") {
        Some(event) => cloudevents::read(event, issued_at).map(Box::new),
        None => Err(field::missing("event", "a CloudEvent")),
    };
    let kind = match field::text(&members, "kind", "kind", KIND)? {
        "handle" => Kind::Handle(event()?),
        "drill" => Kind::Drill(event()?),
        "policies-changed" => Kind::PoliciesChanged,
        other => return Err(field::wrong("kind", &other.into(), KIND)),
    };
    Ok(Command {
        id: id.to_owned(),
        kind,
        instance,
        issued_at,
        expires_at,
        policies: number("policies", "a version")?,
        correlation: correlation.map(IncidentKey::stored),
    })
}

const ID: &str = "an id of at most 512 characters";
const KIND: &str = "`handle`, `drill` or `policies-changed`";

fn required_moment(members: &Map<String, Value>, key: &str) -> Result<Timestamp, ReadError> {
    const MOMENT: &str = "a moment in RFC 3339";
    let text = field::text(members, key, key, MOMENT)?;
    moment(text).ok_or_else(|| field::wrong(key, &text.into(), MOMENT))
}

#[cfg(test)]
mod tests;
