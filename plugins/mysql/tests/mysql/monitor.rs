//! The idle voter.

use serde_json::json;
use snooze_plugin::Info;
use snooze_plugin::wire::{Answer, Method};

use crate::program::{MONITOR, Program};
use crate::server::{MariaDb, eventually};

// S1-19, S1-21, S1-69
#[test]
fn s1_21_the_monitor_counts_clients_and_names_both_numbers() {
    let Some(server) = MariaDb::start(&[]) else { return };
    let mut client = server.client();
    client.say("CREATE USER nobody_special");
    let config = json!({ "dsn": server.dsn("root"), "connection_threshold": 3 });
    let mut monitor = Program::start(MONITOR, &config);
    let _second = server.client();
    // The server still counts for a moment what was closed, the last vote's connection too.
    let mut counted = |clients: u64| {
        let mut vote = monitor.vote();
        eventually("all clients are counted, and no others", || {
            vote = monitor.vote();
            vote.details.get("connection_count") == Some(&json!(clients))
        });
        vote
    };
    let vote = counted(2);
    assert_eq!(vote.verdict.as_str(), "idle");
    assert_eq!(vote.reason, "MySQL has only 2 active connections (below threshold 3)");
    let asked = vote.details["last_query_timestamp"].as_i64().unwrap();
    let now: i64 = client.one("SELECT UNIX_TIMESTAMP()");
    assert!((now - 600..=now).contains(&asked), "{asked} and {now}");

    let _third = server.client();
    let vote = counted(3);
    assert_eq!(vote.verdict.as_str(), "busy");
    assert_eq!(vote.reason, "MySQL has 3 active connections (threshold 3)");

    // A user that sees no other sessions counts them nevertheless.
    let config = json!({
        "connection_string": server.dsn("nobody_special"), "connection_threshold": 1,
    });
    let vote = Program::start(MONITOR, &config).vote();
    assert_eq!(vote.verdict.as_str(), "busy", "none is below one");
    assert_eq!(vote.details.get("last_query_timestamp"), None);
}

#[test]
fn the_monitor_only_votes() {
    let config = json!({ "connection_threshold": 5, "dsn": "user:pass@tcp(127.0.0.1:1)/dbname" });
    let mut monitor = Program::start(MONITOR, &config);
    let Answer::Result(info) = monitor.ask(Method::Info, json!({})) else { panic!("no info") };
    assert_eq!(Info::read(&info).unwrap().name, "mysql-monitor");
    assert_eq!(monitor.ask(Method::HandleEvent, json!({ "event": {} })), Answer::NotSupported);
}
