//! What each action does when all is well, and what it looks at first.

use super::*;

#[tokio::test]
async fn operators_are_told_in_a_message_that_a_person_can_act_on() {
    let world = World::with(&json!([{ "action": "notify", "config": { "subject": "db" } }])).await;
    assert_eq!(world.order("p/notify", 2).await, Vec::<String>::new());
    let published = world.server.published();
    let [message] = &published[..] else { panic!("{published:?}") };
    assert_eq!(message.topic, world.server.topic_arn("cloudsnooze-operators"));
    let expected = "db: i-0123456789abcdef0 goes at 10:02:00 UTC (lifecycle terminate)";
    assert_eq!(message.subject.as_deref(), Some(expected));
    assert!(message.message.contains("What to do:"), "{}", message.message);
    assert_eq!(world.told("p/notify").await, "done: told");
}

#[tokio::test]
async fn another_topic_can_be_named() {
    let arn = "arn:aws:sns:eu-central-1:123456789012:team";
    let config = json!([{ "action": "notify", "config": { "topic_arn": arn } }]);
    let world = World::with(&config).await;
    world.order("p/notify", 2).await;
    assert_eq!(world.server.published()[0].topic, arn);
}

#[tokio::test]
async fn a_webhook_gets_the_event_and_the_incident() {
    let world = World::new().await;
    let url = format!("{}/hook", world.server.url());
    let actions = json!([{ "action": "webhook", "config": { "url": url } }]);
    world.open(ID, &terminating(), &actions).await;
    world.order("p/webhook", 2).await;
    assert_eq!(world.told("p/webhook").await, "done: status 200");
    let calls = world.server.calls();
    let call = calls.iter().find(|call| call.operation == "POST /hook").unwrap().json();
    assert_eq!(call["event"]["type"], "cloud.instance.termination");
    assert_eq!(call["event"]["correlationid"], ID);
    assert_eq!(call["incident"]["id"], ID);
    assert_eq!(call["incident"]["seconds_left"], 118);
    assert_eq!((&call["task"], &call["drill"]), (&json!("p/webhook"), &json!(false)));
    assert!(call["text"].as_str().unwrap().contains("goes at 10:02:00 UTC"));
}

#[tokio::test]
async fn a_webhook_that_refuses_has_failed_and_one_that_is_busy_is_asked_again() {
    for (status, expected) in [
        (
            302,
            "failed: Refused: `Webhook` failed: Status302: redirects are not followed: write the new address",
        ),
        (404, "failed: Refused: `Webhook` failed: Status404: it does not take such a message"),
        (429, "again: Unavailable: `Webhook` failed: Status429: it may take it later"),
        (503, "again: Unavailable: `Webhook` failed: Status503: it may take it later"),
    ] {
        let world = World::new().await;
        let url = format!("{}/hook", world.server.url());
        let actions = json!([{ "action": "webhook", "config": { "url": url } }]);
        world.open(ID, &terminating(), &actions).await;
        world.server.answer("POST /hook", status, "");
        world.order("p/webhook", 2).await;
        assert_eq!(world.told("p/webhook").await, expected);
        assert_eq!(world.sent().len(), usize::from(status == 429 || status == 503));
    }
}

#[tokio::test]
async fn no_part_of_an_address_stands_in_the_ledger_or_in_a_failure() {
    let actions =
        json!([{ "action": "webhook", "config": { "url": "http://10.0.0.1/hunter2?hunter2" } }]);
    let world = World::with(&actions).await;
    world.order("p/webhook", 2).await;
    let expected = "failed: Refused: `Webhook` failed: NotPublic: \
                    private, loopback and link-local addresses are not called";
    assert_eq!(world.told("p/webhook").await, expected);
}

#[tokio::test]
async fn a_webhook_can_be_a_secret_by_reference() {
    let world = World::new().await;
    let url = format!("{}/hook", world.server.url());
    let parameter =
        json!({ "Parameter": { "Name": "/hooks/a", "Value": url, "Type": "SecureString" } });
    world.server.answer("GetParameter", 200, &parameter.to_string());
    let config = json!({ "url": "ssm:/hooks/a", "secret": "ssm:/hooks/key" });
    world.open(ID, &terminating(), &json!([{ "action": "webhook", "config": config }])).await;
    world.order("p/webhook", 2).await;
    assert_eq!(world.told("p/webhook").await, "done: status 200");
    assert_eq!(world.server.count("GetParameter"), 2);
    let text = serde_json::to_string(&world.incident().await).unwrap();
    assert!(!text.contains(&url), "{text}");
}

#[tokio::test]
async fn an_instance_is_tagged_and_then_stopped() {
    let actions = json!([{ "action": "stop-instance", "config": { "reason": "night" } }]);
    let world = World::with(&actions).await;
    world.order("p/stop-instance", 2).await;
    assert_eq!(world.told("p/stop-instance").await, "done: stops");
    let calls = world.server.calls();
    let at = |name: &str| calls.iter().position(|call| call.operation == name).unwrap();
    assert!(at("DescribeAutoScalingInstances") < at("CreateTags"));
    assert!(at("CreateTags") < at("StopInstances"));
    let tags = calls[at("CreateTags")].params();
    let value_of = |key: &str| {
        let name = tags.iter().find(|(_, value)| *value == key).unwrap().0.replace("Key", "Value");
        tags[&name].clone()
    };
    assert_eq!(value_of("CloudSnooze:Status"), "Stopped");
    assert_eq!(value_of("CloudSnooze:StopReason"), "night");
    assert_eq!(value_of("CloudSnooze:StopTimestamp"), "2026-11-21T10:00:02Z");
    let stop = calls[at("StopInstances")].params();
    assert_eq!(stop["InstanceId.1"], "i-0123456789abcdef0");
    assert_eq!(stop.get("Hibernate"), None);
}

#[tokio::test]
async fn a_member_of_a_group_is_never_stopped() {
    for action in ["stop-instance", "hibernate-instance"] {
        let world = World::with(&json!([{ "action": action }])).await;
        world.server.answer("DescribeAutoScalingInstances", 200, &member("InService"));
        world.order(&format!("p/{action}"), 2).await;
        let expected = "skipped: a member of the Auto Scaling group `g`, which would replace it: \
                        use `terminate-in-group`";
        assert_eq!(world.told(&format!("p/{action}")).await, expected);
        assert_eq!((world.server.count("StopInstances"), world.server.count("CreateTags")), (0, 0));
    }
}

#[tokio::test]
async fn what_the_instance_told_of_its_group_counts_too() {
    let world = World::with(&json!([{ "action": "stop-instance" }])).await;
    let facts = Facts { id: Some(instance()), asg: Some("other".to_owned()), ..Facts::default() };
    let known = Instance { facts, last_seen: Some(moment(1)), ..Instance::default() };
    world.perform.instances.update(&known).await.unwrap();
    world.order("p/stop-instance", 2).await;
    assert!(world.told("p/stop-instance").await.contains("group `other`"));
    assert_eq!(world.server.count("StopInstances"), 0);
}

#[tokio::test]
async fn an_instance_that_cannot_hibernate_is_stopped() {
    let world = World::with(&json!([{ "action": "hibernate-instance" }])).await;
    world.server.fault("StopInstances", Fault::error(400, "UnsupportedHibernationConfiguration"));
    world.order("p/hibernate-instance", 2).await;
    assert_eq!(world.told("p/hibernate-instance").await, "done: stops: it cannot hibernate");
    let calls = world.server.calls();
    let stops: Vec<_> = calls.iter().filter(|call| call.operation == "StopInstances").collect();
    assert_eq!(stops[0].param("Hibernate").as_deref(), Some("true"));
    assert_eq!(stops[1].param("Hibernate"), None);
}

#[tokio::test]
async fn a_member_ends_through_its_group_and_once() {
    let world = World::with(&json!([{ "action": "terminate-in-group" }])).await;
    world.server.answer("DescribeAutoScalingInstances", 200, &member("InService"));
    world.order("p/terminate-in-group", 2).await;
    assert_eq!(world.told("p/terminate-in-group").await, "done: `g` ends it, nothing replaces it");
    let calls = world.server.calls();
    let ends: Vec<_> =
        calls.iter().filter(|c| c.operation == "TerminateInstanceInAutoScalingGroup").collect();
    assert_eq!(ends.len(), 1);
    assert_eq!(ends[0].param("ShouldDecrementDesiredCapacity").as_deref(), Some("true"));

    let world = World::with(&json!([{ "action": "terminate-in-group" }])).await;
    world.server.answer("DescribeAutoScalingInstances", 200, &member("Terminating:Wait"));
    world.order("p/terminate-in-group", 2).await;
    assert_eq!(world.told("p/terminate-in-group").await, "done: `g` ends it already");
    assert_eq!(world.server.count("TerminateInstanceInAutoScalingGroup"), 0);

    let world = World::with(&json!([{ "action": "terminate-in-group" }])).await;
    world.order("p/terminate-in-group", 2).await;
    let expected = "skipped: a member of no Auto Scaling group: use `stop-instance`";
    assert_eq!(world.told("p/terminate-in-group").await, expected);
}

#[tokio::test]
async fn a_group_gets_the_size_that_it_can_have() {
    for (wanted, set, text) in [
        (4, Some("4"), "done: `g` is to have 4 instances"),
        (3, None, "done: `g` is to have 3 instances"),
        (9, Some("5"), "done: `g` is to have 5 instances: 9 is outside of 1 to 5"),
        (0, Some("1"), "done: `g` is to have 1 instances: 0 is outside of 1 to 5"),
    ] {
        let actions = json!([{ "action": "scale-group", "config": { "desired": wanted } }]);
        let world = World::with(&actions).await;
        world.order("p/scale-group", 2).await;
        assert_eq!(world.told("p/scale-group").await, text);
        let calls = world.server.calls();
        let call = calls.iter().find(|call| call.operation == "SetDesiredCapacity");
        assert_eq!(call.and_then(|call| call.param("DesiredCapacity")).as_deref(), set);
    }
}

#[tokio::test]
async fn s4_19_a_trigger_from_outside_says_the_size() {
    let world = World::new().await;
    let mut event = Event::new(EventType::TriggerScale, "ops", moment(0), "e-2".parse().unwrap());
    event.data = json!({ "group": "g", "replicas": 5 }).as_object().cloned().unwrap();
    world.open(ID, &event, &json!([{ "action": "scale-group" }])).await;
    world.order("p/scale-group", 2).await;
    assert_eq!(world.told("p/scale-group").await, "done: `g` is to have 5 instances");
}

#[tokio::test]
async fn snapshots_bear_the_task_and_are_taken_once() {
    let world = World::with(&json!([{ "action": "snapshot-volumes" }])).await;
    world.order("p/snapshot-volumes", 2).await;
    assert_eq!(world.told("p/snapshot-volumes").await, "done: 1 snapshots: snap-1");
    let calls = world.server.calls();
    let taken = calls.iter().find(|call| call.operation == "CreateSnapshots").unwrap().params();
    let key = format!("{ID}/p/snapshot-volumes");
    assert!(taken.values().any(|value| *value == key), "{taken:?}");
    let asked = calls.iter().find(|call| call.operation == "DescribeSnapshots").unwrap().params();
    assert!(asked.values().any(|value| *value == key), "{asked:?}");

    let world = World::with(&json!([{ "action": "snapshot-volumes" }])).await;
    world.server.answer("DescribeSnapshots", 200, &snapshots("DescribeSnapshots"));
    world.order("p/snapshot-volumes", 2).await;
    assert_eq!(world.told("p/snapshot-volumes").await, "done: 1 snapshots: snap-1");
    assert_eq!(world.server.count("CreateSnapshots"), 0);
}

#[tokio::test]
async fn a_target_group_that_is_gone_does_not_keep_the_others_from_being_drained() {
    let arn = |name: &str| {
        format!("arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/{name}/1")
    };
    let config = json!({ "target_groups": [arn("a"), arn("b")], "port": 8080 });
    let world = World::with(&json!([{ "action": "drain-target", "config": config }])).await;
    world.server.fault("DeregisterTargets", Fault::error(400, "TargetGroupNotFound"));
    world.order("p/drain-target", 2).await;
    let expected = "done: out of 1 target groups; 1 are not there, or it was not in them";
    assert_eq!(world.told("p/drain-target").await, expected);
    let calls = world.server.calls();
    let call = calls.iter().rfind(|call| call.operation == "DeregisterTargets").unwrap().params();
    assert_eq!(call["TargetGroupArn"], arn("b"));
    assert_eq!(call["Targets.member.1.Id"], "i-0123456789abcdef0");
    assert_eq!(call["Targets.member.1.Port"], "8080");
}

#[tokio::test]
async fn a_function_gets_the_event_as_a_plugin_does() {
    let config = json!({ "function": "failover", "config": { "mode": "fast" } });
    let world = World::with(&json!([{ "action": "invoke", "config": config }])).await;
    world.order("p/invoke", 2).await;
    assert_eq!(world.told("p/invoke").await, "done: moved");
    let calls = world.server.calls();
    let call = calls.iter().find(|call| call.operation == "Invoke").unwrap();
    assert!(call.path.contains("/failover/"), "{}", call.path);
    let payload = call.json();
    assert_eq!(payload["type"], "cloud.instance.termination");
    assert_eq!(payload["data"]["instanceID"], "i-0123456789abcdef0");
    assert_eq!(payload["data"]["timeRemaining"], 118.0);
    assert_eq!(payload["task"], format!("{ID}/p/invoke"));
    assert_eq!(payload["config"]["mode"], "fast");
}

#[tokio::test]
async fn an_own_event_goes_on_the_bus_and_wakes_no_further_one() {
    let config = json!({ "type": "custom.moved", "data": { "team": "db" } });
    let actions = json!([{ "action": "put-event", "config": config }]);
    let world = World::with(&actions).await;
    world.order("p/put-event", 2).await;
    let entries = world.server.entries();
    assert_eq!(
        (&*entries[0].source, &*entries[0].detail_type),
        ("cloudsnooze.cloud", "custom.moved")
    );
    let detail: Value = serde_json::from_str(&entries[0].detail).unwrap();
    assert_eq!(detail["id"], format!("{ID}/p/put-event"));
    assert_eq!((&detail["data"]["team"], &detail["data"]["incident"]), (&json!("db"), &json!(ID)));

    let world = World::new().await;
    let kind = "custom.moved".parse().unwrap();
    let event = Event::new(kind, "cloudsnooze.cloud", moment(0), "e-3".parse().unwrap());
    world.open(ID, &event, &actions).await;
    world.order("p/put-event", 2).await;
    let expected = "skipped: the event was itself put by an action";
    assert_eq!(world.told("p/put-event").await, expected);
    assert_eq!(world.server.entries(), []);
}

#[tokio::test]
async fn tags_are_written() {
    let config = json!({ "tags": { "orders:state": "leaving" } });
    let world = World::with(&json!([{ "action": "tag", "config": config }])).await;
    world.order("p/tag", 2).await;
    assert_eq!(world.told("p/tag").await, "done: 1 tags written");
    let calls = world.server.calls();
    let call = calls.iter().find(|call| call.operation == "CreateTags").unwrap().params();
    assert_eq!((&*call["Tag.1.Key"], &*call["Tag.1.Value"]), ("orders:state", "leaving"));
}

#[tokio::test]
async fn a_drill_tells_and_does_nothing_real() {
    let actions = json!([
        { "action": "notify" }, { "action": "stop-instance" }, { "action": "terminate-in-group" },
        { "action": "tag", "config": { "tags": { "a": "b" } } },
        { "action": "scale-group", "config": { "desired": 0 } },
        { "action": "snapshot-volumes" }, { "action": "complete-lifecycle" },
        { "action": "heartbeat" }, { "action": "hibernate-instance" },
        { "action": "invoke", "config": { "function": "f" } },
        { "action": "drain-target",
          "config": { "target_groups": ["arn:aws:elasticloadbalancing:x:1:targetgroup/a/1"] } },
    ]);
    let world = World::new().await;
    let drill = Event { drill: true, ..terminating() };
    world.open(ID, &drill, &actions).await;
    // As if the plan had let them through.
    let changed = world.incidents.change(ID, |incident| {
        for task in &mut incident.tasks {
            task.state = TaskState::Sent { at: moment(1) };
        }
    });
    changed.await.unwrap();
    let incident = world.incident().await;
    for task in incident.tasks.iter().filter(|task| task.id != COMMAND) {
        assert_eq!(world.order(&task.id, 2).await, Vec::<String>::new());
        let expected = if task.id == "p/notify" { "done: told" } else { "skipped: a drill" };
        assert_eq!(world.told(&task.id).await, expected, "{}", task.id);
    }
    let services: BTreeSet<_> = world.server.calls().into_iter().map(|call| call.service).collect();
    let expected = ["dynamodb", "sns"].map(str::to_owned);
    assert_eq!(services, expected.into());
    let subject = world.server.published()[0].subject.clone().unwrap();
    assert!(subject.starts_with("[DRILL] "), "{subject}");
}

#[tokio::test]
async fn a_command_that_was_not_sent_is_published_with_its_own_id() {
    let world = World::with(&json!([{ "action": "notify" }])).await;
    let changed = world.incidents.change(ID, |incident| {
        let task = incident.tasks.iter_mut().find(|task| task.id == COMMAND).unwrap();
        task.state = TaskState::Sent { at: moment(1) };
    });
    changed.await.unwrap();
    world.order(COMMAND, 2).await;
    assert_eq!(world.told(COMMAND).await, "done: ");
    let published = world.server.published();
    assert_eq!(published[0].topic, world.server.topic_arn("cloudsnooze-commands"));
    assert_eq!(published[0].attributes["instance_id"], "i-0123456789abcdef0");
    let command: Value = serde_json::from_str(&published[0].message).unwrap();
    assert_eq!(command["id"], format!("{ID}#command"));
}
