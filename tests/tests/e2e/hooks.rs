//! Lifecycle hooks: asked on the wire, since the emulator takes any answer to any hook.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use snooze_tests::cloud::events::{captured, token};
use snooze_tests::cloud::http::Message;
use snooze_tests::cloud::instance::Instance;
use snooze_tests::cloud::relay::Call;
use snooze_tests::cloud::{Cloud, cloud};
use snooze_tests::plugins;

/// The group and the hook of the captured event.
const GROUP: &str = "spot-workers";
const HOOK: &str = "drain";
/// Between two heartbeats lies half of it. Auto Scaling takes nothing below 30.
const TIMEOUT_SECONDS: u64 = 6;

const BEAT: &str = "RecordLifecycleActionHeartbeat";
const COMPLETE: &str = "CompleteLifecycleAction";

#[test]
fn a_hook_is_kept_waiting_and_continued_once_all_is_saved() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    let instance = hooked(cloud, "i-0e2e0000000000011", "hooked");
    instance.plugin("saver", 12.0);
    let _daemon = instance.start();
    cloud.tell("dispatch", &captured("asg-terminate-lifecycle-action", &instance.id));
    let complete = cloud.functions.wait_for(COMPLETE, &token(&instance.id));
    let field = |name: &str| complete.field(name).unwrap_or_default();
    assert_eq!(field("LifecycleActionResult"), "CONTINUE", "{complete:?}");
    assert_eq!(
        (field("AutoScalingGroupName"), field("LifecycleHookName")),
        (GROUP.into(), HOOK.into())
    );
    let incident = answered(&instance);
    assert_eq!(incident["ended"]["outcome"], "done", "{incident:#}");
    // Before the outcome it beat, from the start on and again.
    let beats = cloud.functions.about(BEAT, &token(&instance.id));
    let before = beats.iter().filter(|beat| beat.at < complete.at && beat.status == 200);
    assert!(before.count() >= 2, "{beats:?}");
    let task = completion(&incident);
    assert_eq!((&task["state"]["is"], &task["attempts"]), (&json!("done"), &json!(1)), "{task:#}");
    assert_eq!(instance.started(), ["saver"]);
}

#[test]
fn a_hook_is_abandoned_when_the_flush_fails() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    let instance = hooked(cloud, "i-0e2e0000000000012", "abandoned");
    let failing = plugins::handler("saver", r#"result='{"error":"no space left"}'"#);
    instance.setup.script("plugins/saver.sh", &failing);
    let _daemon = instance.start();
    cloud.tell("dispatch", &captured("asg-terminate-lifecycle-action", &instance.id));
    let complete = cloud.functions.wait_for(COMPLETE, &token(&instance.id));
    assert_eq!(complete.field("LifecycleActionResult").as_deref(), Some("ABANDON"));
    let incident = answered(&instance);
    assert_eq!(incident["ended"]["outcome"], "failed", "{incident:#}");
    assert!(incident.to_string().contains("no space left"), "{incident:#}");
}

#[test]
fn d15_a_completion_that_fails_is_tried_again_until_it_is_accepted() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    let instance = hooked(cloud, "i-0e2e0000000000013", "again");
    let _daemon = instance.start();
    let asked = Arc::new(AtomicU32::new(0));
    let refusals = Arc::clone(&asked);
    let own = token(&instance.id);
    let _standing = cloud.stand(Box::new(move |call: &Call| {
        let is_ours = call.operation == COMPLETE && call.body.contains(&own);
        // More often than the adapter tries by itself.
        (is_ours && refusals.fetch_add(1, Ordering::Relaxed) < 4)
            .then(|| Message::xml(400, &fault("Throttling", "Rate exceeded")))
    }));
    cloud.tell("dispatch", &captured("asg-terminate-lifecycle-action", &instance.id));
    let incident = answered(&instance);
    assert!(asked.load(Ordering::Relaxed) >= 5);
    let task = completion(&incident);
    assert!(task["attempts"].as_u64() >= Some(2), "{incident:#}");
    assert!(task["state"]["text"].as_str().unwrap().contains("CONTINUE"), "{incident:#}");
}

#[test]
fn d15_a_hook_that_no_longer_waits_counts_as_completed() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    let instance = hooked(cloud, "i-0e2e0000000000014", "gone");
    let _daemon = instance.start();
    let own = token(&instance.id);
    let _standing = cloud.stand(Box::new(move |call: &Call| {
        let text = format!("No active Lifecycle Action found with token {own}");
        let is_ours = call.operation == COMPLETE && call.body.contains(&own);
        is_ours.then(|| Message::xml(400, &fault("ValidationError", &text)))
    }));
    cloud.tell("dispatch", &captured("asg-terminate-lifecycle-action", &instance.id));
    let incident = answered(&instance);
    let task = completion(&incident);
    assert_eq!((&task["state"]["is"], &task["attempts"]), (&json!("done"), &json!(1)), "{task:#}");
}

#[test]
fn a_spot_notice_first_and_the_hook_later_completes_the_hook() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    let instance = hooked(cloud, "i-0e2e0000000000015", "both");
    let _daemon = instance.start();
    cloud.tell("dispatch", &captured("spot-interruption-terminate", &instance.id));
    let _first = instance.ended();
    cloud.tell("dispatch", &captured("asg-terminate-lifecycle-action", &instance.id));
    let complete = cloud.functions.wait_for(COMPLETE, &token(&instance.id));
    assert_eq!(complete.field("LifecycleActionResult").as_deref(), Some("CONTINUE"));
    // What was saved is not saved again.
    assert_eq!(instance.started(), ["saver"]);
}

/// An instance of the group whose policy answers the hook.
fn hooked(cloud: &'static Cloud, id: &str, role: &str) -> Instance {
    group(cloud);
    cloud.policy(
        role,
        json!({ "actions": [{ "action": "complete-lifecycle", "when": "outcome" }] }),
    );
    Instance::new(cloud, id, role)
}

/// The group, its hook, and the tag that lets it be touched.
fn group(cloud: &Cloud) {
    let tag = json!({
        "Key": "CloudSnooze",
        "Value": "managed",
        "PropagateAtLaunch": true,
        "ResourceId": GROUP,
        "ResourceType": "auto-scaling-group",
    });
    let configuration = json!({
        "LaunchConfigurationName": GROUP,
        "ImageId": "ami-0123456789abcdef0",
        "InstanceType": "m6i.large",
    });
    let group = json!({
        "AutoScalingGroupName": GROUP,
        "LaunchConfigurationName": GROUP,
        "MinSize": 0,
        "MaxSize": 4,
        "DesiredCapacity": 0,
        "AvailabilityZones": ["us-east-1b"],
        "Tags": [tag],
    });
    // Another test may have made them.
    let _made = cloud.aws.ask("autoscaling", "create_launch_configuration", configuration, None);
    let _made = cloud.aws.ask("autoscaling", "create_auto_scaling_group", group, None);
    let hook = json!({
        "AutoScalingGroupName": GROUP,
        "LifecycleHookName": HOOK,
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
        "HeartbeatTimeout": TIMEOUT_SECONDS,
    });
    let _put = cloud.aws.call("autoscaling", "put_lifecycle_hook", hook);
}

/// The incident, once the answer to its hook is written down.
fn answered(instance: &Instance) -> Value {
    instance.incident("answered", |incident| completion(incident)["state"]["is"] == "done")
}

fn completion(incident: &Value) -> Value {
    let tasks = incident["tasks"].as_array().into_iter().flatten();
    let mut own = tasks.filter(|task| task["what"]["action"]["name"] == "complete-lifecycle");
    own.next().cloned().unwrap_or_default()
}

/// A fault as Auto Scaling answers it.
fn fault(code: &str, text: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\"><Error>\
         <Type>Sender</Type><Code>{code}</Code><Message>{text}</Message></Error>\
         <RequestId>00000000-0000-4000-8000-00000000000f</RequestId></ErrorResponse>"
    )
}
