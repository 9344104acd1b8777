//! Policies that have to be signed: the daemon, the table, its snapshot.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::json;
use snooze_cloud::fake::Fault;
use snooze_imds::fake::Notice;
use snooze_tests::services::Cloud;
use snooze_tests::setup::{Daemon, Setup};
use snooze_tests::{place, plugins, wait};

#[test]
fn i1_only_what_is_signed_comes_into_force_and_the_last_good_one_outlives_table_and_restart() {
    let (cloud, setup) = stage();
    cloud.document(&sample("orders-7.json"), None);
    let daemon = setup.start();
    let why = refused(&daemon, "orders");
    assert!(why.contains("it is not signed") && why.contains("none of that name"), "{why}");
    let status = daemon.ask("STATUS", json!({}));
    assert_eq!(status["policies"], 0, "{status:#}");
    assert!(status["faults"].to_string().contains("it is not signed"), "{status:#}");
    daemon.kill();

    cloud.document(&sample("orders-7.json"), Some(&sample("orders-7.minisig")));
    let daemon = setup.start();
    wait::until("the policy to be taken up", || {
        (daemon.ask("STATUS", json!({}))["policies"] == 1).then_some(())
    });
    daemon.kill();

    // Whoever writes the table has no key.
    cloud.document(&sample("orders-8.json"), Some(&sample("stranger.minisig")));
    let daemon = setup.start();
    let why = refused(&daemon, "orders");
    assert!(why.contains("none of the keys") && why.contains("version 7 stays"), "{why}");
    daemon.kill();

    cloud.standing("*", Fault::Hang);
    let daemon = setup.start();
    setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(120)));
    let incident = daemon.closed();
    assert_eq!(incident["outcome"], "done", "{incident:#}");
    let status = daemon.ask("STATUS", json!({}));
    assert_eq!(status["cloud"]["policies"]["from"], "snapshot", "{status:#}");
}

/// Why a policy is refused, once it is.
fn refused(daemon: &Daemon, policy: &str) -> String {
    let shown = || daemon.ask("STATUS", json!({}))["cloud"]["policies"].clone();
    let missed = || format!("{policy} to be refused: {:#}", shown());
    wait::until_or(missed, || {
        let shown = shown();
        let refused = shown["refused"].as_array()?;
        let found = refused.iter().find(|refused| refused["policy"] == policy)?;
        found["why"].as_str().map(str::to_owned)
    })
}

/// An instance that requires signatures, with one key.
fn stage() -> (Cloud, Setup) {
    let cloud = Cloud::start();
    let mut setup = Setup::new();
    let text = plugins::recorder("saver", &setup.path("done"), 0.0);
    setup.script("plugins/saver.sh", &text);
    setup.set("policies", json!([]));
    let keys = setup.path("keys");
    fs::create_dir(&keys).unwrap();
    let key = keys.join("team.pub");
    fs::write(&key, sample("team.pub")).unwrap();
    for (path, mode) in [(&keys, 0o755), (&key, 0o644)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    setup.set("policy_signatures", json!({ "required": true, "keys": keys }));
    cloud.serve(&mut setup);
    (cloud, setup)
}

fn sample(name: &str) -> String {
    fs::read_to_string(place::root().join("events/policy/samples/signed").join(name)).unwrap()
}
