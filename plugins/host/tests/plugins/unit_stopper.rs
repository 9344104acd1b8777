//! Units and processes are stopped, and it is told which.
//!
//! The processes are real. Here is no systemd to speak to, so that a stand-in `systemctl` speaks of
//! real processes as units: it knows `show` and `stop`, as far as the plugin uses them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{self, Running, event, handle, notice, script};
use host_plugins::{Programs, UnitStopper};
use serde_json::{Value, json};
use snooze_plugin::{Handled, Info, Plugin};
use tempfile::TempDir;

#[test]
fn units_are_stopped_one_after_the_other_each_when_the_one_before_is_down() {
    let systemd = Systemd::new();
    let _web = systemd.unit("web.service", "trap 'sleep 0.3; exit' TERM");
    let _worker = systemd.unit("worker.service", "trap 'sleep 0.3; exit' TERM");
    let _db = systemd.unit("db.service", "trap exit TERM");
    let handled = systemd.stop(json!({ "units": ["web,worker.service", "db"] }));
    assert_eq!((handled.status.as_deref(), handled.verified), (Some("stopped"), Some(true)));
    assert_eq!(handled.more["saved"], json!(["web.service", "worker.service", "db.service"]));
    assert_eq!(
        systemd.stops(),
        [
            "stop web.service worker.service while db.service web.service worker.service run",
            "stop db.service while db.service run",
        ]
    );
}

#[test]
fn a_unit_that_does_not_stop_is_said_and_the_next_is_stopped_all_the_same() {
    let systemd = Systemd::new();
    let deaf = systemd.unit("deaf.service", "trap '' TERM");
    let _db = systemd.unit("db.service", "trap exit TERM");
    let config = json!({ "units": ["deaf", "db"], "timeout_seconds": 20 });
    let handled = systemd.stop(config);
    assert_eq!((handled.handled, handled.verified), (true, Some(false)), "{handled:?}");
    assert_eq!(handled.more["saved"], json!(["db.service"]));
    let why = json!([{ "what": "deaf.service", "why": "it is still deactivating" }]);
    assert_eq!(handled.more["not_done"], why);
    assert!(deaf.is_alive());
}

#[test]
fn a_unit_that_nobody_knows_is_no_success_and_found_before_the_notice() {
    let systemd = Systemd::new();
    let _db = systemd.unit("db.service", "trap exit TERM");
    let config = json!({ "units": ["db", "dp"] });
    let mut plugin = systemd.plugin();
    plugin.configure(config.as_object().unwrap()).unwrap();
    assert_eq!(plugin.health().unwrap_err().to_string(), "systemd knows no dp.service");
    let handled = systemd.stop(config);
    assert_eq!((handled.handled, handled.verified), (true, Some(false)));
    assert_eq!(handled.more["not_done"][0]["why"], "systemd knows no such unit");
}

#[test]
fn a_refusal_of_systemd_is_told_in_its_own_words() {
    let systemd = Systemd::new();
    let _db = systemd.unit("locked.service", "trap exit TERM");
    let handled = systemd.stop(json!({ "units": ["locked"] }));
    assert!(!handled.handled);
    let error = handled.error.unwrap();
    assert!(error.contains("Access denied"), "{error}");
}

#[test]
fn without_systemd_it_says_so() {
    let mut plugin = UnitStopper::new(Programs::of(vec!["/nowhere".into()]));
    let handled = handle(&mut plugin, &json!({ "units": ["db"] }), &notice());
    assert_eq!(
        handled.error.as_deref(),
        Some("`systemctl` is not installed: it is in none of /nowhere")
    );
}

#[test]
fn a_process_saves_and_ends_and_only_then_it_is_said() {
    let place = Place::new();
    let process = place.shell("trap 'sleep 0.3; echo safe > saved; exit' USR1");
    let handled = place.stop(json!({ "signal": "USR1" }));
    assert_eq!((handled.status.as_deref(), handled.verified), (Some("stopped"), Some(true)));
    assert_eq!(handled.more["saved"], json!([format!("sh (pid {})", process.pid)]));
    assert_eq!(fs::read_to_string(place.folder.path().join("saved")).unwrap(), "safe\n");
}

#[test]
fn a_deaf_process_is_left_alone_unless_it_was_said_that_it_be_killed() {
    let place = Place::new();
    let process = place.shell("trap '' TERM");
    let handled = place.stop(json!({ "timeout_seconds": 1 }));
    assert_eq!((handled.handled, handled.verified), (false, Some(false)));
    assert!(handled.error.unwrap().contains("did not end on TERM in time and still runs"));
    assert!(process.is_alive());
    let handled = place.stop(json!({ "kill_after_seconds": 0.5 }));
    assert_eq!(handled.verified, Some(false), "what was killed did not save");
    assert!(handled.error.unwrap().contains("did not end on TERM in time and was killed"));
    process.wait();
}

#[test]
fn a_number_that_is_used_again_is_not_signalled() {
    let place = Place::new();
    let process = place.shell("trap 'exit' TERM");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(86_400);
    fs::File::options().write(true).open(place.pid_file()).unwrap().set_modified(old).unwrap();
    let handled = place.stop(json!({ "kill_after_seconds": 1 }));
    assert!(handled.error.unwrap().contains("the number is used again"));
    assert!(process.is_alive());
}

#[test]
fn nothing_that_runs_is_neither_a_failure_nor_a_proof() {
    let place = Place::new();
    let handled = place.stop(json!({}));
    assert_eq!((handled.status.as_deref(), handled.verified), (Some("nothing_to_stop"), None));
    assert!(!handled.degraded());
}

#[test]
fn a_drill_and_a_dry_run_only_say_what_would_be_stopped() {
    let place = Place::new();
    let process = place.shell("trap 'exit' TERM");
    let told = json!([format!("send TERM to sh (pid {})", process.pid)]);
    let drill = event("cloud.spot.interrupt", json!({ "drill": true, "timeRemaining": 120 }));
    let config = json!({ "pid_file": place.pid_file() });
    let handled = handle(&mut UnitStopper::default(), &config, &drill);
    assert_eq!((handled.status.as_deref(), &handled.more["would"]), (Some("dry_run"), &told));
    let handled = place.stop(json!({ "dry_run": true }));
    assert_eq!((handled.verified, &handled.more["would"]), (None, &told));
    assert!(process.is_alive());
    let units = json!({ "units": ["a,b", "c"], "dry_run": true });
    let handled = handle(&mut UnitStopper::default(), &units, &notice());
    assert_eq!(
        handled.more["would"],
        json!(["stop a.service and b.service and wait", "stop c.service and wait"])
    );
}

#[test]
fn a_warning_stops_nothing() {
    let place = Place::new();
    let process = place.shell("trap 'exit' TERM");
    let config = json!({ "pid_file": place.pid_file() });
    let warning = event("cloud.spot.rebalance", json!({}));
    assert_eq!(handle(&mut UnitStopper::default(), &config, &warning), Handled::not_mine());
    assert!(process.is_alive());
}

#[test]
fn the_program_says_who_it_is() {
    let info = common::info_of(env!("CARGO_BIN_EXE_unit-stopper"));
    assert_eq!(Info::read(&info).unwrap().name, "unit-stopper");
    assert_eq!(info["permissions"], json!(["root", "signal", "run:systemctl"]));
}

/// A pid file and the process in it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.path().join("pid")
    }

    fn shell(&self, text: &str) -> Running {
        let running = Running::shell(self.folder.path(), text);
        fs::write(self.pid_file(), format!("{}\n", running.pid)).unwrap();
        running
    }

    fn stop(&self, mut config: Value) -> Handled {
        config["pid_file"] = json!(self.pid_file());
        handle(&mut UnitStopper::default(), &config, &notice())
    }
}

/// A folder with the stand-in: a file for each unit, holding the number of its process.
struct Systemd {
    folder: TempDir,
}

const SYSTEMCTL: &str = r#"#!/bin/sh
cd "$(dirname "$0")/units" || exit 1
verb=$1
while [ "$1" != -- ]; do shift; done
shift
alive() { kill -0 "$(cat "$1")" 2>/dev/null; }
case $verb in
show)
  first=yes
  for unit; do
    [ $first ] || echo
    first=
    load=loaded active=inactive pid=0
    if [ ! -e "$unit" ]; then load=not-found
    elif alive "$unit"; then
      active=active pid=$(cat "$unit")
      [ -e "../stopping-$unit" ] && active=deactivating
    fi
    printf 'MainPID=%s\nResult=success\nLoadState=%s\nActiveState=%s\n' $pid $load $active
  done ;;
stop)
  case $* in *locked*) echo 'Failed to stop locked.service: Access denied' >&2; exit 4 ;; esac
  running=
  for unit in *; do alive "$unit" && running="$running $unit"; done
  echo "stop $* while$running run" >> ../stops
  for unit; do : > "../stopping-$unit"; kill -TERM "$(cat "$unit")"; done ;;
esac
"#;

impl Systemd {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("units")).unwrap();
        script(&folder.path().join("systemctl"), SYSTEMCTL);
        Self { folder }
    }

    fn unit(&self, name: &str, text: &str) -> Running {
        let running = Running::shell(self.folder.path(), text);
        fs::write(self.path().join("units").join(name), running.pid.to_string()).unwrap();
        running
    }

    fn plugin(&self) -> UnitStopper {
        UnitStopper::new(Programs::of(vec![self.path().to_owned()]))
    }

    fn stop(&self, config: Value) -> Handled {
        handle(&mut self.plugin(), &config, &notice())
    }

    fn stops(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path().join("stops")).unwrap();
        log.lines().map(str::to_owned).collect()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}
