//! What makes two signals the same incident in the cloud.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use snooze_event::{Cause, Event, EventType, InstanceId, LossAction};

/// Signals of one loss come within this time of each other.
const WINDOW: Duration = Duration::from_secs(600);
/// The same event comes again within this time: EventBridge tries for 24 hours.
const SAME_EVENT: Duration = Duration::from_secs(24 * 3600);
/// A lifecycle action waits at most this long (Auto Scaling API reference, "GlobalTimeout",
/// checked 2026-11).
const LONGEST_HOOK: Duration = Duration::from_secs(48 * 3600);

/// An instance tells every five minutes that it is still idle. Within this time that is the same
/// incident; one that is still idle after it is looked at anew, as when the limit of stops of the
/// first hour was reached.
const IDLE: Duration = Duration::from_secs(3600);

/// What an incident is claimed by: of all signals with one key within the window, the first
/// opens it and the others join it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What is the same.
    pub key: String,
    /// For how long it is.
    pub window: Duration,
}

impl Claim {
    /// The id of an incident that is opened now.
    #[must_use]
    pub fn id(&self, now: Timestamp) -> String {
        format!("{}/{}", self.key, now.strftime("%Y%m%dT%H%M%SZ"))
    }

    /// The moment before which a claim of the same key is over.
    #[must_use]
    pub fn over_before(&self, now: Timestamp) -> Timestamp {
        now.checked_sub(self.window).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// The claim of an event: the token of a lifecycle action; instance, cause and action of another
/// loss; since when an instance is idle; else the event's own id. A drill is never the same as the real thing.
#[must_use]
pub fn claim(event: &Event) -> Claim {
    let own = || match &event.instance {
        Some(instance) => format!("{instance}/event/{}", event.id),
        None => format!("event/{}", event.id),
    };
    if event.drill {
        return Claim { key: own(), window: SAME_EVENT };
    }
    if let Some(token) = event.data.get("LifecycleActionToken").and_then(Value::as_str) {
        return Claim { key: format!("lifecycle/{token}"), window: LONGEST_HOOK };
    }
    if let (EventType::InstanceIdle, Some(instance)) = (&event.kind, &event.instance) {
        let since = idle_since(event).strftime("%Y%m%dT%H%M%SZ");
        return Claim { key: format!("{instance}/idle/{since}"), window: IDLE };
    }
    match (&event.instance, event.cause, &event.action) {
        (Some(instance), Some(cause), Some(action)) => of_loss(instance, cause, action),
        _ => Claim { key: own(), window: SAME_EVENT },
    }
}

/// When the idleness began that an event tells of.
#[must_use]
pub fn idle_since(event: &Event) -> Timestamp {
    let told = event.data.get("since").and_then(Value::as_str);
    told.and_then(|text| text.parse().ok()).unwrap_or(event.time)
}

/// The claim of a loss that the instance itself tells of.
#[must_use]
pub fn of_loss(instance: &InstanceId, cause: Cause, action: &LossAction) -> Claim {
    let key = format!("{instance}/{}/{}", cause.as_str(), action.as_str());
    Claim { key, window: WINDOW }
}
