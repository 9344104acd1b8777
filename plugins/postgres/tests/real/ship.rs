//! WAL that goes away.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use crate::cluster::own;
use crate::program::{flush, text};
use crate::server::Server;

/// The length of the servers' WAL files.
const SEGMENT: u64 = 1 << 20;

// S0-18
#[test]
fn the_wal_file_is_in_the_archive_when_the_flush_says_so() {
    let archive = TempDir::new().unwrap();
    own(archive.path());
    let Some(server) = Server::start(&["archive_mode=on"]) else { return };
    let sql = server.sql();
    let command = |words: &str| {
        sql.tell(&format!("ALTER SYSTEM SET archive_command = '{words}'"));
        sql.tell("SELECT pg_reload_conf()");
        sql.wait_until(&format!("SELECT current_setting('archive_command') = '{words}'"));
        sql.tell("CREATE TABLE t (); DROP TABLE t");
    };
    command(&format!("cp %p {}/%f", archive.path().display()));
    let handled = flush(&server, json!({ "strategy": "checkpoint+switch-wal" }));
    assert_eq!((handled.error.as_ref(), handled.verified), (None, Some(true)), "{handled:?}");
    let file = handled.more["wal_file"].as_str().unwrap();
    assert_eq!(fs::metadata(archive.path().join(file)).unwrap().len(), SEGMENT);
    assert!(text(&handled, "saved").contains(&format!("WAL file {file} is in the archive")));
    // Nothing was written since: the file is the one before, and there already.
    let again = flush(&server, json!({ "strategy": "checkpoint+switch-wal" }));
    assert_eq!(again.verified, Some(true), "{again:?}");

    command("false");
    let short = json!({ "strategy": "checkpoint+switch-wal", "archive_wait_seconds": 2 });
    let handled = flush(&server, short);
    assert_eq!((handled.handled, handled.verified), (true, Some(false)), "{handled:?}");
    let error = handled.error.unwrap();
    assert!(error.contains("fails") || error.contains("was not away in time"), "{error}");
    command("");
    let handled = flush(&server, json!({ "strategy": "checkpoint+switch-wal" }));
    assert_eq!((handled.error.as_ref(), handled.verified), (None, Some(true)), "{handled:?}");
    assert!(text(&handled, "skipped").contains("neither an archive nor a standby"));
}

#[test]
fn a_standby_gets_the_wal_and_can_be_flushed_itself() {
    let Some(primary) = Server::start(&[]) else { return };
    let standby = primary.standby();
    let sql = primary.sql();
    sql.wait_until("SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'");
    sql.tell("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n");
    let handled = flush(&primary, json!({ "strategy": "checkpoint+switch-wal" }));
    assert_eq!((handled.error.as_ref(), handled.verified), (None, Some(true)), "{handled:?}");
    assert_eq!(handled.more["receivers_reached"], 1);
    let saved = text(&handled, "saved");
    assert!(saved.contains("on the disks of 1 of 1 receivers"), "{saved}");

    let reads = standby.sql();
    let at: String = sql.one("SELECT pg_current_wal_lsn()::text");
    reads.wait_until(&format!("SELECT pg_last_wal_replay_lsn() >= '{at}'"));
    let handled = flush(&standby, json!({ "strategy": "checkpoint+switch-wal" }));
    assert_eq!((handled.error.as_ref(), handled.verified), (None, Some(true)), "{handled:?}");
    assert_eq!(handled.more["standby"], true);
    assert!(text(&handled, "skipped").contains("a standby writes no WAL of its own"));
    assert!(text(&handled, "saved").starts_with("checkpoint at"), "{handled:?}");
    // Nothing came from the primary since.
    let again = flush(&standby, json!({}));
    assert_eq!((again.error.as_ref(), again.verified), (None, None), "{again:?}");
    assert!(text(&again, "skipped").contains("no checkpoint of its primary"), "{again:?}");
    assert_eq!(reads.one::<i64>("SELECT count(*) FROM t"), 1000);
}
