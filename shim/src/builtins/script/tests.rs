use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::time::Instant;

use serde_json::json;
use tempfile::TempDir;

use super::*;

/// A script in a folder of its own. Another process writes it: a fork of a test beside this one
/// could hold it open for writing, and then it cannot be run.
fn script(folder: &TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("script");
    let write = "printf '#!/bin/sh\n%s\n' \"$1\" > \"$0\" && chmod 755 \"$0\"";
    let status = Command::new("sh").args(["-c", write]).arg(&path).arg(text).status();
    assert!(status.unwrap().success());
    path
}

fn plugin(path: &Path, mut config: Value) -> SpotInterruptHandler {
    let map = config.as_object_mut().unwrap();
    map.insert("shutdown_script_path".to_owned(), json!(path));
    let mut plugin = SpotInterruptHandler::default();
    plugin.configure(map).unwrap();
    plugin
}

fn notice(incident: &str, remaining: Value) -> PluginEvent {
    PluginEvent::read(json!({ "type": EVENT, "id": "e-1",
        "data": { "timeRemaining": remaining, "incident": incident } }))
}

// S1-45, S1-49
#[test]
fn the_script_runs_and_the_result_has_the_keys_of_the_sample() {
    let folder = TempDir::new().unwrap();
    let text =
        "echo out; echo err >&2; echo $CLOUDSNOOZE_INCIDENT $CLOUDSNOOZE_TIME_REMAINING; pwd";
    let mut plugin = plugin(&script(&folder, text), json!({}));
    let handled = plugin.handle_event(&notice("i/b/spot", json!(118.5))).unwrap();
    assert_eq!(
        handled.to_value(),
        json!({ "handled": true, "success": true, "time_remaining": 118.5,
            "script_output": "out\nerr\ni/b/spot 118.5\n/\n" })
    );
    assert_eq!(plugin.supported_events().unwrap(), ["cloud.spot.interrupt"]);
}

#[test]
fn a_script_that_could_not_be_run_does_not_count_as_handled() {
    let folder = TempDir::new().unwrap();
    let path = script(&folder, "true");
    std::fs::write(&path, "#!/no/such/shell\n").unwrap();
    let mut plugin = plugin(&path, json!({}));
    for _ in 0..2 {
        let handled = plugin.handle_event(&notice("one", json!(118))).unwrap();
        assert_eq!(handled.more["success"], false, "{handled:?}");
    }
}

// S1-47
#[test]
fn a_second_event_of_the_same_incident_does_not_run_the_script_again() {
    let folder = TempDir::new().unwrap();
    let count = folder.path().join("count");
    let mut plugin = plugin(&script(&folder, &format!("echo x >> {}", count.display())), json!({}));
    let first = plugin.handle_event(&notice("one", json!(118))).unwrap();
    assert_eq!(first.more["success"], true, "{first:?}");
    let second = plugin.handle_event(&notice("one", json!(117))).unwrap();
    assert_eq!(second.to_value(), json!({ "handled": true, "status": "already_handled" }));
    plugin.handle_event(&notice("two", json!(118))).unwrap();
    assert_eq!(fs::read_to_string(count).unwrap(), "x\nx\n");
}

// S1-48
#[test]
fn the_budget_is_what_is_left_less_the_reserve_and_the_timeout_at_most() {
    let seconds = |left: Value, reserve: u64, limit: u64| {
        let (reserve, limit) = (Duration::from_secs(reserve), Duration::from_secs(limit));
        budget(&notice("x", left), reserve, limit).as_secs_f64()
    };
    assert_eq!(seconds(json!(118.5), 15, 200), 103.5);
    assert_eq!(seconds(json!(118), 15, 30), 30.0);
    assert_eq!(seconds(json!(null), 15, 200), 105.0);
    assert_eq!(seconds(json!(15), 15, 30), 0.0);
    assert_eq!(seconds(json!(-5), 15, 30), 0.0);
}

// S1-48, S1-50
#[test]
fn without_time_the_script_does_not_begin() {
    let folder = TempDir::new().unwrap();
    let mut plugin = plugin(&script(&folder, "echo never"), json!({}));
    let handled = plugin.handle_event(&notice("one", json!(15))).unwrap();
    assert_eq!(
        handled.to_value(),
        json!({ "handled": true, "success": false, "time_remaining": 15,
            "error": "no time for the script: 15 s are kept free" })
    );
}

// S1-50
#[test]
fn a_script_that_fails_is_handled_without_success() {
    let folder = TempDir::new().unwrap();
    let mut failing = plugin(&script(&folder, "echo no disk; exit 3"), json!({}));
    let handled = failing.handle_event(&notice("one", json!(60))).unwrap();
    assert!(handled.handled && handled.degraded());
    assert_eq!(handled.more["script_output"], "no disk\n");
    assert_eq!(handled.error.unwrap(), "the script ended with exit status: 3");
    let path = script(&folder, "");
    let edit = Command::new("sed").args(["-i", "1s,.*,#!/no/such,"]).arg(&path).status();
    assert!(edit.unwrap().success());
    let handled = plugin(&path, json!({})).handle_event(&notice("one", json!(60))).unwrap();
    assert!(handled.error.unwrap().starts_with("cannot run the script: No such file"));
}

#[test]
fn a_script_that_will_not_end_is_told_and_then_killed_with_its_children() {
    let folder = TempDir::new().unwrap();
    let text = "trap '' TERM; echo begun; sleep 1000 & echo $!; wait; while :; do :; done";
    let mut plugin = plugin(&script(&folder, text), json!({ "timeout_seconds": 4 }));
    let begun = Instant::now();
    let handled = plugin.handle_event(&notice("one", json!(60))).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(30));
    let output = handled.more["script_output"].as_str().unwrap();
    let child = output.strip_prefix("begun\n").unwrap().trim().to_owned();
    assert_eq!(handled.error.unwrap(), "the script did not end within 4 s and was killed");
    assert_dies(&child);
}

/// A process that was sent KILL dies when it next runs, which may be a moment later.
fn assert_dies(pid: &str) {
    let begun = Instant::now();
    loop {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{state}");
        std::thread::yield_now();
    }
}

#[test]
fn a_script_that_ends_when_told_is_not_killed() {
    let folder = TempDir::new().unwrap();
    let text = "trap 'echo told; exit 0' TERM; while :; do sleep 0.01; done";
    let mut plugin = plugin(&script(&folder, text), json!({ "timeout_seconds": 8 }));
    let handled = plugin.handle_event(&notice("one", json!(60))).unwrap();
    assert!(handled.more["script_output"].as_str().unwrap().ends_with("told\n"), "{handled:?}");
    assert_eq!(handled.error.unwrap(), "the script did not end within 8 s");
}

#[test]
fn a_child_in_the_background_does_not_hold_the_result_back() {
    let folder = TempDir::new().unwrap();
    let mut plugin = plugin(&script(&folder, "sleep 1000 & echo $!"), json!({}));
    let begun = Instant::now();
    let handled = plugin.handle_event(&notice("one", json!(60))).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    let child = handled.more["script_output"].as_str().unwrap().trim().parse().unwrap();
    let child = rustix::process::Pid::from_raw(child).unwrap();
    rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn of_much_output_the_end_is_kept() {
    let folder = TempDir::new().unwrap();
    let text = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done";
    let mut plugin = plugin(&script(&folder, text), json!({}));
    let handled = plugin.handle_event(&notice("one", json!(60))).unwrap();
    let output = handled.more["script_output"].as_str().unwrap();
    assert_eq!(output.len(), 8 * 1024);
    assert!(output.ends_with("line 19999\n"));
}

#[test]
fn only_a_file_that_others_cannot_change_is_run() {
    let folder = TempDir::new().unwrap();
    let path = script(&folder, "");
    assert_eq!(check(&path), Ok(()));
    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();
    assert_eq!(check(&link), Ok(()));
    let fault = |path: &Path, mode: u32| {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        check(&folder.path().join("script")).unwrap_err()
    };
    assert!(fault(&path, 0o644).ends_with("is not executable; use `chmod +x`"));
    assert!(fault(&path, 0o757).ends_with("may be written by anybody; use `chmod o-w`"));
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    assert!(fault(folder.path(), 0o777).ends_with("is in a folder that anybody may write"));
    assert_eq!(check(Path::new("script")), Err("expected an absolute path".to_owned()));
    assert!(check(folder.path()).unwrap_err().ends_with("is no regular file"));
    assert!(check(Path::new("/no/such")).unwrap_err().contains("No such file"));
    let mut plugin = SpotInterruptHandler::default();
    assert!(plugin.handle_event(&notice("one", json!(60))).is_err());
    assert!(plugin.health().is_err());
}
