//! The events of a drill: those that AWS sends for the real thing, from our own source.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_cloud::bus::Entry;
use snooze_cloud::instances::Instance;
use snooze_event::wire::eventbridge::DRILL_SOURCE;

use super::instances;

/// The member of the detail that a drill is known by in the ledger.
pub(super) const MARK: &str = "snooze-drill";
/// How far ahead the scheduled change of a drill is.
const AHEAD: Duration = Duration::from_secs(10 * 60);

/// Why an instance goes in a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Cause {
    /// EC2 takes a Spot instance back
    Spot,
    /// EC2 recommends to rebalance
    Rebalance,
    /// An Auto Scaling group terminates it, and a hook waits
    Lifecycle,
    /// EC2 announces maintenance of its host
    Maintenance,
}

/// What is done to an instance in a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Action {
    /// It ends for good
    Terminate,
    /// It stops
    Stop,
    /// Its memory is frozen to disk
    Hibernate,
}

impl Cause {
    /// Whether its event can announce the action.
    pub(super) fn announces(self, action: Action) -> bool {
        match self {
            Self::Spot => true,
            Self::Rebalance | Self::Lifecycle => action == Action::Terminate,
            Self::Maintenance => action != Action::Hibernate,
        }
    }
}

/// The event, with the mark that finds its incident in the ledger.
pub(super) fn entry(
    cause: Cause,
    action: Action,
    instance: &Instance,
    mark: &str,
    now: Timestamp,
) -> Entry {
    let id = instances::id(instance);
    let (detail_type, mut detail) = match cause {
        Cause::Spot => {
            let action = match action {
                Action::Terminate => "terminate",
                Action::Stop => "stop",
                Action::Hibernate => "hibernate",
            };
            let detail = json!({ "instance-id": id, "instance-action": action });
            ("EC2 Spot Instance Interruption Warning", detail)
        }
        Cause::Rebalance => ("EC2 Instance Rebalance Recommendation", json!({ "instance-id": id })),
        Cause::Lifecycle => ("EC2 Instance-terminate Lifecycle Action", hook(instance, mark)),
        Cause::Maintenance => ("AWS Health Event", health(instance, action, now)),
    };
    if let Some(members) = detail.as_object_mut() {
        members.insert(MARK.to_owned(), mark.into());
    }
    let (source, detail_type) = (DRILL_SOURCE.to_owned(), detail_type.to_owned());
    Entry { source, detail_type, detail: detail.to_string() }
}

/// `EC2 Auto Scaling User Guide, "EventBridge event reference"` (checked 2026-11).
fn hook(instance: &Instance, mark: &str) -> Value {
    let group = instance.facts.asg.as_deref().unwrap_or("no-group");
    json!({
        "LifecycleActionToken": mark,
        "AutoScalingGroupName": group,
        "LifecycleHookName": "snooze-drill",
        "EC2InstanceId": instances::id(instance),
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
        "Origin": "AutoScalingGroup",
        "Destination": "EC2",
    })
}

/// AWS Health User Guide, "Amazon EventBridge schema" (checked 2026-11).
fn health(instance: &Instance, action: Action, now: Timestamp) -> Value {
    let code = match action {
        Action::Terminate => "AWS_EC2_INSTANCE_RETIREMENT_SCHEDULED",
        Action::Stop => "AWS_EC2_INSTANCE_STOP_SCHEDULED",
        Action::Hibernate => "AWS_EC2_INSTANCE_REBOOT_MAINTENANCE_SCHEDULED",
    };
    let date = |moment: Timestamp| moment.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let start = now.checked_add(AHEAD).unwrap_or(now);
    let end = start.checked_add(2 * AHEAD).unwrap_or(start);
    let facts = &instance.facts;
    let mut detail = json!({
        "service": "EC2",
        "eventTypeCode": code,
        "eventTypeCategory": "scheduledChange",
        "eventScopeCode": "ACCOUNT_SPECIFIC",
        "startTime": date(start),
        "endTime": date(end),
        "lastUpdatedTime": date(now),
        "statusCode": "upcoming",
        "eventDescription": [{ "language": "en_US", "latestDescription": "a drill" }],
        "affectedEntities": [{ "entityValue": instances::id(instance) }],
        "page": "1",
        "totalPages": "1",
    });
    if let Some(members) = detail.as_object_mut() {
        let known = [("eventRegion", &facts.region), ("affectedAccount", &facts.account)];
        let known = known.into_iter().filter_map(|(name, fact)| Some((name, fact.clone()?)));
        members.extend(known.map(|(name, fact)| (name.to_owned(), fact.into())));
    }
    detail
}

#[cfg(test)]
mod tests {
    use snooze_event::{EventType, LossAction, wire};

    use super::super::instances::samples::instance;
    use super::*;

    /// What the cloud side reads from the event, as EventBridge delivers it.
    fn heard(cause: Cause, action: Action) -> snooze_event::Event {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let entry = entry(cause, action, &instance("i-0a1b2c3d4e5f60718"), "m-1", now);
        let detail: Value = serde_json::from_str(&entry.detail).unwrap();
        let envelope = json!({
            "version": "0", "id": "e-1", "detail-type": entry.detail_type, "source": entry.source,
            "account": "123456789012", "time": "2026-11-21T10:00:00Z", "region": "eu-west-1",
            "resources": [], "detail": detail
        });
        let mut events = wire::eventbridge::read(&envelope.to_string()).unwrap();
        assert_eq!(events.len(), 1);
        events.remove(0)
    }

    #[test]
    fn every_cause_is_read_as_the_real_event_and_as_a_drill() {
        for (cause, kind, action) in [
            (Cause::Spot, EventType::SpotInterrupt, Some(LossAction::Terminate)),
            (Cause::Rebalance, EventType::SpotRebalance, None),
            (Cause::Lifecycle, EventType::InstanceTermination, Some(LossAction::Terminate)),
            (Cause::Maintenance, EventType::InstanceTermination, Some(LossAction::Terminate)),
        ] {
            let event = heard(cause, Action::Terminate);
            assert_eq!((event.kind, event.action), (kind, action), "{cause:?}");
            assert!(event.drill, "{cause:?}");
            assert_eq!(event.instance.unwrap().as_str(), "i-0a1b2c3d4e5f60718");
            assert_eq!(event.data[MARK], "m-1");
        }
    }

    #[test]
    fn the_action_of_a_drill_is_that_of_its_event() {
        for (action, read) in
            [(Action::Stop, LossAction::Stop), (Action::Hibernate, LossAction::Hibernate)]
        {
            assert_eq!(heard(Cause::Spot, action).action, Some(read));
        }
        let stop = heard(Cause::Maintenance, Action::Stop);
        assert_eq!(stop.action, Some(LossAction::Stop));
        assert_eq!(stop.deadline, Some("2026-11-21T10:10:00Z".parse().unwrap()));
    }

    #[test]
    fn no_cause_announces_what_aws_does_not() {
        assert!(Cause::Spot.announces(Action::Hibernate));
        assert!(Cause::Maintenance.announces(Action::Stop));
        assert!(!Cause::Maintenance.announces(Action::Hibernate));
        assert!(!Cause::Rebalance.announces(Action::Stop));
        assert!(!Cause::Lifecycle.announces(Action::Hibernate));
    }
}
