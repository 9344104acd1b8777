//! `snooze idle`.

mod record;
pub(crate) mod standing;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use snooze_policy::Fault;
use snooze_policy::idle::{Effect, Happened, Idle, Settings, replay};
use snooze_policy::strict::{Fields, parse};
use snoozed::{exit, settings};

use crate::daemon::Context;
use crate::failure::Failure;
use crate::fleet::timing;
use crate::{files, screen, text};

/// Say whether this instance is idle, and when a recorded one would have been
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Say why this instance is or is not idle: each monitor beside its threshold, the votes, and
    /// what keeps it up
    #[command(after_help = "Example: snooze idle explain")]
    Explain,
    /// Say when an instance with these recorded figures would have counted as idle; ends with 1
    /// where it never would
    #[command(after_help = "Example: snooze idle simulate trace.jsonl --settings snoozed.json")]
    Simulate(Simulate),
    Record(record::Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Simulate {
    /// Figures, a JSON object on each line
    trace: PathBuf,
    /// The settings; without them, the daemon's own file, or the defaults where there is none
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
}

/// Keep this instance up for a while, whatever it does
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples: snooze wake 2h
          snooze wake 0")]
pub(crate) struct Wake {
    /// For how long, such as `30m`, `2h` or `1d`; `0` takes it back
    #[arg(value_parser = span, value_name = "SPAN")]
    span: Duration,
}

pub(crate) fn wake(args: &Wake, context: &Context) -> Result<u8, Failure> {
    let told = context.ask("WAKE", json!({ "seconds": args.span.as_secs() }))?;
    screen::show(context.json, &told, |told| match told.get("awake_until") {
        Some(Value::String(_)) => {
            format!("this instance stays up until {}\n", text::moment(told, "awake_until"))
        }
        Some(_) | None => "nothing keeps this instance up any more by `snooze wake`\n".to_owned(),
    })?;
    Ok(exit::OK)
}

fn span(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { timing::span(text) }
}

pub(crate) fn run(verb: &Verb, context: &Context) -> Result<u8, Failure> {
    match verb {
        Verb::Explain => explain(context),
        Verb::Simulate(args) => simulate(args, context),
        Verb::Record(args) => record::run(args, context),
    }
}

fn explain(context: &Context) -> Result<u8, Failure> {
    let idle = context.ask("IDLE", json!({}))?;
    screen::show(context.json, &idle, standing::explained)?;
    Ok(exit::OK)
}

fn simulate(args: &Simulate, context: &Context) -> Result<u8, Failure> {
    let settings = read(args.settings.as_deref())?;
    let trace = files::read(&args.trace)?;
    let (idle, happened) = replay(&settings, &trace)
        .map_err(|error| Failure::file(args.trace.display(), text::shown(&error.to_string())))?;
    let heartbeat = |one: &&Happened| matches!(one.effect, Effect::Idle { heartbeat: true });
    let told: Vec<&Happened> = happened.iter().filter(|one| !heartbeat(one)).collect();
    let data = json!({
        "happened": told.iter().map(|one| json!({
            "at": one.at.to_string(), "what": word(&one.effect), "reason": one.reason
        })).collect::<Vec<_>>(),
        "end": idle.view(),
    });
    screen::show(context.json, &data, |_| person(&told, &idle))?;
    let is_idle = told.iter().any(|one| matches!(one.effect, Effect::Idle { .. }));
    Ok(if is_idle { exit::OK } else { exit::NO })
}

fn person(happened: &[&Happened], idle: &Idle) -> String {
    let rows: Vec<[String; 3]> = happened
        .iter()
        .map(|one| [one.at.to_string(), word(&one.effect).to_owned(), text::shown(&one.reason)])
        .collect();
    format!("{}at the end: {}\n", text::table(&rows), idle.phase().as_str())
}

fn word(effect: &Effect) -> &'static str {
    match effect {
        Effect::Warn { .. } => "warned",
        Effect::CalledOff { .. } => "called off",
        Effect::Idle { .. } => "idle",
        Effect::Active { .. } => "active",
    }
}

/// What a settings file says of idleness.
fn read(file: Option<&Path>) -> Result<Settings, Failure> {
    let usual = Path::new(settings::FILE);
    if file.is_none() && !usual.exists() {
        return Ok(Settings::default());
    }
    let path = file.unwrap_or(usual);
    let text = files::read(path)?;
    let value = parse(&text).map_err(|fault| Failure::file(path.display(), fault))?;
    let mut faults = Vec::new();
    let settings =
        Fields::of("$", &value, &mut faults).map(|root| Settings::read(&root, &mut faults));
    match settings {
        Some(settings) if faults.is_empty() => Ok(settings),
        Some(_) | None => {
            let faults: Vec<String> = faults.iter().map(Fault::to_string).collect();
            Err(Failure::file(path.display(), faults.join("\n  ")))
        }
    }
}

/// The moments of a machine that fell asleep, for tests.
#[cfg(test)]
pub(crate) fn sample() -> Value {
    let trace = include_str!("../../tests/traces/notebook-left-open.jsonl");
    let few: Vec<&str> = trace.lines().take(5).collect();
    replay(&Settings::default(), &few.join("\n")).unwrap().0.view()
}
