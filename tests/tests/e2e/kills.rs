//! Functions that are killed in the middle.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use snooze_tests::cloud::events::captured;
use snooze_tests::cloud::instance::Instance;
use snooze_tests::cloud::relay::Call;
use snooze_tests::cloud::{Cloud, Standing, cloud};
use snooze_tests::wait;

/// Longer than the sweep leaves what was not sent alone.
const SWEPT: Duration = Duration::from_secs(60);

#[test]
fn d1_a_function_that_is_killed_before_it_tells_the_instance_does_so_when_it_is_run_again() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.alone();
    cloud.policy("killed", json!({ "actions": [{ "action": "notify" }] }));
    let instance = Instance::new(cloud, "i-0e2e0000000000021", "killed");
    let _daemon = instance.start();
    // Lambda runs it again by itself.
    let (kills, _standing) = kill_at(cloud, "dispatch", "Publish", &instance.id, 2);
    cloud.tell("dispatch", &captured("spot-interruption-terminate", &instance.id));
    is_done_once(&instance);
    assert_eq!(kills.load(Ordering::Relaxed), 2);
}

#[test]
fn d1_what_a_killed_function_left_is_sent_by_the_sweep() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.alone();
    cloud.policy("swept", json!({ "actions": [{ "action": "notify" }] }));
    let instance = Instance::new(cloud, "i-0e2e0000000000022", "swept");
    let _daemon = instance.start();
    // An event that came by a rule is not run again here.
    let (kills, standing) = kill_at(cloud, "dispatch", "Publish", &instance.id, u32::MAX);
    let event = captured("spot-interruption-terminate", &instance.id);
    cloud.put("cloudsnooze.drill", event["detail-type"].as_str().unwrap(), &event["detail"]);
    wait::until("the kill", || (kills.load(Ordering::Relaxed) > 0).then_some(()));
    drop(standing);
    let left = instance.incident("claimed", |_| true);
    assert_eq!(left["ended"], Value::Null, "{left:#}");
    let swept = wait::within(SWEPT, Duration::from_millis(500), || {
        let _swept = cloud.invoke("sweep", &captured("scheduled-rule", &instance.id));
        let incidents = cloud.incidents(&instance.id);
        incidents.into_iter().find(|incident| incident["hops"]["commanded"].is_string())
    });
    assert!(swept.is_some(), "{:#?}", cloud.incidents(&instance.id));
    is_done_once(&instance);
}

#[test]
fn d1_a_function_that_is_killed_in_the_middle_of_an_action_does_it_when_its_lease_is_over() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.alone();
    let ears = cloud.ears();
    cloud.policy("leased", json!({ "actions": [{ "action": "notify" }] }));
    let instance = Instance::new(cloud, "i-0e2e0000000000023", "leased");
    let _daemon = instance.start();
    // The order comes back after the lease; no test waits for the 90 seconds of the template.
    cloud.visibility("actions", 22);
    let (kills, _standing) = kill_at(cloud, "perform", "Publish", &instance.id, 1);
    cloud.tell("dispatch", &captured("spot-interruption-terminate", &instance.id));
    let told = wait::within(SWEPT, Duration::from_millis(500), || {
        let incidents = cloud.incidents(&instance.id);
        let is_done = |task: &Value| task["id"] == "leased/notify" && task["state"]["is"] == "done";
        let tasks = incidents.first()?["tasks"].as_array()?;
        tasks.iter().find(|task| is_done(task)).cloned()
    });
    cloud.visibility("actions", 90);
    assert!(told.is_some(), "{:#?}", cloud.incidents(&instance.id));
    assert_eq!(kills.load(Ordering::Relaxed), 1);
    let _told = ears.wait_for(&instance.id);
    is_done_once(&instance);
}

/// Kills a function each time it makes this call about an instance, so many times: what it asked
/// for does not happen, and it never learns of that.
fn kill_at(
    cloud: &'static Cloud,
    function: &'static str,
    operation: &'static str,
    instance: &str,
    times: u32,
) -> (Arc<AtomicU32>, Standing<'static>) {
    let kills = Arc::new(AtomicU32::new(0));
    let (counted, instance) = (Arc::clone(&kills), instance.to_owned());
    // A call that took too long is made again while the first one is still dealt with.
    let one = Mutex::new(());
    let stand = cloud.stand(Box::new(move |call: &Call| {
        let is_it = call.operation == operation && call.body.contains(&instance);
        let _one = one.lock().unwrap();
        if !is_it || counted.load(Ordering::Relaxed) >= times {
            return None;
        }
        let killed = cloud.kill(&cloud.name(function));
        counted.fetch_add(u32::from(killed > 0), Ordering::Relaxed);
        // Nobody is there to read it.
        Some(snooze_tests::cloud::http::Message::json(500, &json!({})))
    }));
    (kills, stand)
}

fn is_done_once(instance: &Instance) {
    let incident = instance.ended();
    assert_eq!(incident["ended"]["outcome"], "done", "{incident:#}");
    assert_eq!(instance.started(), ["saver"]);
}
