//! Idle instances with their real daemons: what they see, tell, are asked before the stop, and what
//! calls it off.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use snooze_tests::busybody::{self, Busybody};
use snooze_tests::cloud::instance::Instance;
use snooze_tests::cloud::relay::Call;
use snooze_tests::cloud::{Cloud, cloud};
use snooze_tests::setup::Setup;
use snooze_tests::{place, plugins, programs, wait};

use super::idle;

#[test]
fn an_instance_whose_daemon_sees_nothing_is_saved_stopped_and_tagged() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    policy(cloud, "asleep");
    let instance = instance(cloud, "asleep");
    open(&instance);
    let busy = Busybody::start(&instance.setup);
    let _daemon = instance.start();
    wait::until("somebody who works", || explained(&instance, "something goes on"));
    drop(busy);
    let settled = settled(&instance, "asleep");
    assert_eq!(idle::said(&settled, "asleep/stop-instance"), "done: stops", "{settled:#}");
    assert_eq!(instance.setup.lines("done"), ["start", "finish"], "it is saved first");
    assert_eq!(idle::state(cloud, &instance.id), "stopped");
    let tags = idle::tags(cloud, &instance.id);
    assert_eq!(tags["CloudSnooze:Status"], "Stopped", "{tags:?}");
    assert_eq!(tags["CloudSnooze:load_percent"], "0.0", "{tags:?}");
    assert!(tags["CloudSnooze:StopReason"].starts_with("load 0 %"), "{tags:?}");
    let text = explained(&instance, "all agree that nothing goes on").unwrap();
    assert!(text.contains("phase: idle since ") && text.contains("\nthe last hour\n"), "{text}");
}

#[test]
fn who_works_again_while_the_handlers_run_is_not_stopped() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    policy(cloud, "returning");
    let instance = instance(cloud, "returning");
    let busy = Busybody::start(&instance.setup);
    let _daemon = instance.start();
    drop(busy);
    wait::until("the handler", || (instance.setup.lines("done") == ["start"]).then_some(()));
    idle::is_known_as(cloud, &instance.id, "idle");
    let _busy = Busybody::start(&instance.setup);
    idle::is_known_as(cloud, &instance.id, "active");
    open(&instance);
    is_left_alone(cloud, &instance, "returning");
}

#[test]
fn snooze_wake_in_the_last_second_calls_the_stop_off() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    policy(cloud, "woken");
    let instance = instance(cloud, "woken");
    open(&instance);
    let busy = Busybody::start(&instance.setup);
    let daemon = instance.start();
    let (id, socket) = (instance.id.clone(), instance.setup.path("run/snoozed.sock"));
    // All was asked; the stop is counted, and then comes the last look.
    let _standing = cloud.stand(Box::new(move |call: &Call| {
        if call.operation == "UpdateItem" && call.body.contains("limit/policy/woken/") {
            let mut wake = Command::new(programs::path("snooze"));
            let said = place::output(wake.arg("--socket").arg(&socket).args(["wake", "2h"]));
            assert!(said.starts_with("this instance stays up until "), "{said}");
            idle::is_known_as(cloud, &id, "active");
        }
        None
    }));
    drop(busy);
    is_left_alone(cloud, &instance, "woken");
    assert!(!cloud.functions.about("UpdateItem", "limit/policy/woken/").is_empty());
    let text = explained(&instance, "kept up: `snooze wake` keeps it up until ").unwrap();
    assert!(text.contains("phase: no: `snooze wake` keeps it up until "), "{text}");
    assert!(daemon.ask("IDLE", json!({}))["awake_until"].is_string());
}

/// A policy that saves, counts and stops.
fn policy(cloud: &Cloud, role: &str) {
    let handlers = json!([{ "plugin": "gate", "timeout_seconds": 60 }]);
    let actions = json!([{ "action": "stop-instance", "config": { "per_hour": 20 } }]);
    idle::put(cloud, role, &actions, json!({ "handlers": handlers }));
}

/// An instance of the emulator with a plugin that saves once the file `open` is there.
fn instance(cloud: &'static Cloud, role: &str) -> Instance {
    let id = idle::run(cloud, role, 1).remove(0);
    let mut instance = Instance::new(cloud, &id, role);
    busybody::decides(&mut instance.setup);
    let folder = instance.setup.path("").display().to_string();
    let text = plugins::handler(
        "gate",
        &format!(
            "cd '{folder}'; echo start >>done; while [ ! -e open ]; do sleep 0.1; done; \
             echo finish >>done; result='{{\"handled\":true,\"status\":\"saved\"}}'"
        ),
    );
    instance.setup.script("plugins/gate.sh", &text);
    instance
}

fn open(instance: &Instance) {
    fs::write(instance.setup.path("open"), "").unwrap();
}

/// What `snooze idle explain` says, once it says this.
fn explained(instance: &Instance, text: &str) -> Option<String> {
    Some(snooze(&instance.setup, &["idle", "explain"])).filter(|said| said.contains(text))
}

fn snooze(setup: &Setup, arguments: &[&str]) -> String {
    let mut command = Command::new(programs::path("snooze"));
    place::output(command.arg("--socket").arg(setup.path("run/snoozed.sock")).args(arguments))
}

/// The incident in which the stop is over.
fn settled(instance: &Instance, role: &str) -> Value {
    let name = format!("{role}/stop-instance");
    let is_over = |word: &Value| ["done", "skipped", "failed"].iter().any(|is| word == is);
    instance.incident("settled", |incident| is_over(&idle::task(incident, &name)["is"]))
}

fn is_left_alone(cloud: &Cloud, instance: &Instance, role: &str) {
    let settled = settled(instance, role);
    let said = idle::said(&settled, &format!("{role}/stop-instance"));
    assert!(said.starts_with("skipped: it is active again since"), "{said}: {settled:#}");
    assert_eq!(instance.setup.lines("done"), ["start", "finish"]);
    assert_eq!(idle::state(cloud, &instance.id), "running");
    assert!(!idle::tags(cloud, &instance.id).contains_key("CloudSnooze:Status"));
    assert!(cloud.functions.about("StopInstances", &instance.id).is_empty());
}
