//! `snooze explain`.

use serde_json::{Value, json};
use snoozed::exit;

use crate::daemon::Context;
use crate::failure::Failure;
use crate::text::{cell, list};
use crate::{incident, screen};

/// Show why each handler of an incident ran, was dropped or failed
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: snooze explain last")]
pub(crate) struct Args {
    /// Which one, as `snooze history` names it
    #[arg(default_value = "last")]
    incident: String,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let known = context.ask("EXPLAIN", json!({ "incident": args.incident }))?;
    screen::show(context.json, &known, person)?;
    Ok(exit::OK)
}

fn person(known: &Value) -> String {
    let mut out = incident::person(known);
    let policies = list(known, "policies");
    if policies.is_empty() {
        out.push_str("\nno policies\n");
    }
    for policy in policies {
        out.push_str(&format!("\npolicy {} {}\n", cell(policy, "policy"), verdict(policy)));
        // Its first line says the same.
        let pattern = policy.get("pattern").and_then(Value::as_str).unwrap_or_default();
        let leaves = pattern.split_once('\n').map(|(_, leaves)| leaves).unwrap_or_default();
        out.push_str(leaves);
    }
    out
}

fn verdict(policy: &Value) -> &'static str {
    match (incident::flag(policy, "enabled"), incident::flag(policy, "matches")) {
        (false, true) => "matches, and is switched off",
        (false, false) => "does not match, and is switched off",
        (true, true) => "matches",
        (true, false) => "does not match",
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn every_step_and_every_policy_has_its_reason() {
        expect![[r#"
            cloud.spot.interrupt terminate, partial with 1 min 57 s to spare
              incident  i-1/b/spot/terminate
              opened    2026-03-14T09:26:54.000Z
              ended     1 of 2 steps did their work
              STEP          PRIORITY  STATE    AFTER  TOOK   TEXT
              orders/flush  100       failed   4 ms   1.5 s  exit code 1\nwithout an answer
              orders/image  80        dropped  -      -      too little time: 60s left, 65s needed

            policy orders matches
              ok   type: expected "cloud.spot.interrupt", found "cloud.spot.interrupt"

            policy other does not match
              fail type: expected "custom", found "cloud.spot.interrupt"
        "#]]
        .assert_eq(&person(&json!({
            "incident": "i-1/b/spot/terminate", "event_type": "cloud.spot.interrupt",
            "action": "terminate", "opened": "2026-03-14T09:26:54Z", "outcome": "partial",
            "text": "1 of 2 steps did their work", "margin_seconds": 117.9,
            "steps": [
                { "step": "orders/flush", "priority": 100, "state": "ended", "outcome": "failed",
                  "started_after_ms": 4, "milliseconds": 1500,
                  "text": "exit code 1\nwithout an answer" },
                { "step": "orders/image", "priority": 80, "state": "ended", "outcome": "dropped",
                  "text": "too little time: 60s left, 65s needed" }
            ],
            "policies": [
                { "policy": "orders", "enabled": true, "matches": true, "pattern":
                  "matches\n  ok   type: expected \"cloud.spot.interrupt\", found \"cloud.spot.interrupt\"\n" },
                { "policy": "other", "enabled": true, "matches": false, "pattern":
                  "does not match\n  fail type: expected \"custom\", found \"cloud.spot.interrupt\"\n" }
            ]
        })));
    }
}
