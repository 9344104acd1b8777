//! What `dispatch` thinks about an event, over and over: `planning TIMES [POLICIES]`.
//!
//! Counted under valgrind, it tells how many instructions an event costs without any network: the
//! difference of two runs, by the difference of their times, leaves out the start.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use snooze_event::wire::eventbridge;
use snooze_policy::ledger::{Incident, Opening, Shelf};
use snooze_policy::{Facts, Policy, check};

/// As many policies as the promise names.
const POLICIES: usize = 100;
/// A captured event; its time is that of the planning.
const EVENT: &str = include_str!("../../samples/event-spot-interruption-terminate.json");
const NOW: &str = "2026-03-14T09:26:54Z";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let times = args.next().and_then(|text| text.parse::<u32>().ok());
    let count = args.next().map_or(Some(POLICIES), |text| text.parse::<usize>().ok());
    let (Some(times), Some(count), Ok(now)) = (times, count, NOW.parse::<Timestamp>()) else {
        return ExitCode::from(2);
    };
    let shelf = Shelf {
        version: Some(7),
        policies: (0..count).filter_map(policy).collect(),
        faults: Vec::new(),
    };
    let tags = [("role", "orders-db-7"), ("Name", "orders-db-7-a")];
    let facts = Facts {
        kind: Some("m6i.large".to_owned()),
        zone: Some("us-east-1b".to_owned()),
        lifecycle: Some("spot".to_owned()),
        tags: tags.map(|(key, tag)| (key.to_owned(), tag.to_owned())).into(),
        ..Facts::default()
    };
    for _ in 0..times {
        let planned = plan(black_box(EVENT), &facts, &shelf, now);
        // One policy of all is for this instance: the command to it, and an action.
        if shelf.policies.len() != count || planned != 2 {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Reads the event, selects the policies, plans; how many messages that gives.
fn plan(text: &str, facts: &Facts, shelf: &Shelf, now: Timestamp) -> usize {
    let Ok(events) = eventbridge::read(text) else { return 0 };
    let mut planned: usize = 0;
    for event in &events {
        let opening = Opening {
            event,
            facts: Some(facts),
            shelf,
            hook_timeout: None,
            lifecycle_budget: Duration::from_secs(120),
        };
        let incident = Incident::open("i-0a1b2c3d4e5f60718/spot/terminate", opening, now);
        planned = planned.saturating_add(black_box(&incident).due().len());
    }
    planned
}

/// One of a fleet's policies: for the instances of one role.
fn policy(number: usize) -> Option<Policy> {
    let document = json!({
        "name": format!("orders-db-{number}"),
        "match": {
            "type": ["cloud.spot.interrupt", "cloud.instance.termination"],
            "instance": { "tags": { "role": [format!("orders-db-{number}")] } },
        },
        "handlers": [
            { "plugin": "postgres-flusher", "priority": 100, "timeout_seconds": 30 },
            { "plugin": "webhook", "priority": 10 },
        ],
        "actions": [{ "action": "notify" }],
    });
    check(&document.to_string()).ok()
}
