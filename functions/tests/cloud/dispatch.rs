//! What becomes of events.

use serde_json::json;
use snooze_event::wire::command::Kind;
use snooze_functions::telemetry::Metric;

use crate::stage::{AT_ONCE, ONE, STRANGER, Stage, THREE, TWO, state};

#[tokio::test]
async fn a_notice_opens_an_incident_and_tells_the_instance_and_orders_the_actions() {
    let stage = Stage::open().await;
    let answer = stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap();
    let incident = stage.incident().await;
    assert_eq!(answer["events"][0]["opened"], incident.id.as_str());
    assert_eq!(state(&incident, "command"), "done");
    for task in AT_ONCE {
        assert_eq!(state(&incident, task), "sent", "{task}");
    }
    assert_eq!(state(&incident, "orders-db/complete-lifecycle"), "waiting");
    assert!(incident.plan[1].contains("orders-db/postgres-flusher"), "{:?}", incident.plan);
    let [command] = &stage.commands()[..] else { panic!("{:?}", stage.commands()) };
    assert_eq!(command.id, format!("{}#command", incident.id));
    assert_eq!(command.instance.as_ref().unwrap().as_str(), ONE);
    assert_eq!(command.expires_at, stage.at(120));
    assert_eq!(command.correlation.as_ref().unwrap().as_str(), incident.id);
    assert!(stage.orders().iter().all(|order| order.incident == incident.id));
    assert_eq!(stage.ordered(), AT_ONCE.map(str::to_owned).into());
    assert!(incident.hops.contains_key("commanded"));
    assert_eq!(stage.meter.total(Metric::Notices), 1);
    assert_eq!(stage.meter.total(Metric::Orders), 2);
}

#[tokio::test]
async fn d9_a_command_names_the_version_of_the_policies_it_was_planned_with() {
    let mut stage = Stage::open().await;
    stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap();
    stage.policy(&crate::stage::SAVE.replace("orders-db\",", "orders-db-2\",")).await;
    // Within half a minute the copy counts; another sandbox reads the table.
    stage.dispatch(&stage.spot(TWO, 2), 3).await.unwrap();
    stage.cold();
    stage.dispatch(&stage.spot(THREE, 4), 5).await.unwrap();
    let versions: Vec<_> = stage.commands().iter().map(|command| command.policies).collect();
    assert_eq!(versions, [Some(1), Some(1), Some(2)]);
}

#[tokio::test]
async fn d14_a_notice_costs_six_calls_and_none_to_ec2() {
    let stage = Stage::open().await;
    stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap();
    stage.server.forget_calls();
    stage.dispatch(&stage.spot(TWO, 2), 3).await.unwrap();
    let calls: Vec<_> = stage.server.calls().into_iter().map(|call| call.operation).collect();
    let mut sorted = calls.clone();
    sorted.sort();
    let expected =
        ["GetItem", "Publish", "PutItem", "Query", "SendMessageBatch", "TransactWriteItems"];
    assert_eq!(sorted, expected, "{calls:?}");
}

#[tokio::test]
async fn a_health_event_about_three_instances_reaches_all_three() {
    let stage = Stage::open().await;
    stage.dispatch(&stage.health(&[ONE, TWO, THREE], 0, 86_400), 1).await.unwrap();
    assert_eq!(stage.incidents().await.len(), 3);
    let mut told: Vec<_> =
        stage.commands().into_iter().map(|command| command.instance.unwrap().to_string()).collect();
    told.sort();
    assert_eq!(told, [ONE, TWO, THREE]);
}

#[tokio::test]
async fn the_same_loss_by_another_event_joins_and_starts_nothing() {
    let stage = Stage::open().await;
    stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap();
    let mut again = stage.spot(ONE, 1);
    again["id"] = json!("another-id");
    let answer = stage.dispatch(&again, 2).await.unwrap();
    let incident = stage.incident().await;
    assert_eq!(answer["events"][0]["joined"], incident.id.as_str());
    assert_eq!(incident.signals.len(), 2);
    assert_eq!((stage.commands().len(), stage.orders().len()), (1, 2));
}

#[tokio::test]
async fn a_spot_notice_first_and_the_hook_later_completes_the_hook() {
    let stage = Stage::open().await;
    let hooks = "<DescribeLifecycleHooksResponse><DescribeLifecycleHooksResult><LifecycleHooks>\
        <member><LifecycleHookName>save</LifecycleHookName>\
        <AutoScalingGroupName>orders</AutoScalingGroupName>\
        <HeartbeatTimeout>90</HeartbeatTimeout></member></LifecycleHooks>\
        </DescribeLifecycleHooksResult></DescribeLifecycleHooksResponse>";
    stage.server.answer("DescribeLifecycleHooks", 200, hooks);
    stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap();
    stage.record(&stage.report(ONE, "spot", Some("done"), &[], 20), 21).await.unwrap();
    stage.dispatch(&stage.hook(ONE, 30), 31).await.unwrap();
    let incidents = stage.incidents().await;
    let hook = incidents.iter().find(|incident| incident.hook.is_some()).unwrap();
    assert_eq!(hook.hook.as_ref().unwrap().timeout_seconds, Some(90));
    assert_eq!(hook.word().unwrap().outcome, "done");
    assert_eq!(state(hook, "orders-db/complete-lifecycle"), "sent");
    let order = |order: &snooze_functions::order::Order| {
        order.incident == hook.id && order.task == "orders-db/complete-lifecycle"
    };
    assert_eq!(stage.orders().iter().filter(|it| order(it)).count(), 1);
}

#[tokio::test]
async fn what_ec2_does_is_told_to_the_incident_that_is_known() {
    let stage = Stage::open().await;
    stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap();
    for (told, seconds) in [("shutting-down", 118), ("terminated", 140)] {
        stage.dispatch(&stage.state(ONE, told, seconds), seconds + 1).await.unwrap();
    }
    let incident = stage.incident().await;
    assert_eq!(incident.fate["shutting-down"], stage.at(118));
    assert_eq!(incident.fate["terminated"], stage.at(140));
    assert_eq!(stage.commands().len(), 1);
}

#[tokio::test]
async fn an_instance_that_begins_to_stop_without_any_notice_opens_its_own_incident() {
    let stage = Stage::open().await;
    stage.dispatch(&stage.state(ONE, "terminated", 0), 1).await.unwrap();
    assert!(stage.incidents().await.is_empty());
    stage.dispatch(&stage.state(ONE, "stopping", 2), 3).await.unwrap();
    let incident = stage.incident().await;
    assert_eq!(incident.event["cause"], "state-change");
    assert_eq!(stage.commands().len(), 1);
}

#[tokio::test]
async fn an_instance_that_never_said_hello_costs_nothing_unless_a_policy_asks() {
    let mut stage = Stage::open().await;
    stage.dispatch(&stage.spot(STRANGER, 0), 1).await.unwrap();
    assert!(stage.incidents().await.is_empty());
    assert_eq!(stage.commands(), []);
    assert_eq!(stage.meter.total(Metric::Unprotected), 1);
    let all = r#"{ "name": "all", "match": { "type": ["cloud.spot.interrupt"] },
                   "actions": [{ "action": "notify" }] }"#;
    stage.policy(all).await;
    stage.cold();
    stage.dispatch(&stage.spot(STRANGER, 2), 3).await.unwrap();
    assert_eq!(stage.ordered(), ["all/notify".to_owned()].into());
}

#[tokio::test]
async fn a_drill_goes_the_whole_way_and_does_nothing_real() {
    let stage = Stage::open().await;
    let mut drill = stage.spot(ONE, 0);
    drill["source"] = json!("cloudsnooze.drill");
    stage.dispatch(&drill, 1).await.unwrap();
    let incident = stage.incident().await;
    assert!(incident.drill);
    assert!(matches!(stage.commands()[0].kind, Kind::Drill(_)));
    assert_eq!(state(&incident, "orders-db/complete-lifecycle"), "skipped");
    // The real notice that comes in the middle of it is another incident.
    stage.dispatch(&stage.spot(ONE, 2), 3).await.unwrap();
    assert_eq!(stage.commands().len(), 2);
}

#[tokio::test]
async fn s4_18_s4_19_s4_20_triggers_from_outside_go_through_policies_or_to_all() {
    let stage = Stage::open().await;
    let down = r#"{ "name": "down", "match": { "type": ["trigger.teardown"] },
        "handlers": [{ "plugin": "drainer", "timeout_seconds": 10 }],
        "actions": [{ "action": "stop-instance", "when": "outcome" }] }"#;
    let scale = r#"{ "name": "scale", "match": { "type": ["trigger.scale"] },
        "actions": [{ "action": "scale-group" }] }"#;
    stage.policy(down).await;
    stage.policy(scale).await;
    let from = "my.operator";
    let teardown = json!({ "instance": ONE, "action": "stop" });
    stage.dispatch(&stage.event(from, "trigger.teardown", 0, teardown), 1).await.unwrap();
    let replicas = json!({ "group": "orders", "replicas": 3 });
    stage.dispatch(&stage.event(from, "trigger.scale", 0, replicas), 1).await.unwrap();
    stage.dispatch(&stage.event(from, "trigger.update", 0, json!({})), 1).await.unwrap();
    let commands = stage.commands();
    assert_eq!(commands[0].instance.as_ref().unwrap().as_str(), ONE);
    assert_eq!((&commands[1].kind, &commands[1].instance), (&Kind::PoliciesChanged, &None));
    assert_eq!(stage.ordered(), ["scale/scale-group".to_owned()].into());
    let incidents = stage.incidents().await;
    let teardown = incidents.iter().find(|incident| incident.instance.is_some()).unwrap();
    assert_eq!(state(teardown, "down/stop-instance"), "waiting");
}

#[tokio::test]
async fn an_event_that_no_policy_asks_for_costs_no_look_at_the_instance() {
    let stage = Stage::open().await;
    let idle = stage.word("instance.idle", ONE, 0, json!({}));
    stage.dispatch(&idle, 1).await.unwrap();
    stage.server.forget_calls();
    stage.dispatch(&idle, 2).await.unwrap();
    assert_eq!(stage.server.calls(), []);
    assert!(stage.incidents().await.is_empty());
}

#[tokio::test]
async fn c6_c7_foreign_and_unreadable_messages_are_counted_and_come_no_more() {
    let stage = Stage::open().await;
    let mut account = stage.spot(ONE, 0);
    account["account"] = json!("999999999999");
    let mut region = stage.spot(ONE, 0);
    region["region"] = json!("us-east-1");
    let unknown = stage.event("aws.fis", "FIS Experiment State Change", 0, json!({}));
    let mut bare = stage.spot(ONE, 0);
    bare["detail"] = json!({});
    for event in [account, region, unknown, bare, json!([]), json!("x"), json!({ "Records": [] })] {
        stage.dispatch(&event, 1).await.unwrap();
        stage.record(&event, 1).await.unwrap();
    }
    assert_eq!(stage.server.calls(), []);
    assert_eq!(stage.meter.total(Metric::Foreign), 4);
    assert_eq!(stage.meter.total(Metric::Unreadable), 8);
    let mut bomb = stage.invocation(&json!(null), 1);
    bomb.text = "[".repeat(100_000);
    std::sync::Arc::clone(&stage.dispatch).handle(bomb).await.unwrap();
    assert_eq!(stage.meter.total(Metric::Unreadable), 9);
}

#[tokio::test]
async fn c4_d13_what_comes_a_day_later_is_written_down_and_acted_on_never() {
    let stage = Stage::open().await;
    let day = 86_400;
    let all = r#"{ "name": "all", "match": { "type": ["custom.deploy", "trigger.scale"] },
                   "actions": [{ "action": "notify" }] }"#;
    stage.policy(all).await;
    let custom = stage.event("my.app", "custom.deploy", 0, json!({ "instanceID": ONE }));
    for late in [
        stage.spot(ONE, 0),
        stage.hook(ONE, 0),
        stage.state(ONE, "stopping", 0),
        stage.health(&[ONE], 0, 3600),
        custom,
        stage.event("my.operator", "trigger.scale", 0, json!({ "group": "g", "replicas": 1 })),
    ] {
        stage.dispatch(&late, day).await.unwrap();
        // Redriven once more: no second entry.
        stage.dispatch(&late, day + 5).await.unwrap();
    }
    let incidents = stage.incidents().await;
    assert_eq!(incidents.len(), 5);
    for incident in &incidents {
        assert_eq!(incident.ended.as_ref().unwrap().outcome, "expired", "{}", incident.id);
        assert_eq!(incident.tasks, []);
    }
    assert_eq!((stage.commands(), stage.orders()), (Vec::new(), Vec::new()));
    // And it stands in the way of nothing that is true.
    stage.dispatch(&stage.spot(ONE, day + 6), day + 7).await.unwrap();
    assert_eq!(stage.commands().len(), 1);
}

#[tokio::test]
async fn c4_a_replay_from_the_archive_is_written_down_and_acted_on_never() {
    let stage = Stage::open().await;
    let mut replay = stage.spot(ONE, 0);
    replay["replay-name"] = json!("yesterday");
    stage.dispatch(&replay, 1).await.unwrap();
    let incident = stage.incident().await;
    assert_eq!(incident.ended.unwrap().outcome, "expired");
    assert_eq!((stage.commands(), stage.orders()), (Vec::new(), Vec::new()));
    stage.dispatch(&stage.spot(ONE, 2), 3).await.unwrap();
    assert_eq!(stage.commands().len(), 1);
}
