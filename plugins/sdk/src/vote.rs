//! Whether the instance is idle, as far as one plugin knows.

use serde_json::{Map, Value, json};

use crate::printable;
use crate::wire::Answer;

/// What a plugin thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing goes on here.
    Idle,
    /// Something goes on here.
    Busy,
    /// It could not find out.
    Unknown,
}

impl Verdict {
    /// The word for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Unknown => "unknown",
        }
    }
}

/// A verdict with its reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Vote {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, for people; may be empty.
    pub reason: String,
    /// The figures behind it, by the plugin's own names.
    pub details: Map<String, Value>,
}

impl Vote {
    /// Nothing goes on here, because.
    #[must_use]
    pub fn idle(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Idle, reason: reason.into(), details: Map::new() }
    }

    /// Something goes on here, because.
    #[must_use]
    pub fn busy(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Busy, reason: reason.into(), details: Map::new() }
    }

    /// The plugin could not find out, because.
    #[must_use]
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unknown, reason: reason.into(), details: Map::new() }
    }

    /// The vote with one more figure behind it.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// The vote in an answer to `CheckIdle`; `None` when the plugin does not vote. A failure and
    /// an answer without `is_idle` are votes too: the plugin could not find out.
    #[must_use]
    pub fn of(answer: &Answer) -> Option<Self> {
        let value = match answer {
            Answer::NotSupported => return None,
            Answer::Failed(text) => return Some(Self::unknown(text)),
            Answer::Result(value) => value,
        };
        let reason = value.get("reason").and_then(Value::as_str).map(printable);
        let details = value.get("details").and_then(Value::as_object).cloned();
        let verdict = match value.get("is_idle").and_then(Value::as_bool) {
            Some(true) => Verdict::Idle,
            Some(false) => Verdict::Busy,
            None => Verdict::Unknown,
        };
        let reason = match verdict {
            Verdict::Unknown => reason.or_else(|| Some("the answer has no `is_idle`".to_owned())),
            Verdict::Idle | Verdict::Busy => reason,
        };
        Some(Self {
            verdict,
            reason: reason.unwrap_or_default(),
            details: details.unwrap_or_default(),
        })
    }

    /// The result of `CheckIdle`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut value = match self.verdict {
            Verdict::Idle => json!({ "is_idle": true, "reason": self.reason }),
            Verdict::Busy => json!({ "is_idle": false, "reason": self.reason }),
            Verdict::Unknown => json!({ "error": self.reason }),
        };
        if let (Some(map), false) = (value.as_object_mut(), self.details.is_empty()) {
            map.insert("details".to_owned(), Value::Object(self.details.clone()));
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{read_reply, result_line};

    fn check(reply: &str, verdict: Verdict, reason: &str) {
        let vote = Vote::of(&read_reply(reply.as_bytes()).unwrap().answer).unwrap();
        assert_eq!((vote.verdict, vote.reason.as_str()), (verdict, reason));
    }

    // S1-03, S1-19, S1-28
    #[test]
    fn a_vote_is_idle_busy_or_unknown() {
        check(r#"{"result":{"is_idle":true,"reason":"quiet"},"id":1}"#, Verdict::Idle, "quiet");
        check(r#"{"result":{"is_idle":false,"reason":""},"id":1}"#, Verdict::Busy, "");
        check(r#"{"result":{"is_idle":false},"id":1}"#, Verdict::Busy, "");
        check(r#"{"result":{"error":"no route"},"id":1}"#, Verdict::Unknown, "no route");
        check(r#"{"error":"no route","id":null}"#, Verdict::Unknown, "no route");
        check(r#"{"result":null,"id":1}"#, Verdict::Unknown, "the answer has no `is_idle`");
        assert_eq!(Vote::of(&Answer::NotSupported), None);
    }

    #[test]
    fn a_vote_survives_the_wire_with_its_details() {
        for vote in [Vote::idle("a").detail("connection_count", 0), Vote::busy("b")] {
            let line = result_line(&vote.to_value(), &json!(1));
            assert_eq!(
                Vote::of(&read_reply(line.trim_end().as_bytes()).unwrap().answer),
                Some(vote)
            );
        }
    }
}
