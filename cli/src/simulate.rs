//! `snooze simulate`: a drill, from the event to the outcome.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use snooze_policy::Facts;
use snoozed::{exit, settings};

use crate::daemon::Context;
use crate::failure::Failure;
use crate::rehearse::{self, Rehearsal, has_deadline};
use crate::text::{cell, list, milliseconds};
use crate::{incident, screen, text};

/// How often the daemon is asked how the incident stands.
const EVERY: Duration = Duration::from_millis(200);
/// How long after its deadline an incident must be closed.
const AFTER_DEADLINE: Duration = Duration::from_secs(30);
/// A drill that saves nothing must not pass.
const NOTHING: &str = "the drill saved nothing: there was no step to do; `snooze explain last` \
                       tells of each policy why it does not match";

/// Have the daemon go through a loss as a drill, and show how it ends
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples: snooze simulate spot --seconds 30
          snooze simulate spot --action hibernate --dry-run

Handlers really run, unless their policy says `\"drill\": \"rehearse\"`.
Exit codes: 0 the outcome is `done` (or something would run), 1 it is another, or there was
nothing to do.")]
pub(crate) struct Args {
    /// spot, rebalance, termination, scale, or an event type
    #[arg(value_name = "WHAT")]
    what: String,
    /// What is done to the instance: terminate, stop or hibernate
    #[arg(long, default_value = "terminate", value_parser = ["terminate", "stop", "hibernate"])]
    action: String,
    /// How long the instance still has
    #[arg(long, value_name = "N", default_value_t = 120.0)]
    seconds: f64,
    /// Only print the plan that the daemon's policies give
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let status = context.ask("STATUS", json!({}))?;
    let params = params(args, &status);
    if args.dry_run {
        return dry_run(args, params, &status, context);
    }
    let sent = context.ask("EVENT", Value::Object(params))?;
    let Some(key) = sent.get("incident").and_then(Value::as_str) else {
        let text = "the daemon opened no incident: it takes the event for one that it knows; \
                    `snooze history` lists its incidents";
        return Err(Failure::new(exit::NO, text));
    };
    if !context.json {
        screen::say(&format!("drill {} opened\n", text::shown(key)))?;
    }
    let known = follow(key, args.seconds, context)?;
    screen::show(context.json, &known, |known| format!("\n{}", incident::person(known)))?;
    if list(&known, "steps").is_empty() {
        return Err(Failure::new(exit::NO, NOTHING));
    }
    let done = known.get("outcome").and_then(Value::as_str) == Some("done");
    Ok(if done { exit::OK } else { exit::NO })
}

/// The event type of a short word.
fn kind(what: &str) -> &str {
    match what {
        "spot" => "cloud.spot.interrupt",
        "rebalance" => "cloud.spot.rebalance",
        "termination" => "cloud.instance.termination",
        "scale" => "cloud.autoscaling.scale",
        other => other,
    }
}

fn params(args: &Args, status: &Value) -> Map<String, Value> {
    let mut data = json!({ "action": args.action, "simulated": true });
    if let (Some(members), Some(id)) = (data.as_object_mut(), status.get("instance_id"))
        && id.is_string()
    {
        members.insert("instanceID".to_owned(), id.clone());
    }
    let kind = kind(&args.what);
    let seconds = has_deadline(kind).then(|| ("deadline_seconds", json!(args.seconds)));
    let params = [("type", json!(kind)), ("data", data), ("drill", json!(true))];
    let params = params.into_iter().chain(seconds);
    params.map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Tells what changes until the incident is closed.
fn follow(key: &str, seconds: f64, context: &Context) -> Result<Value, Failure> {
    let seconds = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let start = Instant::now();
    let mut told = BTreeMap::new();
    loop {
        let known = context.ask("EXPLAIN", json!({ "incident": key }))?;
        let news = news(&known, &mut told);
        if !context.json {
            screen::say(&news)?;
        }
        if incident::is_closed(&known) {
            return Ok(known);
        }
        if start.elapsed() > seconds + AFTER_DEADLINE {
            let text = format!(
                "the incident {} is still open {} after its deadline",
                text::shown(key),
                text::took(AFTER_DEADLINE)
            );
            return Err(Failure::new(exit::NO, text));
        }
        screen::pause(EVERY);
    }
}

/// The steps whose state is another than `told`.
pub(crate) fn news(known: &Value, told: &mut BTreeMap<String, String>) -> String {
    let mut news = String::new();
    for step in list(known, "steps") {
        let (name, state) = (cell(step, "step"), incident::step_state(step));
        if state != "pending" && told.get(&name) != Some(&state) {
            let took = match milliseconds(step, "milliseconds") {
                took if took == "-" => String::new(),
                took => format!(" in {took}"),
            };
            let text = match cell(step, "text") {
                text if text == "-" => String::new(),
                text => format!(": {text}"),
            };
            news.push_str(&format!("  {name} {state}{took}{text}\n"));
            told.insert(name, state);
        }
    }
    news
}

/// The plan that the daemon's own policies give, made here.
fn dry_run(
    args: &Args,
    mut params: Map<String, Value>,
    status: &Value,
    context: &Context,
) -> Result<u8, Failure> {
    let config = context.ask("CONFIG_GET", json!({}))?;
    let file = config.get("file").and_then(Value::as_str).map(Path::new);
    let settings = settings::read(file).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        let text = format!("the daemon's settings cannot be read: {}", faults.join("; "));
        Failure::new(exit::BAD_SETTINGS, text)
    })?;
    // What the daemon left out, it left out.
    let (policies, _left_out) = settings.policies();
    params.remove("type");
    let event = rehearse::plain(kind(&args.what), params, Timestamp::now())?;
    let left = (event.action != Some(snooze_event::LossAction::Hibernate))
        .then(|| Duration::try_from_secs_f64(args.seconds).unwrap_or_default());
    let text = |name: &str| status.get(name).and_then(Value::as_str).map(str::to_owned);
    let facts = Facts {
        id: text("instance_id").and_then(|id| id.parse().ok()),
        kind: text("instance_type"),
        zone: text("zone"),
        region: text("region"),
        ..Facts::default()
    };
    rehearse::show(&[Rehearsal::of(event, &policies, &facts, left)], context.json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(what: &str) -> Args {
        Args { what: what.to_owned(), action: "stop".to_owned(), seconds: 30.0, dry_run: false }
    }

    // S0-07
    #[test]
    fn a_simulated_loss_is_a_drill_about_this_instance() {
        let status = json!({ "instance_id": "i-0a1b2c3d4e5f60718" });
        let expected = json!({
            "type": "cloud.spot.interrupt", "deadline_seconds": 30.0, "drill": true,
            "data": { "action": "stop", "simulated": true, "instanceID": "i-0a1b2c3d4e5f60718" }
        });
        assert_eq!(Value::Object(params(&args("spot"), &status)), expected);
    }

    #[test]
    fn short_words_stand_for_event_types() {
        let kinds = ["rebalance", "termination", "scale", "custom.deploy"].map(kind);
        let expected = [
            "cloud.spot.rebalance",
            "cloud.instance.termination",
            "cloud.autoscaling.scale",
            "custom.deploy",
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn each_change_of_a_step_is_told_once() {
        let mut told = BTreeMap::new();
        let step = |state: Value| json!({ "steps": [state] });
        let pending = step(json!({ "step": "p/a", "state": "pending" }));
        assert_eq!(news(&pending, &mut told), "");
        let running = step(json!({ "step": "p/a", "state": "running" }));
        assert_eq!(news(&running, &mut told), "  p/a running\n");
        assert_eq!(news(&running, &mut told), "");
        let failed = step(json!({ "step": "p/a", "state": "ended", "outcome": "failed",
            "milliseconds": 20, "text": "no\nway" }));
        assert_eq!(news(&failed, &mut told), "  p/a failed in 20 ms: no\\nway\n");
    }
}
