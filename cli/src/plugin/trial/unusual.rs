//! Requests that a plugin seldom gets: of another kind, too late, unknown, two at once.

use std::time::Instant;

use serde_json::{Value, json};
use snooze_plugin::Handled;
use snooze_plugin::wire::{Answer, Method, covers, read_reply};

use super::talk::Talk;
use super::{CALL, LATE};

impl Talk {
    /// Gives it the first event that is of no type that it names: it is not its business, and no
    /// error.
    pub(super) fn other_event(&mut self, events: &[Value], supported: Option<&[String]>) {
        let (name, start) = ("event of another type", Instant::now());
        let kind = |event: &Value| event.get("type").and_then(Value::as_str).map(str::to_owned);
        let is_named = |event: &&Value| {
            let kind = kind(event).unwrap_or_default();
            supported.is_some_and(|names| names.iter().any(|named| covers(named, &kind)))
        };
        let Some(event) = events.iter().find(|event| !is_named(event)) else {
            return self.absent(name, start, "it names all types");
        };
        let answer = match self.call(Method::HandleEvent, json!({ "event": event }), CALL) {
            Ok(answer) => answer,
            Err(fault) => return self.note(name, start, Err(fault)),
        };
        let kind = kind(event).unwrap_or_default();
        let handled = match &answer {
            Answer::Result(value) => Handled::read(value),
            Answer::Failed(text) => Handled::failed(text.as_str()),
            Answer::NotSupported => Handled::not_mine(),
        };
        match (handled.handled, handled.error, supported) {
            (_, Some(error), Some(_)) => {
                let text = format!("expected `\"handled\":false` for {kind}: {error}");
                self.note(name, start, Err(text));
            }
            (true, None, Some(_)) => {
                let text = format!("handles {kind}, which GetSupportedEvents does not name");
                self.note(name, start, Err(text));
            }
            (false, None, _) => self.note(name, start, Ok(format!("leaves {kind} to others"))),
            (true, None, None) | (_, Some(_), None) => {
                self.absent(name, start, "takes every type; GetSupportedEvents could name its own");
            }
        }
    }

    /// Gives it an event that leaves no time. Whatever it answers, it must answer.
    pub(super) fn late_event(&mut self, event: &Value) {
        let (name, start) = ("event without time", Instant::now());
        let seen = match self.call(Method::HandleEvent, json!({ "event": event }), LATE) {
            Ok(Answer::Result(value)) => {
                let handled = Handled::read(&value);
                let said = handled.error.or(handled.status).unwrap_or_default();
                Ok(if handled.handled { format!("handled {said}") } else { said })
            }
            Ok(Answer::Failed(text)) => Ok(text),
            Ok(Answer::NotSupported) => Err("it does not know HandleEvent any more".to_owned()),
            Err(fault) => Err(format!("{fault}: obey `timeRemaining`")),
        };
        self.note(name, start, seen);
    }

    pub(super) fn unknown(&mut self) {
        let (name, start) = ("unknown method", Instant::now());
        let (line, id) = self.request(Method::Info, json!({}));
        let line = line.replace("\"Info\"", "\"NoSuchMethod\"");
        let limit = self.limit(CALL);
        let seen = match self.plugin.ask(&line, id, limit).map(|reply| reply.answer) {
            Ok(Answer::NotSupported) => Ok("says so".to_owned()),
            Ok(Answer::Failed(fault)) => Err(format!(
                "expected `{{\"result\":{{\"error\":\"Unknown method: X\"}}}}`: {fault}"
            )),
            Ok(Answer::Result(value)) => Err(format!("answers as if it knew it: {value}")),
            Err(fault) => Err(fault),
        };
        self.note(name, start, seen);
    }

    /// Writes two requests in one piece.
    pub(super) fn two_at_once(&mut self) {
        let (name, start) = ("two requests at once", Instant::now());
        let (one, first) = self.request(Method::Info, json!({}));
        let (two, second) = self.request(Method::Info, json!({}));
        let limit = self.limit(CALL);
        let seen = self
            .plugin
            .ask(&(one + &two), first, limit)
            .and_then(|_| self.plugin.ask("", second, limit).map(|_| "answers both".to_owned()));
        self.note(name, start, seen);
    }

    /// Writes a line that is no request, and a request after it.
    pub(super) fn garbage(&mut self, name: &'static str) {
        let start = Instant::now();
        let (request, id) = self.request(Method::Info, json!({}));
        let limit = self.limit(CALL);
        let until = start + limit;
        let mut says_so = false;
        let seen = self.plugin.write(&format!("this is no request\n{request}")).and_then(|()| {
            loop {
                let reply = read_reply(&self.plugin.hear(until, limit)?);
                match reply {
                    Ok(reply) if reply.id == Some(id) => return Ok(()),
                    Ok(reply) => says_so |= matches!(reply.answer, Answer::Failed(_)),
                    // How a plugin answers what is no request is its own business.
                    Err(_) => {}
                }
            }
        });
        match seen {
            Ok(()) if says_so => self.note(name, start, Ok("says so, and goes on".to_owned())),
            Ok(()) => self.absent(name, start, "does not say so, but goes on"),
            Err(fault) => self.note(name, start, Err(fault)),
        }
    }
}
