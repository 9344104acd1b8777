//! Incidents for tests.

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_policy::ledger::Incident;

/// A moment of the day on which the samples happened.
pub(crate) fn at(time: &str) -> Timestamp {
    format!("2026-11-21T{time}Z").parse().unwrap()
}

/// A Spot interruption that ended well, with `more` members in place of its own.
pub(crate) fn done(more: Value) -> Incident {
    let mut incident = json!({
        "schema": 1,
        "id": "i-0a1b2c3d4e5f60718/spot/terminate/20261121T100001Z",
        "instance": "i-0a1b2c3d4e5f60718",
        "event": {
            "specversion": "1.0", "id": "e-1", "source": "aws.ec2", "type": "cloud.spot.interrupt",
            "time": "2026-11-21T10:00:00Z", "subject": "i-0a1b2c3d4e5f60718", "severity": 2,
            "deadline": "2026-11-21T10:02:00Z", "cause": "spot", "action": "terminate",
            "schemaversion": "1", "data": { "instance-action": "terminate" }
        },
        "drill": false,
        "signals": [{ "id": "e-1", "source": "aws.ec2", "kind": "cloud.spot.interrupt",
            "time": "2026-11-21T10:00:00Z", "heard_at": "2026-11-21T10:00:01.1Z" }],
        "opened_at": "2026-11-21T10:00:01.1Z",
        "deadline": "2026-11-21T10:02:00Z",
        "policies": 12,
        "plan": ["118.9s left", "run  orders-db/redis-flusher (high 100) within 30s"],
        "tasks": [
            { "id": "command", "what": "command", "attempts": 0,
              "state": { "is": "done", "at": "2026-11-21T10:00:01.2Z", "text": "" } },
            { "id": "orders-db/notify", "attempts": 2,
              "what": { "action": { "policy": "orders-db", "name": "notify", "on_outcome": false,
                  "config": {} } },
              "state": { "is": "done", "at": "2026-11-21T10:00:01.4Z", "text": "2 told" } }
        ],
        "steps": [
            { "step": "orders-db/redis-flusher", "outcome": "done", "text": "redis_saved",
              "milliseconds": 150 }
        ],
        "ended": { "outcome": "done", "by": "instance", "text": "1 done",
            "at": "2026-11-21T10:00:03Z" },
        "fate": { "terminated": "2026-11-21T10:02:10Z" },
        "hops": {
            "noticed": "2026-11-21T10:00:00Z", "dispatched": "2026-11-21T10:00:01.1Z",
            "commanded": "2026-11-21T10:00:01.2Z", "received": "2026-11-21T10:00:00.9Z",
            "started": "2026-11-21T10:00:00.91Z", "finished": "2026-11-21T10:00:01.06Z",
            "recorded": "2026-11-21T10:00:03Z"
        }
    });
    if let (Some(members), Value::Object(more)) = (incident.as_object_mut(), more) {
        members.extend(more);
    }
    serde_json::from_value(incident).unwrap()
}

/// A lifecycle hook that did not go well.
pub(crate) fn troubled() -> Incident {
    let action = |name: &str, on_outcome: bool| {
        json!({ "action": { "policy": "orders-db", "name": name, "on_outcome": on_outcome,
            "config": {} } })
    };
    done(json!({
        "hook": { "group": "orders", "name": "drain", "token": "t", "timeout_seconds": 300 },
        "steps": [
            { "step": "orders-db/redis-flusher", "outcome": "timed-out", "text": "after 30s",
              "milliseconds": 30_000 },
            { "step": "orders-db/image", "outcome": "dropped",
              "text": "too little time: 20s left, 65s needed" },
            { "step": "orders-db/later" }
        ],
        "tasks": [
            { "id": "command", "what": "command",
              "state": { "is": "failed", "at": "2026-11-21T10:00:02Z",
                  "error": "Denied", "text": "`Publish` failed: AuthorizationError" } },
            { "id": "heartbeat", "what": "heartbeat", "attempts": 3,
              "state": { "is": "skipped", "text": "it is over" } },
            { "id": "orders-db/complete-lifecycle", "what": action("complete-lifecycle", true),
              "state": { "is": "waiting" } },
            { "id": "orders-db/webhook", "what": action("webhook", false), "attempts": 4,
              "error": "BreakerOpen: example.com failed 5 times",
              "state": { "is": "sent", "at": "2026-11-21T10:00:09Z" } },
            { "id": "orders-db/tag", "what": action("tag", false), "attempts": 1,
              "state": { "is": "running", "attempt": "a", "until": "2026-11-21T10:00:29Z" } },
            { "id": "orders-db/notify", "what": action("notify", false),
              "state": { "is": "pending", "since": null } }
        ],
        "ended": { "outcome": "partial", "by": "sweep", "text": "the instance did not tell",
            "at": "2026-11-21T10:03:00Z" },
        "hops": { "noticed": "2026-11-21T10:00:00Z", "finished": "2026-11-21T10:02:01.5Z" }
    }))
}
