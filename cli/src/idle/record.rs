//! `snooze idle record`: what the daemon measures, written down for `snooze idle simulate`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use snoozed::exit;

use crate::daemon::Context;
use crate::failure::Failure;
use crate::fleet::timing;
use crate::screen;
use crate::text::list;

/// How often the daemon is asked whether it has looked again: its own interval is a second at
/// least.
const EVERY: Duration = Duration::from_millis(500);

/// Write down what the daemon measures, for `idle simulate`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: snooze idle record trace.jsonl --for 8h")]
pub(crate) struct Args {
    /// Where to; what is there already stays
    file: PathBuf,
    /// For how long, such as `30m` or `8h`; without it, until Ctrl-C
    #[arg(long = "for", value_parser = timing::span, value_name = "SPAN")]
    long: Option<Duration>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let unwritten = |error| Failure::file(args.file.display(), error);
    let mut options = OpenOptions::new();
    let mut file = options.create(true).append(true).open(&args.file).map_err(unwritten)?;
    let begun = Instant::now();
    let (mut last, mut count) = (None, 0_u64);
    loop {
        let idle = context.ask("IDLE", json!({}))?;
        let looked = idle.get("looked").and_then(Value::as_str).map(str::to_owned);
        if let Some(line) = line(&idle).filter(|_| looked != last) {
            writeln!(file, "{line}").map_err(unwritten)?;
            (last, count) = (looked, count.saturating_add(1));
        }
        if args.long.is_some_and(|long| begun.elapsed() >= long) {
            break;
        }
        screen::pause(EVERY);
    }
    let data = json!({ "file": args.file, "moments": count });
    screen::show(context.json, &data, |_| format!("{count} moments\n"))?;
    Ok(exit::OK)
}

/// One moment as a line of a trace ([`snooze_policy::idle::replay`]); `None` where the daemon has
/// not looked yet.
fn line(idle: &Value) -> Option<Value> {
    let at: Timestamp = idle.get("looked")?.as_str()?.parse().ok()?;
    let mut line = Map::new();
    line.insert("at".to_owned(), json!(at.to_string()));
    for (key, known) in idle.get("monitors")?.as_object()? {
        let value = match known.get("standing").and_then(Value::as_str) {
            Some("absent") => json!("absent"),
            _ => json!(known.get("value").and_then(Value::as_f64).map(rounded)),
        };
        line.insert(key.clone(), value);
    }
    let votes = list(idle, "votes").iter();
    let votes = votes.filter_map(|vote| {
        Some((vote.get("plugin")?.as_str()?.to_owned(), vote.get("vote")?.clone()))
    });
    let votes: Map<String, Value> = votes.collect();
    if !votes.is_empty() {
        line.insert("votes".to_owned(), votes.into());
    }
    // What settings say, those of the replay say again.
    let holds = list(idle, "held");
    if !holds.is_empty() {
        line.insert("holds".to_owned(), json!(holds));
    }
    Some(Value::Object(line))
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use snooze_policy::idle::{Settings, replay};

    use super::*;

    #[test]
    fn a_moment_is_a_line_that_can_be_replayed() {
        let mut idle = super::super::sample();
        let looked = idle["looked"].clone();
        idle["votes"] = json!([{ "plugin": "redis-monitor", "vote": "idle", "reason": "" }]);
        idle["held"] = json!(["a lock is held"]);
        let line = line(&idle).unwrap();
        assert_eq!(line["at"], looked);
        assert_eq!(line["gpu_percent"], "absent");
        let (again, _) = replay(&Settings::default(), &line.to_string()).unwrap();
        let again = again.view();
        for (key, value) in idle["monitors"].as_object().unwrap() {
            assert_eq!(again["monitors"][key]["value"], value["value"], "{key}");
        }
        assert_eq!(again["holds"], idle["held"]);
    }

    #[test]
    fn a_daemon_that_has_not_looked_yet_says_nothing_to_write_down() {
        assert_eq!(line(&json!({ "looked": null, "monitors": null })), None);
        assert_eq!(line(&json!({})), None);
    }
}
