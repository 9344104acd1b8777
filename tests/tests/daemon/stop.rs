//! How the daemon ends.

use std::time::Duration;

use serde_json::json;
use snooze_imds::fake::Notice;
use snooze_tests::setup::Setup;
use snooze_tests::{plugins, wait};

#[test]
fn g7_a_stop_lets_the_running_handler_end_and_the_next_daemon_go_on() {
    // The first one is still at work when the daemon has learnt that the machine stays up.
    let setup = two_handlers(5.0);
    let mut daemon = setup.start();
    setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(120)));
    wait::until("the first handler", || (!setup.lines("done").is_empty()).then_some(()));
    daemon.terminate();
    assert!(daemon.ended().success());
    let event = "1 cloud.spot.interrupt terminate";
    let done = [format!("start first {event}"), format!("finish first {event}")];
    assert_eq!(setup.lines("done"), done);
    let journal = setup.journal();
    let ended: Vec<_> = journal.iter().filter(|entry| entry["record"] == "ended").collect();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0]["outcome"]["kind"], "done");
    assert!(!setup.path("run/snoozed.sock").exists(), "the socket is taken away");

    let daemon = setup.start();
    assert_eq!(daemon.closed()["outcome"], "done");
    let rest = [format!("start second {event}"), format!("finish second {event}")];
    assert_eq!(setup.lines("done"), [done, rest].concat());
}

#[test]
fn g7_a_stop_with_nothing_to_do_ends_at_once_and_leaves_no_process() {
    let setup = two_handlers(0.0);
    let mut daemon = setup.start();
    daemon.terminate();
    assert!(daemon.ended().success());
    assert_eq!(setup.lines("done"), [""; 0]);
    wait::until("the plugins to end", || setup.processes().is_empty().then_some(()));
}

#[test]
fn g7_a_shutdown_of_the_machine_runs_the_handlers_of_a_termination_first() {
    let mut setup = two_handlers(0.0);
    // systemd has much to do then, and answers when it gets to it.
    setup.script("bin/systemctl", "#!/bin/sh\nsleep 2\necho stopping\nexit 1\n");
    let policy = json!({
        "name": "orders",
        "match": { "type": ["cloud.instance.termination"] },
        "handlers": [
            { "plugin": "first", "priority": 90 },
            { "plugin": "second", "priority": 80 },
        ],
    });
    setup.set("policies", json!([policy]));
    let mut daemon = setup.start();
    daemon.terminate();
    assert!(daemon.ended().success());
    let lines = ["start first", "finish first", "start second", "finish second"];
    let expected = lines.map(|line| format!("{line} 1 cloud.instance.termination stop"));
    assert_eq!(setup.lines("done"), expected);
    let last = setup.journal().pop().unwrap();
    assert_eq!((&last["record"], &last["outcome"]), (&json!("closed"), &json!("done")));
}

/// Two handlers, of which the first takes so long.
fn two_handlers(seconds: f64) -> Setup {
    let mut setup = Setup::new();
    for (name, seconds) in [("first", seconds), ("second", 0.0)] {
        let text = plugins::recorder(name, &setup.path("done"), seconds);
        setup.script(&format!("plugins/{name}.sh"), &text);
    }
    setup.policy(
        "orders",
        json!([
            { "plugin": "first", "priority": 90 },
            { "plugin": "second", "priority": 80 },
        ]),
    );
    setup
}
