//! Values that several tests use.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, json};
use snooze_event::{Cause, Event, EventType, LossAction, Severity};

use crate::{Policy, Step, StepId, check};

/// The document that shows every part of the format.
pub(crate) const ORDERS_DB: &str = r##"{
  "name": "orders-db",
  "enabled": true,
  "match": {
    "type": ["cloud.spot.interrupt", "cloud.instance.termination"],
    "instance": { "tags": { "role": ["orders-db"] }, "region": [{ "prefix": "eu-" }] }
  },
  "dispatch": "all",
  "reserve_seconds": 5,
  "handlers": [
    { "plugin": "postgres-flusher", "priority": 100, "timeout_seconds": 30, "repeatable": true,
      "config": { "connection_string": "credential:orders-dsn" } },
    { "plugin": "app-checkpointer", "priority": 80, "timeout_seconds": 45,
      "config": { "app_endpoint": "http://localhost:8080/checkpoint", "verify_success": true } },
    { "plugin": "slack-notifier", "priority": 10, "config": { "webhook_url": "ssm:/slack/url", "channel": "#cloud-events" } }
  ],
  "actions": [ { "action": "notify" }, { "action": "complete-lifecycle", "when": "outcome" } ]
}"##;

pub(crate) fn policy(text: &str) -> Policy {
    check(text).unwrap_or_else(|faults| panic!("{}", listed(&faults)))
}

/// One line for each of them.
pub(crate) fn listed(items: &[impl ToString]) -> String {
    items.iter().map(|item| item.to_string() + "\n").collect()
}

pub(crate) fn spot() -> Event {
    let data = json!({ "action": "terminate", "instanceID": "i-0123456789abcdef0" });
    Event {
        kind: EventType::SpotInterrupt,
        source: "aws.ec2.metadata-service".to_owned(),
        time: time("2026-03-01T10:00:00Z"),
        id: "e-1".parse().unwrap(),
        instance: Some("i-0123456789abcdef0".parse().unwrap()),
        account: Some("123456789012".to_owned()),
        region: Some("eu-west-1".to_owned()),
        severity: Severity::Critical,
        deadline: Some(time("2026-03-01T10:02:00Z")),
        cause: Some(Cause::Spot),
        action: Some(LossAction::Terminate),
        cancelled: false,
        drill: false,
        replay: None,
        data: data.as_object().cloned().unwrap(),
    }
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A step of the policy `p` with a reserve of 5 s and a minimum of 1 s.
pub(crate) fn step(plugin: &str, priority: i64, timeout_seconds: u64) -> Step {
    Step {
        id: StepId::stored(&format!("p/{plugin}")),
        policy: "p".parse().unwrap(),
        plugin: plugin.parse().unwrap(),
        priority,
        timeout: seconds(timeout_seconds),
        minimum: seconds(1),
        reserve: seconds(5),
        repeatable: false,
        instant: false,
        first_handled: false,
        rehearse: false,
        config: Map::new(),
    }
}

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
