//! What a flush promises.

use std::collections::BTreeSet;

use serde_json::json;
use snooze_plugin::wire::{Answer, Method};
use snooze_plugin::{Handled, Info, Setting};

use crate::load::Load;
use crate::program::{Program, config, flush, notice, text};
use crate::server::Server;

const LOAD: &str = "CREATE TABLE load (number bigint PRIMARY KEY, text text)";

const STRATEGIES: [&str; 4] = ["checkpoint", "checkpoint+switch-wal", "quiesce", "fast-stop"];

#[test]
fn s0_70_no_acknowledged_row_is_lost_when_the_server_is_killed_after_any_flush() {
    let Some(mut server) = Server::start(&[
        "fsync=on",
        "archive_mode=on",
        "archive_command=mkdir -p ../archive && cp %p ../archive/%f",
    ]) else {
        return;
    };
    server.sql().tell(LOAD);
    for (round, strategy) in (0..).zip(STRATEGIES) {
        let load = Load::start(server.folder.path(), round * 1_000_000);
        load.wait_for(100);
        let before = load.acknowledged();
        let config = config(&server, json!({ "strategy": strategy, "drain_seconds": 0.5 }));
        let mut flusher = Program::flusher(config);
        let handled = flusher.handle(&notice());
        assert_eq!(handled.status.as_deref(), Some("postgres_flushed"), "{handled:?}");
        assert_eq!((handled.error.as_ref(), handled.verified), (None, Some(true)), "{handled:?}");
        assert_eq!(handled.more["strategy"], strategy);
        server.kill();
        let acknowledged = load.acknowledged();
        drop(load);
        flusher.kill();
        server.restart();

        let sql = server.sql();
        let rows: Vec<i64> = sql.one("SELECT array_agg(number) FROM load");
        let rows: BTreeSet<i64> = rows.into_iter().collect();
        assert!(before.iter().all(|row| rows.contains(row)), "{strategy}");
        assert!(acknowledged.iter().all(|row| rows.contains(row)), "{strategy}");
        let recovered = server.log().contains("redo starts at");
        assert!(!(strategy == "fast-stop" && recovered), "nothing to recover: {}", server.log());
        sql.tell("INSERT INTO load VALUES (-1, ''); DELETE FROM load WHERE number = -1");
        // The server's own processes hold some for a moment.
        sql.wait_until("SELECT count(*) = 0 FROM pg_locks WHERE pid <> pg_backend_pid()");
    }
}

// S0-18
#[test]
fn recovery_begins_at_the_checkpoint_and_not_before() {
    let Some(mut server) = Server::start(&[]) else { return };
    let sql = server.sql();
    sql.tell("CREATE EXTENSION pg_buffercache; CREATE TABLE t (text text)");
    sql.tell("INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, 8000)");
    let handled = flush(&server, json!({}));
    assert_eq!((handled.error.as_ref(), handled.verified), (None, Some(true)), "{handled:?}");
    let number = |handled: &Handled, key: &str| handled.more[key].as_u64().unwrap();
    assert!(number(&handled, "wal_bytes") > 8_000_000, "{handled:?}");
    assert!(number(&handled, "dirty_bytes") > 8_000_000, "{handled:?}");
    sql.tell("INSERT INTO t VALUES ('late')");
    let dry_run = flush(&server, json!({ "dry_run": true }));
    assert!(number(&dry_run, "wal_bytes") < 1_000_000, "{dry_run:?}");
    assert!(number(&dry_run, "dirty_bytes") < 1_000_000, "{dry_run:?}");
    server.kill();
    server.restart();
    let begins = format!("redo starts at {}", handled.more["redo_lsn"].as_str().unwrap());
    assert!(server.log().contains(&begins), "{begins} in {}", server.log());
    assert_eq!(server.sql().one::<i64>("SELECT count(*) FROM t"), 8001);
}

#[test]
fn a_dry_run_changes_nothing_and_a_drill_cuts_nobody() {
    let Some(server) = Server::start(&[]) else { return };
    let sql = server.sql();
    let latest = "SELECT redo_lsn::text FROM pg_control_checkpoint()";
    sql.tell("CREATE TABLE t ()");
    let before: String = sql.one(latest);
    for strategy in STRATEGIES {
        let handled = flush(&server, json!({ "strategy": strategy, "dry_run": true }));
        assert_eq!(handled.status.as_deref(), Some("postgres_would_be_flushed"), "{handled:?}");
        assert_eq!((handled.verified, handled.error.as_ref()), (None, None), "{handled:?}");
        assert!(text(&handled, "would").contains("checkpoint within"), "{handled:?}");
        assert_eq!(text(&handled, "saved"), "");
    }
    assert_eq!(sql.one::<String>(latest), before);

    let mut events = [notice(), notice(), notice(), notice()];
    events[0]["data"]["drill"] = json!(true);
    events[1]["data"]["action"] = json!("hibernate");
    events[2]["type"] = json!("cloud.spot.rebalance");
    events[3]["type"] = json!("instance.idle");
    for strategy in ["quiesce", "fast-stop"] {
        for (event, why) in events.iter().zip(["drill", "hibernation", "may stay", "may stay"]) {
            let mut flusher = Program::flusher(config(&server, json!({ "strategy": strategy })));
            let handled = flusher.handle(event);
            assert_eq!(handled.verified, Some(true), "{handled:?}");
            assert!(text(&handled, "skipped").contains(why), "{handled:?}");
            // The same session goes on.
            sql.tell("SELECT");
        }
    }
    assert_ne!(sql.one::<String>(latest), before);
}

#[test]
fn h2_a_checkpoint_that_hangs_ends_at_the_limit_and_the_wal_goes_all_the_same() {
    let Some(server) = Server::start(&["archive_mode=on", "archive_command=true"]) else { return };
    server.sql().tell(LOAD);
    let hung = server.worker("checkpointer").hang();
    let handled = flush(&server, json!({ "timeout_seconds": 5 }));
    let error = handled.error.unwrap();
    assert!(error.starts_with("could not CHECKPOINT in time on PostgreSQL at"), "{error}");
    assert!(!handled.handled && handled.verified == Some(false));
    let late = json!({ "timeout_seconds": 12, "strategy": "checkpoint+switch-wal" });
    let handled = flush(&server, late);
    assert!(handled.handled && handled.verified == Some(false), "{handled:?}");
    assert!(handled.error.unwrap().starts_with("could not CHECKPOINT in time"));
    assert_eq!(handled.more["archived"], true);
    drop(hung);
    assert_eq!(flush(&server, json!({})).verified, Some(true));
}

#[test]
fn a_plain_role_needs_one_grant_and_is_told_which() {
    let Some(server) = Server::start(&[]) else { return };
    let sql = server.sql();
    sql.tell("CREATE ROLE plain LOGIN");
    let words = format!("host={} user=plain dbname=postgres", server.folder.path().display());
    let health = |strategy: &str| {
        let config = json!({ "connection_string": words, "strategy": strategy });
        Program::flusher(config).ask(Method::Health, json!({}))
    };
    let unwell = |strategy: &str| match health(strategy) {
        Answer::Failed(text) => text,
        other @ (Answer::Result(_) | Answer::NotSupported) => panic!("{other:?}"),
    };
    assert!(unwell("checkpoint").contains("GRANT pg_checkpoint"));
    let error = flush(&server, json!({ "connection_string": words })).error.unwrap();
    assert!(error.starts_with("cannot CHECKPOINT on PostgreSQL at"), "{error}");
    assert!(error.contains("permission") || error.contains("must be superuser"), "{error}");
    sql.tell("GRANT pg_checkpoint TO plain");
    let handled = flush(&server, json!({ "connection_string": words }));
    assert_eq!(handled.verified, Some(true), "{handled:?}");
    for (strategy, missing, grant) in [
        ("checkpoint+switch-wal", "pg_switch_wal()", "EXECUTE ON FUNCTION pg_switch_wal()"),
        ("quiesce", "pg_signal_backend", "pg_signal_backend, pg_read_all_stats"),
        ("fast-stop", "data_directory", "pg_read_all_settings"),
    ] {
        let error = unwell(strategy);
        assert!(error.contains(missing), "{error}");
        sql.tell(&format!("GRANT {grant} TO plain"));
        assert_eq!(health(strategy), Answer::Result(json!({ "healthy": true })), "{strategy}");
    }
}

#[test]
fn a_function_of_a_user_that_is_named_like_a_view_of_the_server_is_not_called() {
    let Some(server) = Server::start(&[]) else { return };
    let sql = server.sql();
    sql.tell(
        "CREATE TABLE called (); CREATE FUNCTION call() RETURNS boolean LANGUAGE sql VOLATILE \
         AS 'INSERT INTO public.called DEFAULT VALUES; SELECT true'; \
         CREATE VIEW pg_buffercache AS SELECT call() AS isdirty; \
         ALTER ROLE postgres SET search_path = public, pg_catalog",
    );
    let handled = flush(&server, json!({}));
    assert_eq!((handled.verified, handled.more.get("dirty_bytes")), (Some(true), None));
    assert_eq!(sql.one::<i64>("SELECT count(*) FROM called"), 0);
}

// S0-60, S1-11
#[test]
fn the_flusher_says_who_it_is_and_leaves_other_events_alone() {
    let mut flusher = Program::flusher(json!({}));
    let Answer::Result(info) = flusher.ask(Method::Info, json!({})) else { panic!("no info") };
    let info = Info::read(&info).unwrap();
    assert_eq!(info.name, "postgres-flusher");
    let settings = Setting::read(&info.config_schema);
    let secrets = settings.iter().filter(|setting| setting.secret);
    assert_eq!(secrets.map(|s| s.name.as_str()).collect::<Vec<_>>(), ["connection_string"]);
    let events = flusher.ask(Method::GetSupportedEvents, json!({})).supported_events().unwrap();
    assert!(events.contains(&"cloud.spot.interrupt".to_owned()));
    let handled = flusher.handle(&json!({ "type": "system.disk.low" }));
    assert_eq!(handled, Handled::not_mine());
    assert_eq!(flusher.ask(Method::CheckIdle, json!({})), Answer::NotSupported);
}
