//! `snooze drill`, with a cloud side that is played here.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_cloud::fake::Put;
use snooze_event::{Event, wire};
use snooze_policy::ledger::{self, Incident, Opening, Report, Shelf};
use tokio::time;

use super::{Cloud, ID, ORDERS};

const OTHER: &str = "i-0b1b2c3d4e5f60718";

#[tokio::test]
async fn a_drill_is_followed_from_the_bus_to_the_outcome() {
    let cloud = Cloud::start().await;
    cloud.hello(ID).await;
    let args = ["drill", ID, "--cause", "spot"];
    let outcomes = BTreeMap::new();
    let (run, ()) = tokio::join!(cloud.snooze(&args), play(&cloud, 1, &outcomes));
    assert_eq!(run.code, 0, "{run:?}");
    let put = &cloud.server.entries()[0];
    assert_eq!((put.bus.as_str(), put.source.as_str()), ("cloudsnooze", "cloudsnooze.drill"));
    assert_eq!(put.detail_type, "EC2 Spot Instance Interruption Warning");
    for line in ["drill sent for", "dispatched after", "finished after", "done, 2 min 0 s to spare"]
    {
        assert!(run.out.contains(line), "{line}: {}", run.out);
    }
}

#[tokio::test]
async fn all_instances_of_a_tag_are_drilled_side_by_side_and_one_that_fails_counts() {
    let cloud = Cloud::start().await;
    cloud.hello(ID).await;
    cloud.hello(OTHER).await;
    let args = ["--json", "drill", "tag:role=db", "--cause", "lifecycle"];
    let outcomes = BTreeMap::from([(OTHER, "partial")]);
    let (run, ()) = tokio::join!(cloud.snooze(&args), play(&cloud, 2, &outcomes));
    assert_eq!(run.code, 1, "{run:?}");
    let told = run.json();
    let told: Vec<_> = told.as_array().unwrap().iter().map(|one| &one["passed"]).collect();
    assert_eq!(told, [&json!(true), &json!(false)]);
    assert_eq!(cloud.server.count("PutEvents"), 1);
}

#[tokio::test]
async fn a_drill_that_nobody_hears_fails_when_its_time_is_over() {
    let cloud = Cloud::start().await;
    cloud.hello(ID).await;
    let run = cloud.snooze(&["drill", ID, "--cause", "rebalance", "--timeout", "1s"]).await;
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.out.contains("never came into the ledger"), "{run:?}");
}

#[tokio::test]
async fn a_drill_needs_an_instance_that_said_hello_and_a_loss_that_aws_knows() {
    let cloud = Cloud::start().await;
    for target in [ID, "tag:role=db"] {
        let run = cloud.snooze(&["drill", target, "--cause", "spot"]).await;
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.err.contains("never said hello"), "{run:?}");
    }
    let args = ["drill", ID, "--cause", "lifecycle", "--action", "hibernate"];
    assert_eq!(cloud.snooze(&args).await.code, 2);
    assert_eq!(cloud.snooze(&["drill", "somebody", "--cause", "spot"]).await.code, 2);
    assert!(cloud.server.entries().is_empty());
}

/// Plays rule, `dispatch`, instance and `record`, for so many events; an instance says `done`
/// unless `outcomes` has another word.
async fn play(cloud: &Cloud, count: usize, outcomes: &BTreeMap<&str, &str>) {
    let entries = loop {
        let entries = cloud.server.entries();
        if entries.len() == count {
            break entries;
        }
        time::sleep(Duration::from_millis(20)).await;
    };
    for (index, put) in entries.iter().enumerate() {
        let now = Timestamp::now();
        let event = heard(put, index, now);
        let id = event.instance.clone().unwrap();
        let facts = cloud.instances().read(&id).await.unwrap().unwrap().facts;
        let policy = ORDERS.replace("cloud.spot.interrupt", "cloud.instance.termination");
        let policies = [ORDERS, &policy].map(|text| snooze_policy::check(text).unwrap());
        let policies = policies.into_iter().collect();
        let shelf = Shelf { version: Some(1), policies, faults: Vec::new() };
        let claim = ledger::claim(&event);
        let open = |id: &str| {
            let opening = Opening {
                event: &event,
                facts: Some(&facts),
                shelf: &shelf,
                hook_timeout: None,
                lifecycle_budget: Duration::from_secs(120),
            };
            Incident::open(id, opening, now)
        };
        cloud.incidents().claim(&claim, open, now).await.unwrap();
        // The command has time to see it open.
        time::sleep(Duration::from_millis(600)).await;
        let outcome = outcomes.get(id.as_str()).unwrap_or(&"done");
        let report = report(outcome, now);
        let told = |incident: &mut Incident| {
            incident.report(&report, now);
            for task in incident.due() {
                incident.sent(task.task(), now);
                incident.take(task.task(), "a", now);
                incident.finish(task.task(), "a", ledger::Finish::Done(String::new()), now);
            }
        };
        cloud.incidents().change(&claim.id(now), told).await.unwrap().unwrap();
    }
}

/// What EventBridge makes of an entry.
fn heard(put: &Put, index: usize, now: Timestamp) -> Event {
    let detail: Value = serde_json::from_str(&put.detail).unwrap();
    let envelope = json!({
        "version": "0", "id": format!("e-{index}"), "detail-type": put.detail_type,
        "source": put.source, "account": "123456789012", "time": now.to_string(),
        "region": "eu-central-1", "resources": [], "detail": detail
    });
    wire::eventbridge::read(&envelope.to_string()).unwrap().remove(0)
}

fn report(outcome: &str, now: Timestamp) -> Report {
    serde_json::from_value(json!({
        "incident": "own", "event": "e", "outcome": outcome, "text": "so",
        "hops": { "received": now.to_string(), "finished": now.to_string() },
        "steps": [{ "step": "orders-db/redis-flusher", "outcome": outcome, "milliseconds": 150 }]
    }))
    .unwrap()
}
