//! What a flush saves, and what it says of it.

use serde_json::json;
use snooze_plugin::wire::{Answer, Method};
use snooze_plugin::{Handled, Info};

use crate::program::{FLUSHER, Program, notice};
use crate::server::{MariaDb, eventually};

// S0-18, S0-59, D-20
#[test]
fn s0_59_the_flush_writes_all_tables_and_says_so() {
    let Some(server) = MariaDb::start(&["--delay-key-write=ALL"]) else { return };
    let mut client = server.client();
    client.make_tables();
    client.say("INSERT INTO d.t (v) SELECT seq FROM d.seq_1_to_5000");
    client.say("INSERT INTO d.m (v) VALUES (1)");
    client.say("INSERT INTO d.m (v) VALUES (2), (3)");
    assert_ne!(client.status("Key_blocks_not_flushed"), "0", "there is something to write");
    let before: (String, u64, String, String) = client.one("SHOW MASTER STATUS");
    let mut flusher = Program::start(FLUSHER, &json!({ "connection_string": server.dsn("root") }));
    let handled = flusher.flush();
    assert_eq!(handled.status.as_deref(), Some("mysql_flushed"), "{handled:?}");
    assert_eq!((handled.handled, handled.verified, &handled.error), (true, Some(true), &None));
    assert_eq!(handled.more["tables_flushed"], true);
    assert_eq!(handled.more["saved"], json!(["tables", "binary_logs", "engine_logs"]));
    assert_eq!(handled.more["lock_held"], false);
    assert_eq!(handled.more["sync_binlog"], 0);
    assert_eq!(handled.more["innodb_flush_log_at_trx_commit"], 1);
    assert_eq!(handled.more["durable_commits"], false, "the binary log is not");
    assert!(handled.more["seconds"].as_f64().unwrap() > 0.0);
    assert_ne!(handled.more["binlog_file"], before.0.as_str(), "a new file began");
    assert_eq!(client.status("Key_blocks_not_flushed"), "0");
    assert!(client.can_write());
}

#[test]
fn a_drill_says_what_would_be_done_and_does_nothing() {
    let Some(server) = MariaDb::start(&[]) else { return };
    let mut client = server.client();
    let mut drill = notice(60.0);
    drill["data"]["drill"] = json!(true);
    let base = json!({ "dsn": server.dsn("root"), "hold": "deadline", "read_only": true });
    let mut dry = base.clone();
    dry["dry_run"] = json!(true);
    for (config, event) in [(base, drill), (dry, notice(60.0))] {
        let handled = Program::start(FLUSHER, &config).handle(event);
        assert_eq!(handled.status.as_deref(), Some("dry_run"), "{handled:?}");
        assert_eq!(
            handled.more["would"],
            json!([
                "SET GLOBAL read_only = 1",
                "FLUSH TABLES WITH READ LOCK",
                "FLUSH LOCAL BINARY LOGS",
                "FLUSH LOCAL ENGINE LOGS"
            ])
        );
        assert_eq!(handled.more["would_hold"], true);
        assert_eq!(handled.more["durable_commits"], false);
    }
    assert_eq!(client.status("Com_flush"), "0");
    assert_eq!(client.one::<i64>("SELECT @@GLOBAL.read_only"), 0);
    stops_are_rehearsed_too(&server);
}

fn stops_are_rehearsed_too(server: &MariaDb) {
    let config = json!({
        "dsn": server.dsn("root"), "strategy": "fast-stop", "innodb_fast_shutdown": 0,
        "dry_run": true,
    });
    let would = Program::start(FLUSHER, &config).flush().more["would"].clone();
    let end = would.as_array().unwrap().iter().rev().take(2).collect::<Vec<_>>();
    assert_eq!(end, ["SHUTDOWN", "SET GLOBAL innodb_fast_shutdown = 0"]);
}

// H3, D-20
#[test]
fn h3_a_lock_that_waits_for_a_long_statement_is_given_up_and_no_write_waits_on() {
    let Some(server) = MariaDb::start(&[]) else { return };
    let mut client = server.client();
    client.make_tables();
    client.say("INSERT INTO d.t (v) VALUES (1)");
    client.say("CREATE TABLE d.other LIKE d.t");
    let mut long = server.client();
    let id: i64 = long.one("SELECT CONNECTION_ID()");
    let updating = std::thread::spawn(move || long.try_to("UPDATE d.t SET v = SLEEP(600)"));
    let state = format!(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = {id} \
                         AND STATE = 'User sleep'"
    );
    eventually("the long statement runs", || client.one::<i64>(&state) == 1);

    let config = json!({ "dsn": server.dsn("root"), "lock_wait_seconds": 1, "hold": "deadline" });
    let handled = Program::start(FLUSHER, &config).flush();
    assert_eq!(handled.status.as_deref(), Some("mysql_logs_flushed"), "{handled:?}");
    assert_eq!(handled.more["tables_flushed"], false);
    assert_eq!(handled.more["lock_held"], false);
    assert_eq!(handled.more["saved"], json!(["binary_logs", "engine_logs"]));
    let error = handled.error.unwrap();
    assert!(error.starts_with("`FLUSH TABLES WITH READ LOCK` was given up after 1 s"), "{error}");

    client.say("SET SESSION lock_wait_timeout = 1");
    client.say("INSERT INTO d.other (v) VALUES (1)");
    let waiting = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting \
                   for%lock%'";
    assert_eq!(client.one::<i64>(waiting), 0, "nothing waits");

    let config = json!({ "dsn": server.dsn("root"), "timeout_seconds": 0.5 });
    let error = Program::start(FLUSHER, &config).flush().error.unwrap();
    assert!(error.contains("in time"), "{error}");
    eventually("a flush that was late waits no longer", || client.one::<i64>(waiting) == 0);
    client.say("INSERT INTO d.other (v) VALUES (1)");
    client.say(&format!("KILL {id}"));
    assert!(updating.join().unwrap().is_err());
}

#[test]
fn without_a_time_at_which_the_instance_goes_nothing_is_held_or_stopped() {
    let Some(server) = MariaDb::start(&[]) else { return };
    let mut client = server.client();
    client.make_tables();
    let holding = json!({ "dsn": server.dsn("root"), "hold": "deadline", "read_only": true });
    let stopping = json!({ "dsn": server.dsn("root"), "strategy": "fast-stop" });
    for (kind, config) in [
        ("cloud.spot.rebalance", &holding),
        ("cloud.spot.rebalance", &stopping),
        ("instance.idle", &holding),
        ("custom.deploy", &stopping),
    ] {
        let mut flusher = Program::start(FLUSHER, config);
        let handled = flusher.handle(json!({ "type": kind }));
        assert_eq!(handled.status.as_deref(), Some("mysql_flushed"), "{handled:?}");
        assert_eq!(handled.more["lock_held"], false);
        assert!(client.can_write(), "while the flusher lives");
        assert_eq!(client.one::<i64>("SELECT @@GLOBAL.read_only"), 0);
    }
}

#[test]
fn a_checkpoint_leaves_little_to_recover() {
    let Some(server) = MariaDb::start(&[]) else { return };
    let mut client = server.client();
    client.make_tables();
    client.say("INSERT INTO d.t (v) SELECT seq FROM d.seq_1_to_20000");
    let recovery = |config: serde_json::Value| {
        let handled = Program::start(FLUSHER, &config).flush();
        assert_eq!((handled.verified, &handled.error), (Some(true), &None), "{handled:?}");
        handled.more["recovery_log_bytes"].as_u64().unwrap()
    };
    let without = recovery(json!({ "dsn": server.dsn("root"), "strategy": "logs" }));
    let with =
        recovery(json!({ "dsn": server.dsn("root"), "strategy": "logs", "checkpoint": true }));
    assert!(without > 100_000 && with < 10_000, "{without} and {with} bytes");
}

// S0-60
#[test]
fn the_flusher_says_who_it_is_and_leaves_other_events_alone() {
    let mut flusher = Program::start(FLUSHER, &json!({ "dsn": "u:p@tcp(127.0.0.1:1)/" }));
    let Answer::Result(info) = flusher.ask(Method::Info, json!({})) else { panic!("no info") };
    assert_eq!(Info::read(&info).unwrap().name, "mysql-flusher");
    let events = flusher.ask(Method::GetSupportedEvents, json!({})).supported_events().unwrap();
    assert!(events.contains(&"cloud.spot.interrupt".to_owned()));
    let handled = flusher.handle(json!({ "type": "system.cpu.high" }));
    assert_eq!(handled, Handled::not_mine());
    assert_eq!(flusher.ask(Method::CheckIdle, json!({})), Answer::NotSupported);
}
