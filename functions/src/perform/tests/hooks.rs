//! Lifecycle hooks.

use super::*;

#[tokio::test]
async fn d15_a_hook_is_answered_until_it_is_accepted_or_gone() {
    let world = World::with(&json!([{ "action": "complete-lifecycle" }])).await;
    world.end("done").await;
    // The SDK tries a throttled call three times by itself.
    world.server.faults("CompleteLifecycleAction", 3, Fault::error(400, "Throttling"));
    world.server.fault("CompleteLifecycleAction", Fault::error(400, "ResourceContention"));
    let task = "p/complete-lifecycle";
    let mut at = 6;
    for expected in [
        "again: Unavailable: `CompleteLifecycleAction` failed: Throttling: ",
        "again: Unavailable: `CompleteLifecycleAction` failed: ResourceContention: ",
    ] {
        world.server.forget_calls();
        assert_eq!(world.order(task, at).await, Vec::<String>::new());
        let told = world.told(task).await;
        assert!(told.starts_with(expected), "{told}");
        let sent = world.sent();
        assert!((0..=3).contains(&sent[0].1), "{sent:?}");
        at += sent[0].1 + 1;
    }
    world.order(task, at).await;
    assert_eq!(world.told(task).await, "done: CONTINUE, since the outcome is `done`");
}

#[tokio::test]
async fn d15_a_hook_that_is_gone_counts_as_answered() {
    let world = World::with(&json!([{ "action": "complete-lifecycle" }])).await;
    world.end("partial").await;
    world.server.fault("CompleteLifecycleAction", no_hook());
    world.order("p/complete-lifecycle", 6).await;
    assert_eq!(world.told("p/complete-lifecycle").await, "done: the hook no longer waited");
    assert_eq!(world.sent(), []);
}

#[tokio::test]
async fn d15_out_of_time_the_answer_has_failed() {
    let world = World::with(&json!([{ "action": "complete-lifecycle" }])).await;
    world.end("done").await;
    world.server.standing("CompleteLifecycleAction", Fault::error(400, "ResourceContention"));
    let task = "p/complete-lifecycle";
    // After the first attempt comes the next in about a second, after the second in about two.
    world.order(task, 3600 - 10).await;
    assert!(world.told(task).await.starts_with("again: "));
    world.server.forget_calls();
    world.order(task, 3600 - 1).await;
    let told = world.told(task).await;
    let expected = "failed: Unavailable: given up after 2 attempts, the time is over: \
                    `CompleteLifecycleAction` failed: ResourceContention";
    assert!(told.starts_with(expected), "{told}");
    assert_eq!(world.sent(), []);
}

#[tokio::test]
async fn a_hook_goes_on_only_when_all_was_saved() {
    for (outcome, result) in [
        ("done", "CONTINUE"),
        ("partial", "ABANDON"),
        ("failed", "ABANDON"),
        ("unknown", "ABANDON"),
        ("expired", "ABANDON"),
        ("cancelled", "ABANDON"),
    ] {
        let world = World::with(&json!([{ "action": "complete-lifecycle" }])).await;
        world.end(outcome).await;
        world.order("p/complete-lifecycle", 6).await;
        let calls = world.server.calls();
        let call = calls.iter().find(|call| call.operation == "CompleteLifecycleAction").unwrap();
        let param = |name: &str| call.param(name).unwrap();
        assert_eq!(param("LifecycleActionResult"), result, "{outcome}");
        assert_eq!(param("AutoScalingGroupName"), "g");
        assert_eq!(param("LifecycleHookName"), "h");
        assert_eq!(param("LifecycleActionToken"), "token");
    }
}

#[tokio::test]
async fn a_hook_waits_on_from_the_start_until_the_incident_ends() {
    let world = World::with(&json!([{ "action": "complete-lifecycle" }])).await;
    let mut body = order(ID, HEARTBEAT);
    // The hook waits 30 s: a heartbeat each 15 s.
    for beat in 0..3 {
        let at = 2 + beat * 15;
        world.server.forget_calls();
        assert_eq!(world.batch(&[("m", &body)], at).await, Vec::<String>::new());
        assert_eq!(world.server.count("RecordLifecycleActionHeartbeat"), 1);
        let sent = world.sent();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].1, 15);
        body.clone_from(&sent[0].0);
        let incident = world.incident().await;
        assert_eq!(incident.hook.unwrap().beat_at, Some(moment(at)));
        assert_eq!(world.told(HEARTBEAT).await, "again: ");
    }
    world.end("done").await;
    world.batch(&[("m", &body)], 50).await;
    assert_eq!(world.server.count("RecordLifecycleActionHeartbeat"), 0);
    assert_eq!(world.sent(), []);
    assert!(world.state(HEARTBEAT).await.is_over());
}

#[tokio::test]
async fn two_orders_for_a_heartbeat_become_one() {
    let world = World::with(&json!([{ "action": "complete-lifecycle" }])).await;
    world.order(HEARTBEAT, 2).await;
    assert_eq!(world.order(HEARTBEAT, 4).await, Vec::<String>::new());
    assert_eq!(world.server.count("RecordLifecycleActionHeartbeat"), 1);
    assert_eq!(world.sent().len(), 1);
}

#[tokio::test]
async fn heartbeats_stop_when_the_hook_is_gone_or_the_outcome_overdue() {
    let world = World::with(&json!([{ "action": "complete-lifecycle" }])).await;
    world.server.fault("RecordLifecycleActionHeartbeat", no_hook());
    world.order(HEARTBEAT, 2).await;
    assert_eq!(world.told(HEARTBEAT).await, "done: the hook no longer waited");

    let world = World::with(&json!([{ "action": "complete-lifecycle" }])).await;
    // Deadline after 120 s, patience 60 s.
    world.order(HEARTBEAT, 180).await;
    assert_eq!(world.told(HEARTBEAT).await, "done: the outcome is overdue");
    assert_eq!(world.server.count("RecordLifecycleActionHeartbeat"), 0);
}

#[tokio::test]
async fn a_heartbeat_that_failed_is_tried_again_before_the_hook_gives_up() {
    let world = World::with(&json!([{ "action": "complete-lifecycle" }])).await;
    world
        .server
        .standing("RecordLifecycleActionHeartbeat", Fault::error(400, "ResourceContention"));
    let mut at = 2;
    for _ in 0..4 {
        world.server.forget_calls();
        world.order(HEARTBEAT, at).await;
        let sent = world.sent();
        assert!(sent[0].1 <= 5, "{sent:?}");
        at += sent[0].1 + 1;
    }
}

#[tokio::test]
async fn a_policy_that_asks_for_heartbeats_too_adds_none() {
    let actions = json!([{ "action": "complete-lifecycle" }, { "action": "heartbeat" }]);
    let world = World::with(&actions).await;
    world.order("p/heartbeat", 2).await;
    let expected = "done: the hook is kept waiting without that, too";
    assert_eq!(world.told("p/heartbeat").await, expected);
}
