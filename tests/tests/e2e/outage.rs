//! The cloud away, for the whole of an interruption.

use std::time::Duration;

use jiff::Timestamp;
use rustix::process::{Signal, kill_process};
use serde_json::json;
use snooze_imds::fake::Notice;
use snooze_tests::cloud::instance::Instance;
use snooze_tests::cloud::relay::Road;
use snooze_tests::cloud::{Cloud, cloud};
use snooze_tests::wait;

#[test]
fn e8_with_the_network_gone_the_plan_completes_and_the_ledger_catches_up() {
    for (number, road) in [Road::Deaf, Road::Cut].into_iter().enumerate() {
        let Some(cloud) = cloud() else { return };
        let _turn = cloud.turn();
        let role = format!("parted-{number}");
        cloud.policy(&role, json!({}));
        let instance = Instance::new(cloud, &format!("i-0e2e00000000003{number}1"), &role);
        let daemon = instance.start();
        instance.relay.road(road);
        instance.setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(110)));
        let closed = daemon.closed();
        assert_eq!(closed["outcome"], "done", "{closed:#}");
        assert_eq!(instance.started(), ["saver"]);
        assert!(cloud.incidents(&instance.id).is_empty());
        instance.relay.road(Road::Open);
        caught_up(cloud, &instance);
    }
}

#[test]
fn d8_with_the_whole_cloud_stopped_the_plan_completes_and_the_ledger_catches_up() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.alone();
    cloud.policy("stopped", json!({}));
    let instance = Instance::new(cloud, "i-0e2e0000000000033", "stopped");
    let daemon = instance.start();
    let emulator = cloud.emulator();
    kill_process(emulator, Signal::STOP).unwrap();
    instance.setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(110)));
    let closed = daemon.closed();
    kill_process(emulator, Signal::CONT).unwrap();
    assert_eq!(closed["outcome"], "done", "{closed:#}");
    assert_eq!(instance.started(), ["saver"]);
    caught_up(cloud, &instance);
}

#[test]
fn e8_a_daemon_that_never_saw_the_cloud_again_acts_on_the_policies_it_kept() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    cloud.policy("kept", json!({}));
    let instance = Instance::new(cloud, "i-0e2e0000000000034", "kept");
    let daemon = instance.start();
    daemon.kill();
    instance.relay.road(Road::Deaf);
    let daemon = instance.setup.start();
    wait::until("the instance to know itself", || {
        (daemon.ask("STATUS", json!({}))["instance_id"] == instance.id.as_str()).then_some(())
    });
    instance.setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(110)));
    let closed = daemon.closed();
    assert_eq!(closed["outcome"], "done", "{closed:#}");
    let log = instance.setup.log();
    assert_eq!(instance.started(), ["saver"], "{closed:#}\n{log}");
}

/// The ledger has the incident, with the times of the instance, though no event told of it.
fn caught_up(cloud: &Cloud, instance: &Instance) {
    let incident = instance.ended();
    assert_eq!(incident["ended"]["outcome"], "done", "{incident:#}");
    assert_eq!(incident["unseen"], true, "{incident:#}");
    let at = |hop: &str| incident["hops"][hop].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert!(at("finished") < at("recorded"), "{incident:#}");
    assert_eq!(instance.started(), ["saver"]);
    assert_eq!(cloud.incidents(&instance.id).len(), 1);
}
