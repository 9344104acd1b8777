//! Killed after each call, and run again: every effect once, where the service allows it.

use tokio::task::JoinSet;

use snooze_cloud::fake::When;

use super::*;

/// An action, its outcome where it waits for one, and the call that is its effect.
struct Case {
    task: &'static str,
    actions: Value,
    outcome: Option<&'static str>,
    effect: &'static str,
    /// The service cannot tell that it did it before.
    may_repeat: bool,
}

fn cases() -> Vec<Case> {
    let arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/a/1";
    let case = |task, config: Value, effect| {
        let name = task_action(task);
        let actions = json!([{ "action": name, "config": config }]);
        Case { task, actions, outcome: None, effect, may_repeat: false }
    };
    vec![
        Case { may_repeat: true, ..case("p/notify", json!({}), "Publish") },
        // Known to the receiver by the id in it, which a test below holds to be the same.
        Case {
            may_repeat: true,
            ..case("p/put-event", json!({ "type": "custom.x" }), "PutEvents")
        },
        Case { may_repeat: true, ..case("p/invoke", json!({ "function": "f" }), "Invoke") },
        Case {
            outcome: Some("done"),
            ..case("p/complete-lifecycle", json!({}), "CompleteLifecycleAction")
        },
        case("p/terminate-in-group", json!({}), "TerminateInstanceInAutoScalingGroup"),
        case("p/scale-group", json!({ "desired": 4 }), "SetDesiredCapacity"),
        case("p/snapshot-volumes", json!({}), "CreateSnapshots"),
        // To do these twice is to do them once; that they say the same is what counts.
        Case { may_repeat: true, ..case("p/stop-instance", json!({}), "StopInstances") },
        Case { may_repeat: true, ..case("p/tag", json!({ "tags": { "a": "b" } }), "CreateTags") },
        Case {
            may_repeat: true,
            ..case("p/drain-target", json!({ "target_groups": [arn] }), "DeregisterTargets")
        },
    ]
}

fn task_action(task: &str) -> &str {
    task.split_once('/').unwrap().1
}

#[tokio::test]
async fn d1_killed_after_any_call_an_action_is_done_to_its_end_and_once() {
    for case in cases() {
        let mut calls = 0;
        // Grows until the attempt ends before the call at which it would have been killed.
        while killed_after(&case, calls).await {
            calls += 1;
        }
        assert!(calls >= 3, "{}: {calls}", case.task);
    }
}

/// Kills the function when the call after so many has happened, runs it again as the queue does,
/// and says whether there was such a call.
async fn killed_after(case: &Case, calls: usize) -> bool {
    let world = World::with(&case.actions).await;
    if let Some(outcome) = case.outcome {
        world.end(outcome).await;
    }
    let is_member = case.task == "p/terminate-in-group";
    if is_member {
        world.server.answer("DescribeAutoScalingInstances", 200, &member("InService"));
    }
    world.server.fault_when(When::next("*").after(calls).times(1), Fault::HangAfter);
    let body = batch(&[("m", &order(ID, case.task))]);
    let mut running = JoinSet::new();
    let perform = Arc::clone(&world.perform);
    running.spawn(async move { perform.batch(&body, moment(6)).await });
    let was_killed = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if world.server.calls().len() > calls {
                return true;
            }
            let tick = Duration::from_millis(1);
            if let Ok(ended) = tokio::time::timeout(tick, running.join_next()).await {
                ended.unwrap().unwrap().unwrap();
                return false;
            }
        }
    })
    .await
    .unwrap();
    running.shutdown().await;
    world.server.lift("*");
    let happened = world.server.count(case.effect) > 0;
    if happened {
        remember(&world.server, case.effect);
    }
    // The same message again, when its visibility time-out is over, and what else is in the queue.
    let at = 6 + 90;
    world.order(case.task, at).await;
    for (body, _) in world.sent() {
        world.batch(&[("n", &body)], at + LEASE).await;
    }
    let (told, effects) = (world.told(case.task).await, world.server.count(case.effect));
    assert!(told.starts_with("done: "), "{} {calls}: {told}", case.task);
    let most = if case.may_repeat { 2 } else { 1 };
    // A hook answers that it was answered; that second call does nothing.
    let most = if case.task == "p/complete-lifecycle" { 2 } else { most };
    assert!((1..=most).contains(&effects), "{} {calls}: {effects}", case.task);
    same(&world.server, case.effect);
    was_killed
}

/// What the services know after the effect.
fn remember(server: &Server, effect: &str) {
    match effect {
        "TerminateInstanceInAutoScalingGroup" => {
            server.answer("DescribeAutoScalingInstances", 200, &member("Terminating"));
        }
        "CreateSnapshots" => {
            server.answer("DescribeSnapshots", 200, &snapshots("DescribeSnapshots"));
        }
        "SetDesiredCapacity" => {
            server.answer("DescribeAutoScalingGroups", 200, &sized(1, 5, 4));
        }
        "CompleteLifecycleAction" => server.standing(effect, no_hook()),
        _ => {}
    }
}

/// All calls of an effect say the same, but for what only counts attempts and time.
fn same(server: &Server, effect: &str) {
    let calls: BTreeSet<String> = server
        .calls()
        .into_iter()
        .filter(|call| call.operation == effect)
        .map(|call| match effect {
            "Invoke" => call.json()["task"].to_string(),
            "Publish" => call.param("Subject").unwrap(),
            "PutEvents" => {
                let detail = call.json()["Entries"][0]["Detail"].as_str().unwrap().to_owned();
                serde_json::from_str::<Value>(&detail).unwrap()["id"].to_string()
            }
            _ => call.body,
        })
        .collect();
    assert_eq!(calls.len(), 1, "{calls:?}");
}

#[tokio::test]
async fn d1_killed_after_any_call_heartbeats_go_on() {
    let mut calls = 0;
    loop {
        let world = World::with(&json!([{ "action": "complete-lifecycle" }])).await;
        world.server.fault_when(When::next("*").after(calls).times(1), Fault::HangAfter);
        let body = batch(&[("m", &order(ID, HEARTBEAT))]);
        let mut running = JoinSet::new();
        let perform = Arc::clone(&world.perform);
        running.spawn(async move { perform.batch(&body, moment(2)).await });
        let was_killed = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                if world.server.calls().len() > calls {
                    return true;
                }
                let tick = Duration::from_millis(1);
                if tokio::time::timeout(tick, running.join_next()).await.is_ok() {
                    return false;
                }
            }
        })
        .await
        .unwrap();
        running.shutdown().await;
        world.server.lift("*");
        // The message itself, and the one that may have been sent, both when the lease is over.
        let mut bodies = world.server.messages(ACTIONS);
        bodies.push(order(ID, HEARTBEAT));
        world.server.forget_calls();
        for body in &bodies {
            world.batch(&[("m", body)], 2 + LEASE).await;
        }
        assert_eq!(world.sent().len(), 1, "{calls}");
        assert_eq!(world.server.count("RecordLifecycleActionHeartbeat"), 1, "{calls}");
        if !was_killed {
            assert!(calls >= 4, "{calls}");
            return;
        }
        calls += 1;
    }
}

#[tokio::test]
async fn d7_an_answer_that_was_lost_is_no_second_effect() {
    for operation in ["GetItem", "PutItem", "SendMessageBatch"] {
        let world = World::with(&json!([{ "action": "notify" }])).await;
        world.server.fault(operation, Fault::DropAfter);
        assert_eq!(world.order("p/notify", 2).await, Vec::<String>::new());
        assert_eq!(world.told("p/notify").await, "done: told", "{operation}");
        assert_eq!(world.server.published().len(), 1, "{operation}");
    }
}
