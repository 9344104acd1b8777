//! What is secret stays so: one word stands for every secret, and nothing may hold it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use snooze_imds::fake::Notice;
use snooze_tests::setup::{Daemon, Setup};
use snooze_tests::{plugins, wait};

const CANARY: &str = "S3CR3T-CANARY";

/// Says all that it is told: its configuration as a log line and in its answers.
const PARROT: &str = r#"#!/bin/sh
config=
while read -r request; do
  id=${request##*\"id\":}
  case $request in
    '{"method":"Info",'*) result='{"name":"parrot","version":"1.0.0"}' ;;
    '{"method":"Configure",'*)
      config=${request#*\"config\":}
      config=${config%,\"id\":*}
      config=${config%\}}
      echo "configured with $config" >&2
      result='{"success":true}' ;;
    '{"method":"HandleEvent",'*)
      echo "event with $config" >&2
      result="{\"handled\":true,\"status\":\"saved\",\"config\":$config}" ;;
    *) result='{"error":"Unknown method: not one of mine"}' ;;
  esac
  echo "{\"result\":$result,\"id\":${id%\}}}"
done
"#;

#[test]
fn g11_a_secret_is_in_no_log_answer_journal_argument_or_environment() {
    let mut setup = Setup::new();
    let credentials = setup.path("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join("dsn"), CANARY).unwrap();
    setup.environment.insert("CREDENTIALS_DIRECTORY".to_owned(), credentials.into());
    setup.environment.insert("DSN".to_owned(), CANARY.into());
    setup.set("log_level", json!("trace"));
    setup.script("plugins/parrot.sh", PARROT);
    let angry = r#"echo "no: $request" >&2; result="{\"error\":\"cannot use $config\"}""#;
    setup.script("plugins/angry.sh", &plugins::handler("angry", angry));
    setup.script("plugins/lost.sh", &plugins::handler("lost", "exit 1"));
    let config = json!({
        "dsn": "credential:dsn",
        "token": "env:DSN",
        "inner": { "list": ["credential:dsn"] },
    });
    setup.policy(
        "orders",
        json!([
            { "plugin": "parrot", "priority": 90, "config": config },
            { "plugin": "angry", "priority": 80, "config": config },
            { "plugin": "lost", "priority": 70, "config": { "dsn": "credential:none" } },
        ]),
    );
    let daemon = setup.start();
    wait::until("the plugin", || setup.log().contains("configured with").then_some(()));
    setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(100)));
    let incident = daemon.closed();
    assert_eq!(incident["steps"][0]["outcome"], "done", "{incident:#}");

    silent("the log", &setup.log());
    let shown = answers(&daemon);
    // The plugin did repeat its secret: it was hidden on the way.
    assert!(shown.contains("configured with") && shown.contains("***"), "{shown}");
    silent("an answer", &shown);
    for folder in ["state", "run"] {
        in_files(&setup.path(folder));
    }
    for process in processes(&daemon) {
        silent("an argument", &read(&process.join("cmdline")));
        // What the daemon was given by `env:` is in its own environment, and nowhere else.
        if process != Path::new("/proc").join(daemon.id().to_string()) {
            silent("an environment", &read(&process.join("environ")));
        }
    }
    let journal = fs::metadata(setup.path("state/journal")).unwrap();
    assert_eq!(journal.permissions().mode() & 0o077, 0, "the journal is ours alone");
}

fn silent(what: &str, text: &str) {
    assert!(!text.contains(CANARY), "{what} holds a secret: {text}");
}

/// All that the daemon answers.
fn answers(daemon: &Daemon) -> String {
    let commands = ["STATUS", "CONFIG_GET", "PLUGINS_LIST", "HISTORY", "POLICIES", "EXPLAIN"];
    let answer = |command| daemon.call(command, Value::Null).data.to_string();
    let mut text: String = commands.into_iter().map(answer).collect();
    let wrong = json!({ "type": CANARY.to_lowercase(), "data": 1 });
    text.push_str(&format!("{:?}", daemon.call("EVENT", wrong)));
    text
}

fn in_files(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => in_files(&path),
            false => silent(&path.display().to_string(), &read(&path)),
        }
    }
}

/// The folders in /proc of the daemon and all that it has started.
fn processes(daemon: &Daemon) -> Vec<std::path::PathBuf> {
    let mut found = vec![daemon.id().to_string()];
    let mut next = 0;
    while let Some(parent) = found.get(next).cloned() {
        let children = read(Path::new(&format!("/proc/{parent}/task/{parent}/children")));
        found.extend(children.split_whitespace().map(ToOwned::to_owned));
        next += 1;
    }
    assert!(found.len() > 2, "the daemon has plugins: {found:?}");
    found.into_iter().map(|id| Path::new("/proc").join(id)).collect()
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
