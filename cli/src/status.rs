//! `snooze status`.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use serde_json::{Value, json};
use snoozed::exit;

use crate::daemon::Context;
use crate::failure::Failure;
use crate::text::{cell, counted, list, seconds};
use crate::{idle, incident, screen, text};

/// How often `--watch` looks.
const EVERY: Duration = Duration::from_secs(1);
/// Takes a terminal's cursor home and clears what is below.
const CLEAR: &[u8] = b"\x1b[H\x1b[J";

/// Show what the daemon is doing
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: snooze status --watch")]
pub(crate) struct Args {
    /// Show it again every second, until Ctrl-C
    #[arg(long)]
    watch: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    if args.watch {
        return watch(context);
    }
    let status = context.ask("STATUS", json!({}))?;
    screen::show(context.json, &status, person)?;
    Ok(exit::OK)
}

/// Goes on while the daemon is away: watching a restart is one use of it.
fn watch(context: &Context) -> Result<u8, Failure> {
    let clear = if io::stdout().is_terminal() { CLEAR } else { b"\n" };
    loop {
        let status = context.ask("STATUS", json!({}));
        match (status, context.json) {
            (Ok(status), true) => screen::raw(text::json_line(&status).as_bytes())?,
            (Ok(status), false) => {
                screen::raw(clear)?;
                screen::say(&person(&status))?;
            }
            (Err(Failure::Said { text, .. }), false) => {
                screen::raw(clear)?;
                screen::say(&format!("{text}\n"))?;
            }
            (Err(failure), _) => return Err(failure),
        }
        screen::pause(EVERY);
    }
}

fn person(status: &Value) -> String {
    let mut rows = vec![
        [
            "snoozed".to_owned(),
            format!(
                "{}, process {}, up {}",
                cell(status, "version"),
                cell(status, "pid"),
                seconds(status, "uptime_seconds")
            ),
        ],
        ["instance".to_owned(), instance(status)],
        ["metadata".to_owned(), cell(status, "metadata")],
        ["journal".to_owned(), journal(status).to_owned()],
        ["policies".to_owned(), policies(status)],
        ["ignored".to_owned(), counted(ignored(status), "event")],
    ];
    if let Some(cloud) = status.get("cloud").filter(|cloud| !cloud.is_null()) {
        rows.push(["cloud".to_owned(), cloud_side(cloud)]);
    }
    let idle = idle::standing::of(status);
    if let Some(idle) = idle {
        rows.push(["idle".to_owned(), idle::standing::phase(idle)]);
    }
    for fault in list(status, "faults") {
        let text = format!("{}: {}", cell(fault, "source"), cell(fault, "detail"));
        rows.push(["fault".to_owned(), text]);
    }
    let mut out = text::table(&rows);
    if let Some(idle) = idle {
        out.push('\n');
        out.push_str(&idle::standing::table(idle));
    }
    let open = list(status, "incidents");
    if open.is_empty() {
        out.push_str("\nno open incident\n");
    }
    for known in open {
        out.push('\n');
        out.push_str(&incident::person(known));
    }
    out
}

fn ignored(status: &Value) -> usize {
    let count = status.get("ignored_events").and_then(Value::as_u64).unwrap_or_default();
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn instance(status: &Value) -> String {
    let place = ["instance_type", "zone"].map(|name| cell(status, name));
    match status.get("instance_id").and_then(Value::as_str) {
        Some(id) => format!("{} ({})", text::shown(id), place.join(", ")),
        None => "not known yet".to_owned(),
    }
}

fn policies(status: &Value) -> String {
    let count = cell(status, "policies");
    let table = status.pointer("/cloud/policies");
    let Some(table) = table.filter(|table| table.get("version").is_some_and(Value::is_u64)) else {
        return count;
    };
    let required = table.get("signatures_required").and_then(Value::as_bool);
    let signatures = match required {
        Some(true) => ", signed",
        Some(false) => "; signatures are not required",
        None => "",
    };
    let refused = match list(table, "refused").len() {
        0 => String::new(),
        some => format!("; {some} refused"),
    };
    format!(
        "{count}, with version {} of the {}{signatures}{refused}",
        cell(table, "version"),
        cell(table, "from")
    )
}

/// For example `cloudsnooze: hello on, policies on, commands waiting, reports on`.
fn cloud_side(cloud: &Value) -> String {
    let part = |part: &Value| format!("{} {}", cell(part, "part"), cell(part, "state"));
    let parts: Vec<String> = list(cloud, "parts").iter().map(part).collect();
    let text = format!("{}: {}", cell(cloud, "stack"), parts.join(", "));
    match cloud.get("unreported").and_then(Value::as_u64).unwrap_or_default() {
        0 => text,
        left => {
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            format!("{text}; {} to report", counted(left, "outcome"))
        }
    }
}

fn journal(status: &Value) -> &'static str {
    match status.get("durable").and_then(Value::as_bool) {
        Some(false) => "CANNOT BE WRITTEN: after a restart nothing is known of what runs",
        Some(true) | None => "written",
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn idleness_is_shown_where_the_daemon_looks_for_it() {
        let told = person(&json!({ "idle": idle::sample() }));
        assert!(told.contains("idle      napping █"), "{told}");
        assert!(told.contains("29 min 0 s, 1 min 0 s left"), "{told}");
        assert!(told.contains("cpu      0.9 %     10 %"), "{told}");
        assert!(!person(&json!({})).contains("MONITOR"));
    }

    #[test]
    fn a_daemon_at_rest() {
        expect![[r#"
            snoozed   0.1.0, process 812, up 1 h 2 min
            instance  i-0a1b2c3d4e5f60718 (m6i.large, us-east-1b)
            metadata  on
            journal   written
            policies  3
            ignored   1 event

            no open incident
        "#]]
        .assert_eq(&person(&json!({
            "version": "0.1.0", "pid": 812, "uptime_seconds": 3725,
            "instance_id": "i-0a1b2c3d4e5f60718", "instance_type": "m6i.large",
            "zone": "us-east-1b", "metadata": "on", "durable": true, "policies": 3,
            "ignored_events": 1, "faults": [], "incidents": []
        })));
    }

    #[test]
    fn the_parts_of_the_cloud_side_are_shown_where_it_is_on() {
        expect![[r#"
            snoozed   -, process -, up -
            instance  not known yet
            metadata  on
            journal   written
            policies  3, with version 12 of the snapshot, signed; 1 refused
            ignored   0 events
            cloud     blue: hello on, commands waiting; 2 outcomes to report

            no open incident
        "#]]
        .assert_eq(&person(&json!({
            "metadata": "on", "policies": 3, "cloud": {
                "stack": "blue", "unreported": 2,
                "policies": { "version": 12, "from": "snapshot", "signatures_required": true,
                    "refused": [{ "policy": "orders", "why": "it is not signed" }] },
                "parts": [{ "part": "hello", "state": "on" },
                    { "part": "commands", "state": "waiting" }]
            }
        })));
    }

    #[test]
    fn trouble_and_open_incidents_are_shown() {
        expect![[r#"
            snoozed   -, process -, up -
            instance  not known yet
            metadata  off
            journal   CANNOT BE WRITTEN: after a restart nothing is known of what runs
            policies  -
            ignored   0 events
            fault     metadata: timed out \u{1b}[31m

            cloud.spot.interrupt terminate, open, 1 min 58 s left
              incident  i-1/b/spot/terminate
              opened    -
              STEP           PRIORITY  STATE    AFTER  TOOK  TEXT
              orders/backup  80        running  4 ms   -     -
        "#]]
        .assert_eq(&person(&json!({
            "metadata": "off", "durable": false,
            "faults": [{ "source": "metadata", "detail": "timed out \u{1b}[31m" }],
            "incidents": [{
                "incident": "i-1/b/spot/terminate", "event_type": "cloud.spot.interrupt",
                "action": "terminate", "left_seconds": 118.2,
                "steps": [{ "step": "orders/backup", "priority": 80, "state": "running",
                    "started_after_ms": 4 }]
            }]
        })));
    }
}
