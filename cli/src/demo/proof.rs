//! What must be true when the demo is over, looked up where it must be.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::app;
use super::receiver::Message;
use super::stage::Stage;
use crate::text::{self, cell};

/// Something that must be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// It is.
    pub(super) holds: bool,
    /// What was found.
    pub(super) text: String,
}

impl Claim {
    fn of(found: Result<String, String>) -> Self {
        match found {
            Ok(text) => Self { holds: true, text },
            Err(text) => Self { holds: false, text },
        }
    }

    /// The claims for people.
    pub(super) fn list(claims: &[Self]) -> String {
        let line = |claim: &Self| {
            let verdict = if claim.holds { "ok  " } else { "FAIL" };
            format!("  {verdict}  {}\n", text::shown(&claim.text))
        };
        claims.iter().map(line).collect()
    }

    /// The claim for machines.
    pub(super) fn data(&self) -> Value {
        json!({ "holds": self.holds, "text": self.text })
    }
}

/// All that must be true.
pub(super) fn claims(stage: &Stage, unsaved: usize, known: &Value) -> Vec<Claim> {
    let places = stage.places();
    let read = |path: &Path| fs::read_to_string(path).map_err(|error| error.to_string());
    let mut claims =
        vec![Claim::of(read(&places.orders()).and_then(|text| orders(&text, unsaved)))];
    if places.python {
        claims.push(Claim::of(read(&places.checkpoint()).and_then(|text| checkpoint(&text))));
    }
    claims.push(Claim::of(
        read(&places.drained()).map(|text| format!("the shutdown script ran: {}", text.trim())),
    ));
    claims.push(Claim::of(webhook(&stage.messages())));
    claims.push(Claim::of(outcome(known)));
    claims
}

/// All orders that were unsaved at the notice are on disk, each of them whole.
fn orders(text: &str, unsaved: usize) -> Result<String, String> {
    let whole = |(number, line): &(usize, &str)| {
        serde_json::from_str::<Value>(line).is_ok_and(|read| read == app::order(number + 1))
    };
    let saved = text.lines().enumerate().take_while(whole).count();
    if saved < text.lines().count() {
        return Err(format!("line {} of the saved orders is broken", saved + 1));
    }
    if saved < unsaved || unsaved == 0 {
        return Err(format!("{unsaved} orders unsaved at the notice, {saved} on disk after it"));
    }
    Ok(format!("{unsaved} orders unsaved at the notice; {saved} on disk after it, read back whole"))
}

fn checkpoint(text: &str) -> Result<String, String> {
    let saved: Value = serde_json::from_str(text).map_err(|fault| fault.to_string())?;
    match saved.pointer("/data/action").and_then(Value::as_str) {
        Some("terminate") => Ok("the Python plugin saved its state, read back whole".to_owned()),
        Some(_) | None => Err(format!("the Python plugin saved something else: {saved}")),
    }
}

fn webhook(messages: &[Message]) -> Result<String, String> {
    let told = |message: &&Message| message.kind.as_deref() == Some("cloud.spot.interrupt");
    match messages.iter().find(told) {
        Some(message) if message.signed => {
            Ok("the webhook got valid JSON, and its HMAC-SHA256 signature holds".to_owned())
        }
        Some(_) => Err("the signature of the webhook is wrong".to_owned()),
        None => Err(format!("the webhook told nothing of it; messages: {}", messages.len())),
    }
}

fn outcome(known: &Value) -> Result<String, String> {
    let margin = known.get("margin_seconds").and_then(Value::as_f64).unwrap_or_default();
    let text = format!("outcome `{}`, {margin:.1} s before the deadline", cell(known, "outcome"));
    if cell(known, "outcome") == "done" && margin > 0.0 { Ok(text) } else { Err(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(count: usize) -> String {
        (1..=count).map(|number| format!("{}\n", app::order(number))).collect()
    }

    #[test]
    fn every_unsaved_order_must_be_on_disk() {
        assert!(orders(&saved(12), 10).is_ok());
        assert!(orders(&saved(9), 10).is_err());
        assert!(orders("", 10).is_err());
        assert!(orders(&saved(9), 0).is_err());
    }

    #[test]
    fn a_torn_or_altered_file_is_no_proof() {
        let text = saved(12);
        assert!(orders(&text[..text.len() - 5], 10).is_err());
        assert!(orders(&text.replacen("tea", "ale", 1), 1).is_err());
    }

    #[test]
    fn only_a_signed_message_about_the_loss_counts() {
        let message =
            |kind: Option<&str>, signed| Message { kind: kind.map(str::to_owned), signed };
        assert!(webhook(&[message(Some("cloud.spot.interrupt"), true)]).is_ok());
        assert!(webhook(&[message(Some("cloud.spot.interrupt"), false)]).is_err());
        assert!(webhook(&[message(None, true)]).is_err());
        assert!(webhook(&[]).is_err());
    }

    #[test]
    fn only_done_in_time_is_a_success() {
        let known =
            |outcome: &str, margin: f64| json!({ "outcome": outcome, "margin_seconds": margin });
        assert!(outcome(&known("done", 119.0)).is_ok());
        assert!(outcome(&known("done", 0.0)).is_err());
        assert!(outcome(&known("partial", 119.0)).is_err());
    }
}
