//! A plugin as a child process.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Map, Value, json};
use snooze_plugin::wire::{Answer, Method, read_reply, request_line};
use snooze_plugin::{Handled, Vote};

pub(crate) const FLUSHER: &str = env!("CARGO_BIN_EXE_mysql-flusher");
pub(crate) const MONITOR: &str = env!("CARGO_BIN_EXE_mysql-monitor");

/// It ends with the value, by SIGKILL.
pub(crate) struct Program {
    child: Child,
    replies: BufReader<ChildStdout>,
}

impl Program {
    pub(crate) fn start(file: &str, config: &Value) -> Self {
        let mut program = Self::unconfigured(file);
        let configured = program.ask(Method::Configure, json!({ "config": config }));
        assert_eq!(configured.done(), Ok(()));
        program
    }

    pub(crate) fn unconfigured(file: &str) -> Self {
        let mut child =
            Command::new(file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let replies = BufReader::new(child.stdout.take().unwrap());
        Self { child, replies }
    }

    pub(crate) fn ask(&mut self, method: Method, params: Value) -> Answer {
        self.send(method, params);
        let mut reply = String::new();
        self.replies.read_line(&mut reply).unwrap();
        read_reply(reply.trim_end().as_bytes()).unwrap().answer
    }

    pub(crate) fn send(&mut self, method: Method, params: Value) {
        let params: Map<String, Value> = params.as_object().unwrap().clone();
        let line = request_line(method, params, 1, false);
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    }

    /// Has it handle a notice of a minute.
    pub(crate) fn flush(&mut self) -> Handled {
        self.handle(notice(60.5))
    }

    pub(crate) fn handle(&mut self, event: Value) -> Handled {
        match self.ask(Method::HandleEvent, json!({ "event": event })) {
            Answer::Result(value) => Handled::read(&value),
            Answer::Failed(text) => Handled::failed(text),
            Answer::NotSupported => panic!("not supported"),
        }
    }

    pub(crate) fn vote(&mut self) -> Vote {
        Vote::of(&self.ask(Method::CheckIdle, json!({ "metrics": {} }))).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Spot notice with so many seconds left.
pub(crate) fn notice(left: f64) -> Value {
    json!({ "type": "cloud.spot.interrupt", "data": { "timeRemaining": left } })
}
