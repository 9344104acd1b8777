//! Instances that tell that they are idle, what EC2 tells of our stops, and who comes back.

use serde_json::{Value, json};
use snooze_cloud::fake::Fault;
use snooze_functions::telemetry::Metric;
use snooze_policy::ledger::{Finish, Incident, OPERATORS, RUNNING};

use crate::stage::{ONE, STRANGER, Stage, state};

/// Stops all instances tagged so.
const IDLE: &str = r#"{
  "name": "idle",
  "match": { "type": ["instance.idle"], "instance": { "tags": { "role": ["orders-db"] } } },
  "actions": [{ "action": "stop-instance" }]
}"#;
const STOP: &str = "idle/stop-instance";

#[tokio::test]
async fn an_idle_instance_is_an_incident_that_its_heartbeats_join() {
    let stage = stage(IDLE).await;
    stage.dispatch(&idle(&stage, 0), 1).await.unwrap();
    let incident = stage.incident().await;
    assert_eq!(state(&incident, STOP), "sent");
    assert_eq!(stage.ordered(), [STOP.to_owned()].into());
    assert_eq!(stage.commands(), [], "nothing is to be saved");
    assert_eq!(stage.told(), Vec::<String>::new());
    let machine = incident.machine.clone().unwrap();
    assert_eq!(machine.kind.as_deref(), Some("m7g.large"));
    assert_eq!(machine.boot.as_deref(), Some("b1"));
    // It says so again, for an hour.
    for minutes in [5, 10, 55] {
        stage.dispatch(&idle(&stage, 60 * minutes), 60 * minutes + 1).await.unwrap();
    }
    assert_eq!(stage.incident().await.signals.len(), 4);
    assert_eq!(stage.orders().len(), 1);
    // Still idle: somebody has to look again.
    stage.dispatch(&idle(&stage, 3660), 3661).await.unwrap();
    assert_eq!((stage.incidents().await.len(), stage.orders().len()), (2, 2));
}

#[tokio::test]
async fn whoever_is_told_of_an_idleness_is_told_once_however_long_it_lasts() {
    let notify = r#"{ "action": "stop-instance" }, { "action": "notify" }"#;
    let stage = stage(&IDLE.replace(r#"{ "action": "stop-instance" }"#, notify)).await;
    for hours in 0..3 {
        let seconds = 3660 * hours;
        stage.dispatch(&idle(&stage, seconds), seconds + 1).await.unwrap();
    }
    let mut incidents = stage.incidents().await;
    incidents.sort_by_key(|incident| incident.opened_at);
    let states = |task: &str| -> Vec<&str> {
        incidents.iter().map(|incident| state(incident, task)).collect()
    };
    assert_eq!(states(STOP), ["sent", "sent", "sent"]);
    assert_eq!(states("idle/notify"), ["sent", "skipped", "skipped"]);
}

#[tokio::test]
async fn without_a_policy_for_it_idleness_is_nobodys_business() {
    let stage = Stage::open().await;
    stage.dispatch(&idle(&stage, 0), 1).await.unwrap();
    assert!(stage.incidents().await.is_empty());
    // With one, that of a stranger is not either: its tags are not known.
    stage.policy(IDLE).await;
    let mut other = idle(&stage, 0);
    other["detail"]["subject"] = json!(STRANGER);
    stage.dispatch(&other, 40).await.unwrap();
    assert!(stage.incidents().await.is_empty());
}

#[tokio::test]
async fn without_policies_or_facts_nothing_is_stopped() {
    for operation in ["Query", "GetItem"] {
        let stage = stage(IDLE).await;
        stage.server.standing(operation, Fault::error(500, "InternalServerError"));
        stage.dispatch(&idle(&stage, 0), 1).await.unwrap_err();
        stage.server.lift(operation);
        assert!(stage.incidents().await.is_empty(), "{operation}");
        assert!(stage.orders().is_empty() && stage.commands().is_empty());
    }
}

#[tokio::test]
async fn a_late_report_of_idleness_leaves_no_trace() {
    let stage = stage(IDLE).await;
    stage.dispatch(&idle(&stage, 0), 1000).await.unwrap();
    let mut replay = idle(&stage, 1000);
    replay["replay-name"] = json!("yesterday");
    stage.dispatch(&replay, 1001).await.unwrap();
    assert!(stage.incidents().await.is_empty());
    assert_eq!(stage.meter.total(Metric::Stale), 2);
}

#[tokio::test]
async fn the_handlers_of_an_idle_instance_come_before_its_stop() {
    let handlers = r#""handlers": [{ "plugin": "volume-sync" }], "actions""#;
    for (outcome, stop, operators) in [("done", "sent", "none"), ("failed", "skipped", "sent")] {
        let stage = stage(&IDLE.replace("\"actions\"", handlers)).await;
        stage.dispatch(&idle(&stage, 0), 1).await.unwrap();
        let incident = stage.incident().await;
        assert_eq!(state(&incident, STOP), "waiting");
        assert_eq!(stage.commands().len(), 1);
        assert!(stage.orders().is_empty());
        let data = json!({
            "incident": "shim", "told_by": [incident.id], "event": "instance.idle",
            "outcome": outcome, "durable": true,
        });
        stage.record(&stage.word("incident.outcome", ONE, 30, data), 31).await.unwrap();
        let incident = stage.incident().await;
        assert_eq!(state(&incident, STOP), stop, "{outcome}");
        assert_eq!(state(&incident, OPERATORS), operators, "{outcome}");
    }
}

#[tokio::test]
async fn what_ec2_tells_of_our_own_stop_is_no_loss() {
    let stage = stage(IDLE).await;
    stage.dispatch(&idle(&stage, 0), 1).await.unwrap();
    let id = stage.incident().await.id;
    // EC2 is faster than the ledger.
    change(&stage, &id, |incident| {
        let _taken = incident.take(STOP, "a", incident.opened_at);
    })
    .await;
    stage.dispatch(&stage.state(ONE, "stopping", 3), 4).await.unwrap();
    let at = stage.at(5);
    change(&stage, &id, |incident| {
        incident.finish(STOP, "a", Finish::Done("stops".to_owned()), at);
    })
    .await;
    stage.dispatch(&stage.state(ONE, "stopped", 60), 61).await.unwrap();
    let incident = stage.incident().await;
    assert_eq!(incident.fate.keys().collect::<Vec<_>>(), ["stopped", "stopping"]);
    assert_eq!(stage.told(), Vec::<String>::new());
    assert_eq!(stage.commands(), []);
    assert_eq!(stage.meter.total(Metric::Notices), 0);
    // Days later it runs again, for somebody started it.
    stage.dispatch(&stage.state(ONE, "pending", 172_790), 172_791).await.unwrap();
    stage.dispatch(&stage.state(ONE, "running", 172_800), 172_801).await.unwrap();
    stage.dispatch(&stage.state(ONE, "running", 172_810), 172_811).await.unwrap();
    let incident = stage.incident().await;
    assert_eq!(incident.back_at(), Some(stage.at(172_800)));
    assert_eq!(incident.stopped_at(), Some(stage.at(5)));
    // The next stop is none of ours, and a loss like any other.
    stage.dispatch(&stage.state(ONE, "stopping", 172_900), 172_901).await.unwrap();
    assert_eq!(stage.incidents().await.len(), 2);
}

#[tokio::test]
async fn a_hello_in_another_boot_tells_too_that_the_instance_is_back() {
    let stage = stage(IDLE).await;
    stage.dispatch(&idle(&stage, 0), 1).await.unwrap();
    let (id, at) = (stage.incident().await.id, stage.at(5));
    change(&stage, &id, |incident| {
        incident.take(STOP, "a", at);
        incident.finish(STOP, "a", Finish::Done("stops".to_owned()), at);
    })
    .await;
    stage.record(&stage.hello("instance.registered", ONE, 600), 601).await.unwrap();
    assert_eq!(stage.incident().await.back_at(), None, "the same boot");
    let mut hello = stage.hello("instance.registered", ONE, 7200);
    hello["detail"]["data"]["boot"] = json!("b2");
    stage.record(&hello, 7201).await.unwrap();
    let incident = stage.incident().await;
    assert_eq!(incident.back_at(), Some(stage.at(7200)));
    // Its tags still say that it is stopped: once is enough to set them right.
    assert_eq!(state(&incident, RUNNING), "sent");
    stage.record(&hello, 7202).await.unwrap();
    let orders = stage.orders();
    assert_eq!(orders.iter().filter(|order| order.task == RUNNING).count(), 1, "{orders:?}");
}

async fn stage(policy: &str) -> Stage {
    let stage = Stage::open().await;
    stage.policy(policy).await;
    stage.server.forget_calls();
    stage
}

/// The instance is idle since half an hour before the start, as it says after so many seconds.
fn idle(stage: &Stage, seconds: i64) -> Value {
    let since = stage.at(-1800).to_string();
    let data = json!({ "since": since, "naptime_minutes": 30, "boot_id": "b1", "reason": "idle" });
    stage.word("instance.idle", ONE, seconds, data)
}

async fn change(stage: &Stage, id: &str, change: impl Fn(&mut Incident)) {
    stage.ledger().change(id, change).await.unwrap().unwrap();
}
