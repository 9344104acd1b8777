//! Measures how long each strategy takes on this machine, on new servers with this many megabytes
//! that are not on disk yet:
//!
//! ```text
//! cargo run --release -p postgres-plugins --example postgres-durations 64 256 1024
//! ```
//!
//! It prints a line `server,strategy,bytes,seconds` for each size and strategy; the bytes are what
//! the server itself says was to be written.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "whoever measures wants to see it fail"
)]

#[path = "../tests/real/cluster.rs"]
mod cluster;
#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../tests/real/server.rs"]
mod server;
#[path = "../tests/real/sql.rs"]
mod sql;

use postgres_plugins::Flusher;
use serde_json::json;
use snooze_plugin::{Plugin, PluginEvent};

use crate::cluster::new_cluster;
use crate::server::Server;

const STRATEGIES: [&str; 4] = ["checkpoint", "checkpoint+switch-wal", "quiesce", "fast-stop"];

fn main() {
    let mut sizes: Vec<u64> = std::env::args().skip(1).map(|size| size.parse().unwrap()).collect();
    if sizes.is_empty() {
        sizes = vec![64, 256];
    }
    println!("server,strategy,bytes,seconds");
    for megabytes in sizes {
        let buffers = format!("shared_buffers={}MB", megabytes + megabytes / 2 + 64);
        // Nothing but the flush writes pages.
        let mut server = Server::run(
            new_cluster(&[]),
            &[
                &buffers,
                "fsync=on",
                "checkpoint_timeout=1d",
                "max_wal_size=100GB",
                "bgwriter_lru_maxpages=0",
                "archive_mode=on",
                "archive_command=mkdir -p ../archive && cp %p ../archive/%f",
            ],
        );
        server.sql().tell("CREATE EXTENSION pg_buffercache");
        let version: String = server.sql().one("SELECT current_setting('server_version_num')");
        for strategy in STRATEGIES {
            let (bytes, seconds) = measure(&server, strategy, megabytes);
            println!("postgresql-{version},{strategy},{bytes},{seconds:.3}");
        }
        server.wait_until_ended();
    }
}

/// The bytes that were to be written, and how long it took.
fn measure(server: &Server, strategy: &str, megabytes: u64) -> (u64, f64) {
    let sql = server.sql();
    // A thousand rows of a kilobyte are a little more than a megabyte of pages.
    let rows = megabytes * 950;
    sql.tell("DROP TABLE IF EXISTS t; CREATE TABLE t (text text)");
    sql.tell("ALTER TABLE t ALTER text SET STORAGE PLAIN");
    sql.tell(&format!("INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, {rows})"));
    let config = json!({
        "connection_string": server.words(), "strategy": strategy, "timeout_seconds": 600,
        "archive_wait_seconds": 600, "drain_seconds": 1,
    });
    let mut flusher = Flusher::default();
    let configured = flusher.configure(config.as_object().unwrap());
    configured.unwrap_or_else(|error| panic!("{error}"));
    let event = PluginEvent::read(json!({ "type": "cloud.spot.interrupt" }));
    let handled = flusher.handle_event(&event).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((handled.error.as_ref(), handled.verified), (None, Some(true)), "{handled:?}");
    let number = |key: &str| handled.more.get(key);
    let bytes = number("dirty_bytes").and_then(serde_json::Value::as_u64).unwrap();
    (bytes, number("seconds").and_then(serde_json::Value::as_f64).unwrap())
}
