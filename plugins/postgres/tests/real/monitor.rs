//! The vote.

use serde_json::{Value, json};
use snooze_plugin::wire::{Answer, Method};
use snooze_plugin::{Info, Metrics, Verdict, Vote};

use crate::program::Program;
use crate::server::Server;
use crate::sql::Sql;

fn vote(config: Value) -> Vote {
    let params = json!({ "metrics": Metrics::default().to_value() });
    Vote::of(&Program::monitor(config).ask(Method::CheckIdle, params)).unwrap()
}

// S1-19, S1-21, S1-23, S1-69
#[test]
fn the_monitor_votes_idle_below_the_threshold_and_names_both_numbers() {
    let Some(server) = Server::start(&["autovacuum=off"]) else { return };
    server.sql().tell("CREATE ROLE plain LOGIN");
    let config = |more: Value| {
        let mut all = json!({ "dsn": server.words() });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let clients: Vec<Sql> = (0..3).map(|_| server.sql()).collect();
    clients[1].tell("BEGIN");
    let vote = |config| {
        // The monitor before it may not be gone yet.
        clients[0].wait_until(
            "SELECT count(*) = 3 FROM pg_stat_activity WHERE backend_type = 'client backend'",
        );
        vote(config)
    };
    let idle = vote(config(json!({})));
    assert_eq!(idle.verdict, Verdict::Idle);
    assert_eq!(idle.reason, "PostgreSQL has only 3 connections (below threshold 5)");
    assert_eq!(idle.details["connection_count"], 3);
    let last = idle.details["last_query_timestamp"].as_str().unwrap();
    assert!(last.parse::<jiff::Timestamp>().is_ok(), "{last}");
    let busy = vote(config(json!({ "connection_threshold": 3 })));
    assert_eq!(busy.verdict, Verdict::Busy);
    assert_eq!(busy.reason, "PostgreSQL has 3 connections (threshold 3)");
    let active = vote(config(json!({ "connection_threshold": 1, "active_only": true })));
    assert_eq!(active.reason, "PostgreSQL has 1 active connections (threshold 1)");
    // A role that sees less counts as much, and takes what it does not see for active.
    let words = format!("host={} user=plain dbname=postgres", server.folder.path().display());
    let plain = vote(json!({ "dsn": words, "connection_threshold": 3, "active_only": true }));
    assert_eq!(plain.reason, "PostgreSQL has 3 active connections (threshold 3)");
    drop(clients);
}

#[test]
fn a_monitor_that_cannot_ask_does_not_know() {
    let unknown = vote(json!({ "dsn": "postgres://u:hunter2@127.0.0.1:1/d" }));
    assert_eq!(unknown.verdict, Verdict::Unknown);
    assert!(unknown.reason.starts_with("cannot connect to PostgreSQL at `127.0.0.1:1`"));
    assert!(!unknown.reason.contains("hunter2"));
    let mut monitor = Program::monitor(json!({}));
    let Answer::Result(info) = monitor.ask(Method::Info, json!({})) else { panic!("no info") };
    assert_eq!(Info::read(&info).unwrap().name, "postgres-monitor");
    assert_eq!(monitor.ask(Method::HandleEvent, json!({})), Answer::NotSupported);
}
