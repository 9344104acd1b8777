//! `snooze history`.

use serde_json::{Value, json};
use snoozed::exit;

use crate::daemon::Context;
use crate::failure::Failure;
use crate::text::{cell, list, seconds};
use crate::{incident, screen, text};

/// List the incidents of this instance, the newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: snooze history --limit 5")]
pub(crate) struct Args {
    /// How many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let history = context.ask("HISTORY", json!({ "limit": args.limit }))?;
    screen::show(context.json, &history, person)?;
    Ok(exit::OK)
}

fn person(history: &Value) -> String {
    let known = history.as_array().map(Vec::as_slice).unwrap_or_default();
    if known.is_empty() {
        return "no incident yet; `snooze simulate spot` makes one, as a drill\n".to_owned();
    }
    let head = ["OPENED", "WHAT", "OUTCOME", "STEPS", "MARGIN", "INCIDENT"].map(str::to_owned);
    let rows = known.iter().map(|known| {
        let outcome = match cell(known, "outcome") {
            outcome if outcome == "-" => "open".to_owned(),
            outcome => outcome,
        };
        [
            text::moment(known, "opened"),
            incident::title(known),
            outcome,
            done(known),
            seconds(known, "margin_seconds"),
            cell(known, "incident"),
        ]
    });
    text::table(&[head].into_iter().chain(rows).collect::<Vec<_>>())
}

/// How many of the steps did their work.
fn done(known: &Value) -> String {
    let steps = list(known, "steps");
    let done = steps.iter().filter(|step| incident::step_state(step) == "done").count();
    format!("{done}/{}", steps.len())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn one_line_for_each_incident() {
        expect![[r#"
            OPENED                    WHAT                            OUTCOME  STEPS  MARGIN      INCIDENT
            2026-03-14T09:26:54.000Z  cloud.spot.interrupt terminate  done     1/2    1 min 58 s  i-1/b/spot/terminate
            2026-03-14T09:00:00.000Z  custom.deploy (drill)           open     0/0    -           i-1/b/e-1
        "#]]
        .assert_eq(&person(&json!([
            { "opened": "2026-03-14T09:26:54Z", "event_type": "cloud.spot.interrupt",
              "action": "terminate", "outcome": "done", "margin_seconds": 118.5,
              "incident": "i-1/b/spot/terminate",
              "steps": [{ "outcome": "done" }, { "outcome": "failed" }] },
            { "opened": "2026-03-14T09:00:00Z", "event_type": "custom.deploy", "drill": true,
              "outcome": null, "incident": "i-1/b/e-1", "steps": [] }
        ])));
    }

    #[test]
    fn an_empty_history_says_what_to_try() {
        assert!(person(&json!([])).contains("snooze simulate spot"));
    }
}
