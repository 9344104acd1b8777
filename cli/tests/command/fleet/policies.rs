//! `snooze policy`, on the table.

use serde_json::{Value, json};
use snooze_cloud::fake::Fault;

use super::{Cloud, ID, ORDERS};
use crate::snooze::Place;

#[tokio::test]
async fn a_policy_is_stored_once_and_the_instances_are_told() {
    let (cloud, place) = (Cloud::start().await, Place::new());
    let file = place.file("orders.json", ORDERS);
    let first = cloud.snooze(&["policy", "put", &file]).await;
    assert_eq!(first.code, 0, "{first:?}");
    assert_eq!(first.out, "orders-db new\nthe table is at version 1\n");
    let stored = cloud.policies().all().await.unwrap();
    assert_eq!((stored.version, stored.documents.len()), (1, 1));
    assert_eq!(
        (stored.documents[0].text.as_str(), stored.documents[0].by.as_str()),
        (ORDERS, "operator")
    );
    let told = cloud.server.entries();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].bus.as_str(), told[0].detail_type.as_str()),
        ("cloudsnooze", "trigger.update")
    );
    // The rules on the bus take triggers from nobody who is a part of the stack.
    assert_eq!(told[0].source, "cloudsnooze.command");

    let again = cloud.snooze(&["policy", "put", &file]).await;
    assert_eq!(again.out, "orders-db unchanged\nthe table is at version 1\n");
    assert_eq!(cloud.policies().version().await.unwrap(), 1);
    assert_eq!(cloud.server.entries().len(), 1);

    let changed = place.file("orders.json", &ORDERS.replace("30", "40"));
    let dry = cloud.snooze(&["policy", "put", &changed, "--dry-run"]).await;
    assert_eq!(dry.out, "orders-db changed\nnothing was stored; the table is at version 1\n");
    assert_eq!(cloud.policies().version().await.unwrap(), 1);
    let changed = cloud.snooze(&["--json", "policy", "put", &changed]).await;
    assert_eq!(
        changed.json(),
        json!({ "version": 2, "dry_run": false,
            "policies": [{ "policy": "orders-db", "change": "changed" }] })
    );
}

#[tokio::test]
async fn d10_one_fault_in_one_file_and_nothing_is_stored() {
    let (cloud, place) = (Cloud::start().await, Place::new());
    let good = place.file("good.json", ORDERS);
    let bad = place.file("bad.json", &ORDERS.replace("\"priority\"", "\"priorit\""));
    let run = cloud.snooze(&["policy", "put", &good, &bad]).await;
    assert_eq!(run.code, 1);
    assert!(run.out.contains("did you mean `priority`?"), "{run:?}");
    assert!(cloud.server.calls().is_empty());
    let settings = place.file("settings.json", r#"{ "plugins": { "enabled": true } }"#);
    let run = cloud.snooze(&["policy", "put", &settings]).await;
    assert_eq!(run.code, 3, "{run:?}");
    assert!(cloud.server.calls().is_empty());
}

#[tokio::test]
async fn a_bus_that_is_down_does_not_undo_what_was_stored() {
    let (cloud, place) = (Cloud::start().await, Place::new());
    cloud.server.standing("PutEvents", Fault::error(400, "AccessDeniedException"));
    let run = cloud.snooze(&["policy", "put", &place.file("orders.json", ORDERS)]).await;
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        run.err.contains("within 5 minutes") && run.err.contains("`events:PutEvents`"),
        "{run:?}"
    );
    assert_eq!(cloud.policies().version().await.unwrap(), 1);
}

#[tokio::test]
async fn a_stored_policy_comes_back_as_it_was_written() {
    let cloud = Cloud::start().await;
    cloud.policies().put(ORDERS, "operator", jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    let got = cloud.snooze(&["policy", "get", "orders-db"]).await;
    assert_eq!((got.code, got.out.trim_end()), (0, ORDERS));
    let got = cloud.snooze(&["--json", "policy", "get", "orders-db"]).await.json();
    assert_eq!((&got["version"], &got["by"]), (&json!(1), &json!("operator")));
    assert_eq!(got["document"], serde_json::from_str::<Value>(ORDERS).unwrap());
    let listed = cloud.snooze(&["policy", "list"]).await;
    assert!(listed.out.contains("orders-db  yes  1"), "{listed:?}");
    assert!(listed.out.ends_with("1 policy, version 1\n"), "{listed:?}");
    let missing = cloud.snooze(&["policy", "get", "other"]).await;
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains("`snooze policy list`"), "{missing:?}");
}

#[tokio::test]
async fn what_differs_is_shown_against_what_is_stored() {
    let (cloud, place) = (Cloud::start().await, Place::new());
    let file = place.file("orders.json", ORDERS);
    let fresh = cloud.snooze(&["policy", "diff", &file]).await;
    assert_eq!(fresh.code, 1);
    assert!(fresh.out.starts_with("orders-db is not stored\n+ {\n"), "{fresh:?}");
    cloud.policies().put(ORDERS, "operator", jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    let same = cloud.snooze(&["policy", "diff", &file]).await;
    assert_eq!((same.code, same.out.as_str()), (0, "orders-db is stored as it is in the file\n"));
    // White space is no difference.
    let value: Value = serde_json::from_str(ORDERS).unwrap();
    let dense = place.file("dense.json", &value.to_string());
    assert_eq!(cloud.snooze(&["policy", "diff", &dense]).await.code, 0);
    let slower = place.file("slower.json", &ORDERS.replace("30", "40"));
    let other = cloud.snooze(&["policy", "diff", &slower]).await;
    assert_eq!(other.code, 1);
    assert!(
        other.out.contains("-       \"timeout_seconds\": 30\n+       \"timeout_seconds\": 40\n"),
        "{other:?}"
    );
}

#[tokio::test]
async fn a_policy_is_removed_only_by_who_means_it() {
    let cloud = Cloud::start().await;
    cloud.policies().put(ORDERS, "operator", jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    cloud.server.forget_calls();
    let asked = cloud.snooze(&["policy", "rm", "orders-db"]).await;
    assert_eq!(asked.code, 2);
    assert!(asked.err.contains("`--yes`"), "{asked:?}");
    assert!(cloud.server.calls().is_empty());
    let removed = cloud.snooze(&["policy", "rm", "orders-db", "other", "--yes"]).await;
    assert_eq!(removed.code, 1);
    assert_eq!(removed.out, "orders-db removed\nother is not stored\nthe table is at version 2\n");
    assert_eq!(cloud.server.entries().len(), 1);
    assert!(cloud.policies().all().await.unwrap().documents.is_empty());
}

#[tokio::test]
async fn an_event_is_tried_on_the_stored_policies_and_the_known_instance() {
    let (cloud, place) = (Cloud::start().await, Place::new());
    cloud.policies().put(ORDERS, "operator", jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    let sample = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../events/samples/event-spot-interruption-terminate.json"
    );
    let unknown = cloud.snooze(&["policy", "test", sample]).await;
    assert_eq!(unknown.code, 1);
    assert!(unknown.err.contains("never said hello"), "{unknown:?}");
    cloud.hello(ID).await;
    let known = cloud.snooze(&["policy", "test", sample]).await;
    assert_eq!(known.code, 0, "{known:?}");
    let ends = "run  orders-db/redis-flusher (high 100) within 30s\n\
                do   orders-db/notify in the cloud, at once\n";
    assert!(known.out.ends_with(ends), "{known:?}");
    let wrote = |call: &snooze_cloud::fake::Call| call.operation.starts_with("Put");
    let calls = cloud.server.calls();
    assert!(!calls[calls.len() - 3..].iter().any(wrote));

    // With policies from files no call is made.
    cloud.server.forget_calls();
    let file = place.file("orders.json", ORDERS);
    let local = cloud.snooze(&["policy", "test", sample, "--policies", &file]).await;
    assert_eq!(local.code, 1, "{local:?}");
    assert!(cloud.server.calls().is_empty());
}
