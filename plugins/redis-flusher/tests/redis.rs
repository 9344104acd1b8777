//! The flusher as a process, against a real `redis-server` where there is one.
//!
//! Without one these tests say so and end; with `SNOOZE_FULL=1` in the environment that is a
//! failure.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "the helpers of a test may do what a test may"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use redis::{Connection, cmd};
use serde_json::{Map, Value, json};
use snooze_plugin::wire::{Answer, Method, read_reply, request_line};
use snooze_plugin::{Handled, Info};
use tempfile::TempDir;

// S0-18
#[test]
fn save_and_bgsave_put_every_key_into_the_dump_that_survives_a_kill() {
    for mode in ["save", "bgsave"] {
        let Some(mut redis) = Redis::start(&[]) else { return };
        redis.fill(100);
        let handled = redis.flush(json!({ "mode": mode }));
        assert_eq!(handled.status.as_deref(), Some("redis_saved"), "{handled:?}");
        assert_eq!((handled.handled, handled.verified), (true, Some(true)), "{handled:?}");
        assert_eq!((&handled.more["keys"], &handled.more["changes"]), (&json!(100), &json!(100)));
        assert_eq!(handled.more["mode"], mode);
        assert_eq!(redis.killed_and_started_again(&[]).keys(), 100, "{mode}");
    }
}

#[test]
fn bgsave_does_not_take_a_save_that_began_before_the_last_changes_for_its_own() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    redis.fill(100);
    redis.say(&["CONFIG", "SET", "rdb-key-save-delay", "5000"]);
    redis.say(&["BGSAVE"]);
    redis.say(&["SET", "late", "1"]);
    redis.say(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    let handled = redis.flush(json!({ "mode": "bgsave" }));
    assert_eq!((handled.error.as_ref(), handled.verified), (None, Some(true)));
    assert_eq!(redis.killed_and_started_again(&[]).keys(), 101);
}

#[test]
fn aof_waits_until_the_file_is_on_disk() {
    for policy in ["always", "everysec"] {
        let settings = ["--appendonly", "yes", "--appendfsync", policy];
        let Some(mut redis) = Redis::start(&settings) else { return };
        redis.fill(10);
        let handled = redis.flush(json!({ "mode": "aof" }));
        assert_eq!((handled.error.as_ref(), handled.verified), (None, Some(true)), "{policy}");
        assert_eq!(redis.killed_and_started_again(&settings).keys(), 10);
    }
}

#[test]
fn aof_is_refused_where_it_proves_nothing() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let handled = redis.flush(json!({ "mode": "aof" }));
    assert!(!handled.handled);
    assert!(handled.error.unwrap().starts_with("the append-only file is off on Redis at"));
    redis.say(&["CONFIG", "SET", "appendonly", "yes", "appendfsync", "no"]);
    let error = redis.flush(json!({ "mode": "aof" })).error.unwrap();
    assert!(error.contains("`appendfsync no`"), "{error}");
}

#[test]
fn a_save_that_fails_is_no_success() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    redis.fill(1);
    std::fs::remove_dir_all(redis.folder.path().join("data")).unwrap();
    let error = redis.flush(json!({ "mode": "bgsave" })).error.unwrap();
    assert!(error.starts_with("the background save failed on Redis at"), "{error}");
    let error = redis.flush(json!({ "mode": "save" })).error.unwrap();
    assert!(error.starts_with("`SAVE` failed on Redis at"), "{error}");
}

#[test]
fn a_save_that_takes_too_long_ends_at_the_limit_and_is_no_success() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    redis.fill(1000);
    redis.say(&["CONFIG", "SET", "rdb-key-save-delay", "5000"]);
    let begun = Instant::now();
    let handled = redis.flush(json!({ "mode": "bgsave", "timeout_seconds": 0.3 }));
    assert!(begun.elapsed().as_secs() < 3);
    let error = handled.error.unwrap();
    assert!(error.starts_with("`bgsave` was not done in time on Redis at"), "{error}");
}

#[test]
fn a_password_opens_the_door_and_is_never_told() {
    let Some(redis) = Redis::start(&["--requirepass", "hunter2"]) else { return };
    let error = redis.flush(json!({ "mode": "save" })).error.unwrap();
    assert!(error.starts_with("`INFO` failed on Redis") && error.contains("NOAUTH"), "{error}");
    let socket = redis.folder.path().join("redis.sock");
    let url = |password: &str| format!("unix://{}?pass={password}", socket.display());
    let error = redis.flush(json!({ "redis_url": url("wrong-secret") })).error.unwrap();
    assert!(error.starts_with("cannot connect to Redis at"), "{error}");
    assert!(!error.contains("wrong-secret"), "{error}");
    let handled = redis.flush(json!({ "redis_url": url("hunter2"), "mode": "save" }));
    assert_eq!(handled.verified, Some(true), "{handled:?}");
}

#[test]
fn a_server_that_never_answers_and_one_that_is_not_there_are_named() {
    let hung = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = hung.local_addr().unwrap().to_string();
    let config =
        json!({ "redis_url": format!("redis://u:hunter2@{place}"), "timeout_seconds": 0.3 });
    let mut flusher = Flusher::start(config);
    let said = |answer: Answer| match answer {
        Answer::Failed(text) => text,
        Answer::Result(value) => Handled::read(&value).error.unwrap(),
        Answer::NotSupported => panic!("supported"),
    };
    let event = json!({ "event": { "type": "cloud.spot.interrupt" } });
    let hung_error = said(flusher.ask(Method::HandleEvent, event.clone()));
    drop(hung);
    let gone_error = said(flusher.ask(Method::HandleEvent, event));
    let unwell = said(flusher.ask(Method::Health, json!({})));
    for error in [hung_error, gone_error, unwell] {
        assert!(error.starts_with(&format!("cannot connect to Redis at `{place}`")), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

// S0-60
#[test]
fn the_flusher_says_who_it_is_and_leaves_other_events_alone() {
    let mut flusher = Flusher::start(json!({}));
    let Answer::Result(info) = flusher.ask(Method::Info, json!({})) else { panic!("no info") };
    assert_eq!(Info::read(&info).unwrap().name, "redis-flusher");
    let events = flusher.ask(Method::GetSupportedEvents, json!({})).supported_events().unwrap();
    assert!(events.contains(&"cloud.spot.interrupt".to_owned()));
    let event = json!({ "event": { "type": "system.disk.low" } });
    let Answer::Result(handled) = flusher.ask(Method::HandleEvent, event) else { panic!("failed") };
    assert_eq!(Handled::read(&handled), Handled::not_mine());
    assert_eq!(flusher.ask(Method::CheckIdle, json!({})), Answer::NotSupported);
}

/// A flusher as a child process; it ends with the value.
struct Flusher {
    child: Child,
    replies: BufReader<std::process::ChildStdout>,
}

impl Flusher {
    fn start(config: Value) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_redis-flusher"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let replies = BufReader::new(child.stdout.take().unwrap());
        let mut flusher = Self { child, replies };
        let configured = flusher.ask(Method::Configure, json!({ "config": config }));
        assert_eq!(configured.done(), Ok(()));
        flusher
    }

    fn ask(&mut self, method: Method, params: Value) -> Answer {
        let params: Map<String, Value> = params.as_object().unwrap().clone();
        let line = request_line(method, params, 1, false);
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        let mut reply = String::new();
        self.replies.read_line(&mut reply).unwrap();
        read_reply(reply.trim_end().as_bytes()).unwrap().answer
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A real server on a socket in a folder of its own; both go with the value.
struct Redis {
    child: Child,
    folder: TempDir,
    connection: Connection,
}

impl Redis {
    /// Starts one; `None` when the machine has none and need not have one.
    fn start(settings: &[&str]) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let Ok(mut child) = spawn(folder.path(), settings) else {
            let needed =
                std::env::vars().any(|(name, value)| name == "SNOOZE_FULL" && value == "1");
            assert!(!needed, "SNOOZE_FULL=1 needs redis-server");
            println!("not tested: redis-server is not installed");
            return None;
        };
        wait_until_ready(&mut child);
        let connection = connect(folder.path());
        Some(Self { child, folder, connection })
    }

    fn say(&mut self, words: &[&str]) {
        let (command, arguments) = words.split_first().unwrap();
        cmd(command).arg(arguments).exec(&mut self.connection).unwrap();
    }

    fn fill(&mut self, keys: usize) {
        (0..keys).for_each(|key| self.say(&["SET", &format!("k{key}"), "v"]));
    }

    fn keys(&mut self) -> u64 {
        cmd("DBSIZE").query(&mut self.connection).unwrap()
    }

    /// Has the flusher save this server for a notice, with these settings.
    fn flush(&self, mut config: Value) -> Handled {
        let socket = self.folder.path().join("redis.sock");
        let url = config.as_object_mut().unwrap().entry("redis_url");
        url.or_insert(json!(format!("unix://{}", socket.display())));
        let mut flusher = Flusher::start(config);
        let event = json!({ "type": "cloud.spot.interrupt", "data": { "timeRemaining": 60.5 } });
        match flusher.ask(Method::HandleEvent, json!({ "event": event })) {
            Answer::Result(value) => Handled::read(&value),
            other @ (Answer::Failed(_) | Answer::NotSupported) => panic!("{other:?}"),
        }
    }

    /// The same folder after `SIGKILL`, with a new server.
    fn killed_and_started_again(mut self, settings: &[&str]) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(self.folder.path(), settings).unwrap();
        wait_until_ready(&mut self.child);
        self.connection = connect(self.folder.path());
        self
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path, settings: &[&str]) -> std::io::Result<Child> {
    Command::new("redis-server")
        .args(["--port", "0", "--save", ""])
        .arg("--unixsocket")
        .arg(folder.join("redis.sock"))
        .arg("--dir")
        .arg(folder.join("data"))
        .args(settings)
        .stdout(Stdio::piped())
        .spawn()
}

/// Reads the log until the server says that it is ready, and lets somebody read the rest.
fn wait_until_ready(child: &mut Child) {
    let mut log = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("eady to accept connections") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "redis-server ended");
    }
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
}

fn connect(folder: &Path) -> Connection {
    let url = format!("unix://{}", folder.join("redis.sock").display());
    redis::Client::open(url).unwrap().get_connection().unwrap()
}
