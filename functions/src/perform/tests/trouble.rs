//! Calls that are refused, fail or hang.

use super::*;

/// Each action with a call that it makes, and the permission for it.
fn calls() -> Vec<(Value, &'static str, &'static str)> {
    let arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/a/1";
    let action = |name: &str, config: Value| json!({ "action": name, "config": config });
    vec![
        (action("notify", json!({})), "Publish", "sns:Publish"),
        (action("put-event", json!({ "type": "custom.x" })), "PutEvents", "events:PutEvents"),
        (action("invoke", json!({ "function": "f" })), "Invoke", "lambda:InvokeFunction"),
        (action("webhook", json!({ "url": "ssm:/hooks/a" })), "GetParameter", "ssm:GetParameter"),
        (
            action("webhook", json!({ "url": "secretsmanager:hooks" })),
            "GetSecretValue",
            "secretsmanager:GetSecretValue",
        ),
        (
            action("stop-instance", json!({})),
            "DescribeAutoScalingInstances",
            "autoscaling:DescribeAutoScalingInstances",
        ),
        (action("stop-instance", json!({})), "CreateTags", "ec2:CreateTags"),
        (action("stop-instance", json!({})), "StopInstances", "ec2:StopInstances"),
        (action("hibernate-instance", json!({})), "StopInstances", "ec2:StopInstances"),
        (action("tag", json!({ "tags": { "a": "b" } })), "CreateTags", "ec2:CreateTags"),
        (action("snapshot-volumes", json!({})), "DescribeSnapshots", "ec2:DescribeSnapshots"),
        (action("snapshot-volumes", json!({})), "CreateSnapshots", "ec2:CreateSnapshots"),
        (
            action("scale-group", json!({ "desired": 4 })),
            "DescribeAutoScalingGroups",
            "autoscaling:DescribeAutoScalingGroups",
        ),
        (
            action("scale-group", json!({ "desired": 4 })),
            "SetDesiredCapacity",
            "autoscaling:SetDesiredCapacity",
        ),
        (
            action("drain-target", json!({ "target_groups": [arn] })),
            "DeregisterTargets",
            "elasticloadbalancing:DeregisterTargets",
        ),
    ]
}

fn denied(operation: &str) -> Fault {
    let code = match operation {
        "Publish" => "AuthorizationError",
        "CreateTags" | "StopInstances" | "CreateSnapshots" | "DescribeSnapshots" => {
            "UnauthorizedOperation"
        }
        _ => "AccessDeniedException",
    };
    Fault::error(403, code)
}

#[tokio::test]
async fn d16_an_action_without_its_permission_fails_by_name_and_the_others_go_on() {
    for (action, operation, permission) in calls() {
        let task = format!("p/{}", action["action"].as_str().unwrap());
        let config = json!({ "topic_arn": "arn:aws:sns:eu-central-1:123456789012:other" });
        let other = json!({ "action": "heartbeat" });
        let other = if operation == "Publish" {
            other
        } else {
            json!({ "action": "notify", "config": config })
        };
        let world = World::with(&json!([action, other])).await;
        let other = format!("p/{}", other["action"].as_str().unwrap());
        world.server.standing(operation, denied(operation));
        let orders = [order(ID, &task), order(ID, &other)];
        let failed = world.batch(&[("a", &orders[0]), ("b", &orders[1])], 2).await;
        assert_eq!(failed, Vec::<String>::new());
        let told = world.told(&task).await;
        let expected =
            format!("failed: AccessDenied: the role of this function needs `{permission}` (");
        assert!(told.starts_with(&expected), "{operation}: {told}");
        let told = world.told(&other).await;
        assert!(told.starts_with("done: ") || told == "again: ", "{operation}: {told}");
        assert_eq!(world.server.count(operation), 1, "{operation}: a denied call is not repeated");
    }
}

#[tokio::test]
async fn d16_hooks_without_their_permission_fail_by_name() {
    let world = World::with(&json!([{ "action": "complete-lifecycle" }])).await;
    for operation in ["RecordLifecycleActionHeartbeat", "CompleteLifecycleAction"] {
        world.server.standing(operation, Fault::error(403, "AccessDenied"));
    }
    world.order(HEARTBEAT, 2).await;
    let expected = "failed: AccessDenied: the role of this function needs \
                    `autoscaling:RecordLifecycleActionHeartbeat` (AccessDenied)";
    assert_eq!(world.told(HEARTBEAT).await, expected);
    world.end("done").await;
    world.order("p/complete-lifecycle", 6).await;
    let expected = "failed: AccessDenied: the role of this function needs \
                    `autoscaling:CompleteLifecycleAction` (AccessDenied)";
    assert_eq!(world.told("p/complete-lifecycle").await, expected);

    let world = World::with(&json!([{ "action": "terminate-in-group" }])).await;
    world.server.answer("DescribeAutoScalingInstances", 200, &member("InService"));
    let operation = "TerminateInstanceInAutoScalingGroup";
    world.server.standing(operation, Fault::error(403, "AccessDenied"));
    world.order("p/terminate-in-group", 2).await;
    let expected = format!(
        "failed: AccessDenied: the role of this function needs `autoscaling:{operation}` \
         (AccessDenied)"
    );
    assert_eq!(world.told("p/terminate-in-group").await, expected);
}

#[tokio::test]
async fn d16_a_topic_of_commands_that_is_denied_is_named() {
    let world = World::with(&json!([{ "action": "heartbeat" }])).await;
    let changed = world.incidents.change(ID, |incident| {
        let task = incident.tasks.iter_mut().find(|task| task.id == COMMAND).unwrap();
        task.state = TaskState::Sent { at: moment(1) };
    });
    changed.await.unwrap();
    world.server.standing("Publish", denied("Publish"));
    world.order(COMMAND, 2).await;
    let expected = "failed: AccessDenied: the role of this function needs `sns:Publish` \
                    (AuthorizationError)";
    assert_eq!(world.told(COMMAND).await, expected);
}

#[tokio::test]
async fn d12_a_publication_that_fails_is_tried_again_where_that_may_help() {
    for (fault, expected) in [
        (Fault::error(500, "InternalError"), "again: Unavailable: "),
        (Fault::error(503, "ServiceUnavailable"), "again: Unavailable: "),
        (Fault::error(400, "Throttled"), "again: Unavailable: "),
        (Fault::Refuse, "again: Unreachable: "),
        (Fault::Hang, "again: Unreachable: "),
        (Fault::error(403, "AuthorizationError"), "failed: AccessDenied: "),
        (Fault::error(400, "KMSDisabled"), "failed: KeyUnusable: "),
        (Fault::error(400, "KMSAccessDenied"), "failed: KeyUnusable: "),
        (Fault::error(400, "InvalidParameter"), "failed: Refused: "),
        (Fault::error(404, "NotFound"), "failed: NotFound: "),
    ] {
        let world = World::with(&json!([{ "action": "notify" }])).await;
        world.server.standing("Publish", fault.clone());
        assert_eq!(world.order("p/notify", 2).await, Vec::<String>::new());
        let told = world.told("p/notify").await;
        assert!(told.starts_with(expected), "{fault:?}: {told}");
        let again = expected.starts_with("again");
        assert_eq!(world.sent().len(), usize::from(again), "{fault:?}");
        world.server.lift("Publish");
        world.order("p/notify", 2 + LEASE).await;
        assert_eq!(world.server.published().len(), usize::from(again), "{fault:?}");
    }
}

#[tokio::test]
async fn d12_a_message_comes_again_when_its_follow_up_cannot_be_sent() {
    let world = World::with(&json!([{ "action": "notify" }])).await;
    world.server.standing("Publish", Fault::error(503, "ServiceUnavailable"));
    world.server.standing("SendMessageBatch", Fault::error(403, "AccessDenied"));
    assert_eq!(world.order("p/notify", 2).await, ["m"]);
    world.server.lift("SendMessageBatch");
    world.server.standing("SendMessageBatch", Fault::Entries { at: vec![0], code: "X".to_owned() });
    assert_eq!(world.order("p/notify", 2 + LEASE).await, ["m"]);
    world.server.lift("Publish");
    assert_eq!(world.order("p/notify", 2 + 2 * LEASE).await, Vec::<String>::new());
    assert_eq!(world.server.published().len(), 1);
}

#[tokio::test]
async fn d5_a_ledger_that_cannot_be_written_sends_the_message_back() {
    let world = World::with(&json!([{ "action": "notify" }])).await;
    world.server.standing("PutItem", Fault::error(400, "ThrottlingException"));
    assert_eq!(world.order("p/notify", 2).await, ["m"]);
    assert_eq!(world.server.published(), []);
    assert!(world.server.count("PutItem") <= 3, "{}", world.server.count("PutItem"));
    world.server.lift("PutItem");
    assert_eq!(world.order("p/notify", 3).await, Vec::<String>::new());
    assert_eq!(world.server.published().len(), 1);
}

#[tokio::test]
async fn a_destination_that_fails_five_times_in_a_row_is_left_alone_for_30_seconds() {
    let world = World::new().await;
    let url = format!("{}/hook", world.server.url());
    let local = url.replace("127.0.0.1", "localhost");
    let hook = |url: &str| json!({ "action": "webhook", "config": { "url": url } });
    let mut actions = vec![hook(&url); 8];
    actions.push(hook(&local));
    world.open(ID, &terminating(), &json!(actions)).await;
    world.server.answer("POST /hook", 503, "");
    for number in 1..=6 {
        let task = if number == 1 { "p/webhook".to_owned() } else { format!("p/webhook#{number}") };
        world.order(&task, 2).await;
    }
    assert_eq!(world.server.count("POST /hook"), 5);
    let told = world.told("p/webhook#6").await;
    assert!(told.starts_with("again: BreakerOpen: "), "{told}");
    let (_, delay) = world.sent().pop().unwrap();
    assert!((29..=31).contains(&delay), "{delay}");

    // Another destination is called meanwhile.
    world.server.answer("POST /hook", 200, "");
    world.order("p/webhook#9", 3).await;
    assert_eq!(world.told("p/webhook#9").await, "done: status 200");
    assert_eq!(world.server.count("POST /hook"), 6);

    // One trial, and all is well again.
    world.order("p/webhook#6", 33).await;
    assert_eq!(world.told("p/webhook#6").await, "done: status 200");
    world.order("p/webhook#7", 34).await;
    assert_eq!(world.told("p/webhook#7").await, "done: status 200");
}

#[tokio::test]
async fn a_breaker_that_cannot_be_asked_holds_nothing_back() {
    let world = World::with(&json!([{ "action": "notify" }])).await;
    let broken = snooze_cloud::fake::When::next("GetItem").holding("breaker/").always();
    world.server.fault_when(broken, Fault::error(500, "InternalServerError"));
    assert_eq!(world.order("p/notify", 2).await, Vec::<String>::new());
    assert_eq!(world.told("p/notify").await, "done: told");
}

#[tokio::test]
async fn what_a_policy_says_wrongly_fails_by_name_and_shows_no_value() {
    let world =
        World::with(&json!([{ "action": "webhook", "config": { "url": "https://x" } }])).await;
    let changed = world.incidents.change(ID, |incident| {
        let task = incident.tasks.iter_mut().find(|task| task.id == "p/webhook").unwrap();
        if let snooze_policy::ledger::What::Action { config, .. } = &mut task.what {
            config.insert("url".to_owned(), json!("hunter2 hunter2"));
        }
    });
    changed.await.unwrap();
    world.order("p/webhook", 2).await;
    let expected = "failed: BadConfig: `url` is missing or unusable in the `config` of the action";
    assert_eq!(world.told("p/webhook").await, expected);
}
