//! Days of four machines, written by hand, and when each would have been stopped.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use expect_test::expect_file;
use snooze_policy::idle::{Effect, Settings, replay};

/// What the default settings make of a trace, line by line.
fn decisions(trace: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces").join(trace);
    let (idle, happened) =
        replay(&Settings::default(), &fs::read_to_string(path).unwrap()).unwrap();
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
