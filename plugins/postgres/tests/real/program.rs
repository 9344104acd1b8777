//! The programs as child processes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Map, Value, json};
use snooze_plugin::Handled;
use snooze_plugin::wire::{Answer, Method, read_reply, request_line};

use crate::server::Server;
use crate::sql::LIMIT;

/// A program that was configured; it ends with the value.
pub(crate) struct Program {
    pub(crate) child: Child,
    replies: BufReader<ChildStdout>,
}

impl Program {
    pub(crate) fn flusher(config: Value) -> Self {
        Self::start(env!("CARGO_BIN_EXE_postgres-flusher"), config)
    }

    pub(crate) fn monitor(config: Value) -> Self {
        Self::start(env!("CARGO_BIN_EXE_postgres-monitor"), config)
    }

    fn start(path: &str, config: Value) -> Self {
        let mut command = Command::new(path);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let replies = BufReader::new(child.stdout.take().unwrap());
        let mut program = Self { child, replies };
        let configured = program.ask(Method::Configure, json!({ "config": config }));
        assert_eq!(configured.done(), Ok(()));
        program
    }

    pub(crate) fn ask(&mut self, method: Method, params: Value) -> Answer {
        self.say(method, params);
        self.reply()
    }

    fn reply(&mut self) -> Answer {
        let mut reply = String::new();
        self.replies.read_line(&mut reply).unwrap();
        read_reply(reply.trim_end().as_bytes()).unwrap().answer
    }

    /// Asks without waiting for the answer.
    pub(crate) fn say(&mut self, method: Method, params: Value) {
        let params: Map<String, Value> = params.as_object().unwrap().clone();
        let line = request_line(method, params, 1, false);
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    }

    /// Has an event handled.
    pub(crate) fn handle(&mut self, event: &Value) -> Handled {
        self.say(Method::HandleEvent, json!({ "event": event }));
        self.answer()
    }

    /// How an event was handled.
    pub(crate) fn answer(&mut self) -> Handled {
        match self.reply() {
            Answer::Result(value) => Handled::read(&value),
            other @ (Answer::Failed(_) | Answer::NotSupported) => panic!("{other:?}"),
        }
    }

    /// What the health check says is wrong.
    pub(crate) fn unwell(&mut self) -> String {
        match self.ask(Method::Health, json!({})) {
            Answer::Failed(text) => text,
            other @ (Answer::Result(_) | Answer::NotSupported) => panic!("{other:?}"),
        }
    }

    /// `SIGKILL`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The notice of an interruption, with enough time for a slow machine.
pub(crate) fn notice() -> Value {
    let left = LIMIT.as_secs();
    json!({ "type": "cloud.spot.interrupt", "data": { "timeRemaining": left, "action": "stop" } })
}

/// The settings for a server: these, and where it is.
pub(crate) fn config(server: &Server, mut more: Value) -> Value {
    let map = more.as_object_mut().unwrap();
    map.entry("connection_string").or_insert(json!(server.words()));
    map.entry("timeout_seconds").or_insert(json!(LIMIT.as_secs()));
    more
}

/// Has a flusher of its own save a server for a notice.
pub(crate) fn flush(server: &Server, more: Value) -> Handled {
    Program::flusher(config(server, more)).handle(&notice())
}

/// A text of a result; empty where there is none.
pub(crate) fn text<'a>(handled: &'a Handled, key: &str) -> &'a str {
    handled.more.get(key).and_then(Value::as_str).unwrap_or_default()
}
