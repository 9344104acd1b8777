//! What `dispatch` decides: pure, time handed over.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use snooze_event::{Cause, Event, EventType};
use snooze_policy::ledger::{Incident, Report, What, is_stale};

/// Signals and incidents of one instance within this time belong together.
pub const TOGETHER: Duration = Duration::from_secs(600);

/// Which way an event goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It may open an incident, or join one.
    Incident,
    /// It tells what became of an instance: it joins the incident that is known, if any. One that
    /// only begins to go opens its own where there is none.
    Fate {
        /// It is gone already.
        gone: bool,
    },
    /// An instance runs again.
    Back,
    /// It came too late, or a second time from an archive.
    Late,
    /// All instances shall read the policies again.
    Refresh,
    /// Nothing is done for events of its kind here.
    Nothing,
}

/// Which way an event goes.
#[must_use]
pub fn way(event: &Event, now: Timestamp) -> Way {
    if is_report(&event.kind) {
        return Way::Nothing;
    }
    if event.replay.is_some() {
        return Way::Late;
    }
    if is_running(event) {
        return Way::Back;
    }
    if let Some(state) = state(event) {
        let age = Duration::try_from(now.duration_since(event.time)).unwrap_or_default();
        let gone = matches!(state, "stopped" | "terminated");
        return if age > TOGETHER { Way::Late } else { Way::Fate { gone } };
    }
    if is_stale(event, now) {
        return Way::Late;
    }
    if event.kind == EventType::TriggerUpdate { Way::Refresh } else { Way::Incident }
}

/// What is `record`'s to take, or nobody's.
fn is_report(kind: &EventType) -> bool {
    matches!(
        kind,
        EventType::Unknown(_)
            | EventType::InstanceRegistered
            | EventType::InstanceUpdated
            | EventType::InstanceDeleted
            | EventType::IncidentPhase
            | EventType::IncidentOutcome
    )
}

/// Whether EC2 tells that an instance runs, or comes up.
fn is_running(event: &Event) -> bool {
    event.kind == EventType::InstanceActive && event.source == "aws.ec2"
}

/// The state that a state change of EC2 tells; `None` for other events, and for drills, which
/// tell nothing of what really is.
#[must_use]
pub fn state(event: &Event) -> Option<&str> {
    if event.cause != Some(Cause::StateChange) || event.drill {
        return None;
    }
    event.data.get("state").and_then(Value::as_str)
}

/// Whether what EC2 does to an instance, or tells of it now, belongs to an incident: a loss of a
/// moment ago, or a stop of ours.
#[must_use]
pub fn is_near(incident: &Incident, event: &Event, now: Timestamp) -> bool {
    let is_young = now.duration_since(incident.opened_at).unsigned_abs() <= TOGETHER;
    (is_loss(incident) && is_young) || (state(event).is_some() && incident.is_own_stop(event.time))
}

/// Whether an incident is the real loss of an instance.
#[must_use]
pub fn is_loss(incident: &Incident) -> bool {
    !incident.drill && incident.event.get("cause").is_some()
}

/// The word of the instance that an incident opened now takes over: all that was to be saved was
/// saved, or was not, for another loss of the same instance a moment ago. A maintenance that is
/// days ahead says nothing about a loss of today.
#[must_use]
pub fn heard<'a>(event: &Event, others: impl IntoIterator<Item = &'a Incident>) -> Option<Report> {
    let near = |cause: Option<Cause>| cause.is_some_and(|cause| cause != Cause::Maintenance);
    if event.drill || !near(event.cause) {
        return None;
    }
    let cause = |incident: &Incident| {
        incident.event.get("cause").and_then(Value::as_str).and_then(Cause::of)
    };
    let told = |incident: &&Incident| is_loss(incident) && near(cause(incident));
    let incident = others.into_iter().filter(told).find(|incident| incident.word().is_some())?;
    let word = incident.word()?;
    let text = format!("as in `{}`: {}", incident.id, word.text);
    Some(report(incident, &word.outcome, text))
}

/// Gives an incident that was opened without policies what they ask for: it was opened by a word
/// of the instance before any event came, or while the tables did not answer.
pub fn adopt(incident: &mut Incident, planned: &Incident, now: Timestamp) {
    if incident.policies.is_some() || planned.policies.is_none() {
        return;
    }
    let mut planned = planned.clone();
    if let Some(ended) = &incident.ended {
        planned.report(&report(incident, &ended.outcome, ended.text.clone()), now);
    }
    incident.policies = planned.policies;
    incident.plan = planned.plan;
    incident.machine = incident.machine.take().or(planned.machine);
    incident.hook = incident.hook.take().or(planned.hook);
    incident.deadline = incident.deadline.or(planned.deadline);
    for task in planned.tasks {
        let is_over = task.what == What::Command && incident.ended.is_some();
        if !is_over && incident.task(&task.id).is_none() {
            incident.tasks.push(task);
        }
    }
}

/// The end of an incident, as an instance would tell it.
fn report(incident: &Incident, outcome: &str, text: String) -> Report {
    Report {
        incident: incident.id.clone(),
        told_by: Vec::new(),
        event: String::new(),
        cause: None,
        action: None,
        outcome: Some(outcome.to_owned()),
        text,
        durable: true,
        deadline: None,
        hops: BTreeMap::new(),
        steps: incident.steps.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use expect_test::expect;
    use snooze_event::wire::eventbridge;

    use super::*;

    #[test]
    fn every_sample_goes_its_way() {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/samples");
        let mut ways = BTreeSet::new();
        for entry in std::fs::read_dir(samples).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            if !name.starts_with("event-") {
                continue;
            }
            for event in eventbridge::read(&std::fs::read_to_string(&path).unwrap()).unwrap() {
                let now = event.time + jiff::SignedDuration::from_secs(1);
                if way(&event, now) != Way::Nothing {
                    ways.insert(format!("{name}: {:?}", way(&event, now)));
                }
            }
        }
        let ways: Vec<_> = ways.into_iter().collect();
        expect![[r#"
            event-asg-instance-refresh-cancelled: Incident
            event-asg-instance-refresh-checkpoint: Incident
            event-asg-instance-refresh-failed: Incident
            event-asg-instance-refresh-started: Incident
            event-asg-instance-refresh-succeeded: Incident
            event-asg-launch-lifecycle-action-from-warm-pool: Incident
            event-asg-launch-lifecycle-action-into-warm-pool: Incident
            event-asg-launch-lifecycle-action-replace-root-volume: Incident
            event-asg-launch-lifecycle-action: Incident
            event-asg-launch-successful: Incident
            event-asg-launch-unsuccessful: Incident
            event-asg-terminate-lifecycle-action-minimal: Incident
            event-asg-terminate-lifecycle-action-replace-root-volume: Incident
            event-asg-terminate-lifecycle-action-to-warm-pool: Incident
            event-asg-terminate-lifecycle-action: Incident
            event-asg-terminate-successful: Incident
            event-asg-terminate-unsuccessful: Incident
            event-capacity-reservation-interruption: Incident
            event-drill-spot-interruption-terminate: Incident
            event-health-ec2-scheduled-change: Incident
            event-own-instance-active: Incident
            event-own-instance-idle: Incident
            event-own-spot-interruption: Incident
            event-rebalance-recommendation: Incident
            event-spot-interruption-az-arn: Incident
            event-spot-interruption-hibernate: Incident
            event-spot-interruption-replayed: Late
            event-spot-interruption-stop: Incident
            event-spot-interruption-terminate: Incident
            event-state-change-pending: Back
            event-state-change-running: Back
            event-state-change-shutting-down: Fate { gone: false }
            event-state-change-stopped: Fate { gone: true }
            event-state-change-stopping: Fate { gone: false }
            event-state-change-terminated: Fate { gone: true }
            event-trigger-start: Incident"#]]
        .assert_eq(&ways.join("\n"));
    }
}
