//! From the event to the ledger.

use std::time::Duration;

use serde_json::{Value, json};
use snooze_imds::fake::Notice;
use snooze_tests::cloud::events::captured;
use snooze_tests::cloud::instance::Instance;
use snooze_tests::cloud::{Cloud, cloud};
use snooze_tests::{programs, wait};

#[test]
fn a_spot_warning_reaches_the_plugin_the_operators_and_the_ledger() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    let ears = cloud.ears();
    cloud.policy("road", json!({ "actions": [{ "action": "notify" }] }));
    let instance = Instance::new(cloud, "i-0e2e0000000000001", "road");
    let daemon = instance.start();
    is_registered(cloud, &instance);

    let event = captured("spot-interruption-terminate", &instance.id);
    cloud.tell("dispatch", &event);
    let hops =
        ["noticed", "dispatched", "commanded", "received", "started", "finished", "recorded"];
    // The instance may have ended before the function wrote down that it was told.
    let incident = instance.incident("ended, with all its hops", |incident| {
        incident["ended"]["by"] == "instance"
            && hops.iter().all(|hop| incident["hops"][hop].is_string())
    });
    assert_eq!(incident["ended"]["outcome"], "done", "{incident:#}");
    assert_eq!(incident["steps"][0]["step"], "road/saver");
    assert_eq!(incident["steps"][0]["outcome"], "done");
    assert_eq!(incident["drill"], false);
    assert_eq!(incident["signals"][0]["id"], event["id"]);
    assert_eq!(instance.started(), ["saver"]);
    assert_eq!(daemon.closed()["outcome"], "done");

    // The operators were told once, and what they were told names the instance.
    let told = ears.wait_for(&instance.id);
    assert!(told.contains("terminate"), "{told}");
    let notify = instance.incident("notified", |incident| {
        let tasks = incident["tasks"].as_array().cloned().unwrap_or_default();
        tasks.iter().any(|task| task["id"] == "road/notify" && task["state"]["is"] == "done")
    });
    // The command shows the same.
    let id = notify["id"].as_str().unwrap();
    let shown = cloud.snooze(&["incidents", "show", id]);
    let text = shown.to_string();
    assert!(text.contains("road/saver") && text.contains("\"done\""), "{shown:#}");
    // Nothing is left in the queue of the instance, or of the actions.
    cloud.wait_until_empty(&format!("instance-{}", instance.id));
    cloud.wait_until_empty("actions");
}

#[test]
fn one_interruption_by_metadata_and_twice_by_events_runs_each_handler_once() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    cloud.policy("thrice", json!({}));
    let instance = Instance::new(cloud, "i-0e2e0000000000002", "thrice");
    let daemon = instance.start();
    instance.setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(110)));
    cloud.tell("dispatch", &captured("spot-interruption-terminate", &instance.id));
    cloud.tell("dispatch", &captured("spot-interruption-terminate", &instance.id));
    let incident = instance.incident("signalled twice and ended", |incident| {
        incident["signals"].as_array().is_some_and(|signals| signals.len() == 2)
            && incident["ended"]["by"] == "instance"
    });
    assert_eq!(incident["ended"]["outcome"], "done", "{incident:#}");
    assert_eq!(daemon.closed()["outcome"], "done");
    cloud.wait_until_empty(&format!("instance-{}", instance.id));
    assert_eq!(instance.started(), ["saver"]);
    let incidents = cloud.incidents(&instance.id);
    assert_eq!(incidents.len(), 1, "{incidents:#?}");
}

#[test]
fn a_drill_by_the_command_goes_the_whole_road_and_touches_nothing() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    cloud.policy(
        "drilled",
        json!({ "actions": [{ "action": "stop-instance", "when": "outcome" }] }),
    );
    let instance = Instance::new(cloud, "i-0e2e0000000000003", "drilled");
    let daemon = instance.start();
    let mut snooze = cloud.operator(programs::path("snooze"));
    snooze.args(["drill", &instance.id, "--cause", "spot", "--timeout", "60s", "--json"]);
    let output = snooze.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}{log}{:#?}", cloud.incidents(&instance.id));
    let incident = instance.ended();
    assert_eq!(incident["drill"], true, "{incident:#}");
    assert_eq!(incident["ended"]["outcome"], "done", "{incident:#}");
    let task = &incident["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|task| task["id"] == "drilled/stop-instance");
    assert_eq!(task.unwrap()["state"]["is"], "skipped", "{incident:#}");
    assert_eq!(daemon.closed()["drill"], true);
    assert_eq!(instance.started(), ["saver"]);
    assert!(cloud.functions.about("StopInstances", &instance.id).is_empty());
}

#[test]
fn a_captured_event_that_is_put_as_a_drill_finds_its_instance() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    cloud.policy("captured", json!({}));
    let instance = Instance::new(cloud, "i-0e2e0000000000004", "captured");
    let _daemon = instance.start();
    let event = captured("spot-interruption-stop", &instance.id);
    cloud.put("cloudsnooze.drill", event["detail-type"].as_str().unwrap(), &event["detail"]);
    let incident = instance.ended();
    assert_eq!((&incident["drill"], &incident["ended"]["outcome"]), (&json!(true), &json!("done")));
    assert_eq!(instance.started(), ["saver"]);
}

#[test]
fn policies_that_are_put_reach_a_running_instance_at_once() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    let instance = Instance::new(cloud, "i-0e2e0000000000005", "late");
    let daemon = instance.start();
    cloud.policy("late", json!({}));
    let version = || daemon.ask("STATUS", json!({}))["cloud"]["policies"]["version"].as_u64();
    let stored = cloud.version();
    wait::until_or(
        || format!("version {stored} on the instance: {:?}", version()),
        || (version() >= Some(stored)).then_some(()),
    );
    cloud.tell("dispatch", &captured("spot-interruption-terminate", &instance.id));
    assert_eq!(instance.ended()["ended"]["outcome"], "done");
    assert_eq!(instance.started(), ["saver"]);
}

#[test]
fn the_doctor_finds_the_stack_in_order() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    let mut doctor = cloud.operator(programs::path("snooze"));
    let output = doctor.args(["doctor", "--json"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let found: Value = serde_json::from_str(&said).unwrap_or_else(|error| {
        panic!("{error}: {said}{}", String::from_utf8_lossy(&output.stderr))
    });
    let findings = found.as_array().unwrap();
    // Instances and groups of other tests may be in whatever state.
    let is_stack = |finding: &&Value| {
        let part = finding["part"].as_str().unwrap();
        !part.starts_with("i-") && part != "hooks"
    };
    let bad: Vec<&Value> = findings
        .iter()
        .filter(is_stack)
        .filter(|finding| finding["severity"] != "ok" && finding["severity"] != "note")
        .collect();
    assert!(bad.is_empty() && findings.len() > 5, "{found:#}");
}

/// The item, the queue and its subscription are there, and are of this instance alone.
fn is_registered(cloud: &Cloud, instance: &Instance) {
    let item = cloud.item("instances", "instance_id", &instance.id).unwrap();
    assert!(item.to_string().contains("m6i.large"), "{item:#}");
    let queue = cloud.name(&format!("instance-{}", instance.id));
    let url = cloud.aws.call("sqs", "get_queue_url", json!({ "QueueName": queue }));
    assert!(url["QueueUrl"].is_string());
    let topic = json!({ "TopicArn": cloud.output("CommandsTopic") });
    let all = cloud.aws.call("sns", "list_subscriptions_by_topic", topic);
    let of = |subscription: &&Value| {
        subscription["Endpoint"].as_str().is_some_and(|endpoint| endpoint.ends_with(&queue))
    };
    let all = all["Subscriptions"].as_array().cloned().unwrap();
    let own: Vec<&Value> = all.iter().filter(of).collect();
    assert_eq!(own.len(), 1, "{all:#?}");
    let arn = json!({ "SubscriptionArn": own[0]["SubscriptionArn"] });
    let told = cloud.aws.call("sns", "get_subscription_attributes", arn);
    let filter = told["Attributes"]["FilterPolicy"].as_str().unwrap();
    let filter: Value = serde_json::from_str(filter).unwrap();
    assert_eq!(filter, json!({ "instance_id": [instance.id, "*"] }));
}
