//! What machines measured, and when each would have been stopped: days of four machines, written
//! by hand, and minutes of a real one, recorded (`tests/traces/README.md`).

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use expect_test::expect_file;
use snooze_policy::idle::{Effect, Settings, replay};
use snooze_policy::strict::{Fields, parse};

/// What the default settings make of a trace, line by line.
fn decisions(trace: &str) -> String {
    decided(trace, &Settings::default())
}

/// What its own settings make of a recorded trace.
fn recorded(name: &str) -> String {
    let value = parse(&read(&format!("{name}.settings.json"))).unwrap();
    let mut faults = Vec::new();
    let root = Fields::of("$", &value, &mut faults).unwrap();
    let settings = Settings::read(&root, &mut faults);
    assert!(faults.is_empty(), "{name}: {faults:?}");
    decided(&format!("{name}.jsonl"), &settings)
}

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces").join(name);
    fs::read_to_string(path).unwrap()
}

fn decided(trace: &str, settings: &Settings) -> String {
    let (idle, happened) = replay(settings, &read(trace)).unwrap();
    let mut text = String::new();
    for one in happened {
        let what = match one.effect {
            Effect::Warn { .. } => "warn",
            Effect::CalledOff { .. } => "called off",
            Effect::Idle { heartbeat: true } => continue,
            Effect::Idle { heartbeat: false } => "idle",
            Effect::Active { .. } => "active",
        };
        writeln!(text, "{} {what}: {}", one.at.strftime("%H:%M:%S"), one.reason).unwrap();
    }
    writeln!(text, "at the end: {}", idle.phase().as_str()).unwrap();
    text
}

#[test]
fn a_web_server_is_idle_at_night_and_not_while_a_backup_runs() {
    expect_file!["../../traces/web-server-at-night.txt"]
        .assert_eq(&decisions("web-server-at-night.jsonl"));
}

#[test]
fn a_notebook_that_was_left_open_is_idle_until_somebody_comes_back_in_the_last_minute() {
    expect_file!["../../traces/notebook-left-open.txt"]
        .assert_eq(&decisions("notebook-left-open.jsonl"));
}

#[test]
fn training_with_pauses_between_its_bursts_is_not_idle_before_it_is_over() {
    expect_file!["../../traces/training-with-gpu-bursts.txt"]
        .assert_eq(&decisions("training-with-gpu-bursts.jsonl"));
}

#[test]
fn a_build_agent_is_idle_when_its_own_word_says_so_too() {
    expect_file!["../../traces/build-agent.txt"].assert_eq(&decisions("build-agent.jsonl"));
}

#[test]
fn a_machine_that_builds_is_never_idle() {
    expect_file!["../../traces/recorded-build.txt"].assert_eq(&recorded("recorded-build"));
}

#[test]
fn a_database_is_idle_before_and_after_its_load() {
    expect_file!["../../traces/recorded-database.txt"].assert_eq(&recorded("recorded-database"));
}

#[test]
fn a_terminal_that_is_left_open_is_idle_once_nobody_has_typed_for_a_while() {
    expect_file!["../../traces/recorded-session.txt"].assert_eq(&recorded("recorded-session"));
}
