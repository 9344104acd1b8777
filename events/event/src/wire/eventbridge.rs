//! What arrives on EventBridge.
//!
//! | source | detail-type | event | severity |
//! |---|---|---|---|
//! | `aws.ec2` | EC2 Spot Instance Interruption Warning | `cloud.spot.interrupt` | urgent |
//! | `aws.ec2` | EC2 Capacity Reservation Instance Interruption Warning | the same | urgent |
//! | `aws.ec2` | EC2 Instance Rebalance Recommendation | `cloud.spot.rebalance` | warning |
//! | `aws.ec2` | … State-change Notification: `stopping`, `shutting-down` | `cloud.instance.termination` | urgent |
//! | `aws.ec2` | … State-change Notification: `stopped`, `terminated` | `cloud.instance.termination`, too late | info |
//! | `aws.ec2` | … State-change Notification: `pending`, `running` | `instance.active`: it is not idle | info |
//! | `aws.autoscaling` | EC2 Instance-terminate Lifecycle Action | `cloud.instance.termination` | urgent |
//! | `aws.autoscaling` | the same, with `Destination` `WarmPool` or `AutoScalingGroup` | `cloud.autoscaling.scale` | warning |
//! | `aws.autoscaling` | the other lifecycle, launch, terminate and refresh events | `cloud.autoscaling.scale` | info, when failed warning |
//! | `aws.health` | AWS Health Event, service EC2, category scheduledChange | `cloud.instance.termination`, one for each instance | warning |
//! | `cloudsnooze.drill` | any of these | the same, marked as a drill | the same |
//! | `cloudsnooze.shim`, `cloudsnooze.cloud` | any | the CloudEvent in `detail` | as it says |
//! | other than `aws.*` | `custom`, `custom.*`, `trigger.teardown`, `trigger.scale`, `trigger.update`, `trigger.start` | that | info |
//! | any other | | unknown, `com.amazonaws.<service>.<detail-type>` or `bus.<source>.<detail-type>` | info |
//!
//! Spot deadlines are two minutes after the event's time, for hibernation that time itself. The
//! deadline of a scheduled change is its start. A lifecycle hook does not say how long it waits.
//! Instances are read from `detail`, never from `resources`, whose form varies. All of `detail`
//! stands in the data.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::field;
use super::time::moment;
use super::{MAX_EVENT, ReadError, cloudevents, loss};
use crate::{
    Cause, Event, EventId, EventType, InstanceId, LossAction, NotAnEventId, Severity, budget,
};

/// The source of exercises; detail-type and detail are those of the real event.
pub const DRILL_SOURCE: &str = "cloudsnooze.drill";

/// The sources of our own events, which are CloudEvents.
pub const OWN_SOURCES: [&str; 2] = ["cloudsnooze.shim", "cloudsnooze.cloud"];

/// The Auto Scaling events that take no instance away.
const SCALING: [(&str, Severity); 10] = [
    ("EC2 Instance-launch Lifecycle Action", Severity::Info),
    ("EC2 Instance Launch Successful", Severity::Info),
    ("EC2 Instance Launch Unsuccessful", Severity::Warning),
    ("EC2 Instance Terminate Successful", Severity::Info),
    ("EC2 Instance Terminate Unsuccessful", Severity::Warning),
    ("EC2 Auto Scaling Instance Refresh Started", Severity::Info),
    ("EC2 Auto Scaling Instance Refresh Succeeded", Severity::Info),
    ("EC2 Auto Scaling Instance Refresh Failed", Severity::Warning),
    ("EC2 Auto Scaling Instance Refresh Cancelled", Severity::Info),
    ("EC2 Auto Scaling Instance Refresh Checkpoint Reached", Severity::Info),
];

/// A prefix that one producer of triggers puts before their names.
const VENDOR: &str = "io.roost-keeper.";

/// The longest name made for an unknown kind.
const LONGEST_NAME: usize = 128;

/// Reads one delivery: one event, or one for each instance of a scheduled change.
///
/// # Errors
/// The text is no EventBridge event, or of a known kind and not readable; see [`ReadError::at`].
pub fn read(text: &str) -> Result<Vec<Event>, ReadError> {
    let envelope = envelope(&Members::read(text)?)?;
    let from = |source| envelope.source == DRILL_SOURCE || envelope.source == source;
    match envelope.detail_type.as_str() {
        "EC2 Spot Instance Interruption Warning"
        | "EC2 Capacity Reservation Instance Interruption Warning"
            if from("aws.ec2") =>
        {
            spot(envelope)
        }
        "EC2 Instance Rebalance Recommendation" if from("aws.ec2") => {
            let instance = envelope.instance("instance-id")?;
            Ok(vec![Event { instance, ..envelope.event(EventType::SpotRebalance) }])
        }
        "EC2 Instance State-change Notification" if from("aws.ec2") => state_change(envelope),
        "EC2 Instance-terminate Lifecycle Action" if from("aws.autoscaling") => {
            terminate_hook(envelope)
        }
        "AWS Health Event" if from("aws.health") => health(envelope),
        name => match SCALING.iter().find(|(scaling, _)| *scaling == name) {
            Some((_, severity)) if from("aws.autoscaling") => scale(envelope, *severity),
            Some(_) | None => other(envelope),
        },
    }
}

/// The checked envelope.
struct Envelope {
    id: EventId,
    detail_type: String,
    source: String,
    account: Option<String>,
    region: Option<String>,
    time: Timestamp,
    replay: Option<String>,
    detail: Map<String, Value>,
}

/// `version` is not looked at: examples of AWS lack it, and it never was anything but 0.
fn envelope(members: &Members<'_>) -> Result<Envelope, ReadError> {
    let text = |key, member, expected| {
        let text = field::raw_text(key, member, expected)?;
        if text.is_empty() || text.len() > 256 || field::has_control(&text) {
            return Err(field::wrong(key, &text.into(), expected));
        }
        Ok(text)
    };
    let detail_type = text("detail-type", members.detail_type, "a name")?.into_owned();
    let source = text("source", members.source, "a name")?.into_owned();
    let id = text("id", members.id, "an event id")?;
    let id = id.parse().map_err(|_bad| field::wrong("id", &id.into(), "an event id"))?;
    let time = text("time", members.time, "a moment in RFC 3339")?;
    let time =
        moment(&time).ok_or_else(|| field::wrong("time", &time.into(), "a moment in RFC 3339"))?;
    let checked = |key, member: Option<&RawValue>, expected, fine: fn(&str) -> bool| {
        let Some(member) = member.filter(|member| member.get() != "null") else { return Ok(None) };
        let text = field::raw_text(key, Some(member), expected)?;
        let wrong = || field::wrong(key, &(&*text).into(), expected);
        fine(&text).then(|| Some((*text).to_owned())).ok_or_else(wrong)
    };
    let account = checked("account", members.account, "12 digits", field::is_account)?;
    let region = checked("region", members.region, "a Region", field::is_place)?;
    // The key alone marks a replay, whatever it holds: a replay must never act.
    let replay = members.replay_name.map(field::value).transpose()?;
    let replay = replay.map(|name| name.as_str().map_or_else(|| name.to_string(), str::to_owned));
    let detail = match members.detail.map(field::value).transpose()? {
        Some(Value::Object(detail)) => detail,
        None => return Err(field::missing("detail", "an object")),
        Some(other) => return Err(field::wrong("detail", &other, "an object")),
    };
    Ok(Envelope { id, detail_type, source, account, region, time, replay, detail })
}

/// The members of a delivery that are looked at, as texts of JSON.
#[derive(Default)]
struct Members<'a> {
    detail_type: Option<&'a RawValue>,
    source: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    time: Option<&'a RawValue>,
    account: Option<&'a RawValue>,
    region: Option<&'a RawValue>,
    replay_name: Option<&'a RawValue>,
    detail: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "kebab-case")]
enum Key {
    DetailType,
    Source,
    Id,
    Time,
    Account,
    Region,
    ReplayName,
    Detail,
    #[serde(other)]
    Other,
}

impl<'a> Members<'a> {
    fn read(text: &'a str) -> Result<Self, ReadError> {
        super::guard(text)?;
        // What is no object is told by what it is.
        let told = |error| super::object(text, "an EventBridge event").err().unwrap_or(error);
        serde_json::from_str(text).map_err(|error| told(ReadError::Json(error)))
    }
}

/// Of a member that is written twice the last one counts, unlike in what is derived.
impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Last)
    }
}

struct Last;

impl<'de> Visitor<'de> for Last {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an EventBridge event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members::default();
        while let Some(key) = map.next_key()? {
            let member = match key {
                Key::DetailType => &mut members.detail_type,
                Key::Source => &mut members.source,
                Key::Id => &mut members.id,
                Key::Time => &mut members.time,
                Key::Account => &mut members.account,
                Key::Region => &mut members.region,
                Key::ReplayName => &mut members.replay_name,
                Key::Detail => &mut members.detail,
                Key::Other => {
                    let _ = map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *member = Some(map.next_value()?);
        }
        Ok(members)
    }
}

impl Envelope {
    fn text(&self, key: &str) -> &str {
        field::maybe(&self.detail, key).unwrap_or_default()
    }

    /// The instance of an event that must name one.
    fn instance(&self, key: &str) -> Result<Option<InstanceId>, ReadError> {
        let known = field::maybe(&self.detail, key).and_then(|text| text.parse().ok());
        let told = || field::instance(&self.detail, key, &format!("detail.{key}"));
        known.map_or_else(told, Ok).map(Some)
    }

    /// The event, with all of the detail as its data.
    fn event(self, kind: EventType) -> Event {
        let mut event = Event::new(kind, "", self.time, self.id);
        event.drill = self.source == DRILL_SOURCE;
        event.source = self.source;
        (event.account, event.region, event.replay) = (self.account, self.region, self.replay);
        event.data = self.detail;
        event
    }

    /// The event of a loss, with the keys that handlers rely on.
    fn loss(
        self,
        kind: EventType,
        instance: Option<InstanceId>,
        cause: Cause,
        action: LossAction,
        deadline: Option<Timestamp>,
    ) -> Event {
        let left = budget(cause, &action, deadline, self.time);
        let (cause, action) = (Some(cause), Some(action));
        let mut event = Event { instance, cause, action, deadline, ..self.event(kind) };
        loss::name(&mut event, left, deadline, None);
        event
    }
}

fn spot(envelope: Envelope) -> Result<Vec<Event>, ReadError> {
    const WORD: &str = "a word such as `terminate`, `stop` or `hibernate`";
    let instance = envelope.instance("instance-id")?;
    let word = field::text(&envelope.detail, "instance-action", "detail.instance-action", WORD)?;
    if word.is_empty() {
        return Err(field::missing("detail.instance-action", WORD));
    }
    let action = LossAction::of(word);
    let deadline = Some(loss::spot_deadline(Some(&action), envelope.time));
    let kind = EventType::SpotInterrupt;
    Ok(vec![envelope.loss(kind, instance, Cause::Spot, action, deadline)])
}

fn state_change(envelope: Envelope) -> Result<Vec<Event>, ReadError> {
    let instance = envelope.instance("instance-id")?;
    let state = field::text(&envelope.detail, "state", "detail.state", "the state of an instance")?;
    let (action, gone) = match state {
        "stopping" => (LossAction::Stop, false),
        "stopped" => (LossAction::Stop, true),
        "shutting-down" => (LossAction::Terminate, false),
        "terminated" => (LossAction::Terminate, true),
        "pending" | "running" => {
            return Ok(vec![Event { instance, ..envelope.event(EventType::InstanceActive) }]);
        }
        _ => return other(envelope),
    };
    let deadline = gone.then_some(envelope.time);
    let kind = EventType::InstanceTermination;
    let mut event = envelope.loss(kind, instance, Cause::StateChange, action, deadline);
    if gone {
        event.severity = Severity::Info;
        loss::name(&mut event, Duration::ZERO, deadline, None);
    }
    Ok(vec![event])
}

/// A terminate hook, which does not always end an instance: it also comes when one goes back to
/// its warm pool, or has its root volume replaced. Old events have no `Destination` and end it
/// (EC2 Auto Scaling User Guide, event reference page of 2025/26).
fn terminate_hook(envelope: Envelope) -> Result<Vec<Event>, ReadError> {
    let stays = ["WarmPool", "AutoScalingGroup"].contains(&envelope.text("Destination"));
    if stays || is_test(&envelope) {
        let severity = if stays { Severity::Warning } else { Severity::Info };
        return scale(envelope, severity);
    }
    let instance = envelope.instance("EC2InstanceId")?;
    let (kind, action) = (EventType::InstanceTermination, LossAction::Terminate);
    Ok(vec![envelope.loss(kind, instance, Cause::Lifecycle, action, None)])
}

/// The message that Auto Scaling sends when the target of a hook is set; it names no instance.
fn is_test(envelope: &Envelope) -> bool {
    envelope.text("Event") == "autoscaling:TEST_NOTIFICATION"
}

/// Scaling may be about no instance at all; one that is named must be named right.
fn scale(envelope: Envelope, severity: Severity) -> Result<Vec<Event>, ReadError> {
    let instance = match envelope.text("EC2InstanceId") {
        "" => None,
        _ => envelope.instance("EC2InstanceId")?,
    };
    Ok(vec![Event { instance, severity, ..envelope.event(EventType::AutoscalingScale) }])
}

/// A scheduled change of EC2; every other AWS Health event is an unknown kind.
fn health(mut envelope: Envelope) -> Result<Vec<Event>, ReadError> {
    let ours = ("EC2", "scheduledChange");
    if (envelope.text("service"), envelope.text("eventTypeCategory")) != ours {
        return other(envelope);
    }
    let instances = affected(&envelope.detail)?;
    if instances.is_empty() {
        return other(envelope);
    }
    // The envelope's own are those of the delivery, which an organisation may have elsewhere.
    let own = |key| field::maybe(&envelope.detail, key);
    let region = own("eventRegion").filter(|text| field::is_place(text)).map(str::to_owned);
    let account = own("affectedAccount").filter(|text| field::is_account(text)).map(str::to_owned);
    envelope.region = region.or(envelope.region);
    envelope.account = account.or(envelope.account);

    let deadline = moment(envelope.text("startTime"));
    let action = health_action(envelope.text("eventTypeCode"));
    let cancelled = envelope.text("statusCode") == "closed";
    let kind = EventType::InstanceTermination;
    let mut event = Event {
        severity: Severity::Warning,
        cancelled,
        ..envelope.loss(kind, None, Cause::Maintenance, action, deadline)
    };
    event.data.remove("affectedEntities");
    for_each_instance(&event, instances)
}

/// The instances among the affected entities, which are ids or ARNs.
fn affected(detail: &Map<String, Value>) -> Result<BTreeSet<InstanceId>, ReadError> {
    const AT: &str = "detail.affectedEntities";
    let Some(Value::Array(entities)) = detail.get("affectedEntities") else {
        return Ok(BTreeSet::new());
    };
    let names = entities.iter().filter_map(|entity| entity.get("entityValue")?.as_str());
    let names = names.map(|name| name.rsplit_once('/').map_or(name, |(_, id)| id));
    names
        .filter(|name| name.starts_with("i-"))
        .map(|name| name.parse().map_err(|_bad| field::wrong(AT, &name.into(), "instance ids")))
        .collect()
}

/// One event for each instance, each with an id of its own when there are several.
fn for_each_instance(
    event: &Event,
    instances: BTreeSet<InstanceId>,
) -> Result<Vec<Event>, ReadError> {
    let size = serde_json::to_string(&event.data).map_or(0, |text| text.len());
    let size = size.saturating_mul(instances.len());
    // All copies together are held to a small multiple of what one delivery may hold.
    if size > 4 * MAX_EVENT {
        return Err(ReadError::Size { size, limit: 4 * MAX_EVENT });
    }
    let several = instances.len() > 1;
    let own = |instance: InstanceId| {
        let mut own = event.clone();
        if several {
            let id = format!("{}/{instance}", event.id);
            let bad = |_bad: NotAnEventId| field::wrong("id", &json!(id), "a shorter event id");
            own.id = id.parse().map_err(bad)?;
        }
        own.data.insert("instanceID".to_owned(), instance.as_str().into());
        own.instance = Some(instance);
        Ok(own)
    };
    instances.into_iter().map(own).collect()
}

/// What a scheduled change does, by words in its code; an unknown code counts as the worst.
fn health_action(code: &str) -> LossAction {
    let has = |word| code.contains(word);
    if has("RETIREMENT") {
        LossAction::Terminate
    } else if has("REBOOT") || has("MAINTENANCE") {
        LossAction::Reboot
    } else if has("STOP") {
        LossAction::Stop
    } else {
        LossAction::of(&kebab(code))
    }
}

/// Our own CloudEvents, custom events, triggers from outside, and all that we do not know.
fn other(envelope: Envelope) -> Result<Vec<Event>, ReadError> {
    if OWN_SOURCES.contains(&envelope.source.as_str()) {
        return own(envelope);
    }
    let name = envelope.detail_type.strip_prefix(VENDOR).unwrap_or(&envelope.detail_type);
    let from_outside = name.parse().ok().filter(|kind| {
        matches!(
            kind,
            EventType::Custom(_)
                | EventType::TriggerTeardown
                | EventType::TriggerScale
                | EventType::TriggerUpdate
                | EventType::TriggerStart
        ) && !envelope.source.starts_with("aws.")
    });
    let kind =
        from_outside.unwrap_or_else(|| unknown_kind(&envelope.source, &envelope.detail_type));
    let keys = ["instance-id", "EC2InstanceId", "instanceID", "instance"];
    let instance = keys.iter().find_map(|key| envelope.text(key).parse().ok());
    let mut event = Event { instance, ..envelope.event(kind) };
    if event.kind != EventType::TriggerStart || event.instance.is_some() {
        return Ok(vec![event]);
    }
    // A schedule wakes many with one event.
    let instances = named(&event.data)?;
    if instances.is_empty() {
        return Ok(vec![event]);
    }
    event.data.remove("instances");
    for_each_instance(&event, instances)
}

/// The instances of a list that the detail has.
fn named(detail: &Map<String, Value>) -> Result<BTreeSet<InstanceId>, ReadError> {
    const AT: &str = "detail.instances";
    let wrong = |value: &Value| field::wrong(AT, value, "a list of instance ids");
    let list = match detail.get("instances") {
        None | Some(Value::Null) => return Ok(BTreeSet::new()),
        Some(list) => list.as_array().ok_or_else(|| wrong(list))?,
    };
    let id = |value: &Value| value.as_str()?.parse().ok();
    list.iter().map(|value| id(value).ok_or_else(|| wrong(value))).collect()
}

fn own(envelope: Envelope) -> Result<Vec<Event>, ReadError> {
    let mut event = cloudevents::read(&Value::Object(envelope.detail), envelope.time)?;
    event.account = event.account.or(envelope.account);
    event.region = event.region.or(envelope.region);
    event.replay = event.replay.or(envelope.replay);
    Ok(vec![event])
}

/// A name that no kind of ours can have.
fn unknown_kind(source: &str, detail_type: &str) -> EventType {
    let (prefix, rest) = match source.strip_prefix("aws.") {
        Some(service) => ("com.amazonaws", service),
        None => ("bus", source),
    };
    let mut name = format!("{prefix}.{}.{}", kebab(rest), kebab(detail_type));
    name.truncate(LONGEST_NAME);
    EventType::Unknown(name)
}

/// Words in lower case with hyphens between them, ASCII only.
fn kebab(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests;
