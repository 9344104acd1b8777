//! Signals in storms, and a loop that is stuck.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use snooze_imds::fake::Notice;
use snooze_tests::dice::{self, Dice};
use snooze_tests::setup::{Daemon, Setup};
use snooze_tests::{plugins, wait};

/// Longer than the loop is between two signs of life, by far.
const SILENCE: Duration = Duration::from_secs(4);

#[test]
fn a_rebalance_recommendation_names_the_instance_and_no_time_that_is_left() {
    let mut setup = Setup::new();
    let seen = setup.path("seen");
    let script = format!(r#"echo "$request" >>'{}'; result='{{"handled":true}}'"#, seen.display());
    setup.script("plugins/seer.sh", &plugins::handler("seer", &script));
    let handlers = json!([{ "plugin": "seer" }]);
    let types = json!({ "type": ["cloud.spot.rebalance"] });
    setup.set("policies", json!([{ "name": "early", "match": types, "handlers": handlers }]));
    let daemon = setup.start();
    setup.fake.rebalance();
    assert_eq!(daemon.closed()["outcome"], "done");
    let request: Value = serde_json::from_str(&setup.lines("seen")[0]).unwrap();
    let event = &request["params"]["event"];
    assert_eq!(event["data"]["instanceID"], snooze_tests::services::INSTANCE);
    assert_eq!((&event["deadline"], event["data"].get("timeRemaining")), (&json!(null), None));
}

#[test]
fn g8_a_thousand_signals_end_it_once_and_a_reload_takes_all_or_nothing() {
    let mut setup = Setup::new();
    setup.script("plugins/saver.sh", &plugins::recorder("saver", &setup.path("done"), 1.0));
    setup.policy("orders", json!([{ "plugin": "saver" }]));
    let mut daemon = setup.start();
    setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(120)));
    wait::until("the handler", || (!setup.lines("done").is_empty()).then_some(()));
    let seed = dice::seed();
    println!("SNOOZE_SEED={seed} repeats this");
    let mut dice = Dice::new(seed);

    // What is no reason to end, while the settings are good and bad in turn.
    let good = fs::read_to_string(setup.path("snoozed.json")).unwrap();
    for round in 0..20 {
        // A file that is replaced is whole at any moment.
        let text = if round % 2 == 0 { "{ \"policies\": [" } else { &good };
        fs::write(setup.path("next"), text).unwrap();
        fs::rename(setup.path("next"), setup.path("snoozed.json")).unwrap();
        storm(&daemon, &mut dice, &[Signal::HUP, Signal::USR1, Signal::USR2], 40);
        storm(&daemon, &mut dice, &[Signal::PIPE, Signal::CHILD, Signal::ALARM], 5);
    }
    wait::until("the last settings", || {
        let faults = daemon.ask("STATUS", json!({}))["faults"].to_string();
        (!faults.contains("reload refused")).then_some(())
    });
    assert_eq!(daemon.ask("POLICIES", json!({}))[0]["name"], "orders");

    storm(&daemon, &mut dice, &[Signal::TERM, Signal::INT, Signal::HUP, Signal::USR1], 100);
    signal(&daemon, Signal::TERM);
    assert!(daemon.ended().success());
    daemon.wait_until_told("STOPPING=1", 1);
    assert_eq!(daemon.told("STOPPING=1"), 1);
    // The handler ran once, and to its end.
    let event = "saver 1 cloud.spot.interrupt terminate";
    assert_eq!(setup.lines("done"), [format!("start {event}"), format!("finish {event}")]);
}

#[test]
fn g15_a_stuck_loop_tells_systemd_nothing_and_one_that_goes_on_does() {
    let setup = Setup::new();
    let daemon = setup.start();
    daemon.wait_until_told("WATCHDOG=1", 1);
    // Whoever opens a pipe to read waits for a writer; all other threads go on.
    let settings = fs::read_to_string(setup.path("snoozed.json")).unwrap();
    fs::remove_file(setup.path("snoozed.json")).unwrap();
    mknodat(CWD, setup.path("snoozed.json"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    daemon.hang_up();
    wait::until("silence", || {
        let before = daemon.told("WATCHDOG=1");
        wait::pause(SILENCE);
        (daemon.told("WATCHDOG=1") == before).then_some(())
    });
    let before = daemon.told("WATCHDOG=1");
    let mut pipe = OpenOptions::new().write(true).open(setup.path("snoozed.json")).unwrap();
    pipe.write_all(settings.as_bytes()).unwrap();
    drop(pipe);
    daemon.wait_until_told("WATCHDOG=1", before + 2);
}

fn storm(daemon: &Daemon, dice: &mut Dice, signals: &[Signal], times: usize) {
    for _ in 0..times {
        let at = dice.below(signals.len().try_into().unwrap());
        signal(daemon, signals[usize::try_from(at).unwrap()]);
    }
}

fn signal(daemon: &Daemon, signal: Signal) {
    let pid = Pid::from_raw(daemon.id().try_into().unwrap()).unwrap();
    // It may have ended already, and waits to be reaped.
    rustix::process::kill_process(pid, signal).unwrap();
}
