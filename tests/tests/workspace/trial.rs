//! The official plugins, listed and judged by the command: with the real thing that each acts on
//! where this machine has it, and otherwise without.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::{Value, json};
use snooze_tests::setup::Setup;
use snooze_tests::{place, programs, wait};
use snoozed::builtins;
use tempfile::TempDir;

use super::official::names;

#[path = "../../../plugins/postgres/tests/real/cluster.rs"]
mod cluster;
#[path = "../../../plugins/mysql/tests/mysql/process.rs"]
mod mariadb;
#[path = "../../../plugins/redis/tests/redis/process.rs"]
mod redis;

/// How many times as long as the contract says an answer may take here.
const PATIENCE: &str = "20";

/// What only needs to be there for the plugin's own work: what it does with it is tested with the
/// plugin.
const UNTRIED: [&str; 4] = ["Health", "HandleEvent", "dry_run", "Health after that"];

#[test]
fn plugin_list_shows_all_official_plugins() {
    let mut setup = Setup::new();
    let official = names();
    assert!(official.len() >= 15, "{official:?}");
    for name in official.iter().filter(|name| !is_builtin(name)) {
        place::install(&programs::path(name), &setup.path("plugins").join(name), None);
    }
    setup.policy("save", json!([{ "plugin": "volume-sync", "priority": 50 }]));
    let daemon = setup.start();
    let snooze = |args: &[&str]| {
        let mut snooze = Command::new(programs::path("snooze"));
        place::output(snooze.arg("--socket").arg(setup.path("run/snoozed.sock")).args(args))
    };
    wait::until("the handler to be ready", || {
        snooze(&["plugin", "list"]).contains(" ready ").then_some(())
    });
    let listed: Value = serde_json::from_str(&snooze(&["--json", "plugin", "list"])).unwrap();
    let found = listed["found"].as_array().unwrap().iter();
    let mut found: Vec<&str> = found.map(|found| found["name"].as_str().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, official);
    assert_eq!(listed["refused"], json!([]), "none is refused");
    let table = snooze(&["plugin", "list"]);
    for name in &official {
        let kind = if is_builtin(name) { "built-in" } else { "external" };
        let line = table.lines().find(|line| line.split(' ').next() == Some(name));
        assert!(line.is_some_and(|line| line.contains(kind)), "{name}: {table}");
    }
    drop(daemon);
}

#[test]
fn plugin_test_finds_no_fault_with_an_official_plugin() {
    let folder = TempDir::new().unwrap();
    let services = Services::start(folder.path());
    let mut untried = Vec::new();
    for name in names() {
        let Trial { config, has_service } = services.trial(&name, folder.path());
        let program = if is_builtin(&name) {
            name.clone().into()
        } else {
            let program = folder.path().join("plugins").join(&name);
            // The database-flusher looks for the others beside it.
            place::install(&programs::path(&name), &program, None);
            program.into_os_string()
        };
        if name == "database-flusher" {
            let beside = folder.path().join("plugins/redis-flusher");
            place::install(&programs::path("redis-flusher"), &beside, None);
        }
        let mut snooze = Command::new(programs::path("snooze"));
        snooze.args(["--json", "plugin", "test", "--patience", PATIENCE]);
        snooze.arg("--config").arg(config.to_string()).arg(program);
        if !has_service {
            snooze.arg("--without-service");
        }
        let output = snooze.output().unwrap();
        let judged: Value = serde_json::from_slice(&output.stdout).unwrap();
        let points = judged["points"].as_array().unwrap();
        let with = |verdict: &str| -> Vec<&Value> {
            points.iter().filter(|point| point["verdict"] == verdict).collect()
        };
        assert!(output.status.success(), "{name}: {:#?}", with("FAIL"));
        assert!(with("ok").len() >= 14, "{name}: {points:#?}");
        for point in with("skip") {
            let text = point["text"].as_str().unwrap();
            assert!(UNTRIED.contains(&point["point"].as_str().unwrap()), "{name}: {point}");
            assert!(text.len() > 20, "{name}: an error tells what is missing: {point}");
            untried.push(format!("{name}: {}: {text}", point["point"].as_str().unwrap()));
        }
    }
    println!("not tried:\n{}", untried.join("\n"));
}

fn is_builtin(name: &str) -> bool {
    builtins::NAMES.contains(&name)
}

/// What a plugin is tried with.
struct Trial {
    config: Value,
    /// What it acts on is here.
    has_service: bool,
}

/// What the official plugins act on. All of it ends with the value.
struct Services {
    postgres: Option<(Running, TempDir)>,
    mariadb: Option<(Running, TempDir)>,
    redis: Option<(Running, TempDir)>,
    web: String,
    process: Running,
}

impl Services {
    fn start(folder: &Path) -> Self {
        let redis = TempDir::new().unwrap();
        let redis = redis::start(redis.path(), &[]).map(|child| (Running(child), redis));
        let mariadb = mariadb::copy().map(|folder| {
            let running = Running(mariadb::spawn(folder.path(), &[]));
            wait::until("MariaDB", || UnixStream::connect(folder.path().join("s")).ok());
            (running, folder)
        });
        let postgres = cluster::copy().map(|folder| {
            let running = Running(cluster::spawn(folder.path(), &[]));
            wait::until("PostgreSQL", || {
                let mut ready = cluster::command("pg_isready");
                let ready = ready.arg("-h").arg(folder.path()).stdout(Stdio::null()).status();
                ready.is_ok_and(|ready| ready.success()).then_some(())
            });
            (running, folder)
        });
        place::install("/dev/stdin".as_ref(), &folder.join("script"), Some("#!/bin/sh\n"));
        // It saves when it is told to, and goes on.
        let script = "trap 'echo saved >marker.new; mv marker.new marker' USR1; \
                      while :; do sleep 0.05; done";
        let mut process = Command::new("sh");
        process.args(["-c", script]).current_dir(folder);
        let process = Running(process.spawn().unwrap());
        fs::write(folder.join("pid"), format!("{}\n", process.0.id())).unwrap();
        Self { postgres, mariadb, redis, web: web(), process }
    }

    fn trial(&self, name: &str, folder: &Path) -> Trial {
        let path = |file: &str| folder.join(file).display().to_string();
        let at = |service: &Option<(Running, TempDir)>, config: fn(&str) -> Value| {
            let place = service.as_ref().map(|(_, folder)| folder.path().display().to_string());
            let has_service = place.is_some();
            Trial {
                config: config(&place.unwrap_or_else(|| "/nonexistent".to_owned())),
                has_service,
            }
        };
        let here = |config: Value| Trial { config, has_service: true };
        assert!(self.process.0.id() > 0);
        match name {
            "postgres-flusher" => at(
                &self.postgres,
                |folder| json!({ "connection_string": format!("host={folder} user=postgres dbname=postgres") }),
            ),
            "postgres-monitor" => at(
                &self.postgres,
                |folder| json!({ "dsn": format!("host={folder} user=postgres dbname=postgres") }),
            ),
            "mysql-flusher" | "mysql-monitor" => at(
                &self.mariadb,
                |folder| json!({ "connection_string": format!("root@unix({folder}/s)/") }),
            ),
            "redis-flusher" | "redis-monitor" => at(
                &self.redis,
                |folder| json!({ "redis_url": format!("unix://{folder}/redis.sock") }),
            ),
            "database-flusher" => at(&self.redis, |folder| {
                let url = format!("unix://{folder}/redis.sock");
                json!({ "db_type": "redis", "connection_string": url })
            }),
            "spot-interrupt-handler" => here(json!({ "shutdown_script_path": path("script") })),
            "app-checkpointer" => here(json!({ "app_endpoint": self.web })),
            "webhook-notifier" => here(json!({ "url": self.web })),
            "slack-notifier" => here(json!({ "webhook_url": self.web })),
            "volume-sync" => here(json!({ "paths": [folder] })),
            "unit-stopper" => here(json!({ "pid_file": path("pid") })),
            "signal-checkpoint" => {
                here(json!({ "pid_file": path("pid"), "marker_file": path("marker") }))
            }
            // Whether their service works here is more than can be told.
            "criu-checkpointer" => Trial {
                config: json!({ "pid_file": path("pid"), "images_directory": folder }),
                has_service: false,
            },
            "container-stopper" | "slurm-requeue" => {
                Trial { config: json!({}), has_service: false }
            }
            // No server of MongoDB can be had from the packages that the tests install.
            "mongodb-flusher" => Trial { config: json!({}), has_service: false },
            // Their service is AWS: the tests of the stack let them act on it.
            "directory-syncer" => Trial {
                config: json!({ "directory": folder, "bucket": "backups", "region": "us-east-1" }),
                has_service: false,
            },
            "sns-notifier" => Trial {
                config: json!({ "topic_arn": "arn:aws:sns:us-east-1:123456789012:news" }),
                has_service: false,
            },
            other => panic!("{other}: say what it is tried with"),
        }
    }
}

/// A process that ends with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A web server that takes whatever it is sent, until this process ends; its address.
fn web() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut request = Vec::new();
                let mut part = [0; 4096];
                while !is_whole(&request) {
                    let Ok(length @ 1..) = stream.read(&mut part) else { return };
                    request.extend(part.get(..length).unwrap_or_default());
                }
                let body = r#"{"success":true}"#;
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                     content-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
            });
        }
    });
    url
}

/// The request has come with all of its body.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    body.len() >= length.unwrap_or(0)
}
