//! Who holds the lock, and until when.

use std::time::{Duration, Instant};

use serde_json::json;
use snooze_plugin::wire::Method;

use crate::program::{FLUSHER, Program, notice};
use crate::server::{Client, MariaDb, eventually};

/// Which connection the flusher has.
const HOLDER: &str = "SELECT IS_USED_LOCK('cloudsnooze.mysql-flusher')";

// D-20
#[test]
fn the_lock_is_held_by_the_session_of_the_flusher_until_it_is_let_go() {
    let Some(server) = MariaDb::start(&[]) else { return };
    let mut client = server.client();
    client.make_tables();
    let config = json!({ "dsn": server.dsn("root"), "hold": "deadline" });
    let mut undo = notice(60.0);
    undo["data"]["phase"] = json!("undo");

    let mut flusher = hold(&config, &mut client);
    let id: i64 = client.one(HOLDER);
    let what: (String, String) = client
        .one(&format!("SELECT USER, COMMAND FROM information_schema.PROCESSLIST WHERE ID = {id}"));
    assert_eq!(what, ("root".to_owned(), "Sleep".to_owned()), "one session that does nothing");
    assert_eq!(flusher.ask(Method::Shutdown, json!({})).done(), Ok(()));
    assert!(client.can_write(), "after the shutdown of the flusher");

    let mut flusher = hold(&config, &mut client);
    let handled = flusher.handle(undo.clone());
    assert_eq!(handled.status.as_deref(), Some("mysql_released"), "{handled:?}");
    assert!(client.can_write(), "after its own undo");

    let _holder = hold(&config, &mut client);
    let id: i64 = client.one(HOLDER);
    let handled = Program::start(FLUSHER, &config).handle(undo);
    assert_eq!(handled.more["ended_connection"], id, "{handled:?}");
    assert!(client.can_write(), "after the undo of another process");

    let mut flusher = hold(&config, &mut client);
    assert_eq!(flusher.flush().more["lock_held"], true, "again, and it is still held");
    assert!(!client.can_write());
    let handled = flusher.handle(json!({ "type": "cloud.spot.rebalance" }));
    assert_eq!((handled.verified, &handled.more["lock_held"]), (Some(true), &json!(true)));
    assert!(!client.can_write(), "after news that takes nothing away");
    drop(flusher);
    eventually("the lock of a killed flusher is gone", || client.can_write());
}

#[test]
fn an_instance_that_lives_on_gets_its_server_back_by_itself() {
    let Some(server) = MariaDb::start(&[]) else { return };
    let mut client = server.client();
    client.make_tables();
    let config = json!({
        "dsn": server.dsn("root"), "hold": "deadline", "read_only": true, "timeout_seconds": 30,
        "release_after_seconds": 0,
    });
    let mut flusher = Program::start(FLUSHER, &config);
    let begun = Instant::now();
    let handled = flusher.handle(notice(8.0));
    assert_eq!((&handled.error, handled.verified), (&None, Some(true)), "{handled:?}");
    assert_eq!(handled.more["lock_held"], true);
    eventually("the lock is released", || client.can_write());
    assert!(begun.elapsed() >= Duration::from_secs(8), "and not before the deadline");
    eventually("writes are not refused", || client.one::<i64>("SELECT @@GLOBAL.read_only") == 0);
}

#[test]
fn two_flushers_do_not_flush_one_server_at_a_time() {
    let Some(server) = MariaDb::start(&[]) else { return };
    let mut client = server.client();
    client.make_tables();
    let config = json!({ "dsn": server.dsn("root"), "hold": "deadline", "lock_wait_seconds": 1 });
    let _holder = hold(&config, &mut client);
    let id: i64 = client.one(HOLDER);
    let error = Program::start(FLUSHER, &config).flush().error.unwrap();
    assert!(error.starts_with(&format!("another session of this program (connection {id})")));
}

#[test]
fn read_only_refuses_writes_while_the_instance_goes_and_is_undone_when_it_does_not() {
    let Some(server) = MariaDb::start(&[]) else { return };
    let mut root = server.client();
    root.make_tables();
    root.say("CREATE USER app");
    root.say("GRANT ALL ON d.* TO app");
    let mut app = server.client_as("app").unwrap();
    let config = json!({ "dsn": server.dsn("root"), "read_only": true });
    let mut undo = notice(60.0);
    undo["data"]["phase"] = json!("undo");

    let mut flusher = Program::start(FLUSHER, &config);
    let handled = flusher.flush();
    assert_eq!((&handled.error, handled.verified), (&None, Some(true)), "{handled:?}");
    assert_eq!(handled.more["read_only"], true);
    let refused = app.try_to("INSERT INTO d.t (v) VALUES (1)").unwrap_err().to_string();
    assert!(refused.contains("--read-only"), "{refused}");
    assert!(root.can_write(), "root writes nevertheless, as the page of the plugin says");
    assert_eq!(flusher.ask(Method::Shutdown, json!({})).done(), Ok(()));
    app.say("INSERT INTO d.t (v) VALUES (1)");

    let mut flusher = Program::start(FLUSHER, &config);
    assert_eq!(flusher.flush().more["read_only"], true);
    drop(flusher);
    assert!(app.try_to("INSERT INTO d.t (v) VALUES (1)").is_err(), "a killed one undoes nothing");
    let handled = Program::start(FLUSHER, &config).handle(undo);
    assert_eq!(handled.status.as_deref(), Some("mysql_released"), "{handled:?}");
    app.say("INSERT INTO d.t (v) VALUES (1)");

    root.say("SET GLOBAL read_only = 1");
    let mut flusher = Program::start(FLUSHER, &config);
    assert_eq!(flusher.flush().more["read_only"], false, "it was so before");
    drop(flusher);
    assert_eq!(root.one::<i64>("SELECT @@GLOBAL.read_only"), 1);
}

/// A flusher that holds the lock.
fn hold(config: &serde_json::Value, client: &mut Client) -> Program {
    let mut flusher = Program::start(FLUSHER, config);
    let handled = flusher.flush();
    assert_eq!((&handled.error, handled.verified), (&None, Some(true)), "{handled:?}");
    assert_eq!(handled.more["lock_held"], true);
    assert!(!client.can_write(), "the lock is held");
    flusher
}
