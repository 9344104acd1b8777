//! The contract of plugins, held against one of them point by point.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use snooze_event::{IncidentKey, PluginName, wire};
use snooze_plugin::wire::{Answer, Method, request_line};
use snooze_plugin::{Handled, Info, Metrics, PROTOCOL, Vote};
use snoozed::launch::inspect;

use super::child::Plugin;
use crate::failure::Failure;
use crate::{rehearse, text};

/// How long a start with its first answer may take, as in the daemon.
const START: Duration = Duration::from_secs(10);
/// How long one call that is no event may take, as in the daemon.
const CALL: Duration = Duration::from_secs(5);

/// What to try.
#[derive(Debug)]
pub(super) struct Trial {
    /// The program and its arguments.
    pub(super) program: Vec<PathBuf>,
    /// Its configuration.
    pub(super) config: Map<String, Value>,
    /// The event it gets.
    pub(super) event: Value,
    /// How long it may take for that.
    pub(super) seconds: u64,
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
    /// Against the contract.
    Broken,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "ok",
            Self::Absent => "none",
            Self::Broken => "FAIL",
        }
    }
}

impl Point {
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
    format!(
        "{}{} kept, {} broken, {} not offered\n",
        text::table(&rows),
        count(Verdict::Kept),
        count(Verdict::Broken),
        count(Verdict::Absent)
    )
}

/// An event as the daemon would write it, marked as a drill.
pub(super) fn event(kind: &str, seconds: u64) -> Result<Value, Failure> {
    let now = Timestamp::now();
    let left = Duration::from_secs(seconds);
    let members = json!({ "drill": true, "deadline_seconds": seconds,
        "data": { "action": "terminate", "instanceID": "i-0123456789abcdef0" } });
    let members = members.as_object().cloned().unwrap_or_default();
    let event = rehearse::plain(kind, members, now)?;
    let incident = IncidentKey::stored("i-0123456789abcdef0/plugin-test");
    Ok(wire::plugin::write(&event, left, None, Some("m7g.large"), &incident, 1))
}

impl Trial {
    /// Drives the plugin through its life.
    pub(super) fn run(&self) -> Result<Vec<Point>, Failure> {
        let start = Instant::now();
        let plugin = Plugin::start(&self.program).map_err(|source| {
            let file = self.program.first().map(|path| path.display().to_string());
            Failure::file(file.unwrap_or_default(), format!("cannot be started: {source}"))
        })?;
        let mut talk = Talk { plugin, next: 1, points: Vec::new(), jsonrpc: false };
        talk.file(&self.program);
        if talk.info(start) {
            self.talk(&mut talk);
            talk.end();
        }
        talk.look_back();
        Ok(talk.points)
    }

    fn talk(&self, talk: &mut Talk) {
        talk.done("Configure", Method::Configure, json!({ "config": self.config }));
        talk.done("Initialize", Method::Initialize, json!({}));
        talk.events();
        talk.done("Health", Method::Health, json!({}));
        for (name, metrics) in
            [("CheckIdle, at rest", metrics(0.4)), ("CheckIdle, busy", metrics(97.0))]
        {
            talk.vote(name, &metrics);
        }
        talk.handle(&self.event, Duration::from_secs(self.seconds));
        talk.unknown();
        talk.done("Health after that", Method::Health, json!({}));
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

/// A talk with a plugin, and what came of it so far.
struct Talk {
    plugin: Plugin,
    next: u64,
    points: Vec<Point>,
    jsonrpc: bool,
}

impl Talk {
    fn note(&mut self, name: &'static str, start: Instant, seen: Result<String, String>) {
        let (verdict, text) = match seen {
            Ok(text) => (Verdict::Kept, text),
            Err(text) => (Verdict::Broken, text),
        };
        self.points.push(Point { name, verdict, text, took: start.elapsed() });
    }

    fn absent(&mut self, name: &'static str, start: Instant) {
        let text = "the plugin does not know the method".to_owned();
        let took = start.elapsed();
        self.points.push(Point { name, verdict: Verdict::Absent, text, took });
    }

    fn call(&mut self, method: Method, params: Value, limit: Duration) -> Result<Answer, String> {
        let id = self.next;
        self.next += 1;
        let params = params.as_object().cloned().unwrap_or_default();
        let line = request_line(method, params, id, self.jsonrpc);
        self.plugin.ask(&line, id, limit).map(|reply| reply.answer)
    }

    /// Whether the daemon would run the file: its name, owner and mode, and its directory's.
    fn file(&mut self, program: &[PathBuf]) {
        // More than one word is a built-in plugin, which has no file of its own.
        let [path] = program else { return };
        let (Some(directory), Some(file)) = (path.parent(), path.file_name()) else { return };
        let start = Instant::now();
        let text = file.to_string_lossy();
        let name = text.split_once('.').map_or(&*text, |(name, _)| name);
        let seen = name.parse::<PluginName>().map_err(|why| why.to_string()).and_then(|name| {
            inspect(directory, file, None).map_err(|why| why.to_string())?;
            Ok(format!("{name}, as the daemon wants it"))
        });
        self.note("file", start, seen);
    }

    /// Whether it is worth going on.
    fn info(&mut self, start: Instant) -> bool {
        let seen = self.call(Method::Info, json!({}), START).and_then(|answer| {
            let Answer::Result(value) = answer else {
                return Err("no `Info`, which every plugin has".to_owned());
            };
            let info = Info::read(&value).map_err(|fault| fault.to_string())?;
            info.protocol.common(PROTOCOL).map_err(|fault| fault.to_string())?;
            self.jsonrpc = info.jsonrpc;
            Ok(format!("{} {}", info.name, info.version))
        });
        let goes_on = seen.is_ok();
        self.note("start and Info", start, seen);
        goes_on
    }

    fn done(&mut self, name: &'static str, method: Method, params: Value) {
        let start = Instant::now();
        match self.call(method, params, CALL) {
            Ok(Answer::NotSupported) => self.absent(name, start),
            Ok(answer) => {
                let seen = answer.done().map(|()| String::new());
                self.note(name, start, seen);
            }
            Err(fault) => self.note(name, start, Err(fault)),
        }
    }

    fn events(&mut self) {
        let (name, start) = ("GetSupportedEvents", Instant::now());
        match self.call(Method::GetSupportedEvents, json!({}), CALL) {
            Ok(Answer::NotSupported) => self.absent(name, start),
            Ok(Answer::Failed(fault)) | Err(fault) => self.note(name, start, Err(fault)),
            Ok(answer) => {
                let events = answer.supported_events();
                let seen = events.map(|events| events.join(", "));
                self.note(name, start, seen.ok_or_else(|| "expected a list of types".to_owned()));
            }
        }
    }

    fn vote(&mut self, name: &'static str, metrics: &Metrics) {
        let start = Instant::now();
        let answer =
            match self.call(Method::CheckIdle, json!({ "metrics": metrics.to_value() }), CALL) {
                Ok(answer) => answer,
                Err(fault) => return self.note(name, start, Err(fault)),
            };
        match Vote::of(&answer) {
            None => self.absent(name, start),
            // Unable to find out is an answer too: what it asks may not be there.
            Some(vote) => {
                let seen = format!("{}: {}", vote.verdict.as_str(), vote.reason);
                self.note(name, start, Ok(seen));
            }
        }
    }

    fn handle(&mut self, event: &Value, limit: Duration) {
        let (name, start) = ("HandleEvent", Instant::now());
        let seen = match self.call(Method::HandleEvent, json!({ "event": event }), limit) {
            Ok(Answer::NotSupported) => return self.absent(name, start),
            Ok(Answer::Failed(fault)) | Err(fault) => Err(fault),
            Ok(Answer::Result(value)) => handled(&value),
        };
        self.note(name, start, seen);
    }

    fn unknown(&mut self) {
        let (name, start) = ("unknown method", Instant::now());
        let id = self.next;
        self.next += 1;
        let line = format!("{{\"method\":\"NoSuchMethod\",\"params\":{{}},\"id\":{id}}}\n");
        let seen = match self.plugin.ask(&line, id, CALL).map(|reply| reply.answer) {
            Ok(Answer::NotSupported) => Ok("says so".to_owned()),
            Ok(Answer::Failed(fault)) => Err(format!(
                "expected `{{\"result\":{{\"error\":\"Unknown method: X\"}}}}`: {fault}"
            )),
            Ok(Answer::Result(value)) => Err(format!("answers as if it knew it: {value}")),
            Err(fault) => Err(fault),
        };
        self.note(name, start, seen);
    }

    /// Asks it to end, and looks how it does.
    fn end(&mut self) {
        let start = Instant::now();
        // A plugin may end at once instead of answering.
        let _ = self.call(Method::Shutdown, json!({}), CALL);
        self.plugin.close();
        let seen = match self.plugin.ended(CALL) {
            Some(status) if status.success() => Ok(String::new()),
            Some(status) => Err(format!("ended with {status}")),
            None => Err(format!("still runs {} after its stdin was closed", text::took(CALL))),
        };
        self.note("Shutdown", start, seen);
    }

    /// What is to be said of the whole.
    fn look_back(&mut self) {
        if self.plugin.strays > 0 {
            let text = format!(
                "{} on stdout that answer nothing",
                text::counted(self.plugin.strays, "line")
            );
            self.note("only answers on stdout", Instant::now(), Err(text));
        }
        let log = self.plugin.log();
        let has_failed = self.points.iter().any(|point| point.verdict == Verdict::Broken);
        if let (true, Some(line)) =
            (has_failed, log.lines().rev().find(|line| !line.trim().is_empty()))
        {
            let text = format!("the last line it wrote: {line}");
            let took = Duration::ZERO;
            self.points.push(Point { name: "log", verdict: Verdict::Absent, text, took });
        }
    }
}

fn handled(value: &Value) -> Result<String, String> {
    if value.as_bool().is_none() && value.get("handled").and_then(Value::as_bool).is_none() {
        return Err("the answer has no `handled` that is true or false".to_owned());
    }
    let handled = Handled::read(value);
    let status = handled.status.as_deref().unwrap_or_default();
    match (handled.handled, handled.degraded()) {
        (_, true) => {
            Err(handled.error.unwrap_or_else(|| "it says that data is not safe".to_owned()))
        }
        (true, false) => Ok(format!("handled {status}")),
        (false, false) => Ok("says that the event is not its business".to_owned()),
    }
}
