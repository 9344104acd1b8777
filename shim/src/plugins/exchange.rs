//! Which line of a plugin answers which request.

use std::time::Duration;

use snooze_plugin::wire::{Answer, Reply, read_reply};

use super::Redactor;
use super::process::{Ending, NotWritten};
use crate::launch::Fault;

/// How long to wait for a proper answer after an error with a strange id: the plugin may have
/// spoken of an earlier line (S1-27).
pub(super) const SETTLE: Duration = Duration::from_millis(250);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error("no answer in time")]
    Time,
    #[error("{0}")]
    Broken(String),
    #[error("too much output")]
    TooMuch,
    #[error("{0}")]
    NotWritten(#[from] NotWritten),
    #[error("the plugin closed its stdout without an answer")]
    Closed,
    #[error("{}", ending_text(*.0))]
    Ended(Ending),
    #[error("{}", fault_text(.0))]
    Launch(Fault),
    #[error("the daemon stops")]
    Stopped,
}

impl Trouble {
    /// The text without secrets. An excerpt may end within one, where it was cut.
    pub(super) fn told(&self, redactor: &Redactor) -> String {
        let text = self.to_string();
        match (self, text.strip_suffix('`')) {
            (Self::Broken(_), Some(cut)) => redactor.cut_text(cut) + "`",
            _ => redactor.text(&text),
        }
    }
}

/// What one line means for the request that is open.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// The answer.
    Answer(Answer),
    /// A failure that perhaps is meant for this request.
    Perhaps(String),
    /// Nothing: it belongs to an earlier request.
    Nothing,
    /// The talk cannot go on.
    Trouble(Trouble),
}

/// Judges a line while the request `id` is open.
pub(super) fn judge(line: &[u8], id: u64) -> Said {
    if let Some(fault) = Fault::of_line(line) {
        return Said::Trouble(Trouble::Launch(fault));
    }
    match read_reply(line) {
        Err(broken) => Said::Trouble(Trouble::Broken(broken.to_string())),
        Ok(Reply { id: Some(found), answer }) if found == id => Said::Answer(answer),
        Ok(Reply { answer: Answer::Failed(text), .. }) => Said::Perhaps(text),
        Ok(Reply { id: None, answer }) => Said::Answer(answer),
        Ok(Reply { id: Some(found), .. }) if found < id => Said::Nothing,
        Ok(Reply { id: Some(found), .. }) => Said::Trouble(Trouble::Broken(format!(
            "broken reply: it answers request {found}, the last one is {id}"
        ))),
    }
}

pub(super) fn ending_text(ending: Ending) -> String {
    match ending {
        Ending::Exited(code) => format!("the plugin ended with exit code {code}"),
        Ending::Killed(signal) => format!("the plugin was killed by signal {signal}"),
        Ending::NotStarted => "the launcher ended without a reason".to_owned(),
    }
}

fn fault_text(fault: &Fault) -> &str {
    match fault {
        Fault::Untrusted(text) | Fault::CannotStart(text) | Fault::Scarce(text) => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(line: &str) -> Said {
        judge(line.as_bytes(), 7)
    }

    #[test]
    fn g11_an_excerpt_that_ends_within_a_secret_shows_nothing_of_it() {
        let redactor = Redactor::new(&["S3CR3T-CANARY".to_owned()]);
        let line = format!("{}S3CR3T-CANARY", "x".repeat(195));
        let told = Trouble::Broken(broken(line.as_bytes())).told(&redactor);
        assert!(told.ends_with("x***`"), "{told}");
    }

    fn broken(line: &[u8]) -> String {
        let said = judge(line, 7);
        let Said::Trouble(Trouble::Broken(text)) = said else { panic!("{said:?}") };
        text
    }

    /// S1-27
    #[test]
    fn an_error_may_have_a_stale_or_null_id_and_is_then_only_perhaps_meant() {
        assert_eq!(said(r#"{"error":"x","id":null}"#), Said::Perhaps("x".to_owned()));
        assert_eq!(said(r#"{"error":{"message":"x"},"id":3}"#), Said::Perhaps("x".to_owned()));
        assert_eq!(said(r#"{"error":"x","id":7}"#), Said::Answer(Answer::Failed("x".to_owned())));
    }

    #[test]
    fn results_are_told_apart_by_their_id() {
        assert_eq!(said(r#"{"result":1,"id":7}"#), Said::Answer(Answer::Result(json!(1))));
        assert_eq!(said(r#"{"result":1,"id":6}"#), Said::Nothing);
        assert_eq!(said(r#"{"result":1}"#), Said::Answer(Answer::Result(json!(1))));
    }

    /// S1-26
    #[test]
    fn an_unknown_method_is_an_answer() {
        let line = r#"{"result":{"error":"Unknown method: Health"},"id":7}"#;
        assert_eq!(said(line), Said::Answer(Answer::NotSupported));
    }

    #[test]
    fn f12_garbage_is_a_broken_reply_with_an_excerpt() {
        let wide: Vec<u8> = "{\"id\":7}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let long = "x".repeat(5000);
        let cases: [&[u8]; 7] = [
            b"hello",
            b"{\"result\":1,",
            b"{\"id\":7}",
            b"{\"result\":1,\"id\":8}",
            b"\x00\x01\x02\xff",
            &wide,
            long.as_bytes(),
        ];
        for case in cases {
            let text = broken(case);
            assert!(text.starts_with("broken reply: ") && text.len() < 300, "{text}");
            assert!(text.is_ascii(), "{text}");
        }
    }
}
