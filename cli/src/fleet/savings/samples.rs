//! Idle instances that were stopped, for tests.

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_policy::ledger::Incident;

use super::super::ledger::samples;

pub(super) fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

/// An idle instance that the policy `nights` stopped, with `more` members in place of its own.
pub(super) fn idle(more: Value) -> Incident {
    let mut members = json!({
        "id": "i-0a1b2c3d4e5f60718/idle/20261120T093000Z/20261120T100000Z",
        "machine": { "type": "m5.large", "region": "eu-central-1", "lifecycle": "on-demand" },
        "event": {
            "specversion": "1.0", "id": "e-1", "source": "cloudsnooze.shim",
            "type": "instance.idle", "time": "2026-11-20T10:00:00Z",
            "subject": "i-0a1b2c3d4e5f60718", "severity": 0, "schemaversion": "1", "data": {}
        },
        "signals": [],
        "opened_at": "2026-11-20T10:00:00Z",
        "deadline": null,
        "tasks": [{ "id": "nights/stop-instance", "attempts": 1,
            "what": { "action": { "policy": "nights", "name": "stop-instance", "on_outcome": true,
                "config": {} } },
            "state": { "is": "done", "at": "2026-11-20T10:00:30Z", "text": "stopping" } }],
        "steps": [],
        "fate": {},
        "hops": {}
    });
    if let (Some(members), Value::Object(more)) = (members.as_object_mut(), more) {
        members.extend(more);
    }
    samples::done(members)
}
