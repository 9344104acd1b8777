//! Measures how long each strategy takes: `cargo run --release --example mysql-durations -- 100 400`
//! prints a row `server,strategy,bytes,seconds` for each size in MB, with all of it changed since
//! it was last written.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a program for people who measure"
)]

#[path = "../tests/mysql/process.rs"]
mod process;
#[path = "../tests/mysql/server.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod server;

use std::time::Instant;

use mysql_plugins::Flusher;
use serde_json::{Value, json};
use snooze_plugin::{Plugin, PluginEvent};

use server::{Client, MariaDb};

/// Rows of about a kilobyte.
const ROWS_PER_MB: u64 = 1000;

/// The strategies by their settings; `fast-stop/N` with `innodb_fast_shutdown` at N.
fn strategies() -> [(&'static str, Value); 6] {
    let stop = |how: i64| json!({ "strategy": "fast-stop", "innodb_fast_shutdown": how });
    [
        ("logs", json!({ "strategy": "logs" })),
        ("lock", json!({ "strategy": "lock" })),
        ("lock+checkpoint", json!({ "strategy": "lock", "checkpoint": true })),
        ("fast-stop", json!({ "strategy": "fast-stop" })),
        ("fast-stop/0", stop(0)),
        ("fast-stop/2", stop(2)),
    ]
}

fn main() {
    let sizes = std::env::args().skip(1).map(|size| size.parse().expect("expected sizes in MB"));
    let sizes: Vec<u64> = sizes.collect();
    println!("server,strategy,bytes,seconds");
    for megabytes in if sizes.is_empty() { vec![100] } else { sizes } {
        let pool = format!("--innodb-buffer-pool-size={}M", 2 * megabytes + 64);
        let log = format!("--innodb-log-file-size={}M", 2 * megabytes + 64);
        let options = [pool.as_str(), &log, "--innodb-max-dirty-pages-pct=99"];
        let Some(mut server) = MariaDb::start(&options) else { return };
        fill(&mut server.client(), megabytes);
        for (name, config) in strategies() {
            let mut client = server.client();
            client.say("UPDATE d.w SET v = v + 1");
            client.say("UPDATE d.m SET v = v + 1");
            let bytes = client.status("Innodb_buffer_pool_bytes_dirty");
            let version = client.one::<String>("SELECT VERSION()");
            let server_name = version.split("-MariaDB").next().unwrap_or(&version).to_owned();
            drop(client);
            let seconds = flush(&server, config);
            println!("MariaDB {server_name},{name},{bytes},{seconds:.2}");
            if name.starts_with("fast-stop") {
                let begun = Instant::now();
                assert!(server.wait_for_its_end().success());
                server.start_again();
                let seconds = begun.elapsed().as_secs_f64();
                println!("MariaDB {server_name},start after {name},{bytes},{seconds:.2}");
            }
        }
    }
}

fn fill(client: &mut Client, megabytes: u64) {
    client.make_tables();
    client.say("CREATE TABLE d.w (id INT PRIMARY KEY, v INT, text VARCHAR(1000)) ENGINE=InnoDB");
    let rows = megabytes * ROWS_PER_MB;
    client.say(&format!("INSERT INTO d.w SELECT seq, 0, REPEAT('x', 950) FROM d.seq_1_to_{rows}"));
    client.say("INSERT INTO d.m (v) SELECT seq FROM d.seq_1_to_10000");
}

/// How long the flush took, by the flusher's own clock.
fn flush(server: &MariaDb, mut config: Value) -> f64 {
    config["dsn"] = json!(server.dsn("root"));
    config["timeout_seconds"] = json!(3600);
    let mut flusher = Flusher::default();
    let given = config.as_object().expect("an object");
    flusher.configure(given).unwrap_or_else(|error| panic!("{error}"));
    let event = PluginEvent::read(
        json!({ "type": "cloud.spot.interrupt", "data": { "timeRemaining": 3600 } }),
    );
    let handled = flusher.handle_event(&event).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((&handled.error, handled.verified), (&None, Some(true)), "{handled:?}");
    handled.more["seconds"].as_f64().expect("a number")
}
