//! `snooze event`.

use serde_json::{Map, Value, json};
use snoozed::exit;

use crate::daemon::Context;
use crate::failure::Failure;
use crate::screen;
use crate::text::cell;

/// Give the daemon events by hand
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Send one event; one that would take the instance away counts as a drill
    #[command(after_help = "Example: snooze event send custom.deploy --data '{\"version\": 7}'")]
    Send(Send),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Send {
    /// Its type: `custom`, `custom.NAME`, or a known one such as `cloud.spot.interrupt`
    #[arg(value_name = "TYPE")]
    kind: String,
    /// Its data, a JSON object
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// How much it matters, 0 (info) to 3 (critical)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=3))]
    severity: Option<u8>,
    /// How long handlers have
    #[arg(long, value_name = "SECONDS")]
    deadline_seconds: Option<f64>,
}

pub(crate) fn run(verb: &Verb, context: &Context) -> Result<u8, Failure> {
    let Verb::Send(send) = verb;
    let sent = context.ask("EVENT", params(send)?)?;
    screen::show(context.json, &sent, person)?;
    Ok(exit::OK)
}

fn params(send: &Send) -> Result<Value, Failure> {
    let mut params = Map::new();
    params.insert("type".to_owned(), send.kind.as_str().into());
    if let Some(text) = &send.data {
        let data: Map<String, Value> = serde_json::from_str(text)
            .map_err(|source| Failure::usage(format!("--data is not a JSON object: {source}")))?;
        params.insert("data".to_owned(), data.into());
    }
    if let Some(severity) = send.severity {
        params.insert("severity".to_owned(), severity.into());
    }
    if let Some(seconds) = send.deadline_seconds {
        params.insert("deadline_seconds".to_owned(), json!(seconds));
    }
    Ok(Value::Object(params))
}

fn person(sent: &Value) -> String {
    let event = cell(sent, "event_id");
    match sent.get("incident").and_then(Value::as_str) {
        Some(_) => {
            let incident = cell(sent, "incident");
            format!("event     {event}\nincident  {incident}\n`snooze explain` tells what it did\n")
        }
        None => {
            format!("event     {event}\nno incident: the daemon knew of it, or it is not ours\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(data: Option<&str>) -> Send {
        Send {
            kind: "custom.deploy".to_owned(),
            data: data.map(str::to_owned),
            severity: Some(2),
            deadline_seconds: Some(7.5),
        }
    }

    // S1-60
    #[test]
    fn an_event_says_what_was_given_and_no_more() {
        let sent = params(&send(Some(r#"{"version": 7}"#))).unwrap();
        let expected = json!({ "type": "custom.deploy", "data": { "version": 7 },
            "severity": 2, "deadline_seconds": 7.5 });
        assert_eq!(sent, expected);
    }

    #[test]
    fn data_that_is_no_object_is_a_wrong_usage() {
        for data in ["[1]", "{", "7"] {
            let failure = params(&send(Some(data))).unwrap_err();
            assert!(matches!(failure, Failure::Said { code: exit::USAGE, .. }), "{failure:?}");
        }
    }
}
