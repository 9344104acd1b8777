//! The plugins as processes, against a real `redis-server` where there is one.
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
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use redis::{Connection, cmd};
use serde_json::{Map, Value, json};
use snooze_plugin::wire::{Answer, Method, read_reply, request_line};
use snooze_plugin::{Handled, Info, Verdict, Vote};
use tempfile::TempDir;

#[path = "redis/process.rs"]
mod process;

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
fn h4_bgsave_does_not_take_a_save_that_began_before_the_last_changes_for_its_own() {
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
fn h4_on_a_full_disk_nothing_is_called_saved_until_there_is_room() {
    let script = "mount -t tmpfs -o size=64k tmpfs \"$0\"; exec redis-server \"$@\"";
    let Some(mut redis) = Redis::start_as_root(&["unshare", "--mount"], script) else { return };
    redis.say(&["CONFIG", "SET", "save", "3600 1000000", "rdbcompression", "no"]);
    redis.say(&["SET", "large", &"x".repeat(200_000)]);
    let error = redis.flush(json!({})).error.unwrap();
    assert!(error.starts_with("the background save failed on Redis at"), "{error}");
    assert!(error.contains("disk is full"), "{error}");
    // Redis refuses writes since then, and the next flush is as honest.
    let refused = cmd("SET").arg("more").arg("1").exec(&mut redis.connection).unwrap_err();
    assert!(refused.to_string().contains("MISCONF"), "{refused}");
    assert!(redis.flush(json!({})).error.is_some());
    let data = redis.folder.path().join("data").display().to_string();
    let space = format!("--mount=/proc/{}/ns/mnt", redis.child.id());
    let mut more = Command::new("nsenter");
    more.args([&space, "mount", "-o", "remount,size=8m", &data]);
    assert!(more.status().unwrap().success());
    let handled = redis.flush(json!({}));
    assert_eq!((handled.error.as_ref(), handled.verified), (None, Some(true)));
    redis.say(&["SET", "more", "1"]);
}

#[test]
fn h4_where_redis_cannot_fork_it_saves_all_the_same() {
    let script = "data=$0; chown -R 61236:61236 \"${data%/*}\"; exec setpriv --reuid=61236 \
        --regid=61236 --clear-groups redis-server \"$@\"";
    let Some(mut redis) = Redis::start_as_root(&[], script) else { return };
    redis.fill(100);
    let mut limit = Command::new("setpriv");
    limit.args(["--reuid=61236", "--regid=61236", "--clear-groups", "prlimit", "--nproc=1:"]);
    limit.arg(format!("--pid={}", redis.child.id()));
    assert!(limit.status().unwrap().success());
    let refused = cmd("BGSAVE").exec(&mut redis.connection);
    assert!(refused.is_err(), "it cannot fork");
    let handled = redis.flush(json!({}));
    assert_eq!((handled.error.as_ref(), handled.verified), (None, Some(true)));
    assert_eq!(redis.killed_and_started_again(&[]).keys(), 100);
}

#[test]
fn a_save_that_takes_too_long_ends_at_the_limit_and_is_no_success() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    redis.fill(1000);
    redis.say(&["CONFIG", "SET", "rdb-key-save-delay", "60000"]);
    let begun = Instant::now();
    let handled = redis.flush(json!({ "mode": "bgsave", "timeout_seconds": 3 }));
    assert!(begun.elapsed().as_secs() < 30, "the save takes a minute");
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

#[test]
fn h4_replicas_have_all_data_or_the_save_is_not_called_verified() {
    let (main, replica) = (free_port(), free_port());
    let Some(mut main_one) = Redis::start(&["--port", &main]) else { return };
    let of = ["--replicaof", "127.0.0.1", &main, "--port", &replica];
    let mut copy = Redis::start(&of).unwrap();
    copy.until(|info| info.contains("master_link_status:up"));
    main_one.fill(100);
    let handled = main_one.flush(json!({ "wait_replicas": 1 }));
    assert_eq!((&handled.more["replicas"], handled.verified), (&json!(1), Some(true)));
    assert_eq!(copy.keys(), 100);
    let handled = copy.flush(json!({}));
    assert_eq!((&handled.more["role"], handled.verified), (&json!("slave"), Some(true)));

    copy.stop();
    main_one.fill(101);
    let handled = main_one.flush(json!({ "wait_replicas": 1, "timeout_seconds": 10 }));
    copy.go_on();
    assert_eq!((&handled.more["replicas"], handled.verified), (&json!(0), Some(false)));
    assert!(handled.handled && handled.degraded());
    assert_eq!(main_one.killed_and_started_again(&["--port", &main]).keys(), 101);
}

#[test]
fn a_node_of_a_cluster_saves_its_part() {
    let port = free_port();
    let settings = ["--port", &port, "--cluster-enabled", "yes"];
    let Some(mut node) = Redis::start(&settings) else { return };
    node.say(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    node.until(|info| info.contains("cluster_enabled:1"));
    wait(|| node.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
    node.fill(10);
    let handled = node.flush(json!({}));
    assert_eq!((&handled.more["cluster"], handled.verified), (&json!(true), Some(true)));
    assert_eq!(node.killed_and_started_again(&settings).keys(), 10);
}

#[test]
fn a_user_needs_few_rights_and_is_told_which_are_missing() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    redis.fill(3);
    redis.say(&["ACL", "SETUSER", "saver", "on", ">hunter2", "+info", "+time", "+bgsave"]);
    redis.say(&["ACL", "SETUSER", "looker", "on", ">hunter2", "+info", "+time"]);
    let socket = redis.folder.path().join("redis.sock");
    let url = |user: &str| format!("unix://{}?user={user}&pass=hunter2", socket.display());
    let handled = redis.flush(json!({ "redis_url": url("saver") }));
    assert_eq!(handled.verified, Some(true), "{handled:?}");
    redis.fill(4);
    let error = redis.flush(json!({ "redis_url": url("looker") })).error.unwrap();
    assert!(error.contains("`BGSAVE` failed") && error.contains("no permissions"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn tls_trusts_the_named_authority_and_nobody_else() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    certificates(folder.path());
    let port = free_port();
    let (cert, key, ca) = (path("server.pem"), path("server.key"), path("ca.pem"));
    let settings = [
        "--tls-port",
        &port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "yes",
    ];
    let Some(mut redis) = Redis::start(&settings) else { return };
    redis.fill(5);
    let url = format!("rediss://127.0.0.1:{port}");
    let (cert, key) = (path("client.pem"), path("client.key"));
    let mut config = json!({ "redis_url": url, "ca_file": ca, "cert_file": cert, "key_file": key });
    let handled = redis.flush(config.clone());
    assert_eq!(handled.verified, Some(true), "{handled:?}");
    config["ca_file"] = json!(path("other.pem"));
    let error = redis.flush(config.clone()).error.unwrap();
    assert!(
        error.starts_with("cannot connect to Redis at") && error.contains("certificate"),
        "{error}"
    );
    // Without a certificate of its own it is Redis that refuses.
    let error = redis.flush(json!({ "redis_url": url, "ca_file": ca })).error.unwrap();
    assert!(error.contains("certificate") || error.contains("Redis at"), "{error}");
}

#[test]
fn a_dry_run_tells_what_there_is_to_save_and_saves_nothing() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    redis.fill(7);
    let handled = redis.flush(json!({ "dry_run": true }));
    assert_eq!(handled.status.as_deref(), Some("redis_would_be_saved"));
    assert_eq!((handled.verified, &handled.more["changes"]), (None, &json!(7)));
    assert_eq!(redis.killed_and_started_again(&[]).keys(), 0);
}

// S0-70
#[test]
fn s0_70_under_load_no_write_that_was_acknowledged_before_the_save_is_lost() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicU64::new(0));
    let writer = {
        let (stop, written) = (stop.clone(), written.clone());
        let mut connection = connect(redis.folder.path());
        thread::spawn(move || {
            for number in 0.. {
                let set = cmd("SET").arg(format!("w{number}")).arg("v").exec(&mut connection);
                if stop.load(SeqCst) || set.is_err() {
                    return;
                }
                written.store(number + 1, SeqCst);
            }
        })
    };
    wait(|| written.load(SeqCst) > 1000);
    let acknowledged = written.load(SeqCst);
    let handled = redis.flush(json!({}));
    assert_eq!(handled.verified, Some(true), "{handled:?}");
    // The server is killed while the writer still writes.
    redis.child.kill().unwrap();
    stop.store(true, SeqCst);
    writer.join().unwrap();
    let mut redis = redis.killed_and_started_again(&[]);
    assert!(redis.keys() >= acknowledged, "{} of {acknowledged}", redis.keys());
    let lost = (0..acknowledged).find(|n| redis.ask_number(&["EXISTS", &format!("w{n}")]) == 0);
    assert_eq!(lost, None);
    redis.say(&["SET", "after", "1"]);
}

// S0-70
#[test]
fn s0_70_a_flusher_that_is_killed_leaves_the_server_as_it_was() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    redis.fill(1000);
    redis.say(&["CONFIG", "SET", "rdb-key-save-delay", "5000"]);
    let socket = redis.folder.path().join("redis.sock");
    let config = json!({ "redis_url": format!("unix://{}", socket.display()) });
    let mut flusher = Flusher::start(config);
    flusher.tell(Method::HandleEvent, json!({ "event": { "type": "cloud.spot.interrupt" } }));
    redis.until(|info| info.contains("rdb_bgsave_in_progress:1"));
    drop(flusher);
    redis.say(&["SET", "still", "writes"]);
    redis.until(|info| {
        info.contains("rdb_bgsave_in_progress:0") && info.contains("rdb_last_bgsave_status:ok")
    });
    assert_eq!(redis.killed_and_started_again(&[]).keys(), 1000);
}

// S1-23, S1-69
#[test]
fn the_monitor_counts_connections_and_cannot_tell_without_a_server() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let url = format!("unix://{}", redis.folder.path().join("redis.sock").display());
    let mut vote = |config: Value| {
        // The monitor before it may not be gone yet.
        redis.until(|info| info.contains("connected_clients:1\r"));
        let mut monitor = Flusher::of(env!("CARGO_BIN_EXE_redis-monitor"), config);
        Vote::of(&monitor.ask(Method::CheckIdle, json!({ "metrics": {} }))).unwrap()
    };
    // The test's own connection, and the monitor's.
    let idle = vote(json!({ "redis_url": url, "connection_threshold": 3 }));
    assert_eq!(idle.verdict, Verdict::Idle);
    assert_eq!(idle.reason, "Redis has only 2 connections (below threshold 3)");
    assert_eq!(idle.details["connection_count"], 2);
    let busy = vote(json!({ "redis_url": url, "connection_threshold": 2 }));
    assert_eq!(
        (busy.verdict, busy.reason.as_str()),
        (Verdict::Busy, "Redis has 2 connections (threshold 2)")
    );
    let gone = vote(json!({ "redis_url": "redis://127.0.0.1:1" }));
    assert_eq!(gone.verdict, Verdict::Unknown);
    assert!(gone.reason.starts_with("cannot connect to Redis at `127.0.0.1:1`"), "{}", gone.reason);
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
        Self::of(env!("CARGO_BIN_EXE_redis-flusher"), config)
    }

    fn of(program: &str, config: Value) -> Self {
        let mut child =
            Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let replies = BufReader::new(child.stdout.take().unwrap());
        let mut flusher = Self { child, replies };
        let configured = flusher.ask(Method::Configure, json!({ "config": config }));
        assert_eq!(configured.done(), Ok(()));
        flusher
    }

    fn tell(&mut self, method: Method, params: Value) {
        let params: Map<String, Value> = params.as_object().unwrap().clone();
        let line = request_line(method, params, 1, false);
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    }

    fn ask(&mut self, method: Method, params: Value) -> Answer {
        self.tell(method, params);
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
        let child = process::start(folder.path(), settings)?;
        let connection = connect(folder.path());
        Some(Self { child, folder, connection })
    }

    /// Starts one by a shell script, in which `$0` is the folder of its data and `"$@"` its
    /// arguments; `None` where that needs root.
    fn start_as_root(around: &[&str], script: &str) -> Option<Self> {
        let may = Command::new("unshare").args(["--mount", "true"]).stderr(Stdio::null()).status();
        let id = Command::new("id").arg("-u").output().unwrap();
        if id.stdout != b"0\n" || !may.is_ok_and(|status| status.success()) {
            println!("skipped: needs root");
            return None;
        }
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        let words = [around, &["sh", "-ec", script]].concat();
        let (program, rest) = words.split_first()?;
        let mut by = Command::new(program);
        by.args(rest).arg(data);
        let child = process::start_by(by, folder.path(), &[])?;
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

    fn ask(&mut self, words: &[&str]) -> String {
        let (command, arguments) = words.split_first().unwrap();
        cmd(command).arg(arguments).query(&mut self.connection).unwrap()
    }

    fn ask_number(&mut self, words: &[&str]) -> u64 {
        let (command, arguments) = words.split_first().unwrap();
        cmd(command).arg(arguments).query(&mut self.connection).unwrap()
    }

    fn keys(&mut self) -> u64 {
        self.ask_number(&["DBSIZE"])
    }

    /// Waits until `INFO` says so.
    fn until(&mut self, is_so: impl Fn(&str) -> bool) {
        wait(|| is_so(&self.ask(&["INFO"])));
    }

    /// Has it answer nobody, until it goes on.
    fn stop(&self) {
        self.signal("STOP");
    }

    fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
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
        self.child = process::start(self.folder.path(), settings).unwrap();
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

/// Waits until it is so, half a minute at most.
#[expect(clippy::disallowed_methods, reason = "a poll, bounded by the count")]
fn wait(mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("it did not come");
}

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

/// Certificates for a server and a client, by an authority; and an authority that signed neither.
fn certificates(folder: &Path) {
    let authority = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        std::fs::write(folder.join(format!("{name}.pem")), params.self_signed(&key).unwrap().pem())
            .unwrap();
        Issuer::new(params, key)
    };
    let (ca, _other) = (authority("ca"), authority("other"));
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let cert = params.signed_by(&key, &ca).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), cert.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

fn connect(folder: &Path) -> Connection {
    let url = format!("unix://{}", folder.join("redis.sock").display());
    redis::Client::open(url).unwrap().get_connection().unwrap()
}
