//! `snooze breaker`.

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_cloud::breakers::Breaker;
use snoozed::exit;

use super::Fleet;
use crate::daemon::Context;
use crate::failure::Failure;
use crate::text::word;
use crate::{screen, text};

/// Look after the circuit breakers of what the actions of policies call
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// List the destinations that failed
    #[command(after_help = "Example: snooze breaker list")]
    List,
    /// Let calls to a destination through at once
    #[command(after_help = "Example: snooze breaker reset hooks.example.com")]
    Reset(Reset),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Reset {
    /// Which, as `snooze breaker list` names it
    destination: String,
}

pub(crate) fn run(verb: &Verb, context: &Context) -> Result<u8, Failure> {
    let fleet = Fleet::connect(context)?;
    let (table, name) = (fleet.breakers(), fleet.name("incidents"));
    match verb {
        Verb::List => {
            let now = Timestamp::now();
            let known = fleet.ask("list the breakers", &name, table.list())?;
            let data: Value = known.iter().map(|one| data(one, now)).collect();
            screen::show(context.json, &data, |_| person(&known, now))?;
        }
        Verb::Reset(Reset { destination }) => {
            fleet.ask("reset the breaker", &name, table.reset(destination))?;
            let data = json!({ "destination": destination, "state": "closed" });
            screen::show(context.json, &data, |_| {
                format!("{destination}: calls go through again\n")
            })?;
        }
    }
    Ok(exit::OK)
}

fn person(known: &[Breaker], now: Timestamp) -> String {
    if known.is_empty() {
        return "no destination failed lately\n".to_owned();
    }
    let head = ["DESTINATION", "CALLS", "FAILURES"].map(str::to_owned);
    let rows = known.iter().map(|one| {
        let calls = match left(one, now) {
            _ if !one.is_open() => "go through".to_owned(),
            Some(left) => format!("are held back, a trial in {left}"),
            None => "are held back, a trial is due".to_owned(),
        };
        [word(&one.destination), calls, one.failures.to_string()]
    });
    text::table(&[head].into_iter().chain(rows).collect::<Vec<_>>())
}

fn data(one: &Breaker, now: Timestamp) -> Value {
    json!({
        "destination": one.destination,
        "state": if one.is_open() { "open" } else { "closed" },
        "failures": one.failures,
        "trial_at": one.trial_at.to_string(),
        "trial_in": left(one, now),
    })
}

/// How long until a trial goes through.
fn left(one: &Breaker, now: Timestamp) -> Option<String> {
    let left = one.trial_at.duration_since(now);
    (left.is_positive()).then(|| text::took(left.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn open_circuits_say_when_a_trial_goes_through() {
        let breaker = |destination: &str, failures, trial_at: &str| Breaker {
            destination: destination.to_owned(),
            failures,
            trial_at: trial_at.parse().unwrap(),
        };
        let known = [
            breaker("hooks.example.com\u{1b}", 7, "2026-11-21T10:00:12Z"),
            breaker("other.example.com", 5, "2026-11-21T09:59:00Z"),
            breaker("third.example.com", 2, "2026-11-21T10:00:12Z"),
        ];
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        expect![[r#"
            DESTINATION              CALLS                             FAILURES
            hooks.example.com\u{1b}  are held back, a trial in 12.0 s  7
            other.example.com        are held back, a trial is due     5
            third.example.com        go through                        2
        "#]]
        .assert_eq(&person(&known, now));
        assert_eq!(data(&known[1], now)["trial_in"], Value::Null);
    }
}
