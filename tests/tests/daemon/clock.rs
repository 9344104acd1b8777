//! A wall clock that is wrong, or jumps: libfaketime moves it, and it alone.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_imds::fake::Notice;
use snooze_tests::setup::{Daemon, Setup};
use snooze_tests::{place, plugins, wait};

#[test]
fn b1_a_wall_clock_that_jumps_moves_no_deadline_and_stops_no_step() {
    let Some(setup) = setup("+0", 20.0) else { return };
    let daemon = setup.start();
    setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(100)));
    wait::until("the step", || (!setup.lines("done").is_empty()).then_some(()));
    let (first, since) = (left(&daemon), Instant::now());
    assert!((80.0..=100.0).contains(&first), "{first}");
    for jump in ["+7200", "-7200", "+315360000", "-1600000000"] {
        set_clock(&setup, jump);
        setup.wait_for_polls(2);
        let now = left(&daemon);
        let passed = since.elapsed().as_secs_f64();
        assert!((first - passed - 1.0..=first).contains(&now), "{jump}: {now}, {first} before");
    }
    let incident = daemon.closed();
    assert_eq!(incident["outcome"], "done", "{incident:#}");
    assert_eq!(incident["steps"][0]["attempts"], 1);
    setup.wait_for_polls(3);
    assert_eq!(daemon.history().len(), 1);
}

#[test]
fn b2_a_clock_that_is_hours_off_when_the_notice_comes_stops_no_step() {
    for offset in ["+10800", "-10800"] {
        let Some(setup) = setup(offset, 0.0) else { return };
        let daemon = setup.start();
        setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(100)));
        let incident = daemon.closed();
        assert_eq!(incident["outcome"], "done", "{offset}: {incident:#}");
        let budget = incident["budget_seconds"].as_f64().unwrap();
        assert!(budget > 0.0 && budget <= 120.0, "{offset}: {budget}");
        // The daemon did live at that hour.
        let line = setup.log().lines().next().map(str::to_owned).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        let there: Timestamp = line["time"].as_str().unwrap().parse().unwrap();
        let hours = there.duration_since(Timestamp::now()).as_hours();
        assert!((2..=3).contains(&hours.abs()), "{offset}: {hours} hours");
    }
}

/// A setup whose daemon has a clock of its own; `None` without libfaketime.
fn setup(offset: &str, seconds: f64) -> Option<Setup> {
    let library = library()?;
    let mut setup = Setup::new();
    let text = plugins::recorder("saver", &setup.path("done"), seconds);
    setup.script("plugins/saver.sh", &text);
    setup.policy("orders", json!([{ "plugin": "saver", "priority": 50 }]));
    set_clock(&setup, offset);
    let variables = [
        ("LD_PRELOAD", library),
        ("FAKETIME_TIMESTAMP_FILE", setup.path("clock")),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
    ];
    setup.environment.extend(variables.map(|(key, value)| (key.to_owned(), value.into())));
    Some(setup)
}

/// Where libfaketime is; the Debian package puts it beside the system's libraries.
fn library() -> Option<PathBuf> {
    if !place::has("faketime") {
        return None;
    }
    let folders = fs::read_dir("/usr/lib").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let mut files = folders.map(|folder| folder.join("faketime/libfaketime.so.1"));
    let found = files.find(|file| file.exists());
    place::there("libfaketime", found.is_some()).then_some(found)?
}

fn set_clock(setup: &Setup, offset: &str) {
    let beside = setup.path("clock.new");
    fs::write(&beside, format!("{offset}\n")).unwrap();
    fs::rename(beside, setup.path("clock")).unwrap();
}

fn left(daemon: &Daemon) -> f64 {
    daemon.history()[0]["left_seconds"].as_f64().unwrap()
}
