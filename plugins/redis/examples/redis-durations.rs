//! Measures how long each mode takes on this machine, on new servers with this many megabytes:
//!
//! ```text
//! cargo run --release -p redis-plugins --example redis-durations 64 256
//! ```
//!
//! It prints a line `server,strategy,bytes,seconds` for each size and mode; the bytes are what the
//! data takes in Redis' memory.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "whoever measures wants to see it fail"
)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{Client, Connection, cmd, pipe};
use redis_plugins::Flusher;
use serde_json::json;
use snooze_plugin::{Plugin, PluginEvent};
use tempfile::TempDir;

/// The bytes of a value; with its key and Redis' own figures about 300 bytes.
const VALUE: usize = 200;

fn main() {
    let mut sizes: Vec<u64> = std::env::args().skip(1).map(|size| size.parse().unwrap()).collect();
    if sizes.is_empty() {
        sizes = vec![64, 256];
    }
    println!("server,strategy,bytes,seconds");
    for megabytes in sizes {
        for mode in ["bgsave", "save", "aof"] {
            let server = Server::start(mode == "aof");
            let mut connection = server.connect();
            fill(&mut connection, megabytes * 1_000_000 / 300);
            let info: String = cmd("INFO").arg("server").query(&mut connection).unwrap();
            let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
            let (bytes, seconds) = server.flush(mode);
            println!("redis-{},{mode},{bytes},{seconds:.3}", version.unwrap().trim());
        }
    }
}

fn fill(connection: &mut Connection, keys: u64) {
    let value = "x".repeat(VALUE);
    for start in (0..keys).step_by(10_000) {
        let mut batch = pipe();
        for key in start..keys.min(start + 10_000) {
            batch.set(format!("key:{key}"), &value).ignore();
        }
        batch.query::<()>(connection).unwrap();
    }
}

struct Server {
    child: Child,
    folder: TempDir,
}

impl Server {
    fn start(with_file: bool) -> Self {
        let folder = TempDir::new().unwrap();
        let child = Command::new("redis-server")
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--appendonly",
                if with_file { "yes" } else { "no" },
            ])
            .arg("--unixsocket")
            .arg(socket(folder.path()))
            .arg("--dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("redis-server: {error}"));
        Self { child, folder }
    }

    fn connect(&self) -> Connection {
        let url = format!("unix://{}", socket(self.folder.path()));
        let client = Client::open(url).unwrap();
        let begun = Instant::now();
        loop {
            match client.get_connection() {
                Ok(connection) => return connection,
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(30), "{error}"),
            }
            std::thread::yield_now();
        }
    }

    /// What was to be saved, in bytes, and how long it took, in seconds.
    fn flush(&self, mode: &str) -> (u64, f64) {
        let mut flusher = Flusher::default();
        let url = format!("unix://{}", socket(self.folder.path()));
        let config = json!({ "redis_url": url, "mode": mode, "timeout_seconds": 3600 });
        flusher.configure(config.as_object().unwrap()).unwrap();
        let event = PluginEvent::read(json!({ "type": "cloud.spot.interrupt" }));
        let handled = flusher.handle_event(&event).unwrap();
        assert_eq!(handled.verified, Some(true), "{handled:?}");
        let figure = |name: &str| &handled.more[name];
        (figure("dataset_bytes").as_u64().unwrap(), figure("seconds").as_f64().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn socket(folder: &Path) -> String {
    folder.join("redis.sock").display().to_string()
}
