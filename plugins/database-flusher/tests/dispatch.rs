//! The program itself, beside flushers that only say what they were asked.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of a test may do what a test may"
)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use snooze_plugin::wire::{Answer, Method, read_reply, request_line};
use snooze_plugin::{Handled, Info};
use tempfile::TempDir;

#[test]
fn s1_63_the_flusher_of_the_database_gets_the_configuration_and_the_event() {
    let mut dispatcher = Dispatcher::start(&["mysql-flusher", "redis-flusher"]);
    let Answer::Result(info) = dispatcher.ask(Method::Info, json!({})) else { panic!("no info") };
    assert_eq!(Info::read(&info).unwrap().name, "database-flusher");
    let event = json!({ "type": "cloud.spot.interrupt", "data": { "timeRemaining": 60.5 } });
    for (db_type, who, place) in
        [("mysql", "mysql-flusher", "connection_string"), ("valkey", "redis-flusher", "redis_url")]
    {
        let config = json!({ "db_type": db_type, "connection_string": "somewhere" });
        assert_eq!(dispatcher.configure(config), Ok(()));
        assert_eq!(dispatcher.ask(Method::Initialize, json!({})).done(), Ok(()));
        assert_eq!(dispatcher.ask(Method::Health, json!({})).done(), Ok(()));
        let events = dispatcher.ask(Method::GetSupportedEvents, json!({})).supported_events();
        assert_eq!(events.unwrap(), ["cloud.spot.interrupt", "custom*"]);
        let handled = dispatcher.handle(event.clone());
        assert!(handled.handled, "{handled:?}");
        assert_eq!(handled.more["who"], who);
        assert_eq!(
            handled.more["configured"]["params"],
            json!({ "config": { place: "somewhere" } })
        );
        assert_eq!(handled.more["asked"]["params"], json!({ "event": event }));
    }
    assert_eq!(dispatcher.ask(Method::Shutdown, json!({})).done(), Ok(()));
    assert!(dispatcher.child.wait().unwrap().success());
}

#[test]
fn a_flusher_that_is_not_there_or_refuses_is_named() {
    let mut dispatcher = Dispatcher::start(&["mysql-flusher"]);
    let config = |db_type, place| json!({ "db_type": db_type, "connection_string": place });
    let error = dispatcher.configure(config("mongodb", "u:hunter2@h")).unwrap_err();
    assert!(error.starts_with("cannot start `mongodb-flusher`, which must stand in"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    assert_eq!(dispatcher.configure(config("mysql", "refuse")), Err("refused".to_owned()));
    let handled = dispatcher.ask(Method::HandleEvent, json!({ "event": {} }));
    assert_eq!(handled, Answer::Failed("refused".to_owned()), "and never did anything");
}

#[test]
fn a_flusher_that_ends_fails_its_step_and_begins_anew_with_the_next() {
    let mut dispatcher = Dispatcher::start(&["mysql-flusher"]);
    let config = json!({ "db_type": "mysql", "connection_string": "somewhere" });
    assert_eq!(dispatcher.configure(config), Ok(()));
    let died = dispatcher.ask(Method::HandleEvent, json!({ "event": { "type": "custom.die" } }));
    assert_eq!(
        died,
        Answer::Failed("`mysql-flusher` has ended; its log has the reason".to_owned())
    );
    let handled = dispatcher.handle(json!({ "type": "cloud.spot.interrupt" }));
    assert_eq!(handled.more["configured"]["params"]["config"]["connection_string"], "somewhere");
}

/// The program in a directory with these flushers; all of it ends with the value.
struct Dispatcher {
    child: Child,
    replies: BufReader<ChildStdout>,
    _directory: TempDir,
}

impl Dispatcher {
    fn start(flushers: &[&str]) -> Self {
        // A link, and not a copy: a file that was just written may be busy.
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let program = directory.path().join("database-flusher");
        std::fs::hard_link(env!("CARGO_BIN_EXE_database-flusher"), &program).unwrap();
        let played = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flusher.sh");
        for flusher in flushers {
            symlink(&played, directory.path().join(flusher)).unwrap();
        }
        let mut child =
            Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let replies = BufReader::new(child.stdout.take().unwrap());
        Self { child, replies, _directory: directory }
    }

    fn configure(&mut self, config: Value) -> Result<(), String> {
        self.ask(Method::Configure, json!({ "config": config })).done()
    }

    fn handle(&mut self, event: Value) -> Handled {
        match self.ask(Method::HandleEvent, json!({ "event": event })) {
            Answer::Result(value) => Handled::read(&value),
            other @ (Answer::Failed(_) | Answer::NotSupported) => panic!("{other:?}"),
        }
    }

    fn ask(&mut self, method: Method, params: Value) -> Answer {
        let line = request_line(method, params.as_object().unwrap().clone(), 1, false);
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        let mut reply = String::new();
        self.replies.read_line(&mut reply).unwrap();
        read_reply(reply.trim_end().as_bytes()).unwrap().answer
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
