//! A program saves on a signal, and only what was read back is said to be safe.

use std::fs;
use std::path::{Path, PathBuf};

use host_plugins::SignalCheckpoint;
use serde_json::{Value, json};
use snooze_plugin::{Handled, Info, Plugin};
use tempfile::TempDir;

use crate::common::{self, Running, event, handle, notice};

/// Saves as a program should: new name, then the real one, and the marker last.
const SAVES: &str = "
    save() {
      sleep 0.2
      head -c 300000 /dev/urandom > model.new && mv model.new model
      sha256sum model > marker.new && mv marker.new marker
    }
    trap save USR1";

#[test]
fn a_checkpoint_is_verified_when_its_marker_and_the_sums_in_it_were_read_back() {
    let place = Place::new();
    let process = place.shell(SAVES);
    let handled = place.save(json!({ "marker_file": place.marker(), "marker_sha256": true }));
    assert_eq!((handled.status.as_deref(), handled.verified), (Some("checkpointed"), Some(true)));
    assert_eq!(handled.more["saved"], json!([place.marker(), place.path().join("model")]));
    assert_eq!(
        (&handled.more["sums_compared"], &handled.more["exited"]),
        (&json!(1), &json!(false))
    );
    assert!(handled.more["bytes"].as_u64().unwrap() > 300_000);
    assert_eq!(handled.more["signalled"], json!([format!("sh (pid {})", process.pid)]));
    assert!(process.is_alive());
}

#[test]
fn a_marker_of_an_earlier_checkpoint_proves_nothing() {
    let place = Place::new();
    fs::write(place.marker(), "old").unwrap();
    let _deaf = place.shell("trap '' USR1");
    let config = json!({ "marker_file": place.marker(), "timeout_seconds": 1 });
    let handled = place.save(config);
    assert_eq!((handled.handled, handled.verified), (false, Some(false)));
    assert!(handled.error.unwrap().contains("was not written in time"));
}

#[test]
fn a_checkpoint_that_is_not_what_the_marker_says_is_not_verified() {
    let place = Place::new();
    let save = "save() { echo x > model; sha256sum model > sum; echo y > model; mv sum marker; \
                exit; }";
    let _process = place.shell(&format!("{save}\ntrap save USR1"));
    let config = json!({ "marker_file": place.marker(), "marker_sha256": true });
    let handled = place.save(config.clone());
    assert_eq!((handled.handled, handled.verified), (false, Some(false)));
    let error = handled.error.unwrap();
    assert!(error.contains("model` does not have the sum that"), "{error}");
    let place = Place::new();
    let _process = place.shell("trap 'echo saved > marker' USR1");
    let mut config = config;
    config["marker_file"] = json!(place.marker());
    let error = place.save(config).error.unwrap();
    assert!(error.contains("holds no line of `sha256sum`"), "{error}");
}

#[test]
fn a_program_that_ends_without_its_marker_is_no_success_and_not_waited_for() {
    let place = Place::new();
    let _process = place.shell("trap 'exit 1' USR1");
    let config = json!({ "marker_file": place.marker(), "timeout_seconds": 3600 });
    let handled = place.save(config);
    assert_eq!(handled.verified, Some(false));
    assert!(handled.error.unwrap().contains("the program ended and has not written"));
}

#[test]
fn a_program_that_ends_with_its_marker_has_saved() {
    let place = Place::new();
    let _process = place.shell("trap 'echo saved > marker; exit' TERM");
    let handled = place.save(json!({ "marker_file": place.marker(), "signal": "TERM" }));
    assert_eq!((handled.verified, &handled.more["signal"]), (Some(true), &json!("TERM")));
    assert_eq!(handled.more["sums_compared"], 0);
}

#[test]
fn without_a_marker_the_end_is_waited_for_and_nothing_is_said_to_be_verified() {
    let place = Place::new();
    let process = place.shell("trap 'sleep 0.2; exit' USR1");
    let handled = place.save(json!({}));
    assert_eq!((handled.status.as_deref(), handled.verified), (Some("exited"), None));
    assert_eq!(handled.more["saved"], json!([]));
    process.wait();
    let place = Place::new();
    let _deaf = place.shell("trap '' USR1");
    let handled = place.save(json!({ "timeout_seconds": 1 }));
    assert!(handled.error.unwrap().contains("did not end on USR1 in time"));
}

#[test]
fn all_below_a_launcher_get_the_signal_and_the_launcher_does_not() {
    let place = Place::new();
    // As `torchrun` and its workers; the launcher would die of the signal.
    let worker = "trap 'echo > saved-$0; [ -e saved-1 ] && [ -e saved-2 ] && echo > marker' USR1
        : > ready-$0; while :; do sleep 0.05; done";
    fs::write(place.path().join("worker"), worker).unwrap();
    let launcher = place.shell(
        "for n in 1 2; do sh -c \"$(cat worker)\" $n & done
         until [ -e ready-1 ] && [ -e ready-2 ]; do sleep 0.02; done",
    );
    let handled = place.save(json!({ "marker_file": place.marker(), "scope": "children" }));
    assert_eq!(handled.verified, Some(true), "{handled:?}");
    assert!(place.path().join("saved-1").exists() && place.path().join("saved-2").exists());
    assert!(launcher.is_alive());
    common::kill_below(launcher.pid);
}

#[test]
fn nobody_who_could_save_is_a_failure() {
    let place = Place::new();
    let handled = place.save(json!({}));
    assert!(handled.error.unwrap().contains("does not run"));
    let _process = place.shell("trap '' USR1");
    let config = json!({ "process": "no-such-program" });
    let handled = handle(&mut SignalCheckpoint::default(), &config, &notice());
    assert!(handled.error.unwrap().starts_with("`no-such-program` does not run"));
}

#[test]
fn a_warning_asks_for_a_checkpoint_where_a_marker_tells_of_it_and_ends_nothing() {
    let place = Place::new();
    let process = place.shell(SAVES);
    let warning = event("cloud.spot.rebalance", json!({}));
    let config = json!({ "pid_file": place.pid_file(), "marker_file": place.marker() });
    for warning in [&warning, &event("instance.idle", json!({}))] {
        let handled = handle(&mut SignalCheckpoint::default(), &config, warning);
        assert_eq!(handled.verified, Some(true));
    }
    let config = json!({ "pid_file": place.pid_file(), "signal": "TERM" });
    let handled = handle(&mut SignalCheckpoint::default(), &config, &warning);
    assert_eq!(handled, Handled::not_mine());
    assert!(process.is_alive());
}

#[test]
fn a_drill_and_a_dry_run_only_say_what_would_be_done() {
    let place = Place::new();
    let process = place.shell("trap 'exit' USR1");
    let marker = place.marker();
    let told = json!([
        format!("send USR1 to sh (pid {})", process.pid),
        format!("wait until `{}` is written", marker.display()),
    ]);
    let handled = place.save(json!({ "marker_file": marker, "dry_run": true }));
    assert_eq!((handled.status.as_deref(), &handled.more["would"]), (Some("dry_run"), &told));
    let config = json!({ "pid_file": place.pid_file(), "marker_file": marker });
    let drill = event("cloud.spot.interrupt", json!({ "drill": true }));
    let handled = handle(&mut SignalCheckpoint::default(), &config, &drill);
    assert_eq!(handled.more["would"], told);
    assert!(process.is_alive());
}

#[test]
fn the_program_says_who_it_is() {
    let info = common::info_of(env!("CARGO_BIN_EXE_signal-checkpoint"));
    assert_eq!(Info::read(&info).unwrap().name, "signal-checkpoint");
    assert!(SignalCheckpoint::default().health().is_err(), "nobody is named yet");
}

/// A folder in which a program runs, and saves.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn pid_file(&self) -> PathBuf {
        self.path().join("pid")
    }

    fn marker(&self) -> PathBuf {
        self.path().join("marker")
    }

    fn shell(&self, text: &str) -> Running {
        let running = Running::shell(self.path(), text);
        fs::write(self.pid_file(), running.pid.to_string()).unwrap();
        running
    }

    fn save(&self, mut config: Value) -> Handled {
        config["pid_file"] = json!(self.pid_file());
        handle(&mut SignalCheckpoint::default(), &config, &notice())
    }
}
