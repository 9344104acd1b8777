//! Scenarios of incidents in the cloud, and a walk with kills at every point.

use std::collections::BTreeSet;
use std::fmt::Write;

use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use snooze_event::{Cause, Event, EventType, LossAction};

use super::*;
use crate::samples::{ORDERS_DB, policy, spot};

#[test]
fn a_notice_tells_the_instance_and_the_operators_and_waits() {
    let mut incident = open(&spot());
    check(
        &incident,
        expect![[r#"
            open, look at 10:00:21
            command pending
            orders-db/notify pending
            orders-db/complete-lifecycle waiting
        "#]],
    );
    assert_eq!(incident.due(), [Send::Command, order("orders-db/notify")]);
    incident.sent(COMMAND, at(2));
    incident.sent("orders-db/notify", at(2));
    assert!(incident.due().is_empty());
    assert_eq!(incident.hops.get("commanded"), Some(&at(2)));
    assert!(incident.plan.iter().any(|line| line.contains("orders-db/postgres-flusher")));
}

#[test]
fn d17_an_outcome_of_the_instance_is_final_and_releases_what_waited() {
    let mut incident = open(&spot());
    incident.report(&report(None), at(5));
    assert!(incident.ended.is_none() && incident.steps.len() == 1);
    incident.report(&report(Some("done")), at(40));
    incident.report(&report(Some("failed")), at(41));
    check(
        &incident,
        expect![[r#"
            done by Instance, look at 10:00:21
            command pending
            orders-db/notify pending
            orders-db/complete-lifecycle pending
        "#]],
    );
}

#[test]
fn a_sweep_ends_what_nobody_told_of_and_the_instance_may_still_tell() {
    let mut incident = open(&spot());
    for send in incident.due() {
        incident.sent(send.task(), at(1));
    }
    assert!(!incident.mend(at(179)));
    assert!(incident.mend(at(180)));
    assert_eq!(incident.ended.as_ref().unwrap().outcome, "unknown");
    incident.report(&report(Some("done")), at(600));
    let ended = incident.ended.as_ref().unwrap();
    assert_eq!((ended.outcome.as_str(), ended.by), ("done", By::Instance));
    assert_eq!(incident.hops.get("finished"), Some(&at(30)), "the original time");
}

#[test]
fn what_takes_the_instance_away_waits_until_all_is_saved() {
    let text = r#"{"name":"teardown","match":{"type":["trigger.teardown"]},
        "handlers":[{"plugin":"redis-flusher"}],
        "actions":[{"action":"stop-instance","when":"outcome"},
                   {"action":"notify","when":"outcome"}]}"#;
    for (outcome, stop) in [("done", true), ("partial", false), ("unknown", false)] {
        let event = Event { kind: EventType::TriggerTeardown, cause: None, ..spot() };
        let mut incident = opened(&event, &shelf(&[text]));
        incident.report(&report(Some(outcome)), at(30));
        let due = incident.due();
        assert_eq!(due.contains(&order("teardown/stop-instance")), stop, "{outcome}");
        assert!(due.contains(&order("teardown/notify")), "{outcome}");
    }
}

#[test]
fn an_idle_instance_is_stopped_at_once_where_nothing_is_to_be_saved() {
    let mut incident = opened(&idle(), &shelf(&[&idle_policy("")]));
    check(
        &incident,
        expect![[r#"
            done by Dispatch, look at 10:00:21
            idle/stop-instance pending
            idle/notify pending
        "#]],
    );
    assert!(incident.is_idle() && incident.stopped_at().is_none());
    let machine = incident.machine.clone().unwrap();
    assert_eq!((machine.kind.as_deref(), machine.boot.as_deref()), (Some("m7g.large"), Some("b1")));
    // EC2 tells of the stop before it is written down, and later that the instance is back.
    assert!(!incident.is_own_stop(at(5)));
    incident.sent("idle/stop-instance", at(2));
    incident.take("idle/stop-instance", "a", at(3));
    assert!(incident.is_own_stop(at(5)));
    assert!(!incident.back(at(5)), "it was not stopped");
    incident.finish("idle/stop-instance", "a", Finish::Done("stops".to_owned()), at(4));
    assert!(incident.is_own_stop(at(600)) && !incident.is_own_stop(at(605)));
    assert!(!incident.back(at(3)), "that was before");
    assert!(incident.back(at(3600)) && !incident.back(at(3700)));
    assert_eq!(incident.back_at(), Some(at(3600)));
    // It says hello, twice: its tags are set right once.
    assert!(incident.task(RUNNING).is_none());
    incident.greeted();
    incident.greeted();
    assert_eq!(incident.due().iter().filter(|due| **due == order(RUNNING)).count(), 1);
    assert!(!incident.is_own_stop(at(5)), "the next stop is another one");
}

#[test]
fn what_an_idle_instance_holds_is_saved_before_it_is_stopped() {
    let handlers = r#""handlers":[{"plugin":"redis-flusher"}],"#;
    for (outcome, stops) in [("done", true), ("partial", false), ("failed", false)] {
        let mut incident = opened(&idle(), &shelf(&[&idle_policy(handlers)]));
        check(
            &incident,
            expect![[r#"
                open, look at 10:00:21
                command pending
                idle/stop-instance waiting
                idle/notify pending
            "#]],
        );
        incident.report(&report(Some(outcome)), at(30));
        let due = incident.due();
        assert_eq!(due.contains(&order("idle/stop-instance")), stops, "{outcome}");
        // That it is not stopped is told.
        assert_eq!(due.contains(&order(OPERATORS)), !stops, "{outcome}");
    }
    let mut incident = opened(&idle(), &shelf(&[&idle_policy(handlers)]));
    assert!(incident.mend(at(1000)), "nobody told how it ended");
    assert!(incident.due().contains(&order(OPERATORS)));
    assert!(!incident.due().contains(&order("idle/stop-instance")));
}

#[test]
fn one_spell_of_idleness_is_one_incident_an_hour() {
    let first = idle();
    let mut beat = Event { time: at(300), id: "e-9".parse().unwrap(), ..idle() };
    assert_eq!(claim(&first), claim(&beat));
    assert_eq!(claim(&first).key, "i-0123456789abcdef0/idle/20260301T093000Z");
    assert_eq!(claim(&first).window, std::time::Duration::from_secs(3600));
    beat.data.insert("since".to_owned(), json!("2026-03-01T09:55:00Z"));
    assert_ne!(claim(&first).key, claim(&beat).key);
}

#[test]
fn who_was_told_of_an_idleness_is_not_told_again() {
    let waits = r#""actions":[{"action":"notify","when":"outcome"},"#;
    let policy = idle_policy(r#""handlers":[{"plugin":"redis-flusher"}],"#);
    let policy = policy.replace(r#""actions":["#, waits);
    let mut incident = opened(&idle(), &shelf(&[&policy]));
    incident.repeats();
    let state = |id: &str| incident.task(id).unwrap().state.clone();
    assert!(matches!(state("idle/notify#2"), TaskState::Skipped { .. }));
    // How it ends was not told before.
    assert_eq!(state("idle/notify"), TaskState::Waiting);
    assert_eq!(state("idle/stop-instance"), TaskState::Waiting);
    assert!(matches!(state(COMMAND), TaskState::Pending { .. }));
}

/// An instance that is idle for half an hour.
fn idle() -> Event {
    let data = json!({ "since": "2026-03-01T09:30:00Z", "naptime_minutes": 30, "boot_id": "b1" });
    Event {
        kind: EventType::InstanceIdle,
        source: "cloudsnooze.shim".to_owned(),
        cause: None,
        action: None,
        deadline: None,
        data: data.as_object().cloned().unwrap(),
        ..spot()
    }
}

fn idle_policy(handlers: &str) -> String {
    format!(
        r#"{{"name":"idle","match":{{"type":["instance.idle"]}},{handlers}
            "actions":[{{"action":"stop-instance"}},{{"action":"notify"}}]}}"#
    )
}

#[test]
fn a_drill_tells_and_does_nothing_else() {
    let event = Event { drill: true, ..hook_event() };
    check(
        &open(&event),
        expect![[r#"
            open, look at 10:00:21
            command pending
            orders-db/notify pending
            orders-db/complete-lifecycle skipped: a drill
            heartbeat skipped: a drill
        "#]],
    );
}

#[test]
fn a_hook_gets_heartbeats_from_the_start_until_the_outcome() {
    let mut incident = open(&hook_event());
    assert!(incident.due().contains(&order(HEARTBEAT)));
    assert_eq!(incident.deadline, Some(at(120)));
    incident.sent(HEARTBEAT, at(1));
    assert_eq!(incident.take(HEARTBEAT, "a", at(1)), Take::Go);
    incident.finish(HEARTBEAT, "a", Finish::Beaten, at(2));
    let hook = incident.hook.clone().unwrap();
    assert_eq!((hook.beat().as_secs(), hook.beat_at), (30, Some(at(2))));
    // The message with the next heartbeat was lost: the sweep sends one.
    assert!(incident.mend(at(60)));
    assert!(incident.due().contains(&order(HEARTBEAT)));
    incident.report(&report(Some("failed")), at(70));
    assert!(!incident.due().contains(&order(HEARTBEAT)));
    assert!(incident.due().contains(&order("orders-db/complete-lifecycle")));
}

#[test]
fn d2_d13_an_event_of_yesterday_changes_nothing() {
    let stale = Event { time: at(-121), ..spot() };
    let gone = Event { deadline: Some(at(0)), cause: Some(Cause::StateChange), ..spot() };
    let replayed = Event { replay: Some("march".to_owned()), ..spot() };
    for event in [stale, gone, replayed] {
        let incident = open(&event);
        assert!(incident.due().is_empty() && !incident.is_open(), "{incident:?}");
        assert_eq!(incident.ended.unwrap().outcome, "expired");
    }
}

#[test]
fn d8_without_policies_the_instance_is_still_told() {
    let rebalance = Event { kind: EventType::SpotRebalance, cause: None, ..spot() };
    for event in [spot(), rebalance] {
        let incident = opened(&event, &Shelf::default());
        assert!(incident.due().contains(&Send::Command), "{:?}", event.kind);
        assert_eq!(incident.policies, None);
    }
}

#[test]
fn signals_of_one_loss_have_one_claim() {
    let claims = |event: &Event| claim(event).key;
    let (one, other) = (spot(), Event { id: "e-2".parse().unwrap(), ..spot() });
    assert_eq!(claims(&one), "i-0123456789abcdef0/spot/terminate");
    assert_eq!(claims(&one), claims(&other));
    let stop = Event { action: Some(LossAction::Stop), ..spot() };
    let drill = Event { drill: true, ..spot() };
    let custom = Event { cause: None, action: None, ..spot() };
    let keys = [claims(&one), claims(&stop), claims(&drill), claims(&hook_event())];
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 4, "{keys:?}");
    assert_eq!(claims(&hook_event()), format!("lifecycle/{TOKEN}"));
    assert_eq!(claims(&custom), "i-0123456789abcdef0/event/e-1");
    assert_eq!(claim(&one).id(at(0)), "i-0123456789abcdef0/spot/terminate/20260301T100000Z");
}

#[test]
fn a_second_signal_is_noted_and_starts_nothing() {
    let mut incident = open(&spot());
    let tasks = incident.tasks.clone();
    for number in 0..50 {
        let id = format!("e-{number}").parse().unwrap();
        incident.join(&Event { id, deadline: Some(at(100)), ..spot() }, at(3));
    }
    assert_eq!((incident.tasks, incident.signals.len()), (tasks, 20));
    assert_eq!(incident.deadline, Some(at(100)));
}

#[test]
fn a_task_is_held_by_one_attempt_at_a_time() {
    let mut incident = open(&spot());
    let task = "orders-db/notify";
    assert_eq!(incident.take(task, "one", at(1)), Take::Go);
    assert_eq!(incident.take(task, "one", at(2)), Take::Go, "its own answer was lost");
    assert!(matches!(incident.take(task, "two", at(2)), Take::Busy(_)));
    assert_eq!(incident.take(task, "two", at(30)), Take::Go, "the first one was killed");
    let failed = Finish::Failed { error: "Denied".to_owned(), text: String::new() };
    incident.finish(task, "one", failed, at(31));
    assert!(!incident.task(task).unwrap().state.is_over(), "it was taken over");
    incident.finish(task, "two", Finish::Done("sent".to_owned()), at(32));
    assert_eq!(incident.take(task, "three", at(99)), Take::Over);
    assert_eq!(incident.take("nothing", "x", at(1)), Take::Over);
    assert_eq!(incident.take("orders-db/complete-lifecycle", "x", at(1)), Take::Over);
}

#[test]
fn an_incident_reads_back_as_it_was_written() {
    let mut incident = open(&hook_event());
    incident.report(&report(Some("done")), at(40));
    incident.fated("terminated", at(90));
    let text = serde_json::to_string(&incident).unwrap();
    assert_eq!(serde_json::from_str::<Incident>(&text).unwrap(), incident);
    assert_eq!(incident.told().unwrap().deadline, incident.deadline);
}

/// What a walk does to an incident; each stands for a function that may be killed before it
/// writes, after it sent, or come twice.
#[derive(Debug, Clone)]
enum Move {
    FanOut { killed_after: usize },
    Perform { task: usize, killed: bool, again: bool },
    Signal,
    Report { outcome: usize },
    Sweep,
    Wait(i64),
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        (0_usize..8).prop_map(|killed_after| Move::FanOut { killed_after }),
        (0_usize..5, any::<bool>(), any::<bool>())
            .prop_map(|(task, killed, again)| Move::Perform { task, killed, again }),
        Just(Move::Signal),
        (0_usize..3).prop_map(|outcome| Move::Report { outcome }),
        Just(Move::Sweep),
        (1_i64..90).prop_map(Move::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever is killed, once the sweep and the workers have had their way each task is over,
    /// and none succeeded twice.
    #[test]
    fn d1_whoever_is_killed_each_task_is_done_once_in_the_end(
        walk in proptest::collection::vec(moves(), 0..40),
    ) {
        let mut incident = open(&hook_event());
        let (mut now, mut attempt) = (1_i64, 0_u32);
        let mut successes: Vec<String> = Vec::new();
        let last = (0..20).flat_map(|_| {
            [Move::Wait(200), Move::Sweep, Move::FanOut { killed_after: 9 }]
                .into_iter()
                .chain((0..5).map(|task| Move::Perform { task, killed: false, again: false }))
        });
        for step in walk.into_iter().chain(last) {
            match step {
                Move::Wait(seconds) => now += seconds,
                Move::Signal => incident.join(&spot(), at(now)),
                Move::Sweep => drop(incident.mend(at(now))),
                Move::Report { outcome } => {
                    let word = ["done", "failed", "partial"].get(outcome).copied();
                    incident.report(&report(word), at(now));
                }
                Move::FanOut { killed_after } => {
                    let due = incident.due();
                    if due.len() <= killed_after {
                        for send in due {
                            incident.sent(send.task(), at(now));
                        }
                    }
                }
                Move::Perform { task, killed, again } => {
                    let id = incident.tasks[task % incident.tasks.len()].id.clone();
                    attempt += 1;
                    let name = attempt.to_string();
                    if incident.take(&id, &name, at(now)) != Take::Go || killed {
                        continue;
                    }
                    let finish = match (again, id.as_str()) {
                        (true, _) => Finish::Again { error: "Later".to_owned(), text: String::new() },
                        (false, HEARTBEAT) => Finish::Beaten,
                        (false, _) => Finish::Done(String::new()),
                    };
                    if matches!(finish, Finish::Done(_)) {
                        successes.push(id.clone());
                    }
                    incident.finish(&id, &name, finish, at(now));
                }
            }
            let text = serde_json::to_string(&incident).unwrap();
            incident = serde_json::from_str(&text).unwrap();
        }
        let once: BTreeSet<&String> = successes.iter().collect();
        prop_assert_eq!(once.len(), successes.len(), "{:?}", successes);
        prop_assert!(!incident.is_open(), "{}", printed(&incident));
        prop_assert_eq!(incident.look_at(), None);
    }
}

const TOKEN: &str = "87654321-4321-4321-4321-210987654321";

fn hook_event() -> Event {
    let data = json!({ "LifecycleActionToken": TOKEN, "AutoScalingGroupName": "orders",
        "LifecycleHookName": "save", "EC2InstanceId": "i-0123456789abcdef0" });
    Event {
        kind: EventType::InstanceTermination,
        cause: Some(Cause::Lifecycle),
        deadline: None,
        data: data.as_object().cloned().unwrap(),
        ..spot()
    }
}

fn report(outcome: Option<&str>) -> Report {
    let report = json!({ "incident": "i-0123456789abcdef0/b/spot/terminate",
        "event": "cloud.spot.interrupt", "outcome": outcome, "text": "2 of 2 steps done",
        "hops": { "received": at(1), "started": at(1), "finished": at(30) },
        "steps": [{ "step": "orders-db/postgres-flusher", "outcome": "done" }] });
    serde_json::from_value(report).unwrap()
}

fn open(event: &Event) -> Incident {
    opened(event, &shelf(&[ORDERS_DB]))
}

fn opened(event: &Event, shelf: &Shelf) -> Incident {
    let tags = [("role".to_owned(), "orders-db".to_owned())].into();
    let facts = Facts { kind: Some("m7g.large".to_owned()), tags, ..Facts::default() };
    let opening = Opening {
        event,
        facts: Some(&facts),
        shelf,
        hook_timeout: Some(Duration::from_secs(60)),
        lifecycle_budget: Duration::from_secs(120),
    };
    Incident::open("incident", opening, at(1))
}

fn shelf(texts: &[&str]) -> Shelf {
    let policies = texts.iter().map(|text| policy(text)).collect();
    Shelf { version: Some(7), policies, faults: Vec::new() }
}

fn order(task: &str) -> Send {
    Send::Order(task.to_owned())
}

fn at(seconds: i64) -> Timestamp {
    let start: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
    start + SignedDuration::from_secs(seconds)
}

fn check(incident: &Incident, expected: Expect) {
    expected.assert_eq(&printed(incident));
}

fn printed(incident: &Incident) -> String {
    let mut text = match &incident.ended {
        None => "open".to_owned(),
        Some(ended) => format!("{} by {:?}", ended.outcome, ended.by),
    };
    if let Some(look) = incident.look_at() {
        write!(text, ", look at {}", look.strftime("%H:%M:%S")).unwrap();
    }
    text.push('\n');
    for task in &incident.tasks {
        let state = match &task.state {
            TaskState::Waiting => "waiting".to_owned(),
            TaskState::Pending { .. } => "pending".to_owned(),
            TaskState::Sent { .. } => "sent".to_owned(),
            TaskState::Running { attempt, .. } => format!("running {attempt}"),
            TaskState::Done { .. } => "done".to_owned(),
            TaskState::Failed { error, .. } => format!("failed: {error}"),
            TaskState::Skipped { text } => format!("skipped: {text}"),
        };
        writeln!(text, "{} {state}", task.id).unwrap();
    }
    text
}
