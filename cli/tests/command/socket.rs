//! Verbs against a socket that answers what a daemon would.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::snooze::{Place, Run, snooze};
use expect_test::expect;
use serde_json::{Value, json};

const KEY: &str = "i-0a1b2c3d4e5f60718/b/e-1";

#[test]
fn verbs_without_a_daemon_say_where_they_looked_and_what_to_do() {
    let place = Place::new();
    let path = place.path("none.sock").display().to_string();
    let run = snooze(["--socket", &path, "status"]);
    assert_eq!((run.code, run.out.as_str()), (6, ""));
    assert!(run.err.contains(&path) && run.err.contains("systemctl status snoozed"), "{}", run.err);
}

#[test]
fn the_daemons_refusal_is_told_with_its_own_code() {
    let daemon = Daemon::start(|_, _| Err("`EVENT` is for root".to_owned()));
    let run = daemon.snooze(&["event", "send", "custom"]);
    assert_eq!((run.code, run.err.as_str()), (7, "snooze: the daemon says: `EVENT` is for root\n"));
}

#[test]
fn c11_what_the_daemon_says_steers_no_terminal() {
    let evil = "\u{1b}]0;x\u{7}\u{202e}\n";
    let daemon = Daemon::start(move |_, _| {
        Ok(json!([{ "incident": evil, "event_type": evil, "outcome": evil, "steps": [] }]))
    });
    for args in [&["history"][..], &["history", "--json"]] {
        let run = daemon.snooze(args);
        assert_eq!(run.code, 0);
        let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!run.out.contains(steers), "{:?}", run.out);
    }
    assert_eq!(daemon.snooze(&["history", "--json"]).json()[0]["incident"], evil);
}

#[test]
fn history_is_printed_as_a_sheet_too() {
    let text = "1 done, \"late\"\n=x";
    let daemon = Daemon::start(move |_, _| {
        Ok(json!([{ "incident": "=x", "event_type": "custom.deploy", "outcome": "done",
            "text": text, "opened": "2026-03-14T09:26:54Z", "steps": [{ "outcome": "done" }] }]))
    });
    let run = daemon.snooze(&["history", "--format", "csv"]);
    assert_eq!(run.code, 0, "{run:?}");
    expect![[r#"
        opened,closed,event_type,cause,action,drill,outcome,text,margin_seconds,steps_done,steps,incident
        2026-03-14T09:26:54Z,,custom.deploy,,,,done,"1 done, ""late""\n=x",,1,1,'=x
    "#]].assert_eq(&run.out);
    let data = daemon.snooze(&["history", "--format", "json"]).json();
    assert_eq!(data, daemon.snooze(&["history", "--json"]).json());
    assert_eq!(daemon.snooze(&["history", "--json", "--format", "csv"]).code, 2);
}

#[test]
fn idle_explain_says_what_decided() {
    let busy = json!({ "phase": "active", "enabled": true, "verdict": "busy",
        "decided_by": "cpu", "reason": "cpu 61 % (busy from 10 %)", "votes": [], "holds": [],
        "monitors": { "cpu_percent": { "value": 61.0, "threshold": 10.0, "unit": "%",
            "standing": "busy", "why": null } },
        "last_hour": [{ "from": "2026-11-21T10:00:00Z", "to": "2026-11-21T10:30:00Z",
            "verdict": "busy", "decided_by": "input", "reason": "" }] });
    let daemon = Daemon::start(move |_, _| Ok(busy.clone()));
    let run = daemon.snooze(&["idle", "explain"]);
    assert!(run.out.starts_with("something goes on; decided by cpu\n"), "{run:?}");
    let hour = "2026-11-21T10:00:00.000Z  2026-11-21T10:30:00.000Z  busy     input\n";
    assert!(run.out.ends_with(hour), "{run:?}");
    assert_eq!(daemon.snooze(&["--json", "idle", "explain"]).json()["decided_by"], "cpu");
}

#[test]
fn wake_keeps_an_instance_up_for_a_while() {
    let daemon = Daemon::start(|_, params| {
        let awake = params["seconds"] != json!(0);
        Ok(json!({ "awake_until": awake.then_some("2026-11-21T12:00:00Z") }))
    });
    let run = daemon.snooze(&["wake", "2h"]);
    assert_eq!(run.out, "this instance stays up until 2026-11-21T12:00:00.000Z\n");
    assert!(daemon.snooze(&["wake", "0"]).out.starts_with("nothing keeps"));
    let asked = [7200, 0].map(|seconds| ("WAKE".to_owned(), json!({ "seconds": seconds })));
    assert_eq!(daemon.asked(), asked);
    assert_eq!(daemon.snooze(&["wake"]).code, 2);
}

// S1-60
#[test]
fn an_event_is_sent_as_it_was_given() {
    let daemon = Daemon::start(|_, _| Ok(json!({ "event_id": "e-1", "incident": KEY })));
    let run = daemon.snooze(&[
        "event",
        "send",
        "custom.deploy",
        "--data",
        r#"{"v": 7}"#,
        "--severity",
        "2",
    ]);
    assert_eq!(run.code, 0);
    expect![[r#"
        event     e-1
        incident  i-0a1b2c3d4e5f60718/b/e-1
        `snooze explain` tells what it did
    "#]]
    .assert_eq(&run.out);
    let params = json!({ "type": "custom.deploy", "data": { "v": 7 }, "severity": 2 });
    assert_eq!(daemon.asked(), [("EVENT".to_owned(), params)]);
}

// S1-74, S1-75
#[test]
fn plugins_are_switched_by_name() {
    let daemon = Daemon::start(|command, params| {
        Ok(json!({ "name": params["name"], "enabled": command == "PLUGIN_ENABLE" }))
    });
    let off = daemon.snooze(&["plugin", "disable", "hello"]);
    assert_eq!(off.out, "hello is switched off, until the daemon starts anew\n");
    assert_eq!(daemon.snooze(&["plugin", "enable", "hello"]).out, "hello is switched on\n");
}

// S2-20, S2-22
#[test]
fn plugin_doctor_looks_at_all_that_the_daemon_knows() {
    let place = Place::new();
    let script = include_str!("../../../plugins/templates/sh/my-plugin.sh");
    let (fine, open) = (place.program("fine.sh", script), place.program("open.sh", script));
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    let plugins = json!({
        "found": [{ "name": "fine", "kind": "external", "path": fine }],
        "refused": [{ "path": open, "reason": "it can be written by others: mode 0777" }],
        "running": [
            { "id": "orders/fine", "plugin": "fine", "state": "failed",
              "last_error": "Configure: `path` is missing", "log": ["two", "one"] },
            { "id": "orders/gone", "plugin": "gone", "state": "failed", "last_error": "no file" },
        ],
    });
    let daemon = Daemon::start(move |_, _| Ok(plugins.clone()));
    let run = daemon.snooze(&["plugin", "doctor"]);
    assert_eq!(run.code, 1, "{}", run.out);
    let said: Vec<&str> = run.out.lines().filter(|line| !line.starts_with("  ok")).collect();
    let said = said.join("\n").replace(&place.path("").display().to_string(), "DIR/");
    expect![[r#"
        fine  DIR/fine.sh
          FAIL  handler       orders/fine has failed: Configure: `path` is missing
                do            mend that; the next event or a restart of the daemon starts it again
                log           one
                log           two
        open  DIR/open.sh
          FAIL  daemon        it can be written by others: mode 0777
                do            mend that, then `systemctl restart snoozed`
          FAIL  mode          it can be written by others: mode 0777
                do            chmod go-w DIR/open.sh
        gone
          FAIL  daemon        the handler orders/gone needs it, and it is nowhere
                do            put its file into one of `plugins.directories`, or mend the policy
          FAIL  handler       orders/gone has failed: no file
                do            mend that; the next event or a restart of the daemon starts it again
        3 plugins: 5 faults, 0 warnings"#]]
    .assert_eq(&said);
    let one = daemon.snooze(&["plugin", "doctor", "gone"]);
    assert!(one.out.ends_with("1 plugin: 2 faults, 0 warnings\n"), "{}", one.out);
    let none = daemon.snooze(&["plugin", "doctor", "nobody"]);
    assert_eq!(none.code, 3, "{none:?}");
}

// S1-70, D-22
#[test]
fn plugins_is_another_word_for_plugin_list() {
    let daemon = Daemon::start(|_, _| Ok(json!({ "found": [], "refused": [], "running": [] })));
    assert_eq!(daemon.snooze(&["plugins"]).out, daemon.snooze(&["plugin", "list"]).out);
}

#[test]
fn settings_are_shown_whole_or_by_key() {
    let daemon = Daemon::start(|_, params| match params.get("key") {
        None => Ok(json!({ "log_level": "info", "socket": { "mode": "0660" } })),
        Some(_) => Ok(json!("0660")),
    });
    assert_eq!(daemon.snooze(&["config", "list"]).out, "log_level = info\nsocket.mode = 0660\n");
    assert_eq!(daemon.snooze(&["config", "get", "socket.mode"]).out, "0660\n");
}

// S0-07
#[test]
fn a_drill_is_followed_to_its_outcome() {
    for (outcome, code) in [("done", 0), ("partial", 1)] {
        let looks = Mutex::new(0);
        let daemon = Daemon::start(move |command, _| {
            let mut looks = looks.lock().unwrap();
            *looks += usize::from(command == "EXPLAIN");
            Ok(match command {
                "STATUS" => json!({ "instance_id": "i-0a1b2c3d4e5f60718" }),
                "EVENT" => json!({ "event_id": "e-1", "incident": KEY }),
                _ if *looks == 1 => known(json!({ "state": "running" }), Value::Null),
                _ => {
                    let step = json!({ "state": "ended", "outcome": outcome, "milliseconds": 7 });
                    known(step, json!(outcome))
                }
            })
        });
        let run = daemon.snooze(&["simulate", "spot", "--seconds", "30"]);
        assert_eq!(run.code, code, "{run:?}");
        let lines: Vec<&str> = run.out.lines().take(3).collect();
        assert_eq!(lines[0], format!("drill {KEY} opened"));
        assert_eq!(lines[1], "  p/a running");
        assert_eq!(lines[2], format!("  p/a {outcome} in 7 ms"));
    }
}

#[test]
fn a_drill_in_which_nothing_was_to_be_done_does_not_pass() {
    let daemon = Daemon::start(|command, _| {
        Ok(match command {
            "STATUS" => json!({}),
            "EVENT" => json!({ "event_id": "e-1", "incident": KEY }),
            _ => json!({ "incident": KEY, "outcome": "done", "steps": [], "policies": [] }),
        })
    });
    let run = daemon.snooze(&["simulate", "spot"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("the drill saved nothing"), "{}", run.err);
}

#[test]
fn a_drill_takes_no_action_that_no_notice_has() {
    let daemon = Daemon::start(|_, _| Ok(json!({})));
    let run = daemon.snooze(&["simulate", "spot", "--action", "reboot"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(daemon.asked().is_empty());
}

#[test]
fn a_dry_run_makes_the_plan_here_and_sends_no_event() {
    let place = Place::new();
    let policies = place.directory(
        "policies",
        &[(
            "p.json",
            r#"{"name":"p","match":{"type":["cloud.spot.interrupt"]},
            "handlers":[{"plugin":"a","priority":100,"timeout_seconds":20}]}"#,
        )],
    );
    let settings =
        place.file("snoozed.json", &json!({ "policies_directory": policies }).to_string());
    let daemon = Daemon::start(move |command, _| {
        Ok(match command {
            "CONFIG_GET" => json!({ "file": settings }),
            _ => json!({ "instance_id": "i-0a1b2c3d4e5f60718", "region": "us-east-1" }),
        })
    });
    let run = daemon.snooze(&["simulate", "spot", "--seconds", "60", "--dry-run"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.ends_with("60s left\nrun  p/a (high 100) within 20s\n"), "{}", run.out);
    assert!(daemon.asked().iter().all(|(command, _)| command != "EVENT"));
}

#[test]
fn a_closed_output_ends_the_command_quietly() {
    let daemon = Daemon::start(|_, _| Ok(json!({ "version": "0.1.0" })));
    let mut child = Command::new(env!("CARGO_BIN_EXE_snooze"))
        .args(["--socket", &daemon.path, "status", "--watch", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "{\"version\":\"0.1.0\"}\n");
    drop(out);
    assert!(child.wait().unwrap().success());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(err, "");
}

#[test]
fn what_watches_into_a_file_gets_no_codes_of_a_terminal() {
    let daemon = Daemon::start(|_, _| Ok(json!({ "version": "0.1.0" })));
    let mut child = Command::new(env!("CARGO_BIN_EXE_snooze"))
        .args(["--socket", &daemon.path, "status", "--watch"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut lines).unwrap();
    out.read_line(&mut lines).unwrap();
    drop(out);
    assert!(child.wait().unwrap().success());
    assert!(lines.starts_with("\nsnoozed "), "{lines:?}");
}

fn known(mut step: Value, outcome: Value) -> Value {
    step["step"] = json!("p/a");
    json!({ "incident": KEY, "event_type": "cloud.spot.interrupt", "drill": true,
        "outcome": outcome, "steps": [step], "policies": [] })
}

type Answers = dyn Fn(&str, &Value) -> Result<Value, String> + Send + Sync;

/// A socket that answers as a function says, until the test ends.
struct Daemon {
    path: String,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    _place: Place,
}

impl Daemon {
    fn start(
        answer: impl Fn(&str, &Value) -> Result<Value, String> + Send + Sync + 'static,
    ) -> Self {
        let place = Place::new();
        let path = place.path("s").display().to_string();
        let listener = UnixListener::bind(&path).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        thread::spawn(move || serve(&listener, &answer, &log));
        Self { path, asked, _place: place }
    }

    fn snooze(&self, args: &[&str]) -> Run {
        snooze(["--socket", &self.path].iter().chain(args))
    }

    fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(listener: &UnixListener, answer: &Answers, asked: &Mutex<Vec<(String, Value)>>) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        let request: Value = serde_json::from_str(&line).unwrap();
        let command = request["command"].as_str().unwrap();
        asked.lock().unwrap().push((command.to_owned(), request["params"].clone()));
        let reply = match answer(command, &request["params"]) {
            Ok(data) => json!({ "success": true, "status": "ok", "data": data, "code": 0 }),
            Err(text) => json!({ "success": false, "status": "error", "error": text, "code": 103 }),
        };
        // The command may have gone.
        let _ = writeln!(stream, "{reply}");
    }
}
