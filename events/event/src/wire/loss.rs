//! What every reader adds to an event that takes an instance away.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::time;
use crate::{Cause, Event, EventType, InstanceId, LossAction, SPOT_NOTICE};

/// When a Spot instance goes whose notice came at `noticed`: two minutes later, and at once when
/// it hibernates.
pub(super) fn spot_deadline(action: Option<&LossAction>, noticed: Timestamp) -> Timestamp {
    if action == Some(&LossAction::Hibernate) {
        return noticed;
    }
    noticed.saturating_add(SPOT_NOTICE).unwrap_or(noticed)
}

/// Gives an event the cause and the action that belong to its kind.
///
/// An event that takes an instance away always has both; a missing action counts as the worst.
pub(super) fn set(event: &mut Event, cause: Option<Cause>, action: Option<LossAction>) {
    let cause = if event.kind == EventType::SpotInterrupt {
        Some(Cause::Spot)
    } else if event.kind == EventType::InstanceTermination {
        cause.or(Some(Cause::StateChange))
    } else {
        cause
    };
    event.cause = cause;
    event.action = cause.and(action.or(Some(LossAction::Terminate)));
}

/// Gives the data of a loss the five keys that handlers rely on.
pub(super) fn name(
    event: &mut Event,
    left: Duration,
    deadline: Option<Timestamp>,
    instance_type: Option<&str>,
) {
    let instance_type = match (instance_type, event.data.remove("instanceType")) {
        (None, Some(Value::String(known))) => known,
        (told, _) => told.unwrap_or_default().to_owned(),
    };
    let keys = [
        ("action", Value::from(event.action.as_ref().map(LossAction::as_str))),
        ("time", Value::from(deadline.map(time::text))),
        ("timeRemaining", Value::from(left.as_secs_f64())),
        ("instanceID", Value::from(event.instance.as_ref().map_or("", InstanceId::as_str))),
        ("instanceType", Value::from(instance_type)),
    ];
    event.data.extend(keys.map(|(key, value)| (key.to_owned(), value)));
}
