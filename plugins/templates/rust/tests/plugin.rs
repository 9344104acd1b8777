//! Drives the plugin as the daemon does: `cargo test`

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

#[test]
fn it_saves_the_state_and_reads_it_back() {
    let mut plugin = Driven::start("saves");
    let path = plugin.file("state.json");
    assert_eq!(plugin.configure(json!({ "path": path })), json!({ "success": true }));
    let result = plugin.event("cloud.spot.interrupt", 110.5, false);
    assert_eq!((&result["handled"], &result["verified"]), (&json!(true), &json!(true)), "{result}");
    let saved: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(saved["incident"], "i-1");
}

#[test]
fn a_drill_and_a_dry_run_save_nothing() {
    let mut plugin = Driven::start("drill");
    let path = plugin.file("state.json");
    plugin.configure(json!({ "path": path }));
    assert_eq!(plugin.event("cloud.spot.interrupt", 110.5, true)["status"], "would_save");
    plugin.configure(json!({ "path": path, "dry_run": true }));
    assert_eq!(plugin.event("cloud.spot.interrupt", 110.5, false)["dry_run"], true);
    assert!(!path.exists());
}

#[test]
fn what_cannot_be_done_is_said() {
    let mut plugin = Driven::start("cannot");
    plugin.configure(json!({ "path": "/no/such/folder/state.json" }));
    let cannot = plugin.ask("Health", json!({}));
    assert!(cannot.to_string().contains("cannot write into /no/such/folder"), "{cannot}");
    let cannot = plugin.event("cloud.spot.interrupt", 110.5, false);
    assert!(cannot["error"].to_string().contains("cannot save"), "{cannot}");
    let late = plugin.event("cloud.spot.interrupt", 0.2, false);
    assert!(late["error"].to_string().contains("200ms are left"), "{late}");
}

#[test]
fn another_event_is_not_its_business() {
    let mut plugin = Driven::start("other");
    assert_eq!(plugin.event("system.disk.low", 110.5, false), json!({ "handled": false }));
}

#[test]
fn it_votes_by_the_threshold() {
    let mut plugin = Driven::start("votes");
    plugin.configure(json!({ "cpu_threshold": 10 }));
    for (cpu, is_idle) in [(3.0, true), (30.0, false)] {
        let vote = plugin.ask("CheckIdle", json!({ "metrics": { "cpu_usage": cpu } }));
        assert_eq!(vote["is_idle"], is_idle, "{vote}");
    }
}

#[test]
fn every_wrong_setting_is_named_and_no_value_is_shown() {
    let mut plugin = Driven::start("settings");
    let given = json!({ "path": "s3cret", "cpu_threshold": true, "dry_run": "s3cret", "pth": 1 });
    let error = plugin.configure(given.clone()).to_string();
    assert!(given.as_object().unwrap().keys().all(|name| error.contains(&format!("`{name}`"))));
    assert!(!error.contains("s3cret"), "{error}");
}

#[test]
fn it_ends_when_it_is_told_to() {
    let mut plugin = Driven::start("ends");
    assert_eq!(plugin.ask("Shutdown", json!({})), json!({ "success": true }));
    assert!(plugin.child.wait().unwrap().success());
}

/// The plugin as a process, and a folder for it; both end with the value.
struct Driven {
    child: Child,
    replies: BufReader<ChildStdout>,
    folder: PathBuf,
}

impl Driven {
    fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("my-plugin-{}-{name}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_my-plugin"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let replies = BufReader::new(child.stdout.take().unwrap());
        Self { child, replies, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The result of a reply, or all of it when it has none.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        let request = json!({ "method": method, "params": params, "id": 7 });
        writeln!(self.child.stdin.as_mut().unwrap(), "{request}").unwrap();
        let mut line = String::new();
        self.replies.read_line(&mut line).unwrap();
        let mut reply: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(reply["id"], 7);
        if reply["result"].is_null() { reply } else { reply["result"].take() }
    }

    fn configure(&mut self, config: Value) -> Value {
        self.ask("Configure", json!({ "config": config }))
    }

    fn event(&mut self, kind: &str, left: f64, is_drill: bool) -> Value {
        let data = json!({ "timeRemaining": left, "drill": is_drill, "incident": "i-1" });
        self.ask("HandleEvent", json!({ "event": { "type": kind, "id": "e-1", "data": data } }))
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
