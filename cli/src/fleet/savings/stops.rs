//! What the ledger tells of idle instances that were stopped, and of losses that were survived.
//! Pure: incidents in, times out.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use snooze_event::EventType;
use snooze_policy::ActionName;
use snooze_policy::ledger::{Incident, Task, TaskState, What};

/// EC2 bills by the second, and 60 seconds at least from each start on (Amazon EC2 pricing,
/// checked 2026-11): a shorter stop saves nothing.
const MINIMUM: Duration = Duration::from_secs(60);
/// A word of the daemon that is on its way when its instance is stopped comes within this time.
const LATE: Duration = Duration::from_secs(600);

/// One idle instance that was stopped.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stop {
    /// Its type, where it is known.
    pub(super) kind: Option<String>,
    /// Its Region, where it is known.
    pub(super) region: Option<String>,
    /// Its Availability Zone, where it is known.
    pub(super) zone: Option<String>,
    /// It was a Spot instance.
    pub(super) spot: bool,
    /// The policy that stopped it.
    pub(super) policy: String,
    /// Since when it was not billed.
    pub(super) from: Timestamp,
    /// Until when that is known.
    pub(super) until: Timestamp,
    /// Until when it may have been so, at most.
    pub(super) at_most: Timestamp,
}

/// How losses of one cause ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// How many there were.
    pub(super) all: usize,
    /// Before how many everything was saved.
    pub(super) saved: usize,
}

/// The stops of a list of incidents, in any order, cut to what lies between two moments.
/// `heard` tells when an instance was last heard of.
///
/// A stop lasts until EC2 told that the instance runs again or is gone. Where it told nothing, a
/// stopped instance that nobody has heard of since is still stopped; otherwise it ran again at
/// some moment before the ledger knows of it again, and nothing of it is known for certain. What
/// a group did after one of its members was ended is never known.
pub(super) fn stops(
    incidents: &[Incident],
    heard: &BTreeMap<String, Timestamp>,
    (since, now): (Timestamp, Timestamp),
) -> Vec<Stop> {
    let mut ordered: Vec<&Incident> = incidents.iter().filter(|known| !known.drill).collect();
    ordered.sort_by_key(|known| known.opened_at);
    let mut stops = Vec::new();
    for (index, incident) in ordered.iter().enumerate() {
        let later = ordered.get(index + 1..).unwrap_or_default();
        let same = later.iter().filter(|later| later.instance == incident.instance);
        let next = |after: Timestamp| {
            same.clone().map(|later| later.opened_at).find(|opened| *opened > after)
        };
        let heard = incident.instance.as_ref().and_then(|id| heard.get(id)).copied();
        stops.extend(stop(incident, next, heard, now).and_then(|stop| cut(stop, since, now)));
    }
    stops
}

/// How the losses that were announced at or after a moment ended, by cause.
pub(super) fn losses(incidents: &[Incident], since: Timestamp) -> BTreeMap<String, Losses> {
    let mut losses: BTreeMap<String, Losses> = BTreeMap::new();
    let real = |known: &&Incident| !known.drill && known.opened_at >= since;
    for incident in incidents.iter().filter(real) {
        let Some(cause) = incident.event.get("cause").and_then(Value::as_str) else { continue };
        let of_cause = losses.entry(cause.to_owned()).or_default();
        of_cause.all += 1;
        let is_saved = incident.ended.as_ref().is_some_and(|ended| ended.outcome == "done");
        of_cause.saved += usize::from(is_saved);
    }
    losses
}

fn stop(
    incident: &Incident,
    next: impl Fn(Timestamp) -> Option<Timestamp>,
    heard: Option<Timestamp>,
    now: Timestamp,
) -> Option<Stop> {
    let kind = incident.event.get("type").and_then(Value::as_str);
    if kind != Some(EventType::InstanceIdle.as_str()) {
        return None;
    }
    let (policy, name, done) = incident.tasks.iter().find_map(stopping)?;
    let state = |state: &str| incident.fate.get(state).copied().filter(|at| *at >= done);
    // It is billed until its memory is written (EC2 User Guide, "Instance state changes", checked
    // 2026-11).
    let hibernates = name == ActionName::HibernateInstance;
    let from = state("stopped").filter(|_| hibernates).unwrap_or(done);
    let told = [state("running"), state("terminated")].into_iter().flatten().min();
    let next = next(from);
    let silent = heard.is_some_and(|heard| heard <= from.checked_add(LATE).unwrap_or(from));
    let (until, at_most) = match (told, name) {
        (_, ActionName::TerminateInGroup) => (from, now),
        (Some(told), _) => (told, told),
        (None, _) if next.is_none() && silent => (now, now),
        (None, _) => (from, next.unwrap_or(now)),
    };
    let machine = incident.machine.clone().unwrap_or_default();
    Some(Stop {
        kind: machine.kind,
        region: machine.region,
        zone: machine.zone,
        spot: machine.lifecycle.as_deref() == Some("spot"),
        policy,
        from,
        until,
        at_most,
    })
}

/// The policy and the action of a task that took an instance away, and when it was done.
fn stopping(task: &Task) -> Option<(String, ActionName, Timestamp)> {
    let (name, config) = task.action()?;
    if config.get("dry_run") == Some(&Value::Bool(true)) {
        return None;
    }
    let stops =
        [ActionName::StopInstance, ActionName::HibernateInstance, ActionName::TerminateInGroup];
    match (&task.what, &task.state) {
        (What::Action { policy, .. }, TaskState::Done { at, .. }) if stops.contains(&name) => {
            Some((policy.clone().unwrap_or_else(|| "-".to_owned()), name, *at))
        }
        _ => None,
    }
}

/// What lies between two moments; nothing where that is too short to save anything.
fn cut(stop: Stop, since: Timestamp, now: Timestamp) -> Option<Stop> {
    let within = |moment: Timestamp| moment.clamp(since.min(now), now);
    let (from, at_most) = (within(stop.from), within(stop.at_most));
    let length = |until: Timestamp| Duration::try_from(until.duration_since(stop.from));
    let counts = |until| length(until).is_ok_and(|length| length >= MINIMUM);
    if !counts(stop.at_most) || at_most <= from {
        return None;
    }
    let until = if counts(stop.until) { within(stop.until) } else { from };
    Some(Stop { from, until, at_most, ..stop })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::super::super::ledger::samples;
    use super::super::samples::{at, idle};
    use super::*;

    #[test]
    fn a_stop_lasts_until_the_instance_runs_again() {
        check(
            &[idle(json!({ "fate": { "stopped": "2026-11-20T10:01:00Z",
                "running": "2026-11-21T09:00:00Z" } }))],
            None,
            expect![[r#"
                nights m5.large 2026-11-20T10:00:30Z to 2026-11-21T09:00:00Z
            "#]],
        );
    }

    #[test]
    fn hibernation_is_billed_until_the_memory_is_written() {
        let fate = json!({ "stopped": "2026-11-20T10:04:00Z", "running": "2026-11-20T11:00:00Z" });
        check(
            &[of_action("hibernate-instance", fate)],
            None,
            expect![[r#"
                nights m5.large 2026-11-20T10:04:00Z to 2026-11-20T11:00:00Z
            "#]],
        );
    }

    #[test]
    fn an_instance_that_nobody_heard_of_since_is_still_stopped() {
        let stopped = [idle(json!({}))];
        let silent = Some("2026-11-20T10:00:40Z");
        check(
            &stopped,
            silent,
            expect![[r#"
            nights m5.large 2026-11-20T10:00:30Z to 2026-11-21T12:00:00Z
        "#]],
        );
        for heard in [None, Some("2026-11-21T08:00:00Z")] {
            check(
                &stopped,
                heard,
                expect![[r#"
                nights m5.large 2026-11-20T10:00:30Z to 2026-11-20T10:00:30Z, at most to 2026-11-21T12:00:00Z
            "#]],
            );
        }
    }

    #[test]
    fn what_comes_next_of_an_instance_ends_what_is_possible() {
        let again = idle(json!({ "opened_at": "2026-11-20T20:00:00Z", "tasks": [] }));
        check(
            &[again, idle(json!({}))],
            None,
            expect![[r#"
            nights m5.large 2026-11-20T10:00:30Z to 2026-11-20T10:00:30Z, at most to 2026-11-20T20:00:00Z
        "#]],
        );
    }

    #[test]
    fn what_a_group_does_after_it_lost_a_member_is_never_known() {
        check(
            &[of_action("terminate-in-group", json!({ "terminated": "2026-11-20T10:03:00Z" }))],
            Some("2026-11-20T10:00:00Z"),
            expect![[r#"
                nights m5.large 2026-11-20T10:00:30Z to 2026-11-20T10:00:30Z, at most to 2026-11-21T12:00:00Z
            "#]],
        );
    }

    #[test]
    fn drills_failures_losses_and_stops_of_less_than_a_minute_save_nothing() {
        let running = |time: &str| json!({ "fate": { "running": time } });
        let failed =
            json!({ "is": "failed", "at": "2026-11-20T10:00:30Z", "error": "x", "text": "" });
        check(
            &[
                idle(json!({ "drill": true })),
                idle(running("2026-11-20T10:01:29Z")),
                samples::done(json!({})),
                idle(json!({ "tasks": [{ "id": "nights/stop-instance", "state": failed,
                    "what": { "action": { "policy": "nights", "name": "stop-instance",
                        "on_outcome": true, "config": {} } } }] })),
            ],
            None,
            expect![[""]],
        );
        let dry = json!({ "policy": "nights", "name": "stop-instance", "on_outcome": true,
            "config": { "dry_run": true } });
        let dry =
            idle(json!({ "tasks": [{ "id": "nights/stop-instance", "what": { "action": dry },
            "state": { "is": "done", "at": "2026-11-20T10:00:30Z", "text": "" } }] }));
        assert_eq!(stops(&[dry], &BTreeMap::new(), window()), []);
        let minute = idle(running("2026-11-20T10:01:30Z"));
        assert_eq!(stops(&[minute], &BTreeMap::new(), window()).len(), 1);
    }

    #[test]
    fn only_what_lies_in_the_window_counts() {
        let fate = json!({ "running": "2026-11-20T22:00:00Z" });
        let known = [idle(json!({ "fate": fate }))];
        let found = stops(&known, &BTreeMap::new(), (at("2026-11-20T21:00:00Z"), window().1));
        assert_eq!(told(&found), "nights m5.large 2026-11-20T21:00:00Z to 2026-11-20T22:00:00Z\n");
        let after = (at("2026-11-20T23:00:00Z"), window().1);
        assert_eq!(stops(&known, &BTreeMap::new(), after), []);
    }

    #[test]
    fn losses_are_counted_by_cause_and_drills_are_not() {
        let known = [
            samples::done(json!({})),
            samples::done(json!({ "drill": true })),
            samples::troubled(),
            samples::done(json!({ "ended": null })),
            idle(json!({})),
        ];
        let spot = Losses { all: 3, saved: 1 };
        assert_eq!(losses(&known, at("2026-11-01T00:00:00Z")), [("spot".to_owned(), spot)].into());
        assert_eq!(losses(&known, at("2026-11-22T00:00:00Z")), BTreeMap::new());
    }

    fn of_action(name: &str, fate: Value) -> Incident {
        idle(json!({ "fate": fate, "tasks": [{ "id": format!("nights/{name}"),
            "what": { "action": { "policy": "nights", "name": name, "on_outcome": true,
                "config": {} } },
            "state": { "is": "done", "at": "2026-11-20T10:00:30Z", "text": "" } }] }))
    }

    fn window() -> (Timestamp, Timestamp) {
        (at("2026-11-01T00:00:00Z"), at("2026-11-21T12:00:00Z"))
    }

    fn check(known: &[Incident], heard: Option<&str>, expected: Expect) {
        let heard = heard.map(|heard| ("i-0a1b2c3d4e5f60718".to_owned(), at(heard)));
        let found = stops(known, &heard.into_iter().collect(), window());
        expected.assert_eq(&told(&found));
    }

    fn told(stops: &[Stop]) -> String {
        let line = |stop: &Stop| {
            let kind = stop.kind.as_deref().unwrap_or("-");
            let mut line = format!("{} {kind} {} to {}", stop.policy, stop.from, stop.until);
            if stop.at_most != stop.until {
                line.push_str(&format!(", at most to {}", stop.at_most));
            }
            line + "\n"
        };
        stops.iter().map(line).collect()
    }
}
