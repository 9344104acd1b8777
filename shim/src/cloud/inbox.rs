//! What came over the queue: which commands are ours, new and in time. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_cloud::envelope::{MAX_AGE, MAX_AHEAD};
use snooze_event::InstanceId;
use snooze_event::wire::command::{self, Command};

/// How many ids are remembered. Nothing that is older than the age window passes the check of
/// the envelope, and in that time far fewer come.
const REMEMBERED: usize = 10_000;
/// A message that passes the check of its age does so within this time.
const WINDOW: Duration = MAX_AGE.saturating_add(MAX_AHEAD);

/// What became of messages, since the start of the daemon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Commands that were taken.
    pub taken: u64,
    /// Came again, and changed nothing.
    pub repeated: u64,
    /// Came too late to be worth anything.
    pub expired: u64,
    /// For another instance.
    pub foreign: u64,
    /// Not of our topic, not signed, or no command.
    pub refused: u64,
}

impl Counts {
    pub(super) fn shown(self) -> Value {
        json!({
            "taken": self.taken,
            "repeated": self.repeated,
            "expired": self.expired,
            "foreign": self.foreign,
            "refused": self.refused,
        })
    }
}

/// What is to be done with a message.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// The command is to be taken.
    Take(Box<Command>),
    /// Nothing: it is deleted.
    Drop(Why),
}

/// Why a message is deleted unheeded.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Why {
    /// It cannot be read.
    #[error("it is no command: {0}")]
    Unreadable(String),
    /// It names another instance.
    #[error("it is for another instance")]
    Foreign,
    /// It is worth nothing any more.
    #[error("it has expired")]
    Expired,
    /// It came a second time.
    #[error("it was taken before")]
    Repeated,
}

/// Knows what was taken.
#[derive(Debug)]
pub struct Inbox {
    instance: InstanceId,
    /// The ids of messages and commands that were taken, with the time until which they count.
    taken: BTreeMap<String, Timestamp>,
    pub(super) counts: Counts,
}

impl Inbox {
    /// The inbox of an instance.
    #[must_use]
    pub fn new(instance: InstanceId) -> Self {
        Self { instance, taken: BTreeMap::new(), counts: Counts::default() }
    }

    /// Judges the text of a verified message. What is to be taken is not counted until it is.
    pub fn judge(&mut self, message_id: &str, text: &str, now: Timestamp) -> Verdict {
        self.taken.retain(|_, until| *until > now);
        let why = match command::read(text) {
            Err(error) => Why::Unreadable(error.to_string()),
            Ok(command) => match self.against(&command, message_id, now) {
                None => return Verdict::Take(Box::new(command)),
                Some(why) => why,
            },
        };
        let count = match &why {
            Why::Unreadable(_) => &mut self.counts.refused,
            Why::Foreign => &mut self.counts.foreign,
            Why::Expired => &mut self.counts.expired,
            Why::Repeated => &mut self.counts.repeated,
        };
        *count = count.saturating_add(1);
        Verdict::Drop(why)
    }

    fn against(&self, command: &Command, message_id: &str, now: Timestamp) -> Option<Why> {
        let is_ours = command.instance.as_ref().is_none_or(|wanted| *wanted == self.instance);
        let is_known = |id: &str| self.taken.contains_key(id);
        if !is_ours {
            Some(Why::Foreign)
        } else if command.expires_at <= now {
            Some(Why::Expired)
        } else if is_known(&of_message(message_id)) || is_known(&of_command(&command.id)) {
            Some(Why::Repeated)
        } else {
            None
        }
    }

    /// The command was taken: it is not taken again.
    pub fn take(&mut self, message_id: &str, command: &Command, now: Timestamp) {
        self.counts.taken = self.counts.taken.saturating_add(1);
        if self.taken.len() < REMEMBERED {
            let window = now.checked_add(WINDOW).unwrap_or(now);
            self.taken.insert(of_message(message_id), window.max(command.expires_at));
            self.taken.insert(of_command(&command.id), command.expires_at);
        }
    }

    /// The message was no message of our topic.
    pub(super) fn refuse(&mut self) {
        self.counts.refused = self.counts.refused.saturating_add(1);
    }
}

fn of_message(id: &str) -> String {
    format!("message {id}")
}

fn of_command(id: &str) -> String {
    format!("command {id}")
}

#[cfg(test)]
mod tests;
