//! A random walk over the inputs of the watch, with kills and reboots, held against what it
//! promises: no step runs twice at once or after it ended, each incident closes once, no step
//! gets more time than there is, and the journal tells all that the watch knows.

use std::collections::BTreeSet;

use jiff::ToSpan;
use proptest::prelude::*;

use super::*;
use crate::incident::Progress;
use crate::record::Ending;

const BOOTS: [&str; 2] =
    ["11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"];

/// Different priorities, reserves and natures, and something to undo.
const POLICIES: [&str; 3] = [
    r#"{ "name": "all", "match": { "type": [{ "prefix": "c" }] }, "handlers": [
        { "plugin": "flush", "priority": 100, "timeout_seconds": 30 },
        { "plugin": "copy", "priority": 50, "timeout_seconds": 60, "repeatable": true },
        { "plugin": "mark", "priority": 50, "timeout_seconds": 5, "instant": true },
        { "plugin": "tell", "priority": 10, "timeout_seconds": 10 } ],
      "undo": [{ "plugin": "join", "timeout_seconds": 20, "repeatable": true }] }"#,
    r#"{ "name": "first", "match": { "type": ["cloud.spot.interrupt"] }, "reserve_seconds": 20,
      "dispatch": "first_handled", "drill": "rehearse", "handlers": [
        { "plugin": "one", "priority": 80, "timeout_seconds": 30, "minimum_seconds": 10 },
        { "plugin": "two", "priority": 70, "timeout_seconds": 30, "repeatable": true } ] }"#,
    r#"{ "name": "late", "match": { "type": ["cloud.instance.termination"] }, "handlers": [
        { "plugin": "top", "priority": 200, "timeout_seconds": 90, "repeatable": true } ] }"#,
];

/// So many walks take two seconds.
const CASES: u32 = 150;

#[derive(Debug, Clone)]
enum Move {
    Hear(Signal),
    /// A command of the cloud tells of it, for one of a few incidents there.
    Command(Signal, u8),
    /// The bus takes what is unreported, or the daemon is killed before it has noted that.
    Report {
        noted: bool,
    },
    /// What was heard last still stands.
    Again,
    Gone(Cause),
    End(usize, Ending),
    Policies(Vec<bool>),
    Kill {
        reboot: bool,
        doubled: bool,
        compacted: bool,
    },
    Stop {
        shutdown: bool,
    },
    Tick,
}

#[derive(Debug, Clone)]
struct Signal {
    cause: Option<Cause>,
    action: &'static str,
    /// Seconds from now.
    deadline: Option<i64>,
    age: i64,
    channel: Channel,
    drill: bool,
    cancelled: bool,
}

fn causes() -> impl Strategy<Value = Cause> {
    use Cause::{Lifecycle, Maintenance, Spot, StateChange};
    prop::sample::select(vec![Spot, Spot, Lifecycle, Maintenance, StateChange])
}

fn signals() -> impl Strategy<Value = Signal> {
    let actions = prop::sample::select(vec!["stop", "stop", "stop", "stop", "hibernate"]);
    let channels = prop::sample::select(vec![Channel::Metadata, Channel::Command]);
    let ages = prop::sample::select(vec![0, 0, 0, 30, 200]);
    let rare = || prop::bool::weighted(0.2);
    let deadlines = prop::option::of(-30..700_i64);
    (prop::option::weighted(0.9, causes()), actions, deadlines, ages, channels, rare(), rare())
        .prop_map(|(cause, action, deadline, age, channel, drill, cancelled)| Signal {
            cause,
            action,
            deadline,
            age,
            channel,
            drill,
            cancelled,
        })
}

fn moves() -> impl Strategy<Value = Move> {
    use Ending::{Degraded, Done, Failed, NotHandled, TimedOut};
    let endings = prop::sample::select(vec![Done, Done, Degraded, NotHandled, Failed, TimedOut]);
    prop_oneof![
        4 => signals().prop_map(Move::Hear),
        2 => (signals(), 0..5_u8).prop_map(|(signal, by)| Move::Command(signal, by)),
        1 => prop::bool::weighted(0.8).prop_map(|noted| Move::Report { noted }),
        3 => Just(Move::Again),
        1 => causes().prop_map(Move::Gone),
        6 => (any::<usize>(), endings).prop_map(|(which, kind)| Move::End(which, kind)),
        2 => prop::collection::vec(prop::bool::weighted(0.4), POLICIES.len()).prop_map(Move::Policies),
        2 => (prop::bool::weighted(0.1), any::<bool>(), any::<bool>()).prop_map(
            |(reboot, doubled, compacted)| Move::Kill { reboot, doubled, compacted }
        ),
        1 => prop::bool::weighted(0.3).prop_map(|shutdown| Move::Stop { shutdown }),
        2 => Just(Move::Tick),
    ]
}

/// In milliseconds: some are long enough for another loss.
fn pauses() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0..20_000_u64, 1 => 500_000..1_000_000_u64]
}

struct World {
    watch: Watch,
    now: Now,
    boot: usize,
    journal: Vec<Entry>,
    runs: BTreeMap<u64, (IncidentKey, StepId)>,
    last: Option<(Event, Channel)>,
    /// What has begun, has ended and is closed, whatever the journal was compacted to.
    begun: BTreeSet<(String, String)>,
    ended: BTreeSet<(String, String)>,
    closed: BTreeSet<String>,
    opened: usize,
    exited: bool,
    /// What the bus has, by incident: the incidents of the cloud that each report named.
    bus: BTreeMap<IncidentKey, Vec<BTreeSet<String>>>,
}

impl World {
    fn new() -> Self {
        let now = Now { wall: "2026-03-14T09:26:53Z".parse().unwrap(), boot: Duration::ZERO };
        let mut world = Self {
            watch: Watch::new(facts(), BOOTS[0].parse().unwrap(), Limits::default()),
            now,
            boot: 0,
            journal: Vec::new(),
            runs: BTreeMap::new(),
            last: None,
            begun: BTreeSet::new(),
            ended: BTreeSet::new(),
            closed: BTreeSet::new(),
            opened: 0,
            exited: false,
            bus: BTreeMap::new(),
        };
        world.on(Input::Policies(policies(&[true, true, true])));
        world
    }

    fn pass(&mut self, milliseconds: u64) {
        let passed = Duration::from_millis(milliseconds);
        self.now.boot += passed;
        self.now.wall += passed;
    }

    fn go(&mut self, step: Move) {
        match step {
            Move::Hear(signal) => self.hear(event(&signal, self.now.wall), signal.channel),
            Move::Command(signal, by) => {
                let signal = Signal { channel: Channel::Command, ..signal };
                self.command(event(&signal, self.now.wall), &format!("cloud-{by}"));
            }
            Move::Report { noted } => self.report(noted),
            Move::Again => {
                if let Some((event, channel)) = self.last.clone() {
                    self.hear(event, channel);
                }
            }
            Move::Gone(cause) => self.on(Input::Gone(cause)),
            Move::End(which, kind) => {
                let runs: Vec<u64> = self.runs.keys().copied().collect();
                if let Some(run) = which.checked_rem(runs.len()).map(|index| runs[index]) {
                    self.runs.remove(&run);
                    let outcome = Box::new(StepOutcome::plain(kind, ""));
                    self.on(Input::Ended { run, outcome });
                }
            }
            Move::Policies(which) => self.on(Input::Policies(policies(&which))),
            Move::Kill { reboot, doubled, compacted } => {
                if compacted {
                    self.journal = self.watch.compact(std::mem::take(&mut self.journal));
                }
                if doubled {
                    self.journal.extend(self.journal.last().cloned());
                }
                self.restart(reboot);
            }
            Move::Stop { shutdown } => self.on(Input::Stop { shutdown }),
            Move::Tick => self.on(Input::Tick),
        }
        if self.exited {
            self.restart(false);
        }
    }

    /// Hears it, and hears it again in the same moment, which must change nothing.
    fn hear(&mut self, event: Event, channel: Channel) {
        self.last = Some((event.clone(), channel));
        let heard = || Input::Heard { event: Box::new(event.clone()), channel };
        self.on(heard());
        let before = (self.opened, self.begun.len());
        self.on(heard());
        assert_eq!(before, (self.opened, self.begun.len()), "{event:?}");
    }

    /// Is commanded, twice: the queue gives at least once.
    fn command(&mut self, event: Event, by: &str) {
        let commanded = || Input::Commanded {
            event: Box::new(event.clone()),
            by: Some(IncidentKey::stored(by)),
        };
        self.on(commanded());
        let told = |world: &Self| {
            let is_told = |entry: &&Entry| matches!(entry.record, Record::Told { .. });
            world.journal.iter().filter(is_told).count()
        };
        let before = (self.opened, self.begun.len(), told(self));
        self.on(commanded());
        assert_eq!(before, (self.opened, self.begun.len(), told(self)), "{event:?}");
    }

    fn report(&mut self, noted: bool) {
        let unreported: Vec<Incident> =
            self.watch.incidents().filter(|known| known.is_unreported()).cloned().collect();
        for known in unreported {
            assert!(known.closed.is_some() && !known.is_undo());
            self.bus.entry(known.key.clone()).or_default().push(known.told_by.clone());
            if noted {
                let told = known.told_by.len();
                self.on(Input::Reported { incident: known.key, told });
            }
        }
        if !noted {
            self.restart(false);
        }
    }

    fn on(&mut self, input: Input) {
        let effects = self.watch.on(input, self.now);
        self.take(effects);
        self.compare();
    }

    fn restart(&mut self, reboot: bool) {
        if reboot {
            self.boot = 1 - self.boot;
            self.now.boot = Duration::from_secs(3);
            // A boot id never comes again.
            let (old, new) = (BOOTS[self.boot], format!("{:08}", self.journal.len()));
            for entry in &mut self.journal {
                entry.boot = entry.boot.replace(old, &new);
                entry.incident = entry.incident.replace(old, &new);
            }
        }
        let policies = self.watch.policies().to_vec();
        self.watch = Watch::new(facts(), BOOTS[self.boot].parse().unwrap(), Limits::default());
        self.watch.on(Input::Policies(policies), self.now);
        self.runs.clear();
        self.exited = false;
        if reboot {
            self.begun.clear();
            self.ended.clear();
            self.closed.clear();
            for entry in self.journal.clone() {
                self.remember(&entry);
            }
        }
        let effects = self.watch.restore(&self.journal.clone(), self.now);
        self.take(effects);
        self.compare();
        self.on(Input::Tick);
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Write(entry) => {
                    self.check(&entry);
                    self.remember(&entry);
                    self.journal.push(entry);
                }
                Effect::Start(start) => {
                    let run = (start.incident.clone(), start.step.clone());
                    assert!(!self.runs.values().any(|known| *known == run), "{run:?} runs twice");
                    self.check_budget(&start);
                    self.runs.insert(start.run, run);
                }
                Effect::Shorten { run, .. } => assert!(self.runs.contains_key(&run)),
                Effect::Ignored { .. } => {}
                Effect::Exit => {
                    assert!(self.runs.is_empty());
                    self.exited = true;
                }
            }
        }
    }

    fn check(&self, entry: &Entry) {
        let of = |step: &str| (entry.incident.clone(), step.to_owned());
        let open = !self.closed.contains(&entry.incident);
        match &entry.record {
            Record::Opened { .. } if entry.incident.contains("/undo/undo") => {
                panic!("undone twice");
            }
            Record::Opened { .. } | Record::Closed { .. } | Record::Joined { .. } => {
                assert!(open, "{entry:?}");
            }
            Record::Started { step, .. } => {
                assert!(open && !self.ended.contains(&of(step)), "{entry:?}");
            }
            Record::Ended { step, outcome } => {
                assert!(open && !self.ended.contains(&of(step)), "{entry:?}");
                let never_ran =
                    [Ending::Dropped, Ending::NotNeeded, Ending::Cancelled, Ending::Rehearsed]
                        .contains(&outcome.kind);
                assert!(!(never_ran && self.begun.contains(&of(step))), "{entry:?}");
            }
            Record::Survived => assert!(!open),
            // A Spot plan is never called off, and gives way to nothing.
            Record::Cancelled => {
                let known = self.watch.incidents.get(&entry.key());
                let is_spot = |key: &IncidentKey| key.as_str().contains("/spot/");
                assert!(!known.is_some_and(|known| known.keys.iter().any(is_spot)), "{entry:?}");
            }
            Record::Reported { .. } => assert!(!open, "{entry:?}"),
            Record::Seen | Record::Told { .. } => {}
        }
    }

    fn remember(&mut self, entry: &Entry) {
        let of = |step: &str| (entry.incident.clone(), step.to_owned());
        match &entry.record {
            Record::Opened { .. } => self.opened += 1,
            Record::Started { step, .. } => drop(self.begun.insert(of(step))),
            Record::Ended { step, .. } => drop(self.ended.insert(of(step))),
            Record::Closed { .. } => drop(self.closed.insert(entry.incident.clone())),
            Record::Joined { .. }
            | Record::Seen
            | Record::Cancelled
            | Record::Survived
            | Record::Told { .. }
            | Record::Reported { .. } => {}
        }
    }

    fn check_budget(&self, start: &Start) {
        let incident = self.watch.incidents.get(&start.incident).unwrap();
        let step = &incident.step(&start.step).unwrap().step;
        let left = incident.left(self.now.boot);
        let usable = left.saturating_sub(step.reserve);
        assert!(start.budget <= step.timeout);
        assert!(step.instant || start.budget <= usable, "{start:?} {left:?}");
        assert!(incident.event.cause != Some(Cause::Spot) || left <= SPOT_NOTICE || is_undo(start));
    }

    /// What the journal tells is what the watch knows.
    fn compare(&self) {
        let mut told: BTreeMap<IncidentKey, Incident> = BTreeMap::new();
        for entry in &self.journal {
            match told.get_mut(&entry.key()) {
                Some(incident) => incident.apply(entry),
                None => drop(Incident::open(entry).map(|new| told.insert(new.key.clone(), new))),
            }
        }
        for known in self.watch.incidents() {
            let mut known = known.clone();
            let told = &told[&known.key];
            known.seen = told.seen;
            for state in &mut known.steps {
                // Cut, and to be run again.
                if state.progress == Progress::Pending && state.attempts > 0 {
                    state.progress = Progress::Running;
                }
            }
            assert_eq!(known, *told);
        }
    }

    /// All that runs ends, and time passes: everything must close.
    fn finish(&mut self) {
        self.restart(false);
        for _ in 0..100 {
            self.go(Move::End(0, Ending::Done));
            self.pass(1000);
        }
        assert!(self.runs.is_empty());
        let open: Vec<&Incident> =
            self.watch.incidents().filter(|known| known.closed.is_none()).collect();
        assert!(open.is_empty(), "{open:?}");
        self.settle_reports();
    }
}

impl World {
    /// The bus has the outcome of each incident that is known, with all that told of it; and what
    /// it has, it is not given again.
    fn settle_reports(&mut self) {
        self.report(true);
        for known in self.watch.incidents().filter(|known| !known.is_undo()) {
            let last = self.bus.get(&known.key).and_then(|reports| reports.last());
            assert!(known.is_unreported() || known.reported == Some(known.told_by.len()));
            // A boot that is over has another name in the journal of this walk.
            if known.key.as_str().contains(BOOTS[self.boot]) {
                assert_eq!(last, Some(&known.told_by), "{}", known.key);
            }
        }
        let before = self.bus.clone();
        self.report(true);
        self.restart(false);
        self.report(true);
        assert_eq!(self.bus, before);
    }
}

fn is_undo(start: &Start) -> bool {
    start.incident.as_str().ends_with("/undo")
}

fn policies(which: &[bool]) -> Vec<Policy> {
    let chosen = POLICIES.iter().zip(which).filter(|(_, on)| **on);
    chosen.map(|(text, _)| snooze_policy::check(text).unwrap()).collect()
}

fn facts() -> Facts {
    Facts { id: Some("i-0a1b2c3d4e5f60718".parse().unwrap()), ..Facts::default() }
}

fn event(signal: &Signal, now: Timestamp) -> Event {
    let kind = match signal.cause {
        Some(Cause::Spot) => EventType::SpotInterrupt,
        Some(Cause::Lifecycle | Cause::Maintenance | Cause::StateChange) => {
            EventType::InstanceTermination
        }
        None => "custom.deploy".parse().unwrap(),
    };
    let time = now - signal.age.seconds();
    let id = format!("event-{}", time.as_second()).parse().unwrap();
    Event {
        deadline: signal.deadline.map(|ahead| now + ahead.seconds()),
        cause: signal.cause,
        action: signal.cause.map(|_| LossAction::of(signal.action)),
        drill: signal.drill,
        cancelled: signal.cancelled && signal.cause == Some(Cause::Maintenance),
        ..Event::new(kind, "test", time, id)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    // C1, C2, C3, G1, G3, G7, G9
    #[test]
    fn whatever_comes_in_whatever_order_the_promises_hold(
        walk in prop::collection::vec((moves(), pauses()), 1..60),
    ) {
        let mut world = World::new();
        for (step, passed) in walk {
            world.go(step);
            world.pass(passed);
        }
        world.finish();
    }
}
