//! The contract of plugins, held against one of them point by point: under good conditions, then
//! with bad settings, bad requests and no time, and at its end.
//!
//! What a plugin need not do is never held against it.

mod end;
mod settings;
mod talk;
mod unusual;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use snooze_event::{IncidentKey, wire};
use snooze_plugin::Metrics;
use snooze_plugin::wire::Method;

use self::talk::Talk;
use crate::failure::Failure;
use crate::{rehearse, text};

/// How long a start with its first answer may take, as in the daemon.
const START: Duration = Duration::from_secs(10);
/// How long one call that is no event may take, as in the daemon.
const CALL: Duration = Duration::from_secs(5);
/// How long a plugin may take to see that it has no time.
const LATE: Duration = Duration::from_secs(2);
/// How long a plugin may take to end after SIGTERM.
const TERM: Duration = Duration::from_secs(2);

/// What an event without time leaves.
const NO_TIME: Duration = Duration::from_millis(200);

/// What to try.
#[derive(Debug)]
pub(super) struct Trial {
    /// The program and its arguments.
    pub(super) program: Vec<PathBuf>,
    /// Its configuration.
    pub(super) config: Map<String, Value>,
    /// The type of the event it gets.
    pub(super) event: String,
    /// How long it may take for that.
    pub(super) seconds: u64,
    /// How many times as long as the contract says everything may take.
    pub(super) patience: u32,
    /// What it acts on is not here: to say so is all that it can do.
    pub(super) without_service: bool,
}

/// One point of the contract, and how the plugin did.
#[derive(Debug)]
pub(super) struct Point {
    /// Which, in a few words.
    pub(super) name: &'static str,
    /// The judgement.
    pub(super) verdict: Verdict,
    /// What was seen.
    pub(super) text: String,
    /// How long it took.
    pub(super) took: Duration,
}

/// A judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As the contract says.
    Kept,
    /// The plugin does not do this, which it may.
    Absent,
    /// What it acts on is not here, it says, which was known.
    Untried,
    /// Against the contract.
    Broken,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "ok",
            Self::Absent => "none",
            Self::Untried => "skip",
            Self::Broken => "FAIL",
        }
    }
}

impl Point {
    fn broken(name: &'static str, start: Instant, text: String) -> Self {
        Self { name, verdict: Verdict::Broken, text, took: start.elapsed() }
    }

    /// The point for machines.
    pub(super) fn data(&self) -> Value {
        json!({
            "point": self.name,
            "verdict": self.verdict.as_str(),
            "text": self.text,
            "milliseconds": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// The points for people, the summary last.
pub(super) fn person(points: &[Point]) -> String {
    let rows: Vec<[String; 4]> = points
        .iter()
        .map(|point| {
            let told = text::cut(&text::shown(&point.text), 160);
            [point.verdict.as_str().to_owned(), point.name.to_owned(), text::took(point.took), told]
        })
        .collect();
    let count = |verdict| points.iter().filter(|point| point.verdict == verdict).count();
    let untried = match count(Verdict::Untried) {
        0 => String::new(),
        count => format!(", {count} not tried"),
    };
    format!(
        "{}{} kept, {} broken, {} not offered{untried}\n",
        text::table(&rows),
        count(Verdict::Kept),
        count(Verdict::Broken),
        count(Verdict::Absent)
    )
}

/// An event as the daemon would write it, marked as a drill. Each has an incident of its own.
fn event(kind: &str, left: Duration, incident: &str) -> Result<Value, Failure> {
    let now = Timestamp::now();
    let instance = "i-0123456789abcdef0";
    let members = match rehearse::has_deadline(kind) || left <= NO_TIME {
        true => json!({ "drill": true, "deadline_seconds": left.as_secs_f64(),
            "data": { "action": "terminate", "instanceID": instance } }),
        false => json!({ "drill": true, "data": { "instanceID": instance } }),
    };
    let members = members.as_object().cloned().unwrap_or_default();
    let event = rehearse::plain(kind, members, now)?;
    let incident = IncidentKey::stored(&format!("{instance}/plugin-test/{incident}"));
    Ok(wire::plugin::write(&event, left, None, Some("m7g.large"), &incident, 1))
}

impl Trial {
    /// Drives the plugin through its life.
    pub(super) fn run(&self) -> Result<Vec<Point>, Failure> {
        let events = Events::new(&self.event, Duration::from_secs(self.seconds))?;
        let start = Instant::now();
        let mut talk = Talk::start(&self.program, self.patience).map_err(|source| {
            let file = self.program.first().map(|path| path.display().to_string());
            Failure::file(file.unwrap_or_default(), format!("cannot be started: {source}"))
        })?;
        talk.without_service = self.without_service;
        talk.file(&self.program);
        if talk.info(start) {
            self.talk(&mut talk, &events);
            talk.end();
            talk.look_back();
            talk.points.extend(end::points(&self.program, self.patience));
        } else {
            talk.look_back();
        }
        Ok(talk.points)
    }

    fn talk(&self, talk: &mut Talk, events: &Events) {
        talk.info_again();
        if talk.done("Configure", Method::Configure, json!({ "config": self.config })) {
            talk.settings(&self.config);
        }
        talk.done("Initialize", Method::Initialize, json!({}));
        let supported = talk.events();
        talk.health("Health");
        for (name, metrics) in
            [("CheckIdle, at rest", metrics(0.4)), ("CheckIdle, busy", metrics(97.0))]
        {
            talk.vote(name, &metrics);
        }
        if talk.handle(&events.given, Duration::from_secs(self.seconds)) {
            talk.other_event(&events.others, supported.as_deref());
            talk.late_event(&events.late);
            talk.dry_run(&self.config, &events.dry);
        }
        talk.unknown();
        talk.two_at_once();
        talk.health("Health after that");
    }
}

/// The events of a trial.
struct Events {
    given: Value,
    /// Some of them are of no type that the plugin handles.
    others: Vec<Value>,
    late: Value,
    dry: Value,
}

impl Events {
    fn new(kind: &str, left: Duration) -> Result<Self, Failure> {
        let others = ["system.disk.low", "custom.plugin-test", "cloud.spot.rebalance"];
        let others = others.iter().filter(|other| **other != kind);
        Ok(Self {
            given: event(kind, left, "given")?,
            others: others.map(|other| event(other, left, "other")).collect::<Result<_, _>>()?,
            late: event(kind, NO_TIME, "late")?,
            dry: event(kind, left, "dry-run")?,
        })
    }
}

fn metrics(percent: f64) -> Metrics {
    Metrics {
        cpu_usage: percent,
        memory_usage: percent,
        network_traffic: percent,
        disk_io: percent,
        timestamp: Timestamp::now().as_second(),
        ..Metrics::default()
    }
}
