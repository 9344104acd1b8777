//! The instance metadata service: what its bodies say, and the events that follow.
//!
//! A body that cannot be read is an error and never "no notice": the service answers 404 when it
//! has nothing to say. A notice with an odd time is still a notice.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::time::moment;
use super::{ReadError, field, loss};
use crate::{Cause, Event, EventId, EventType, InstanceId, LossAction, Severity, budget};

/// The source of every event that is read from the metadata service.
pub const SOURCE: &str = "aws.ec2.metadata-service";

/// What `spot/instance-action` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpotNotice {
    /// What EC2 is going to do.
    pub action: LossAction,
    /// About when; `None` when the time cannot be read.
    pub time: Option<Timestamp>,
}

/// What `events/recommendations/rebalance` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebalanceNotice {
    /// When the risk was noticed; `None` when the time cannot be read.
    pub time: Option<Timestamp>,
}

/// What `autoscaling/target-lifecycle-state` says: the state the instance is moved to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the state of its name")]
pub enum LifecycleState {
    Detached,
    InService,
    Standby,
    Terminated,
    WarmedHibernated,
    WarmedRunning,
    WarmedStopped,
    WarmedTerminated,
    /// A state this version does not know.
    Other(String),
}

impl LifecycleState {
    /// The word of the metadata service.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Detached => "Detached",
            Self::InService => "InService",
            Self::Standby => "Standby",
            Self::Terminated => "Terminated",
            Self::WarmedHibernated => "Warmed:Hibernated",
            Self::WarmedRunning => "Warmed:Running",
            Self::WarmedStopped => "Warmed:Stopped",
            Self::WarmedTerminated => "Warmed:Terminated",
            Self::Other(word) => word,
        }
    }

    /// What the move takes away: `None` when the instance stays as it is.
    fn loss(&self) -> Option<LossAction> {
        match self {
            Self::Terminated | Self::WarmedTerminated => Some(LossAction::Terminate),
            Self::WarmedStopped => Some(LossAction::Stop),
            Self::WarmedHibernated => Some(LossAction::Hibernate),
            Self::Detached
            | Self::InService
            | Self::Standby
            | Self::WarmedRunning
            | Self::Other(_) => None,
        }
    }
}

/// One entry of `events/maintenance/scheduled`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// What is going to happen, for example `system-reboot`.
    pub code: String,
    /// The earliest start.
    pub not_before: Option<Timestamp>,
    /// The latest end.
    pub not_after: Option<Timestamp>,
    /// The id of the scheduled event.
    pub event_id: Option<String>,
    /// `active`, `canceled` or `completed`.
    pub state: String,
    /// What AWS says about it.
    pub description: String,
    /// It is off, or over.
    pub cancelled: bool,
}

/// Who and where the instance is. Only the id is always known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The instance.
    pub instance: InstanceId,
    /// Its type, for example `m6i.large`.
    pub instance_type: Option<String>,
    /// Its Region.
    pub region: Option<String>,
    /// Its availability zone.
    pub zone: Option<String>,
    /// Its account: 12 digits, as text.
    pub account: Option<String>,
    /// The machine image it started from.
    pub image: Option<String>,
    /// Its processor architecture, for example `x86_64`.
    pub architecture: Option<String>,
}

/// Reads the body of `spot/instance-action`.
///
/// # Errors
/// The body is no JSON object, or has no word for the action.
pub fn spot_instance_action(body: &str) -> Result<SpotNotice, ReadError> {
    const ACTION: &str = "a word such as `terminate`, `stop` or `hibernate`";
    let members = super::object(body, "an object with an action and a time")?;
    let word = field::text(&members, "action", "action", ACTION)?.trim().to_ascii_lowercase();
    if word.is_empty() {
        return Err(field::missing("action", ACTION));
    }
    let time = field::maybe(&members, "time").and_then(moment);
    Ok(SpotNotice { action: LossAction::of(&word), time })
}

/// Reads the body of `events/recommendations/rebalance`.
///
/// # Errors
/// The body is no JSON object, or has no `noticeTime`.
pub fn rebalance(body: &str) -> Result<RebalanceNotice, ReadError> {
    let members = super::object(body, "an object with a noticeTime")?;
    if !members.contains_key("noticeTime") {
        return Err(field::missing("noticeTime", "a moment"));
    }
    Ok(RebalanceNotice { time: field::maybe(&members, "noticeTime").and_then(moment) })
}

/// Reads the body of `autoscaling/target-lifecycle-state`.
///
/// # Errors
/// The body is no single word of letters and colons.
pub fn target_lifecycle_state(body: &str) -> Result<LifecycleState, ReadError> {
    let word = body.trim();
    let fine = |c: u8| c.is_ascii_alphabetic() || c == b':';
    if !(1..=64).contains(&word.len()) || !word.bytes().all(fine) {
        let start: String = word.chars().take(64).collect();
        return Err(field::wrong("$", &Value::String(start), "a word such as `InService`"));
    }
    Ok(match word {
        "Detached" => LifecycleState::Detached,
        "InService" => LifecycleState::InService,
        "Standby" => LifecycleState::Standby,
        "Terminated" => LifecycleState::Terminated,
        "Warmed:Hibernated" => LifecycleState::WarmedHibernated,
        "Warmed:Running" => LifecycleState::WarmedRunning,
        "Warmed:Stopped" => LifecycleState::WarmedStopped,
        "Warmed:Terminated" => LifecycleState::WarmedTerminated,
        other => LifecycleState::Other(other.to_owned()),
    })
}

/// Reads the body of `events/maintenance/scheduled`, or of `history` beside it.
///
/// An entry that cannot be read does not hide the others.
///
/// # Errors
/// The body is no JSON array, or holds entries of which none can be read.
pub fn maintenance(body: &str) -> Result<Vec<Maintenance>, ReadError> {
    const ARRAY: &str = "an array of scheduled events";
    let value = super::parse(body)?;
    let Some(entries) = value.as_array() else { return Err(field::wrong("$", &value, ARRAY)) };
    let read: Vec<_> =
        entries.iter().filter_map(Value::as_object).filter_map(maintenance_entry).collect();
    if read.is_empty() && !entries.is_empty() {
        return Err(field::missing("[0].Code", "the code of a scheduled event"));
    }
    Ok(read)
}

fn maintenance_entry(entry: &Map<String, Value>) -> Option<Maintenance> {
    let text = |key| field::maybe(entry, key).unwrap_or_default().trim();
    let (state, description) = (text("State"), text("Description"));
    let off = |word: &str| ["canceled", "cancelled", "completed"].contains(&word);
    let mark = description.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let cancelled = off(&state.to_ascii_lowercase())
        || mark.is_some_and(|(word, _)| off(&word.to_ascii_lowercase()));
    Some(Maintenance {
        code: Some(text("Code")).filter(|code| !code.is_empty())?.to_owned(),
        not_before: moment(text("NotBefore")),
        not_after: moment(text("NotAfter")),
        event_id: Some(text("EventId")).filter(|id| !id.is_empty()).map(str::to_owned),
        state: state.to_owned(),
        description: description.to_owned(),
        cancelled,
    })
}

/// Reads the instance identity document.
///
/// # Errors
/// The body is no JSON object, or has no usable `instanceId`.
pub fn identity(body: &str) -> Result<Identity, ReadError> {
    let members = super::object(body, "an instance identity document")?;
    let instance = field::instance(&members, "instanceId", "instanceId")?;
    let text = |key| field::maybe(&members, key).map(str::to_owned);
    let place = |key| text(key).filter(|text| field::is_place(text));
    Ok(Identity {
        instance,
        instance_type: text("instanceType"),
        region: place("region"),
        zone: place("availabilityZone"),
        account: text("accountId").filter(|text| field::is_account(text)),
        image: text("imageId"),
        architecture: text("architecture"),
    })
}

/// The event of a Spot notice, first seen at `now`.
///
/// Without a readable time the deadline is two minutes from `now`, and for hibernation, which
/// starts at once, `now` itself.
#[must_use]
pub fn spot_event(notice: &SpotNotice, identity: &Identity, now: Timestamp, id: EventId) -> Event {
    let promised = loss::spot_deadline(Some(&notice.action), now);
    let event = Event {
        severity: Severity::Urgent,
        deadline: Some(notice.time.unwrap_or(promised)),
        cause: Some(Cause::Spot),
        action: Some(notice.action.clone()),
        ..bare(EventType::SpotInterrupt, identity, now, id)
    };
    with_loss_keys(event, identity, now)
}

/// The event of a rebalance recommendation: a risk, no loss.
#[must_use]
pub fn rebalance_event(
    notice: &RebalanceNotice,
    identity: &Identity,
    now: Timestamp,
    id: EventId,
) -> Event {
    let mut event =
        Event { severity: Severity::Warning, ..bare(EventType::SpotRebalance, identity, now, id) };
    let noticed = notice.time.unwrap_or(now).to_string();
    event.data.insert("noticeTime".to_owned(), noticed.into());
    event
}

/// The event of a target lifecycle state; `None` for `InService`, which is no news.
#[must_use]
pub fn lifecycle_event(
    state: &LifecycleState,
    identity: &Identity,
    now: Timestamp,
    id: EventId,
) -> Option<Event> {
    if *state == LifecycleState::InService {
        return None;
    }
    let mut event = match state.loss() {
        Some(action) => Event {
            severity: Severity::Urgent,
            cause: Some(Cause::Lifecycle),
            action: Some(action),
            ..bare(EventType::InstanceTermination, identity, now, id)
        },
        None => bare(EventType::AutoscalingScale, identity, now, id),
    };
    event.data.insert("targetLifecycleState".to_owned(), state.as_str().into());
    Some(with_loss_keys(event, identity, now))
}

/// The event of one scheduled maintenance; its deadline is the earliest start.
#[must_use]
pub fn maintenance_event(
    maintenance: &Maintenance,
    identity: &Identity,
    now: Timestamp,
    id: EventId,
) -> Event {
    let mut event = Event {
        severity: Severity::Warning,
        deadline: maintenance.not_before,
        cause: Some(Cause::Maintenance),
        action: Some(maintenance_action(&maintenance.code)),
        cancelled: maintenance.cancelled,
        ..bare(EventType::InstanceTermination, identity, now, id)
    };
    let texts = [
        ("code", Some(maintenance.code.clone())),
        ("state", Some(maintenance.state.clone())),
        ("description", Some(maintenance.description.clone())),
        ("eventId", maintenance.event_id.clone()),
        ("notBefore", maintenance.not_before.map(|time| time.to_string())),
        ("notAfter", maintenance.not_after.map(|time| time.to_string())),
    ];
    for (key, text) in texts {
        event.data.insert(key.to_owned(), text.into());
    }
    with_loss_keys(event, identity, now)
}

/// What a maintenance does to the instance (EC2 API reference, "InstanceStatusEvent",
/// in the service model of botocore 1.43.11).
fn maintenance_action(code: &str) -> LossAction {
    match code {
        "instance-stop" => LossAction::Stop,
        "instance-retirement" => LossAction::Terminate,
        "instance-reboot" | "system-reboot" | "system-maintenance" => LossAction::Reboot,
        other => LossAction::of(other),
    }
}

fn bare(kind: EventType, identity: &Identity, now: Timestamp, id: EventId) -> Event {
    let mut event = Event::new(kind, SOURCE, now, id);
    event.instance = Some(identity.instance.clone());
    event.account.clone_from(&identity.account);
    event.region.clone_from(&identity.region);
    event
}

fn with_loss_keys(mut event: Event, identity: &Identity, now: Timestamp) -> Event {
    if let (Some(cause), Some(action)) = (event.cause, &event.action) {
        let left = budget(cause, action, event.deadline, now);
        let deadline = event.deadline;
        loss::name(&mut event, left, deadline, identity.instance_type.as_deref());
    }
    event
}

#[cfg(test)]
mod tests;
