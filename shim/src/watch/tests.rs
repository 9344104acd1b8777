//! Scenarios: signals, outcomes and times in, a transcript out. The instance's clocks start at
//! zero seconds; times in transcripts are seconds since then.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use jiff::ToSpan;

use super::*;
use crate::record::{Ending, Outcome};

const BOOT: &str = "11111111-2222-3333-4444-555555555555";
const INSTANCE: &str = "i-0a1b2c3d4e5f60718";

/// High priority 100, middle 50, low 10; the middle one may be repeated.
const ORDERS: &str = r#"{
    "name": "orders",
    "match": { "type": ["cloud.spot.interrupt", "cloud.instance.termination"] },
    "handlers": [
        { "plugin": "flush", "priority": 100, "timeout_seconds": 30 },
        { "plugin": "copy", "priority": 50, "timeout_seconds": 60, "repeatable": true },
        { "plugin": "tell", "priority": 10, "timeout_seconds": 10 }
    ]
}"#;

struct Scene {
    watch: Watch,
    start: Now,
    now: Now,
    journal: Vec<Entry>,
    transcript: String,
    runs: BTreeMap<String, u64>,
}

impl Scene {
    fn new(policies: &[&str]) -> Self {
        let start = Now { wall: "2026-03-14T09:26:53Z".parse().unwrap(), boot: Duration::ZERO };
        let mut scene = Self {
            watch: Watch::new(facts(), BOOT.parse().unwrap(), Limits::default()),
            start,
            now: start,
            journal: Vec::new(),
            transcript: String::new(),
            runs: BTreeMap::new(),
        };
        scene.watch.on(Input::Policies(read(policies)), start);
        scene
    }

    fn at(&mut self, seconds: u64) -> &mut Self {
        self.now.boot = self.start.boot + Duration::from_secs(seconds);
        self.now.wall = self.start.wall + Duration::from_secs(seconds);
        self
    }

    fn on(&mut self, input: Input) -> &mut Self {
        let effects = self.watch.on(input, self.now);
        self.note(effects);
        self
    }

    fn tick(&mut self) -> &mut Self {
        self.on(Input::Tick)
    }

    fn heard(&mut self, event: Event) -> &mut Self {
        self.on(Input::Heard { event: Box::new(event), channel: Channel::Metadata })
    }

    fn commanded(&mut self, event: Event) -> &mut Self {
        self.on(Input::Heard { event: Box::new(event), channel: Channel::Command })
    }

    /// Told by a command that belongs to an incident in the cloud.
    fn ordered(&mut self, event: Event, by: &str) -> &mut Self {
        let by = Some(IncidentKey::stored(by));
        self.on(Input::Commanded { event: Box::new(event), by })
    }

    /// The bus took what is unreported.
    fn reported(&mut self) -> &mut Self {
        for (incident, told) in self.unreported() {
            self.on(Input::Reported { incident, told });
        }
        self
    }

    fn unreported(&self) -> Vec<(IncidentKey, usize)> {
        let known = self.watch.incidents().filter(|known| known.is_unreported());
        known.map(|known| (known.key.clone(), known.told_by.len())).collect()
    }

    fn end(&mut self, step: &str, kind: Ending) -> &mut Self {
        let run = self.runs.remove(step).unwrap_or_else(|| panic!("{step} does not run"));
        self.on(Input::Ended { run, outcome: Box::new(StepOutcome::plain(kind, "")) })
    }

    /// SIGKILL: all that is left is the journal.
    fn restart(&mut self, boot: &str) -> &mut Self {
        let policies = self.watch.policies().to_vec();
        self.watch = Watch::new(facts(), boot.parse().unwrap(), Limits::default());
        self.watch.on(Input::Policies(policies), self.now);
        self.runs.clear();
        let effects = self.watch.restore(&self.journal.clone(), self.now);
        self.transcript.push_str("-- restart\n");
        self.note(effects);
        self
    }

    fn note(&mut self, effects: Vec<Effect>) {
        let at = self.now.boot.as_secs();
        for effect in effects {
            let line = match effect {
                Effect::Write(entry) => {
                    let line = written(&entry);
                    self.journal.push(entry);
                    line
                }
                Effect::Start(start) => {
                    self.runs.insert(start.step.to_string(), start.run);
                    continue;
                }
                Effect::Shorten { left, .. } => format!("shorten to {}s", left.as_secs()),
                Effect::Ignored { why, .. } => format!("ignored: {why}"),
                Effect::Exit => "exit".to_owned(),
            };
            writeln!(self.transcript, "{at} {line}").unwrap();
        }
    }

    fn check(&self, expected: Expect) {
        expected.assert_eq(&self.transcript);
    }

    /// How often each step was started.
    fn starts(&self) -> BTreeMap<String, usize> {
        let mut starts = BTreeMap::new();
        for entry in &self.journal {
            if let Record::Started { step, .. } = &entry.record {
                *starts.entry(step.clone()).or_default() += 1;
            }
        }
        starts
    }
}

fn written(entry: &Entry) -> String {
    let key: Vec<&str> = entry.incident.splitn(3, '/').collect();
    let key = key[2];
    match &entry.record {
        Record::Opened { due_ms, steps, .. } => {
            let due = due_ms.map_or("no deadline".to_owned(), |due| format!("due {}s", due / 1000));
            format!("{key} opened, {due}, {} steps", steps.len())
        }
        Record::Joined { key: joined, due_ms, steps } => {
            let joined = joined.splitn(3, '/').last().unwrap();
            let due = due_ms.map_or("no deadline".to_owned(), |due| format!("due {}s", due / 1000));
            format!("{key} joined by {joined}, {due}, {} steps", steps.len())
        }
        Record::Seen => format!("{key} still seen"),
        Record::Started { step, attempt, budget_ms } => {
            let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
            format!("start {step} for {}s{again}", budget_ms / 1000)
        }
        Record::Ended { step, outcome } => {
            let text = if outcome.text.is_empty() { "" } else { ": " };
            format!("{step} {}{text}{}", outcome.kind.as_str(), outcome.text)
        }
        Record::Cancelled => format!("{key} called off"),
        Record::Closed { outcome, text } => format!("{key} {}: {text}", outcome.as_str()),
        Record::Survived => format!("{key} survived"),
        Record::Told { by } => format!("{key} told by {by}"),
        Record::Reported { told } => format!("{key} reported with {told}"),
    }
}

fn facts() -> Facts {
    Facts {
        id: Some(INSTANCE.parse().unwrap()),
        account: Some("123456789012".to_owned()),
        region: Some("eu-west-1".to_owned()),
        ..Facts::default()
    }
}

fn read(policies: &[&str]) -> Vec<Policy> {
    policies.iter().map(|text| snooze_policy::check(text).unwrap()).collect()
}

/// An event that is told at `at` and takes the instance away at `deadline`, in seconds.
fn loss(cause: Cause, action: &str, at: i64, deadline: Option<i64>) -> Event {
    let start: Timestamp = "2026-03-14T09:26:53Z".parse().unwrap();
    let kind = match cause {
        Cause::Spot => EventType::SpotInterrupt,
        Cause::Lifecycle | Cause::Maintenance | Cause::StateChange => {
            EventType::InstanceTermination
        }
    };
    let id = format!("event-{at}").parse().unwrap();
    Event {
        instance: Some(INSTANCE.parse().unwrap()),
        deadline: deadline.map(|deadline| start + deadline.seconds()),
        cause: Some(cause),
        action: Some(LossAction::of(action)),
        ..Event::new(kind, "test", start + at.seconds(), id)
    }
}

fn spot(at: i64) -> Event {
    loss(Cause::Spot, "terminate", at, Some(120))
}

#[test]
fn a_notice_runs_the_handlers_by_priority_and_ends_in_one_outcome() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.heard(spot(0)).at(4).end("orders/flush", Ending::Done);
    scene.at(20).end("orders/copy", Ending::Done).at(21).end("orders/tell", Ending::Done);
    scene.check(expect![[r#"
        0 spot/terminate opened, due 120s, 3 steps
        0 start orders/flush for 30s
        4 orders/flush done
        4 start orders/copy for 60s
        20 orders/copy done
        20 start orders/tell for 10s
        21 orders/tell done
        21 spot/terminate done: 3 done
    "#]]);
}

#[test]
fn one_loss_is_one_incident_however_often_it_is_seen() {
    let mut scene = Scene::new(&[ORDERS]);
    for second in 0..=100 {
        scene.at(second).heard(spot(0));
        if second == 3 {
            scene.end("orders/flush", Ending::Done).end("orders/copy", Ending::Done);
            scene.end("orders/tell", Ending::Done);
        }
    }
    assert_eq!(scene.starts().values().sum::<usize>(), 3);
}

#[test]
fn a_stop_notice_fires_as_a_terminate_notice_does() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.heard(loss(Cause::Spot, "stop", 0, Some(120)));
    scene.check(expect![[r#"
             0 spot/stop opened, due 120s, 3 steps
             0 start orders/flush for 30s
    "#]]);
}

#[test]
fn a_time_that_slides_from_answer_to_answer_is_the_same_loss() {
    let mut scene = Scene::new(&[ORDERS]);
    for second in 0..=1000 {
        let notice = loss(Cause::Spot, "terminate", 0, Some(120 + i64::try_from(second).unwrap()));
        scene.at(second).heard(notice);
        if second == 2 {
            scene.end("orders/flush", Ending::Done).end("orders/copy", Ending::Done);
            scene.end("orders/tell", Ending::Done);
        }
    }
    let opened = scene.journal.iter().filter(|e| matches!(e.record, Record::Opened { .. }));
    assert_eq!(opened.count(), 1);
}

#[test]
fn a_notice_that_comes_before_the_instance_is_known_is_no_other_loss_after() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.watch = Watch::new(Facts::default(), BOOT.parse().unwrap(), Limits::default());
    scene.watch.on(Input::Policies(read(&[ORDERS])), scene.now);
    scene.heard(Event { instance: None, ..spot(0) }).on(Input::Facts(Box::new(facts())));
    scene.end("orders/flush", Ending::Done).end("orders/copy", Ending::Done);
    scene.end("orders/tell", Ending::Done).at(1).heard(spot(0));
    assert_eq!(scene.watch.incidents().count(), 1);
}

#[test]
fn a6_a_notice_that_disappears_and_comes_again_is_the_same_loss() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.heard(spot(0)).at(1).on(Input::Gone(Cause::Spot)).at(2).heard(spot(0));
    scene.end("orders/flush", Ending::Done);
    scene.check(expect![[r#"
             0 spot/terminate opened, due 120s, 3 steps
             0 start orders/flush for 30s
             2 orders/flush done
             2 start orders/copy for 60s
    "#]]);
}

#[test]
fn an_auto_scaling_state_read_for_minutes_starts_handlers_once() {
    let mut scene = Scene::new(&[ORDERS]);
    for second in 0..=400 {
        scene.at(second).heard(loss(Cause::Lifecycle, "terminate", 0, None));
        if second == 5 {
            scene.end("orders/flush", Ending::Done).end("orders/copy", Ending::Done);
            scene.end("orders/tell", Ending::Done);
        }
    }
    assert_eq!(scene.starts().values().copied().collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn c1_two_channels_in_any_order_and_gap_make_one_plan() {
    for gap in [0, 1, 30, 60, 119] {
        for metadata_first in [true, false] {
            let mut scene = Scene::new(&[ORDERS]);
            let metadata = spot(0);
            let command = Event { id: "other".parse().unwrap(), ..spot(0) };
            match metadata_first {
                true => scene.heard(metadata).at(gap).commanded(command),
                false => scene.commanded(command).at(gap).heard(metadata),
            };
            assert_eq!(scene.starts().len(), 1, "gap {gap}, metadata first: {metadata_first}");
        }
    }
}

#[test]
fn c2_twenty_copies_of_an_event_start_each_step_once() {
    let mut scene = Scene::new(&[ORDERS]);
    for copy in 0..20 {
        let id = if copy % 2 == 0 { "same".to_owned() } else { format!("copy-{copy}") };
        scene.commanded(Event { id: id.parse().unwrap(), ..spot(0) });
    }
    assert_eq!(scene.starts(), BTreeMap::from([("orders/flush".to_owned(), 1)]));
}

#[test]
fn c3_any_order_of_the_signals_of_one_loss_ends_the_same() {
    let signals = [
        loss(Cause::Lifecycle, "terminate", 0, None),
        spot(1),
        loss(Cause::StateChange, "terminate", 2, None),
        Event { id: "second".parse().unwrap(), ..spot(1) },
        loss(Cause::Maintenance, "reboot", 0, Some(300)),
    ];
    let mut ends = std::collections::BTreeSet::new();
    for order in permutations(&[0, 1, 2, 3, 4]) {
        let mut scene = Scene::new(&[ORDERS]);
        for (index, signal) in order.iter().enumerate() {
            scene.at(u64::try_from(index).unwrap()).heard(signals[*signal].clone());
        }
        for step in ["orders/flush", "orders/copy", "orders/tell"] {
            scene.at(10).end(step, Ending::Done);
        }
        let incidents: Vec<&Incident> = scene.watch.incidents().collect();
        assert_eq!(incidents.len(), 1, "{order:?}");
        ends.insert((scene.starts(), incidents[0].closed.as_ref().unwrap().text.clone()));
    }
    assert_eq!(ends.len(), 1, "{ends:?}");
}

fn permutations(of: &[usize]) -> Vec<Vec<usize>> {
    let Some((first, rest)) = of.split_first() else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for shorter in permutations(rest) {
        for place in 0..=shorter.len() {
            let mut longer = shorter.clone();
            longer.insert(place, *first);
            all.push(longer);
        }
    }
    all
}

#[test]
fn c4_a_stale_event_is_recorded_and_starts_nothing() {
    for age in [180, 3600, 86_400] {
        let mut scene = Scene::new(&[ORDERS]);
        scene.commanded(loss(Cause::Spot, "terminate", -age, Some(120 - age)));
        assert!(scene.starts().is_empty());
        let incident = scene.watch.incidents().next().unwrap();
        assert_eq!(incident.closed.as_ref().unwrap().outcome, Outcome::Expired);
    }
}

#[test]
fn c4_a_stale_event_hides_no_loss_and_undoes_nothing() {
    let policy = r#"{ "name": "p", "match": { "type": ["cloud.spot.interrupt"] },
        "handlers": [{ "plugin": "stop-jobs", "timeout_seconds": 10 }],
        "undo": [{ "plugin": "start-jobs", "timeout_seconds": 10 }] }"#;
    let mut scene = Scene::new(&[policy]);
    scene.commanded(loss(Cause::Spot, "terminate", -180, Some(-60)));
    scene.commanded(loss(Cause::Spot, "terminate", -180, Some(-60)));
    scene.at(100).tick();
    assert_eq!((scene.watch.incidents().count(), scene.starts().len()), (1, 0));
    scene.at(101).heard(loss(Cause::Spot, "terminate", 100, Some(220)));
    assert_eq!(scene.starts().keys().collect::<Vec<_>>(), ["p/stop-jobs"]);
    scene.at(102).commanded(loss(Cause::Spot, "terminate", -180, Some(-60)));
    assert_eq!(scene.watch.incidents().count(), 2);
}

#[test]
fn c5_maintenance_that_is_called_off_drops_what_has_not_begun() {
    let mut scene = Scene::new(&[ORDERS]);
    let window = || loss(Cause::Maintenance, "stop", 0, Some(900));
    scene.heard(window());
    scene.at(301).heard(window());
    scene.at(310).heard(Event { cancelled: true, ..window() });
    scene.at(320).end("orders/flush", Ending::Done);
    scene.check(expect![[r#"
           301 maintenance/stop opened, due 900s, 3 steps
           301 start orders/flush for 30s
           310 maintenance/stop called off
           310 orders/copy cancelled: called off before it began
           310 orders/tell cancelled: called off before it began
           320 orders/flush done
           320 maintenance/stop cancelled: 1 done, 2 cancelled
           320 maintenance/stop survived
    "#]]);
}

#[test]
fn c5_maintenance_that_is_called_off_leaves_a_spot_notice_alone() {
    let mut scene = Scene::new(&[ORDERS]);
    let window = || loss(Cause::Maintenance, "stop", 0, Some(600));
    scene.heard(window()).at(5).heard(spot(5)).at(6);
    scene.heard(Event { cancelled: true, ..window() }).on(Input::Gone(Cause::Maintenance));
    scene.at(7).end("orders/flush", Ending::Done);
    scene.check(expect![[r#"
        0 maintenance/stop opened, due 600s, 3 steps
        0 start orders/flush for 30s
        5 maintenance/stop joined by spot/terminate, due 120s, 0 steps
        5 shorten to 110s
        6 ignored: called off, but the loss has another cause, too
        7 orders/flush done
        7 start orders/copy for 60s
    "#]]);
}

#[test]
fn c5_maintenance_that_is_called_off_after_its_handlers_ran_is_undone() {
    let policy = r#"{ "name": "p", "match": { "type": ["cloud.instance.termination"] },
        "handlers": [{ "plugin": "drain", "timeout_seconds": 10 }],
        "undo": [{ "plugin": "join", "timeout_seconds": 10 }] }"#;
    let window = || loss(Cause::Maintenance, "stop", 0, Some(600));
    let off = Input::Heard {
        event: Box::new(Event { cancelled: true, ..window() }),
        channel: Channel::Metadata,
    };
    for input in [off, Input::Gone(Cause::Maintenance)] {
        let mut scene = Scene::new(&[policy]);
        scene.heard(window()).at(5).end("p/drain", Ending::Done).at(300).on(input);
        assert_eq!(scene.runs.keys().collect::<Vec<_>>(), ["p/undo/join"]);
        scene.restart(BOOT).at(301).on(Input::Gone(Cause::Maintenance));
        assert_eq!(scene.starts().get("p/undo/join"), Some(&1), "{}", scene.transcript);
    }
}

#[test]
fn a6_maintenance_that_comes_back_after_it_was_called_off_is_another_loss() {
    let mut scene = Scene::new(&[ORDERS]);
    let window = || loss(Cause::Maintenance, "stop", 0, Some(600));
    scene.heard(window()).at(1).on(Input::Gone(Cause::Maintenance));
    scene.end("orders/flush", Ending::Done);
    for second in 2..60 {
        scene.at(second).heard(window());
    }
    scene.end("orders/flush", Ending::Done).end("orders/copy", Ending::Done);
    assert_eq!(scene.watch.incidents().count(), 2);
}

#[test]
fn what_stands_and_is_ignored_is_told_once() {
    let mut scene = Scene::new(&[ORDERS]);
    for second in 0..60 {
        let window = loss(Cause::Maintenance, "stop", 0, Some(600));
        scene.at(second).heard(Event { cancelled: true, ..window });
    }
    assert_eq!((scene.watch.ignored(), scene.transcript.lines().count()), (1, 1));
}

#[test]
fn c6_events_of_other_instances_accounts_and_regions_are_ignored() {
    let mut scene = Scene::new(&[ORDERS]);
    let other = |text: &str| Some(text.to_owned());
    scene.heard(Event { instance: Some("i-00000000000000000".parse().unwrap()), ..spot(0) });
    scene.heard(Event { account: other("999999999999"), ..spot(0) });
    scene.heard(Event { region: other("us-east-1"), ..spot(0) });
    scene.heard(Event { replay: other("drill-2026"), ..spot(0) });
    scene.check(expect![[r#"
             0 ignored: about another instance
             0 ignored: from another account
             0 ignored: from another Region
             0 ignored: a replay from an archive
    "#]]);
    assert_eq!(scene.watch.ignored(), 4);
}

#[test]
fn a11_hibernation_leaves_no_time_and_runs_only_instant_steps() {
    let policy = r#"{ "name": "p", "match": { "type": ["cloud.spot.interrupt"] }, "handlers": [
        { "plugin": "flush", "priority": 100 },
        { "plugin": "mark", "priority": 10, "instant": true } ] }"#;
    let mut scene = Scene::new(&[policy]);
    scene.heard(loss(Cause::Spot, "hibernate", 0, Some(120))).end("p/mark", Ending::Done);
    scene.check(expect![[r#"
        0 spot/hibernate opened, due 0s, 2 steps
        0 p/flush dropped: no time at all, and it is not marked `instant`
        0 start p/mark for 5s
        0 p/mark done
        0 spot/hibernate partial: 1 dropped, 1 done
    "#]]);
}

#[test]
fn a11_an_unknown_action_word_is_treated_as_terminate() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.heard(loss(Cause::Spot, "evaporate", 0, Some(120)));
    assert_eq!(scene.starts().len(), 1);
}

#[test]
fn b1_a_wall_clock_that_jumps_moves_no_deadline() {
    for jump in [-7200, 7200, 315_360_000, -1_700_000_000] {
        let mut scene = Scene::new(&[ORDERS]);
        scene.heard(spot(0)).at(10);
        scene.now.wall = scene.now.wall.checked_add(jump.seconds()).unwrap();
        scene.heard(spot(0));
        let incident = scene.watch.incidents().next().unwrap();
        assert_eq!(incident.left(scene.now.boot), Duration::from_secs(110), "jump {jump}");
        assert!(!scene.transcript.contains("shorten"), "jump {jump}");
    }
}

#[test]
fn b2_a_clock_wrong_by_hours_leaves_a_budget_between_the_bounds() {
    for (wrong, budget) in [(10_800, 30), (-10_800, 120)] {
        let mut scene = Scene::new(&[ORDERS]);
        scene.now.wall = scene.now.wall.checked_add(i64::from(wrong).seconds()).unwrap();
        scene.heard(spot(0));
        let incident = scene.watch.incidents().next().unwrap();
        assert_eq!(incident.left(scene.now.boot), Duration::from_secs(budget));
        assert_eq!(scene.starts().len(), 1);
    }
}

#[test]
fn b3_a_deadline_that_has_passed_expires_and_starts_nothing_ordinary() {
    for cause in [Cause::Spot, Cause::Lifecycle, Cause::StateChange] {
        let mut scene = Scene::new(&[ORDERS]);
        scene.at(125).commanded(loss(cause, "terminate", 10, Some(120)));
        assert!(scene.starts().is_empty(), "{cause:?}");
        let closed = scene.watch.incidents().next().unwrap().closed.clone().unwrap();
        assert_eq!(closed.outcome, Outcome::Expired, "{cause:?}");
    }
}

#[test]
fn b4_time_that_passed_in_suspend_has_passed() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.heard(spot(0)).at(500).end("orders/flush", Ending::TimedOut);
    scene.check(expect![[r#"
        0 spot/terminate opened, due 120s, 3 steps
        0 start orders/flush for 30s
        500 orders/flush timed-out
        500 orders/copy dropped: no time at all, and it is not marked `instant`
        500 orders/tell dropped: no time at all, and it is not marked `instant`
        500 spot/terminate failed: 1 timed-out, 2 dropped
        500 spot/terminate survived
    "#]]);
}

#[test]
fn b5_an_earlier_deadline_tells_what_runs_and_drops_what_no_longer_fits() {
    let policy = r#"{ "name": "p", "match": { "type": [{ "prefix": "cloud." }] }, "handlers": [
        { "plugin": "flush", "priority": 100, "timeout_seconds": 100 },
        { "plugin": "image", "priority": 50, "timeout_seconds": 200, "minimum_seconds": 100 },
        { "plugin": "tell", "priority": 10, "timeout_seconds": 10 } ] }"#;
    let mut scene = Scene::new(&[policy]);
    scene.heard(loss(Cause::Lifecycle, "terminate", 0, Some(300)));
    scene.at(10).heard(loss(Cause::Spot, "terminate", 10, Some(130)));
    scene.at(40).end("p/flush", Ending::Done).end("p/tell", Ending::Done);
    scene.check(expect![[r#"
        0 lifecycle/terminate opened, due 300s, 3 steps
        0 start p/flush for 100s
        10 lifecycle/terminate joined by spot/terminate, due 130s, 0 steps
        10 shorten to 115s
        40 p/flush done
        40 p/image dropped: too little time: 90s left, 105s needed
        40 start p/tell for 10s
        40 p/tell done
        40 lifecycle/terminate partial: 2 done, 1 dropped
    "#]]);
}

#[test]
fn a_failed_handler_is_not_reported_as_done() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.heard(spot(0)).end("orders/flush", Ending::Failed).end("orders/copy", Ending::Done);
    scene.end("orders/tell", Ending::Done);
    let closed = scene.watch.incidents().next().unwrap().closed.clone().unwrap();
    assert_eq!((closed.outcome, closed.text.as_str()), (Outcome::Partial, "1 failed, 2 done"));
}

#[test]
fn a_past_notice_that_stays_is_handled_once_and_then_undone() {
    let policy = r#"{ "name": "p", "match": { "type": ["cloud.spot.interrupt"] },
        "handlers": [{ "plugin": "stop-jobs", "timeout_seconds": 10 }],
        "undo": [{ "plugin": "start-jobs", "timeout_seconds": 10 }] }"#;
    let mut scene = Scene::new(&[policy]);
    scene.heard(spot(0)).end("p/stop-jobs", Ending::Done);
    for second in 1..=900 {
        scene.at(second).heard(spot(0));
        if second == 181 {
            scene.end("p/undo/start-jobs", Ending::Done);
        }
    }
    scene.check(expect![[r#"
        0 spot/terminate opened, due 120s, 1 steps
        0 start p/stop-jobs for 10s
        0 p/stop-jobs done
        0 spot/terminate done: 1 done
        181 spot/terminate survived
        181 spot/terminate/undo opened, no deadline, 1 steps
        181 start p/undo/start-jobs for 10s
        181 p/undo/start-jobs done
        181 spot/terminate/undo done: 1 done
        300 spot/terminate still seen
        600 spot/terminate still seen
        900 spot/terminate still seen
    "#]]);
}

// At its start the daemon may hear a notice before it knows which instance it is on.
#[test]
fn a_policy_that_asks_for_the_instance_runs_when_the_notice_comes_first() {
    let policy = r#"{ "name": "p", "match": { "type": ["cloud.spot.interrupt"],
            "instance": { "region": ["eu-west-1"] } },
        "handlers": [{ "plugin": "flush", "timeout_seconds": 10 }] }"#;
    for others in [&[policy][..], &[policy, ORDERS]] {
        let mut scene = Scene::new(others);
        scene.watch = Watch::new(Facts::default(), BOOT.parse().unwrap(), Limits::default());
        scene.on(Input::Policies(read(others))).heard(Event { instance: None, ..spot(0) });
        scene.at(1).on(Input::Facts(Box::new(facts()))).heard(spot(0));
        while let Some(step) = scene.runs.keys().next().cloned() {
            scene.end(&step, Ending::Done).heard(spot(0)).on(Input::Facts(Box::new(facts())));
        }
        scene.at(2).restart(BOOT);
        scene.watch.facts = Facts::default();
        scene.on(Input::Facts(Box::new(facts()))).heard(spot(0));
        assert_eq!(scene.starts().get("p/flush"), Some(&1), "{}", scene.transcript);
        assert!(scene.starts().values().all(|starts| *starts == 1));
    }
}

// The cloud takes the first outcome it hears for final, and lets the instance go.
#[test]
fn what_was_closed_before_the_instance_was_known_is_not_reported_as_done() {
    let policy = r#"{ "name": "p", "match": { "type": ["cloud.spot.interrupt"],
            "instance": { "region": ["eu-west-1"] } },
        "handlers": [{ "plugin": "flush", "timeout_seconds": 10 }] }"#;
    let mut scene = Scene::new(&[policy]);
    scene.watch = Watch::new(Facts::default(), BOOT.parse().unwrap(), Limits::default());
    scene.on(Input::Policies(read(&[policy])));
    scene.ordered(Event { instance: None, ..spot(0) }, "cloud-1");
    scene.at(1).on(Input::Facts(Box::new(facts())));
    assert_eq!(scene.unreported(), [], "{}", scene.transcript);
    scene.ordered(spot(0), "cloud-2");
    assert_eq!(scene.unreported(), [], "{}", scene.transcript);
    scene.end("p/flush", Ending::Done);
    let told: Vec<usize> = scene.unreported().into_iter().map(|(_, told)| told).collect();
    assert_eq!(told, [2], "{}", scene.transcript);
}

// The group holds the instance in a hook for longer than the two minutes of the notice.
#[test]
fn an_instance_that_auto_scaling_still_terminates_has_not_survived() {
    let policy = r#"{ "name": "p", "match": { "type": [{ "prefix": "cloud." }] },
        "handlers": [{ "plugin": "stop-jobs", "timeout_seconds": 10 }],
        "undo": [{ "plugin": "start-jobs", "timeout_seconds": 10 }] }"#;
    let mut scene = Scene::new(&[policy]);
    scene.heard(spot(0)).at(1).heard(loss(Cause::Lifecycle, "terminate", 1, None));
    scene.end("p/stop-jobs", Ending::Done).at(300).tick();
    assert!(scene.runs.is_empty(), "{}", scene.transcript);
}

#[test]
fn a_loss_that_comes_while_another_is_undone_is_its_own_incident() {
    let policy = r#"{ "name": "p", "match": { "type": ["cloud.spot.interrupt"] },
        "handlers": [{ "plugin": "stop-jobs", "timeout_seconds": 10 }],
        "undo": [{ "plugin": "start-jobs", "timeout_seconds": 900 }] }"#;
    let mut scene = Scene::new(&[policy]);
    scene.heard(spot(0)).end("p/stop-jobs", Ending::Done).at(181).tick();
    scene.at(700).heard(loss(Cause::Spot, "stop", 700, Some(820)));
    let undo = |known: &&Incident| known.key.as_str().ends_with("/undo");
    assert_eq!(scene.watch.incidents().count(), 3);
    assert!(!scene.watch.incidents().find(undo).unwrap().is_loss());
}

#[test]
fn a_second_loss_hours_later_is_another_incident() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.heard(spot(0)).end("orders/flush", Ending::Done).end("orders/copy", Ending::Done);
    scene.end("orders/tell", Ending::Done).at(7200).tick();
    scene.heard(loss(Cause::Spot, "terminate", 7200, Some(7320)));
    assert_eq!(scene.watch.incidents().count(), 2);
    assert_eq!(scene.starts().get("orders/flush"), Some(&2));
}

#[test]
fn a_second_loss_that_stays_in_sight_is_one_incident_too() {
    for policies in [&[ORDERS][..], &[]] {
        let mut scene = Scene::new(policies);
        for second in (0..200).chain(7200..8000) {
            let noticed = i64::try_from(second / 7200 * 7200).unwrap();
            scene.at(second).heard(loss(Cause::Spot, "terminate", noticed, Some(noticed + 120)));
            for step in ["orders/flush", "orders/copy", "orders/tell"] {
                if scene.runs.contains_key(step) {
                    scene.end(step, Ending::Done);
                }
            }
        }
        assert_eq!(scene.watch.incidents().count(), 2);
        assert!(scene.starts().values().all(|starts| *starts == 2), "{:?}", scene.starts());
    }
}

// A state of Auto Scaling stands for as long as the instance does.
#[test]
fn what_stood_while_the_daemon_was_down_for_long_is_one_incident_again() {
    let mut scene = Scene::new(&[]);
    let state = || Event { cause: None, action: None, deadline: None, ..spot(0) };
    scene.heard(state()).at(3600).restart(BOOT);
    for second in 3600..3700 {
        scene.at(second).heard(state());
    }
    assert_eq!(scene.watch.incidents().count(), 2);
}

// D-1
#[test]
fn first_handled_ends_the_policy_with_the_first_that_handles() {
    let policy = r#"{ "name": "p", "match": { "type": ["custom.deploy"] },
        "dispatch": "first_handled", "handlers": [
        { "plugin": "one", "priority": 3 }, { "plugin": "two", "priority": 2 },
        { "plugin": "three", "priority": 1 } ] }"#;
    let mut scene = Scene::new(&[policy]);
    let event = Event {
        kind: "custom.deploy".parse().unwrap(),
        cause: None,
        action: None,
        deadline: None,
        ..spot(0)
    };
    scene.commanded(event).end("p/one", Ending::NotHandled).end("p/two", Ending::Done);
    scene.check(expect![[r#"
        0 event/event-0 opened, no deadline, 3 steps
        0 start p/one for 10s
        0 p/one not-handled
        0 start p/two for 10s
        0 p/two done
        0 p/three not-needed: p/two handled the event
        0 event/event-0 done: 1 not-handled, 1 done, 1 not-needed
    "#]]);
}

#[test]
fn another_signal_of_what_is_still_to_come_repeats_only_what_may_be_repeated() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.heard(loss(Cause::Lifecycle, "terminate", 0, None)).end("orders/flush", Ending::Done);
    scene.end("orders/copy", Ending::Done).end("orders/tell", Ending::Done);
    scene.at(60).heard(loss(Cause::Spot, "terminate", 60, Some(180)));
    scene.at(61).end("orders/copy", Ending::Done);
    scene.check(expect![[r#"
        0 lifecycle/terminate opened, due 120s, 3 steps
        0 start orders/flush for 30s
        0 orders/flush done
        0 start orders/copy for 60s
        0 orders/copy done
        0 start orders/tell for 10s
        0 orders/tell done
        0 lifecycle/terminate done: 3 done
        60 spot/terminate opened, due 180s, 3 steps
        60 orders/flush not-needed: done in `i-0a1b2c3d4e5f60718/11111111-2222-3333-4444-555555555555/lifecycle/terminate`
        60 orders/tell not-needed: done in `i-0a1b2c3d4e5f60718/11111111-2222-3333-4444-555555555555/lifecycle/terminate`
        60 start orders/copy for 60s
        61 orders/copy done
        61 spot/terminate done: 2 not-needed, 1 done
    "#]]);
}

#[test]
fn an_auto_scaling_state_that_disappears_stops_no_plan() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.heard(loss(Cause::Lifecycle, "terminate", 0, None)).at(1);
    scene.on(Input::Gone(Cause::Lifecycle)).end("orders/flush", Ending::Done);
    assert_eq!(scene.starts().len(), 2);
}

#[test]
fn a_loss_that_comes_while_the_daemon_ends_is_seen_to_first() {
    let long = r#"{ "name": "long", "match": { "type": ["custom.build"] },
        "handlers": [{ "plugin": "build", "timeout_seconds": 900 }] }"#;
    let mut scene = Scene::new(&[ORDERS, long]);
    let id = "build".parse().unwrap();
    scene.commanded(Event::new("custom.build".parse().unwrap(), "test", scene.now.wall, id));
    scene.on(Input::Stop { shutdown: false }).at(1).heard(spot(1));
    scene.end("orders/flush", Ending::Done);
    scene.check(expect![[r#"
        0 event/build opened, no deadline, 1 steps
        0 start long/build for 900s
        1 spot/terminate opened, due 120s, 3 steps
        1 start orders/flush for 30s
        1 orders/flush done
        1 start orders/copy for 60s
    "#]]);
}

#[test]
fn a_drill_gives_way_to_the_real_thing() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.commanded(Event { drill: true, ..spot(0) });
    scene.at(5).heard(Event { id: "real".parse().unwrap(), ..spot(0) });
    scene.check(expect![[r#"
             0 event/event-0 opened, due 120s, 3 steps
             0 start orders/flush for 30s
             5 event/event-0 called off
             5 orders/copy cancelled: called off before it began
             5 orders/tell cancelled: called off before it began
             5 shorten to 0s
             5 spot/terminate opened, due 120s, 3 steps
             5 start orders/flush for 30s
    "#]]);
}

#[test]
fn a_drill_waits_for_no_loss_and_stands_in_the_way_of_none() {
    let policy = r#"{ "name": "p", "match": { "type": [{ "prefix": "cloud." }] },
        "handlers": [{ "plugin": "drain", "timeout_seconds": 10 }] }"#;
    let mut scene = Scene::new(&[policy]);
    let rebalance = |id: &str| Event {
        kind: EventType::SpotRebalance,
        id: id.parse().unwrap(),
        cause: None,
        action: None,
        deadline: None,
        ..spot(0)
    };
    scene.commanded(Event { drill: true, ..rebalance("drill") }).end("p/drain", Ending::Done);
    scene.at(1).heard(rebalance("real")).end("p/drain", Ending::Done);
    scene.at(2).heard(spot(2)).commanded(Event { drill: true, ..rebalance("late") });
    scene.check(expect![[r#"
        0 event/drill opened, no deadline, 1 steps
        0 start p/drain for 10s
        0 p/drain done
        0 event/drill done: 1 done
        1 event/cloud.spot.rebalance:seen opened, no deadline, 1 steps
        1 start p/drain for 10s
        1 p/drain done
        1 event/cloud.spot.rebalance:seen done: 1 done
        2 spot/terminate opened, due 120s, 1 steps
        2 start p/drain for 10s
        2 ignored: a drill while a loss goes on
    "#]]);
}

#[test]
fn a_policy_can_hold_back_in_drills() {
    let policy = ORDERS.replacen('{', r#"{ "drill": "rehearse","#, 1);
    let mut scene = Scene::new(&[&policy]);
    scene.commanded(Event { drill: true, ..spot(0) });
    scene.check(expect![[r#"
             0 event/event-0 opened, due 120s, 3 steps
             0 orders/flush rehearsed: would have run
             0 orders/copy rehearsed: would have run
             0 orders/tell rehearsed: would have run
             0 event/event-0 done: 3 rehearsed
    "#]]);
}

#[test]
fn g1_what_was_cut_runs_again_only_when_it_is_repeatable() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.heard(spot(0)).at(1).restart(BOOT).tick();
    scene.at(2).restart(BOOT).tick().at(3).heard(spot(0));
    scene.end("orders/copy", Ending::Done).end("orders/tell", Ending::Done);
    scene.check(expect![[r#"
        0 spot/terminate opened, due 120s, 3 steps
        0 start orders/flush for 30s
        -- restart
        1 orders/flush unknown: cut when the daemon was killed
        1 start orders/copy for 60s
        -- restart
        2 start orders/copy for 60s, attempt 2
        3 orders/copy done
        3 start orders/tell for 10s
        3 orders/tell done
        3 spot/terminate unknown: 1 unknown, 2 done
    "#]]);
}

// The highest handler comes with the second signal, while the two others run.
#[test]
fn g1_what_was_cut_and_no_longer_fits_is_unknown_and_not_dropped() {
    let late = r#"{ "name": "late", "match": { "type": ["cloud.instance.termination"] },
        "handlers": [{ "plugin": "top", "priority": 200, "timeout_seconds": 60 }] }"#;
    let one = r#"{ "name": "p", "match": { "type": ["cloud.spot.interrupt"] }, "handlers": [
        { "plugin": "copy", "priority": 50, "timeout_seconds": 60, "repeatable": true } ] }"#;
    for called_off in [false, true] {
        let mut scene = Scene::new(&[late, one]);
        scene.heard(spot(0)).at(1).heard(loss(Cause::Lifecycle, "terminate", 1, None));
        scene.at(60).restart(BOOT).tick();
        if called_off {
            let key = scene.watch.incidents().next().unwrap().key.clone();
            scene.watch.cancel(&key, scene.now);
            scene.tick();
        }
        scene.at(119).end("late/top", Ending::Done);
        let incident = scene.watch.incidents().next().unwrap();
        let copy = incident.step(&StepId::stored("p/copy")).unwrap();
        assert_eq!(copy.outcome().unwrap().kind, Ending::Unknown, "{}", scene.transcript);
    }
}

// A journal whose end was torn holds a part of what the daemon wrote when it closed the incident.
#[test]
fn g9_what_another_boot_left_is_not_resumed_when_its_end_was_torn() {
    for kept in 0..4 {
        let mut scene = Scene::new(&[ORDERS]);
        let other = "99999999-2222-3333-4444-555555555555";
        scene.heard(spot(0)).at(1);
        let before = scene.journal.len();
        scene.restart(other);
        scene.journal.truncate(before + kept);
        scene.restart(other).tick();
        assert!(scene.runs.is_empty(), "{}", scene.transcript);
        assert!(scene.watch.incidents().all(|known| known.closed.is_some()));
    }
}

#[test]
fn g7_a_restart_lets_running_handlers_end_and_leaves_the_rest_to_the_next() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.heard(spot(0)).on(Input::Stop { shutdown: false });
    scene.at(3).end("orders/flush", Ending::Done).at(4).restart(BOOT).tick();
    scene.check(expect![[r#"
        0 spot/terminate opened, due 120s, 3 steps
        0 start orders/flush for 30s
        3 orders/flush done
        3 exit
        -- restart
        4 start orders/copy for 60s
    "#]]);
}

#[test]
fn g7_a_shutdown_without_a_notice_saves_within_its_own_budget() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.on(Input::Stop { shutdown: true });
    scene.at(1).end("orders/flush", Ending::Done).end("orders/copy", Ending::Done);
    scene.end("orders/tell", Ending::Done);
    scene.check(expect![[r#"
             0 state-change/stop opened, due 60s, 3 steps
             0 start orders/flush for 30s
             1 orders/flush done
             1 start orders/copy for 54s
             1 orders/copy done
             1 start orders/tell for 10s
             1 orders/tell done
             1 state-change/stop done: 3 done
             1 exit
    "#]]);
}

#[test]
fn g7_a_restart_without_a_notice_runs_nothing() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.on(Input::Stop { shutdown: false });
    scene.check(expect![[r#"
             0 exit
    "#]]);
}

#[test]
fn g7_a_loss_that_is_long_over_does_not_keep_a_shutdown_from_saving() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.heard(loss(Cause::Maintenance, "reboot", 0, Some(300)));
    for step in ["orders/flush", "orders/copy", "orders/tell"] {
        scene.end(step, Ending::Done);
    }
    scene.at(864_000).on(Input::Stop { shutdown: true });
    scene.check(expect![[r#"
        0 maintenance/reboot opened, due 300s, 3 steps
        0 start orders/flush for 30s
        0 orders/flush done
        0 start orders/copy for 60s
        0 orders/copy done
        0 start orders/tell for 10s
        0 orders/tell done
        0 maintenance/reboot done: 3 done
        864000 state-change/stop opened, due 864060s, 3 steps
        864000 start orders/flush for 30s
    "#]]);
}

#[test]
fn g7_a_shutdown_that_a_handled_notice_announced_runs_nothing_again() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.heard(spot(0));
    for step in ["orders/flush", "orders/copy", "orders/tell"] {
        scene.end(step, Ending::Done);
    }
    scene.at(118).on(Input::Stop { shutdown: true });
    assert_eq!(scene.starts().get("orders/flush"), Some(&1));
}

#[test]
fn g9_what_another_boot_left_open_is_closed_and_not_resumed() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.heard(spot(0)).at(1).restart("99999999-2222-3333-4444-555555555555").tick();
    scene.check(expect![[r#"
        0 spot/terminate opened, due 120s, 3 steps
        0 start orders/flush for 30s
        -- restart
        1 orders/flush unknown: cut by a reboot
        1 orders/copy dropped: cut by a reboot
        1 orders/tell dropped: cut by a reboot
        1 spot/terminate unknown: cut by a reboot
    "#]]);
}

#[test]
fn a_notice_that_comes_again_after_a_restart_is_the_same_loss() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.heard(spot(0)).end("orders/flush", Ending::Done).end("orders/copy", Ending::Done);
    scene.end("orders/tell", Ending::Done).at(60).restart(BOOT).heard(spot(0));
    assert_eq!(scene.starts().values().copied().collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(scene.watch.incidents().count(), 1);
}

#[test]
fn a_deadline_that_has_passed_wakes_nobody() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.heard(spot(0)).at(10);
    assert_eq!(scene.watch.wake(scene.now), Some(Duration::from_secs(110)));
    scene.at(121);
    assert_eq!(scene.watch.wake(scene.now), None);
}

#[test]
fn what_is_remembered_has_a_bound_without_a_restart() {
    let mut scene = Scene::new(&[]);
    by_hand(&mut scene, 1000);
    assert_eq!(scene.watch.incidents().count(), KEPT);
    assert!(scene.watch.compact(scene.journal.clone()).len() <= 2 * KEPT);
    assert!(scene.watch.incidents().any(|known| known.event.id.as_str() == "event-999"));
}

#[test]
fn a_closed_loss_whose_notice_stands_is_not_forgotten() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.heard(spot(0)).end("orders/flush", Ending::Done).end("orders/copy", Ending::Done);
    scene.end("orders/tell", Ending::Done).at(1).on(Input::Policies(Vec::new()));
    by_hand(&mut scene, 1000);
    scene.on(Input::Policies(read(&[ORDERS]))).heard(spot(0)).restart(BOOT).heard(spot(0));
    assert_eq!(scene.starts().get("orders/flush"), Some(&1));
    assert!(scene.runs.is_empty());
}

#[test]
fn a_notice_that_stands_for_a_month_leaves_one_look_in_the_journal() {
    let mut scene = Scene::new(&[]);
    for second in (0..2_592_000).step_by(299) {
        scene.at(second).heard(spot(0));
    }
    let before = scene.watch.incidents().next().unwrap().clone();
    scene.journal = scene.watch.compact(scene.journal.clone());
    let looks = scene.journal.iter().filter(|entry| entry.record == Record::Seen);
    assert_eq!(looks.count(), 1);
    scene.restart(BOOT);
    assert_eq!(*scene.watch.incidents().next().unwrap(), before);
}

fn by_hand(scene: &mut Scene, count: usize) {
    for number in 0..count {
        let id = format!("event-{number}").parse().unwrap();
        scene.now.boot += Duration::from_millis(1);
        let event = Event { id, cause: None, action: None, deadline: None, ..spot(0) };
        scene.commanded(event);
    }
}

#[test]
fn d17_without_a_word_from_the_cloud_the_plan_runs_and_its_outcome_is_reported_once() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.heard(spot(0)).at(1).end("orders/flush", Ending::Done);
    scene.end("orders/copy", Ending::Done).end("orders/tell", Ending::Done);
    scene.at(2).heard(spot(0)).reported().at(3).reported();
    scene.restart(BOOT).reported();
    scene.check(expect![[r#"
        0 spot/terminate opened, due 120s, 3 steps
        0 start orders/flush for 30s
        1 orders/flush done
        1 start orders/copy for 60s
        1 orders/copy done
        1 start orders/tell for 10s
        1 orders/tell done
        1 spot/terminate done: 3 done
        2 spot/terminate reported with 0
        -- restart
    "#]]);
}

#[test]
fn c1_a_command_for_what_the_metadata_service_told_first_starts_nothing_and_is_answered_for() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.heard(spot(0)).at(1).ordered(spot(1), "cloud-1").ordered(spot(1), "cloud-1");
    scene.end("orders/flush", Ending::Done).end("orders/copy", Ending::Done);
    scene.end("orders/tell", Ending::Done).at(2).reported();
    // Another one, when all is over and told: its incident learns the outcome, too.
    scene.at(3).ordered(spot(3), "cloud-2").at(4).reported().restart(BOOT).reported();
    scene.check(expect![[r#"
        0 spot/terminate opened, due 120s, 3 steps
        0 start orders/flush for 30s
        1 spot/terminate told by cloud-1
        1 orders/flush done
        1 start orders/copy for 60s
        1 orders/copy done
        1 start orders/tell for 10s
        1 orders/tell done
        1 spot/terminate done: 3 done
        2 spot/terminate reported with 1
        3 spot/terminate told by cloud-2
        4 spot/terminate reported with 2
        -- restart
    "#]]);
    assert_eq!(scene.starts().values().copied().collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn a_command_that_comes_first_starts_the_plan_and_one_killed_between_is_not_lost() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.ordered(spot(0), "cloud-1").restart(BOOT).ordered(spot(0), "cloud-1");
    scene.heard(spot(0)).at(1).tick();
    for step in ["orders/copy", "orders/tell"] {
        scene.end(step, Ending::Done);
    }
    scene.check(expect![[r#"
        0 spot/terminate opened, due 120s, 3 steps
        0 spot/terminate told by cloud-1
        0 start orders/flush for 30s
        -- restart
        0 orders/flush unknown: cut when the daemon was killed
        0 start orders/copy for 60s
        1 orders/copy done
        1 start orders/tell for 10s
        1 orders/tell done
        1 spot/terminate unknown: 1 unknown, 2 done
    "#]]);
}

#[test]
fn c4_a_command_that_comes_too_late_is_answered_for_as_expired() {
    let mut scene = Scene::new(&[ORDERS]);
    scene.at(200).ordered(spot(0), "cloud-1").ordered(spot(0), "cloud-1").reported();
    scene.check(expect![[r#"
        200 event/event-0 opened, due 200s, 0 steps
        200 event/event-0 expired: the event came too late to act on
        200 event/event-0 told by cloud-1
        200 event/event-0 reported with 1
    "#]]);
}

#[test]
fn e7_a_command_about_another_instance_belongs_to_nothing() {
    let mut scene = Scene::new(&[ORDERS]);
    let other = Event { instance: Some("i-0123456789abcdef0".parse().unwrap()), ..spot(0) };
    scene.ordered(other, "cloud-1");
    scene.check(expect![[r#"
        0 ignored: about another instance
    "#]]);
    assert_eq!(scene.unreported(), []);
}

#[test]
fn what_undoes_a_loss_is_not_reported() {
    let undoing = r#"{ "name": "orders", "match": { "type": ["cloud.spot.interrupt"] },
        "handlers": [{ "plugin": "leave", "timeout_seconds": 5 }],
        "undo": [{ "plugin": "join", "timeout_seconds": 5 }] }"#;
    let mut scene = Scene::new(&[undoing]);
    scene.heard(spot(0)).at(1).end("orders/leave", Ending::Done).reported();
    scene.at(200).tick().end("orders/undo/join", Ending::Done);
    assert_eq!(scene.watch.incidents().count(), 2);
    assert!(scene.watch.incidents().all(|known| known.closed.is_some()));
    assert_eq!(scene.unreported(), []);
}
