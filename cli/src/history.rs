//! `snooze history`.

use serde_json::{Value, json};
use snoozed::exit;

use crate::daemon::Context;
use crate::failure::Failure;
use crate::sheet::{self, Format};
use crate::text::{cell, list, seconds};
use crate::{incident, text};

/// List the incidents of this instance, the newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples: snooze history --limit 5
          snooze history --format csv > history.csv")]
pub(crate) struct Args {
    /// How many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// How it is printed
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let history = context.ask("HISTORY", json!({ "limit": args.limit }))?;
    sheet::show(args.format, context, &history, || person(&history), || rows(&history))?;
    Ok(exit::OK)
}

fn person(history: &Value) -> String {
    let known = incidents(history);
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

fn incidents(history: &Value) -> &[Value] {
    history.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The header, and a row for each incident.
fn rows(history: &Value) -> Vec<[String; 12]> {
    const HEAD: [&str; 12] = [
        "opened",
        "closed",
        "event_type",
        "cause",
        "action",
        "drill",
        "outcome",
        "text",
        "margin_seconds",
        "steps_done",
        "steps",
        "incident",
    ];
    let row = |known: &Value| {
        HEAD.map(|name| match name {
            "steps_done" => steps_done(known).to_string(),
            "steps" => list(known, "steps").len().to_string(),
            name => sheet::cell(known, name),
        })
    };
    let rows = incidents(history).iter().map(row);
    [HEAD.map(str::to_owned)].into_iter().chain(rows).collect()
}

fn done(known: &Value) -> String {
    format!("{}/{}", steps_done(known), list(known, "steps").len())
}

/// How many of the steps did their work.
fn steps_done(known: &Value) -> usize {
    list(known, "steps").iter().filter(|step| incident::step_state(step) == "done").count()
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
    fn a_sheet_has_a_header_and_a_row_for_each_incident() {
        let rows = rows(&json!([
            { "opened": "2026-03-14T09:26:54Z", "closed": "2026-03-14T09:27:00Z",
              "event_type": "cloud.spot.interrupt", "cause": "spot", "action": "terminate",
              "drill": false, "outcome": "partial", "text": "1 done, 1 failed",
              "margin_seconds": 118.5, "incident": "i-1/b/spot/terminate",
              "steps": [{ "outcome": "done" }, { "outcome": "failed" }] },
            { "opened": "2026-03-14T09:00:00Z", "event_type": "custom.deploy", "drill": true,
              "outcome": null, "incident": "i-1/b/e-1", "steps": [] }
        ]));
        let rows: Vec<String> = rows.iter().map(|row| row.join(";")).collect();
        expect![[r#"
            opened;closed;event_type;cause;action;drill;outcome;text;margin_seconds;steps_done;steps;incident
            2026-03-14T09:26:54Z;2026-03-14T09:27:00Z;cloud.spot.interrupt;spot;terminate;false;partial;1 done, 1 failed;118.5;1;2;i-1/b/spot/terminate
            2026-03-14T09:00:00Z;;custom.deploy;;;true;;;;0;0;i-1/b/e-1"#]].assert_eq(&rows.join("\n"));
    }

    #[test]
    fn an_empty_history_says_what_to_try() {
        assert!(person(&json!([])).contains("snooze simulate spot"));
    }
}
