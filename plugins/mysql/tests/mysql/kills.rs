//! What is left when the server, or the flusher, is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;

use serde_json::json;
use snooze_plugin::wire::Method;

use crate::program::{FLUSHER, Program, notice};
use crate::server::{MariaDb, eventually};

// S0-70, S0-18, H5
#[test]
fn s0_70_rows_acknowledged_before_the_kill_at_the_deadline_are_there_and_the_locks_are_not() {
    // With these settings a server that is killed forgets up to a second of what it acknowledged,
    // unless it is flushed.
    let options = [
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-flush-log-at-timeout=2700",
        "--delay-key-write=ALL",
    ];
    let Some(mut server) = MariaDb::start(&options) else { return };
    let mut client = server.client();
    client.make_tables();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = ["t", "m", "a"]
        .map(|table| {
            let (mut writer, stop) = (server.client(), Arc::clone(&stop));
            let acknowledged = Arc::new(AtomicI64::new(0));
            let counted = Arc::clone(&acknowledged);
            let thread = thread::spawn(move || {
                let insert = format!("INSERT INTO d.{table} (v) VALUES (1)");
                while !stop.load(Ordering::SeqCst) && writer.try_to(&insert).is_ok() {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            });
            (table, acknowledged, thread)
        })
        .into();
    for (table, acknowledged, _) in &writers {
        eventually(&format!("{table} is written"), || acknowledged.load(Ordering::SeqCst) > 50);
    }
    let config = json!({ "dsn": server.dsn("root"), "hold": "deadline", "lock_wait_seconds": 20 });
    let mut flusher = Program::start(FLUSHER, &config);
    let handled = flusher.flush();
    assert_eq!((&handled.error, handled.verified), (&None, Some(true)), "{handled:?}");
    assert_eq!(handled.more["durable_commits"], false);

    server.kill();
    stop.store(true, Ordering::SeqCst);
    let acknowledged = writers.into_iter().map(|(table, acknowledged, thread)| {
        thread.join().unwrap();
        (table, acknowledged.load(Ordering::SeqCst))
    });
    let acknowledged: Vec<_> = acknowledged.collect();
    server.start_again();
    let mut client = server.client();
    for (table, acknowledged) in acknowledged {
        let rows: i64 = client.one(&format!("SELECT COUNT(*) FROM d.{table}"));
        assert!(rows >= acknowledged, "{table} lost {} of {acknowledged}", acknowledged - rows);
        let checked: (String, String, String, String) =
            client.one(&format!("CHECK TABLE d.{table}"));
        assert_eq!(checked.3, "OK", "{table}");
    }
    assert!(client.can_write());
    drop(flusher);
}

// H5
#[test]
fn h5_a_flusher_that_is_killed_anywhere_leaves_the_server_unlocked() {
    let Some(server) = MariaDb::start(&[]) else { return };
    let mut client = server.client();
    client.make_tables();
    client.say("INSERT INTO d.t (v) VALUES (1)");
    let config = json!({ "dsn": server.dsn("root"), "hold": "deadline", "lock_wait_seconds": 20 });
    let event = || json!({ "event": notice(60.0) });

    // While it connects, takes the lock, flushes: wherever it is after so many milliseconds.
    for milliseconds in [0, 2, 5, 10, 20, 40] {
        let mut flusher = Program::start(FLUSHER, &config);
        flusher.send(Method::HandleEvent, event());
        thread::park_timeout(std::time::Duration::from_millis(milliseconds));
        drop(flusher);
        eventually("writes go on", || client.can_write());
    }

    // While its lock waits for a long statement.
    let mut long = server.client();
    let id: i64 = long.one("SELECT CONNECTION_ID()");
    let updating = thread::spawn(move || long.try_to("UPDATE d.t SET v = SLEEP(600)"));
    let mut flusher = Program::start(FLUSHER, &config);
    let count = |state: &str| {
        format!("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE '{state}'")
    };
    eventually("the statement runs", || client.one::<i64>(&count("User sleep")) == 1);
    flusher.send(Method::HandleEvent, event());
    eventually("the lock waits", || client.one::<i64>(&count("Waiting for%lock%")) == 1);
    drop(flusher);
    client.say(&format!("KILL {id}"));
    assert!(updating.join().unwrap().is_err());
    eventually("writes go on", || client.can_write());

    // And the next one works.
    let handled = Program::start(FLUSHER, &json!({ "dsn": server.dsn("root") })).flush();
    assert_eq!((&handled.error, handled.verified), (&None, Some(true)), "{handled:?}");
}
