//! `snooze incidents`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use snooze_cloud::incidents::Stored;
use snooze_event::InstanceId;
use snooze_policy::ledger::Incident;
use snoozed::exit;

use super::{Fleet, KEEP, explain, ledger, timing};
use crate::daemon::Context;
use crate::failure::Failure;
use crate::sheet::{self, Format};
use crate::text::word;
use crate::{screen, text};

/// List the incidents of the fleet, the newest first, or look at one
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples: snooze incidents --since 7d --instance i-0a1b2c3d4e5f60718
          snooze incidents --since 30d --limit 1000 --format csv > incidents.csv
          snooze incidents show last
          snooze incidents explain last"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// How far back, such as `30m`, `24h` or `7d`
    #[arg(long, default_value = "24h", value_parser = timing::span, value_name = "SPAN")]
    since: Duration,
    /// Only those of this instance
    #[arg(long, value_name = "ID")]
    instance: Option<InstanceId>,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// How the list is printed
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show all that the ledger holds of an incident
    #[command(after_help = "Example: snooze incidents show last")]
    Show(Which),
    /// Say why each task and step of an incident ended as it did, and what to do
    #[command(after_help = "Example: snooze incidents explain last")]
    Explain(Which),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// Its id, as `snooze incidents` names it, or `last`
    #[arg(value_name = "ID")]
    id: String,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let fleet = Fleet::connect(context)?;
    let now = Timestamp::now();
    match &args.verb {
        None => list(args, &fleet, context, now),
        Some(Verb::Show(which)) => {
            let incident = read(&which.id, &fleet, now)?;
            screen::show(context.json, &ledger::data(&incident), |_| {
                ledger::person(&incident, now)
            })?;
            Ok(exit::OK)
        }
        Some(Verb::Explain(which)) => {
            let incident = read(&which.id, &fleet, now)?;
            let data = explain::data(&incident, now);
            screen::show(context.json, &data, |_| explain::person(&incident, now))?;
            Ok(exit::OK)
        }
    }
}

/// The incident of an id, or the last one.
pub(super) fn read(id: &str, fleet: &Fleet, now: Timestamp) -> Result<Incident, Failure> {
    let (table, name) = (fleet.incidents(), fleet.name("incidents"));
    let found = if id == "last" {
        let all = table.list(timing::before(now, KEEP), 1);
        fleet.ask("list the incidents", &name, all)?.into_iter().next()
    } else {
        fleet.ask("read the incident", &name, table.read(id))?
    };
    let Some(Stored { incident, .. }) = found else {
        let text =
            format!("`{name}` has no incident `{id}`; `snooze incidents` lists those there are");
        return Err(Failure::new(exit::NO, text));
    };
    Ok(incident)
}

fn list(args: &Args, fleet: &Fleet, context: &Context, now: Timestamp) -> Result<u8, Failure> {
    let (table, name) = (fleet.incidents(), fleet.name("incidents"));
    let since = timing::before(now, args.since);
    let found = match &args.instance {
        Some(instance) => {
            let call = table.of_instance(instance, since, args.limit);
            fleet.ask("list the incidents", &name, call)?
        }
        None => fleet.ask("list the incidents", &name, table.list(since, args.limit))?,
    };
    let found: Vec<Incident> = found.into_iter().map(|stored| stored.incident).collect();
    let data: Value = found.iter().map(ledger::data).collect();
    sheet::show(args.format, context, &data, || person(&found, now), || rows(&found))?;
    Ok(exit::OK)
}

fn person(found: &[Incident], now: Timestamp) -> String {
    if found.is_empty() {
        return "no incident; `--since` looks further back, and `snooze drill` makes one\n"
            .to_owned();
    }
    let head = ["OPENED", "INSTANCE", "WHAT", "HOW IT STANDS", "STEPS", "INCIDENT"];
    let rows = found.iter().map(|incident| {
        [
            text::at(incident.opened_at),
            word(incident.instance.as_deref().unwrap_or_default()),
            ledger::title(incident),
            ledger::standing(incident, now),
            ledger::done(incident),
            word(&incident.id),
        ]
    });
    text::table(&[head.map(str::to_owned)].into_iter().chain(rows).collect::<Vec<_>>())
}

/// The header, and a row for each incident.
fn rows(found: &[Incident]) -> Vec<[String; 14]> {
    let head = [
        "opened",
        "ended",
        "instance",
        "event_type",
        "cause",
        "action",
        "drill",
        "outcome",
        "text",
        "deadline",
        "margin_seconds",
        "steps_done",
        "steps",
        "incident",
    ];
    let row = |incident: &Incident| {
        let ended = incident.ended.as_ref();
        let told = |name: &str| {
            let text = incident.event.get(name).and_then(Value::as_str);
            sheet::words(text.unwrap_or_default())
        };
        let margin = ledger::margin(incident).map(|margin| margin.as_secs_f64().to_string());
        [
            incident.opened_at.to_string(),
            ended.map(|ended| ended.at.to_string()).unwrap_or_default(),
            sheet::words(incident.instance.as_deref().unwrap_or_default()),
            told("type"),
            told("cause"),
            told("action"),
            incident.drill.to_string(),
            sheet::words(ended.map_or("", |ended| &ended.outcome)),
            sheet::words(ended.map_or("", |ended| &ended.text)),
            incident.deadline.map(|deadline| deadline.to_string()).unwrap_or_default(),
            margin.unwrap_or_default(),
            ledger::steps_done(incident).to_string(),
            incident.steps.len().to_string(),
            sheet::words(&incident.id),
        ]
    };
    [head.map(str::to_owned)].into_iter().chain(found.iter().map(row)).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::ledger::samples::{at, done, troubled};
    use super::*;

    #[test]
    fn one_line_for_each_incident() {
        let found = [done(json!({ "drill": true, "ended": null })), done(json!({})), troubled()];
        expect![[r#"
            OPENED                    INSTANCE             WHAT                                    HOW IT STANDS                  STEPS  INCIDENT
            2026-11-21T10:00:01.100Z  i-0a1b2c3d4e5f60718  cloud.spot.interrupt terminate (drill)  open, 1 min 0 s left           1/1    i-0a1b2c3d4e5f60718/spot/terminate/20261121T100001Z
            2026-11-21T10:00:01.100Z  i-0a1b2c3d4e5f60718  cloud.spot.interrupt terminate          done with 1 min 58 s to spare  1/1    i-0a1b2c3d4e5f60718/spot/terminate/20261121T100001Z
            2026-11-21T10:00:01.100Z  i-0a1b2c3d4e5f60718  cloud.spot.interrupt terminate          partial, 1.5 s too late        0/3    i-0a1b2c3d4e5f60718/spot/terminate/20261121T100001Z
        "#]].assert_eq(&person(&found, at("10:01:00")));
    }

    #[test]
    fn a_sheet_has_a_header_and_a_row_for_each_incident() {
        let open = done(json!({ "drill": true, "ended": null, "hops": {} }));
        let rows = rows(&[troubled(), open]);
        let rows: Vec<String> = rows.iter().map(|row| row.join(";")).collect();
        expect![[r#"
            opened;ended;instance;event_type;cause;action;drill;outcome;text;deadline;margin_seconds;steps_done;steps;incident
            2026-11-21T10:00:01.1Z;2026-11-21T10:03:00Z;i-0a1b2c3d4e5f60718;cloud.spot.interrupt;spot;terminate;false;partial;the instance did not tell;2026-11-21T10:02:00Z;-1.5;0;3;i-0a1b2c3d4e5f60718/spot/terminate/20261121T100001Z
            2026-11-21T10:00:01.1Z;;i-0a1b2c3d4e5f60718;cloud.spot.interrupt;spot;terminate;true;;;2026-11-21T10:02:00Z;;1;1;i-0a1b2c3d4e5f60718/spot/terminate/20261121T100001Z"#]].assert_eq(&rows.join("\n"));
    }

    #[test]
    fn an_empty_list_says_what_to_try() {
        assert!(person(&[], at("10:00:00")).contains("snooze drill"));
    }
}
