//! Sessions that end, and none that comes.

use std::path::Path;

use serde_json::json;
use snooze_plugin::wire::Method;

use crate::program::{Program, config, notice, text};
use crate::server::Server;
use crate::sql::{Sql, wait_until};

#[test]
fn a_quiesce_lets_transactions_end_lets_nobody_in_and_is_undone() {
    let Some(server) = Server::start(&[]) else { return };
    let ours = Sql::open(server.folder.path(), &administrator()).unwrap();
    ours.tell("CREATE TABLE t (who text)");
    let idle = server.sql();
    let short = server.sql();
    short.tell("BEGIN; INSERT INTO t VALUES ('short')");
    let door = "SELECT count(*) = 1 FROM pg_stat_activity \
                WHERE application_name = 'postgres-flusher door'";

    let patient = json!({ "strategy": "quiesce", "drain_seconds": 60 });
    let mut flusher = Program::flusher(config(&server, patient));
    flusher.say(Method::HandleEvent, json!({ "event": notice() }));
    ours.wait_until(door);
    wait_until("the idle session ends", || idle.try_tell("SELECT").is_err());
    short.tell("COMMIT");
    let handled = flusher.answer();
    assert_eq!((handled.error.as_ref(), handled.verified), (None, Some(true)), "{handled:?}");
    let sessions = (&handled.more["sessions_ended"], &handled.more["sessions_cut"]);
    assert_eq!(sessions, (&json!(2), &json!(0)));

    // The door stays shut after the answer.
    ours.wait_until(door);
    is_turned_away(server.folder.path());

    let mut undo = notice();
    undo["data"]["phase"] = json!("undo");
    let undone = Program::flusher(config(&server, json!({}))).handle(&undo);
    assert_eq!(undone.status.as_deref(), Some("postgres_reopened"), "{undone:?}");
    assert_eq!(undone.more["doors_opened"], 1);
    let long = takes_writes(server.folder.path());

    long.tell("BEGIN; INSERT INTO t VALUES ('long')");
    let hasty = json!({ "strategy": "quiesce", "drain_seconds": 0 });
    let handled = Program::flusher(config(&server, hasty)).handle(&notice());
    assert_eq!((handled.error.as_ref(), handled.verified), (None, Some(true)), "{handled:?}");
    assert_eq!(handled.more["sessions_cut"], 1);
    assert!(long.try_tell("COMMIT").is_err());
    assert_eq!(ours.one::<String>("SELECT string_agg(DISTINCT who, ',') FROM t"), "new,short");
}

#[test]
fn the_door_opens_when_its_time_is_over_and_when_the_host_says_shutdown() {
    let Some(server) = Server::start(&[]) else { return };
    let idle = server.sql();
    idle.tell("CREATE TABLE t (who text)");
    let quiesce = json!({ "strategy": "quiesce", "drain_seconds": 0, "hold_seconds": 0 });
    let mut short = notice();
    short["data"]["timeRemaining"] = json!(5);
    let mut flusher = Program::flusher(config(&server, quiesce.clone()));
    assert_eq!(flusher.handle(&short).more["sessions_ended"], 1);
    assert!(idle.try_tell("SELECT").is_err());
    drop(takes_writes(server.folder.path()));

    assert!(flusher.handle(&notice()).handled);
    is_turned_away(server.folder.path());
    assert_eq!(flusher.ask(Method::Shutdown, json!({})).done(), Ok(()));
    takes_writes(server.folder.path());
}

#[test]
fn a_role_without_the_right_to_end_sessions_says_how_many_stay() {
    let Some(server) = Server::start(&[]) else { return };
    let boss = server.sql();
    boss.tell("CREATE ROLE plain LOGIN; GRANT pg_checkpoint TO plain; CREATE ROLE guest LOGIN");
    let guest = Sql::open(server.folder.path(), "user=guest").unwrap();
    let words = format!("host={} user=plain dbname=postgres", server.folder.path().display());
    let stay = |sessions: &str| {
        let quiesce = json!({ "strategy": "quiesce", "connection_string": words });
        let handled = Program::flusher(config(&server, quiesce)).handle(&notice());
        assert_eq!((handled.error.as_ref(), handled.verified), (None, Some(true)), "{handled:?}");
        let skipped = format!("end of {sessions} sessions: ");
        assert!(text(&handled, "skipped").starts_with(&skipped), "{handled:?}");
    };
    stay("2");
    guest.tell("SELECT");
    boss.tell("GRANT pg_signal_backend, pg_read_all_stats TO plain");
    stay("1");
    assert!(guest.try_tell("SELECT").is_err());
    boss.tell("SELECT");
}

#[test]
fn h5_a_flusher_that_is_killed_at_any_point_leaves_the_server_open_and_unlocked() {
    let slow = "archive_command=while [ -e ../slow ]; do sleep 0.1; done";
    let Some(server) = Server::start(&["archive_mode=on", slow]) else { return };
    let ours = Sql::open(server.folder.path(), &administrator()).unwrap();
    ours.tell("CREATE TABLE t (who text)");
    let in_checkpoint = "SELECT count(*) = 1 FROM pg_stat_activity WHERE query = 'CHECKPOINT'";
    let begin = |strategy: &str| {
        let more = json!({ "strategy": strategy, "drain_seconds": 60 });
        let mut flusher = Program::flusher(config(&server, more));
        flusher.say(Method::HandleEvent, json!({ "event": notice() }));
        flusher
    };

    // While transactions end.
    let working = server.sql();
    working.tell("BEGIN; INSERT INTO t VALUES ('working')");
    let flusher = begin("quiesce");
    is_turned_away(server.folder.path());
    flusher.kill();
    takes_writes(server.folder.path());
    working.tell("COMMIT");
    drop(working);

    // While the checkpoint runs, with and without the door shut.
    for strategy in ["checkpoint", "quiesce", "fast-stop"] {
        let hung = server.worker("checkpointer").hang();
        let flusher = begin(strategy);
        ours.wait_until(in_checkpoint);
        flusher.kill();
        takes_writes(server.folder.path());
        drop(hung);
        ours.wait_until("SELECT count(*) = 0 FROM pg_stat_activity WHERE query = 'CHECKPOINT'");
    }

    // While the archive is waited for.
    std::fs::write(server.folder.path().join("slow"), "").unwrap();
    let flusher = begin("checkpoint+switch-wal");
    ours.wait_until(
        "SELECT count(*) = 1 FROM pg_stat_activity \
         WHERE application_name = 'postgres-flusher' AND query LIKE '%pg_stat_archiver%'",
    );
    flusher.kill();
    std::fs::remove_file(server.folder.path().join("slow")).unwrap();
    takes_writes(server.folder.path());

    // With the door shut and all done.
    let mut flusher = Program::flusher(config(&server, json!({ "strategy": "quiesce" })));
    assert_eq!(flusher.handle(&notice()).verified, Some(true));
    is_turned_away(server.folder.path());
    flusher.kill();
    takes_writes(server.folder.path());

    ours.wait_until(
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'postgres-flusher%' \
         AND pid <> pg_backend_pid()",
    );
    ours.wait_until("SELECT count(*) = 0 FROM pg_locks WHERE pid <> pg_backend_pid()");
    let again = Program::flusher(config(&server, json!({}))).handle(&notice());
    assert_eq!(again.verified, Some(true), "{again:?}");
}

/// The words of a session that the door lets in.
fn administrator() -> String {
    "user=postgres application_name=postgres-flusher-test".to_owned()
}

/// Waits until a session that comes is ended at once.
fn is_turned_away(folder: &Path) {
    wait_until("new sessions end", || {
        let Ok(sql) = Sql::open(folder, "user=postgres") else { return true };
        sql.try_tell("SELECT pg_sleep(1)").is_err()
    });
}

/// Waits until a session can stay and write.
fn takes_writes(folder: &Path) -> Sql {
    let mut session = None;
    wait_until("sessions stay and write", || {
        let Ok(sql) = Sql::open(folder, "user=postgres") else { return false };
        let stays = sql.try_tell("SELECT pg_sleep(0.3); INSERT INTO t VALUES ('new')").is_ok();
        session = stays.then_some(sql);
        stays
    });
    session.unwrap()
}
