//! How the daemon starts, and when it does not.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use rustix::process::Pid;
use serde_json::{Value, json};
use snooze_tests::setup::Setup;
use snooze_tests::wait;
use snoozed::exit;
use snoozed::plugins::go_first;

#[test]
fn it_tells_systemd_that_it_is_ready_and_then_that_it_lives() {
    let setup = Setup::new();
    let daemon = setup.start();
    daemon.wait_until_told("WATCHDOG=1", 3);
    daemon.terminate();
    daemon.wait_until_told("STOPPING=1", 1);
}

#[test]
fn f9_it_goes_before_ordinary_processes_where_it_may() {
    // A thread has a nice value of its own on Linux, which ends with it.
    let may = std::thread::spawn(|| go_first().is_ok()).join().unwrap();
    let setup = Setup::new();
    let daemon = setup.start();
    let pid = Pid::from_raw(daemon.id().try_into().unwrap());
    let [nice, own] = [pid, None].map(|of| rustix::process::getpriority_process(of).unwrap());
    assert_eq!(nice, if may { -10 } else { own });
}

#[test]
fn g6_a_second_daemon_ends_and_names_the_first() {
    let setup = Setup::new();
    let first = setup.start();
    let (code, said) = refused(&setup);
    assert_eq!(code, Some(i32::from(exit::SECOND_INSTANCE)), "{said}");
    assert!(said.contains(&format!("process {}", first.id())), "{said}");
    // The first one did not notice, and its socket was left alone.
    assert!(first.call("STATUS", json!({})).success);
    // What a killed one leaves behind stands in nobody's way.
    first.kill();
    let next = setup.start();
    assert!(next.call("STATUS", json!({})).success);
}

#[test]
fn g10_bad_settings_end_it_with_every_fault_told_at_once() {
    let mut setup = Setup::new();
    setup.set("polling_interval_seconds", json!(0.01));
    setup.set("log_levle", json!("info"));
    setup.set("run_directory", json!("relative"));
    setup.set("policies", json!([{ "name": "orders", "match": {}, "handlers": "none" }]));
    let (code, said) = refused(&setup);
    assert_eq!(code, Some(i32::from(exit::BAD_SETTINGS)), "{said}");
    for part in ["polling_interval_seconds", "log_levle", "log_level", "run_directory", "handlers"]
    {
        assert!(said.contains(part), "{part} is missing: {said}");
    }
    assert!(said.lines().count() >= 4, "{said}");
}

#[test]
fn g10_half_a_settings_file_is_refused() {
    let setup = Setup::new();
    let path = setup.write_settings();
    let whole = fs::read(&path).unwrap();
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let (code, said) = refused_with_file(&setup);
        assert_eq!(code, Some(i32::from(exit::BAD_SETTINGS)), "{length} bytes: {said}");
    }
}

#[test]
fn g10_a_settings_file_that_others_can_write_is_refused() {
    let setup = Setup::new();
    let path = setup.write_settings();
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let (code, said) = refused_with_file(&setup);
    assert_eq!(code, Some(i32::from(exit::BAD_SETTINGS)), "{said}");
    assert!(said.contains("write"), "{said}");
}

#[test]
fn g10_a_reload_with_bad_settings_changes_nothing() {
    let mut setup = Setup::new();
    setup.policy("orders", json!([{ "plugin": "webhook-notifier", "priority": 50 }]));
    let daemon = setup.start();
    let names = || -> Value { daemon.ask("POLICIES", json!({}))[0]["name"].clone() };
    setup.set("no_such_key", json!(1));
    setup.write_settings();
    daemon.hang_up();
    setup.wait_for_log("settings not taken up");
    assert_eq!(names(), "orders");
    setup.settings.as_object_mut().unwrap().remove("no_such_key");
    setup.settings["policies"][0]["name"] = json!("payments");
    setup.write_settings();
    daemon.hang_up();
    setup.wait_for_log("policies read again");
    assert_eq!(names(), "payments");
}

#[test]
fn status_names_all_that_leaves_the_instance_unprotected() {
    let mut setup = Setup::new();
    setup.policy("orders", json!([{ "plugin": "no-such-plugin" }]));
    fs::write(setup.path("policies.d/bad.json"), "{}").unwrap();
    let deaf = json!({ "name": "load", "match": { "type": ["system.cpu.high", "system.disk.low"] },
        "handlers": [{ "plugin": "app-checkpointer" }] });
    fs::write(setup.path("policies.d/load.json"), deaf.to_string()).unwrap();
    let daemon = setup.start();
    let told = wait::until("the faults", || {
        let faults = daemon.ask("STATUS", json!({}))["faults"].to_string();
        let all = ["bad.json", "orders/no-such-plugin", "load/app-checkpointer"];
        all.iter().all(|part| faults.contains(part)).then_some(faults)
    });
    assert!(told.contains("there is no plugin `no-such-plugin`"), "{told}");
    let deaf = "handles none of the events of its policy: `system.cpu.high`, `system.disk.low`";
    assert!(told.contains(deaf), "{told}");
    daemon.hang_up();
    setup.wait_for_log("settings not taken up");
    let faults = daemon.ask("STATUS", json!({}))["faults"].to_string();
    assert!(faults.contains("reload refused"), "{faults}");
    let refused = daemon.call("PLUGIN_DISABLE", json!({ "name": "another" }));
    assert!(refused.error.contains("there is no plugin `another`"), "{}", refused.error);
}

/// The exit code of a daemon that cannot start, and what it said.
fn refused(setup: &Setup) -> (Option<i32>, String) {
    setup.write_settings();
    refused_with_file(setup)
}

fn refused_with_file(setup: &Setup) -> (Option<i32>, String) {
    let mut command = setup.command();
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}
