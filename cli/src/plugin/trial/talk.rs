//! A talk with a plugin, under the conditions that it is made for.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use snooze_event::PluginName;
use snooze_plugin::wire::{Answer, Method, request_line};
use snooze_plugin::{Handled, Info, Metrics, PROTOCOL, Setting, Vote};
use snoozed::launch::inspect;

use super::{CALL, Point, START, Verdict};
use crate::plugin::child::Plugin;
use crate::text;

/// A talk with a plugin, and what came of it so far.
pub(super) struct Talk {
    pub(super) plugin: Plugin,
    next: u64,
    pub(super) points: Vec<Point>,
    /// What it said of itself.
    said: Value,
    /// What can be set, as far as it tells.
    pub(super) settings: Vec<Setting>,
    jsonrpc: bool,
    patience: u32,
    /// What it acts on is not here.
    pub(super) without_service: bool,
}

impl Talk {
    /// Starts the program.
    pub(super) fn start(program: &[PathBuf], patience: u32) -> std::io::Result<Self> {
        let (file, args) =
            program.split_first().ok_or_else(|| std::io::Error::other("nothing to start"))?;
        let mut command = Command::new(file);
        command.args(args);
        Ok(Self {
            plugin: Plugin::start(command)?,
            next: 1,
            points: Vec::new(),
            said: Value::Null,
            settings: Vec::new(),
            jsonrpc: false,
            patience,
            without_service: false,
        })
    }

    /// A time of the contract, as long as it is here.
    pub(super) fn limit(&self, limit: Duration) -> Duration {
        limit.saturating_mul(self.patience)
    }

    pub(super) fn note(
        &mut self,
        name: &'static str,
        start: Instant,
        seen: Result<String, String>,
    ) {
        let (verdict, text) = match seen {
            Ok(text) => (Verdict::Kept, text),
            Err(text) => (Verdict::Broken, text),
        };
        self.points.push(Point { name, verdict, text, took: start.elapsed() });
    }

    /// Notes what the plugin does not do, and may leave.
    pub(super) fn absent(&mut self, name: &'static str, start: Instant, text: impl Into<String>) {
        let took = start.elapsed();
        self.points.push(Point { name, verdict: Verdict::Absent, text: text.into(), took });
    }

    /// Notes an error that the plugin answered with: what it acts on may not be here.
    pub(super) fn said(&mut self, name: &'static str, start: Instant, error: String) {
        let verdict = if self.without_service { Verdict::Untried } else { Verdict::Broken };
        self.points.push(Point { name, verdict, text: error, took: start.elapsed() });
    }

    fn unknown_method(&mut self, name: &'static str, start: Instant) {
        self.absent(name, start, "the plugin does not know the method");
    }

    /// The line of a request, and its id.
    pub(super) fn request(&mut self, method: Method, params: Value) -> (String, u64) {
        let id = self.next;
        self.next += 1;
        let params = params.as_object().cloned().unwrap_or_default();
        (request_line(method, params, id, self.jsonrpc), id)
    }

    pub(super) fn call(
        &mut self,
        method: Method,
        params: Value,
        limit: Duration,
    ) -> Result<Answer, String> {
        let (line, id) = self.request(method, params);
        let limit = self.limit(limit);
        self.plugin.ask(&line, id, limit).map(|reply| reply.answer)
    }

    /// Whether the daemon would run the file: its name, owner and mode, and its directory's.
    pub(super) fn file(&mut self, program: &[PathBuf]) {
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
    pub(super) fn info(&mut self, start: Instant) -> bool {
        let seen = self.ask_info(START);
        let goes_on = seen.is_ok();
        self.note("start and Info", start, seen);
        goes_on
    }

    /// Asks who it is, and remembers that; returns its name and version.
    pub(super) fn ask_info(&mut self, limit: Duration) -> Result<String, String> {
        let Answer::Result(value) = self.call(Method::Info, json!({}), limit)? else {
            return Err("no `Info`, which every plugin has".to_owned());
        };
        let info = Info::read(&value).map_err(|fault| fault.to_string())?;
        info.protocol.common(PROTOCOL).map_err(|fault| fault.to_string())?;
        self.jsonrpc = info.jsonrpc;
        self.settings = Setting::read(&info.config_schema);
        self.said = value;
        Ok(format!("{} {}", info.name, info.version))
    }

    pub(super) fn info_again(&mut self) {
        let start = Instant::now();
        let before = self.said.clone();
        let seen = self.ask_info(CALL).and_then(|_| match before == self.said {
            true => Ok("the same".to_owned()),
            false => Err("it says something else than before".to_owned()),
        });
        self.note("Info again", start, seen);
    }

    /// Whether it knows the method.
    pub(super) fn done(&mut self, name: &'static str, method: Method, params: Value) -> bool {
        let start = Instant::now();
        match self.call(method, params, CALL) {
            Ok(Answer::NotSupported) => {
                self.unknown_method(name, start);
                return false;
            }
            Ok(answer) => {
                let seen = answer.done().map(|()| String::new());
                self.note(name, start, seen);
            }
            Err(fault) => self.note(name, start, Err(fault)),
        }
        true
    }

    /// Whether it is well.
    pub(super) fn health(&mut self, name: &'static str) {
        let start = Instant::now();
        match self.call(Method::Health, json!({}), CALL) {
            Ok(Answer::NotSupported) => self.unknown_method(name, start),
            Ok(answer) => match answer.done() {
                Ok(()) => self.note(name, start, Ok(String::new())),
                Err(error) => self.said(name, start, error),
            },
            Err(fault) => self.note(name, start, Err(fault)),
        }
    }

    /// The types of events that it names.
    pub(super) fn events(&mut self) -> Option<Vec<String>> {
        let (name, start) = ("GetSupportedEvents", Instant::now());
        match self.call(Method::GetSupportedEvents, json!({}), CALL) {
            Ok(Answer::NotSupported) => self.unknown_method(name, start),
            Ok(Answer::Failed(fault)) | Err(fault) => self.note(name, start, Err(fault)),
            Ok(answer) => {
                let events = answer.supported_events();
                let seen = events.as_ref().map(|events| events.join(", "));
                self.note(name, start, seen.ok_or_else(|| "expected a list of types".to_owned()));
                return events;
            }
        }
        None
    }

    pub(super) fn vote(&mut self, name: &'static str, metrics: &Metrics) {
        let start = Instant::now();
        let answer =
            match self.call(Method::CheckIdle, json!({ "metrics": metrics.to_value() }), CALL) {
                Ok(answer) => answer,
                Err(fault) => return self.note(name, start, Err(fault)),
            };
        match Vote::of(&answer) {
            None => self.unknown_method(name, start),
            // Unable to find out is an answer too: what it asks may not be there.
            Some(vote) => {
                let seen = format!("{}: {}", vote.verdict.as_str(), vote.reason);
                self.note(name, start, Ok(seen));
            }
        }
    }

    /// Whether it knows the method.
    pub(super) fn handle(&mut self, event: &Value, limit: Duration) -> bool {
        let (name, start) = ("HandleEvent", Instant::now());
        let seen = match self.call(Method::HandleEvent, json!({ "event": event }), limit) {
            Ok(Answer::NotSupported) => {
                self.unknown_method(name, start);
                return false;
            }
            Ok(Answer::Failed(error)) => {
                self.said(name, start, error);
                return true;
            }
            Ok(Answer::Result(value)) => match Handled::read(&value).error {
                Some(error) if has_handled(&value) => {
                    self.said(name, start, error);
                    return true;
                }
                _ => handled(&value),
            },
            Err(fault) => Err(fault),
        };
        self.note(name, start, seen);
        true
    }

    /// Asks it to end, and looks how it does.
    pub(super) fn end(&mut self) {
        let start = Instant::now();
        // A plugin may end at once instead of answering.
        let _ = self.call(Method::Shutdown, json!({}), CALL);
        self.plugin.close();
        let seen = self.ended(CALL, "its stdin was closed");
        self.note("Shutdown", start, seen);
    }

    /// Whether it ends well in time.
    pub(super) fn ended(&mut self, limit: Duration, since: &str) -> Result<String, String> {
        let limit = self.limit(limit);
        match self.plugin.ended(limit) {
            Some(status) if status.success() => Ok(String::new()),
            Some(status) => Err(format!("ended with {status}")),
            None => Err(format!("still runs {} after {since}", text::took(limit))),
        }
    }

    /// What is to be said of the whole.
    pub(super) fn look_back(&mut self) {
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
            self.absent("log", Instant::now(), format!("the last line it wrote: {line}"));
        }
    }
}

fn has_handled(value: &Value) -> bool {
    value.as_bool().is_some() || value.get("handled").is_some_and(Value::is_boolean)
}

fn handled(value: &Value) -> Result<String, String> {
    if !has_handled(value) {
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
