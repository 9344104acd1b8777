//! Makes Redis (or Valkey) write its data to disk before the instance goes, and reads back that it
//! did.
//!
//! Settings: `redis_url` (default `redis://127.0.0.1:6379`; also `unix:///path`), `mode` (`bgsave`
//! by default, `save` or `aof`) and `timeout_seconds` (default 30). The result says `status`
//! `redis_saved`, `mode`, `keys`, `changes`, `dataset_bytes`, `seconds` and `verified`.
//!
//! Invariants: one save at a time; success is read back from the server and never taken from a
//! reply alone; the password appears in no text.

mod flush;
mod settings;
mod state;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use snooze_plugin::{Handled, Info, Plugin, PluginError, PluginEvent, Setting, serve};

use crate::flush::flush;
use crate::settings::Settings;

/// The events on which a save makes sense: all that take the instance away or warn of it.
const EVENTS: [&str; 4] = [
    "cloud.spot.interrupt",
    "cloud.spot.rebalance",
    "cloud.instance.termination",
    "cloud.autoscaling.scale",
];

/// How long a `PING` may take. A server that needs longer is not well.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);

#[derive(Default)]
struct RedisFlusher {
    settings: Settings,
}

impl Plugin for RedisFlusher {
    fn info(&self) -> Info {
        Info {
            display_name: "Redis Flusher".to_owned(),
            author: "CloudSnooze".to_owned(),
            description: "Makes Redis write its data to disk, and reads back that it did"
                .to_owned(),
            category: "database".to_owned(),
            tags: ["redis", "valkey", "flush"].map(str::to_owned).into(),
            official: true,
            language: Some("rust".to_owned()),
            config_schema: Setting::schema(&settings::all()),
            permissions: vec!["network".to_owned()],
            ..Info::new("redis-flusher", env!("CARGO_PKG_VERSION"))
        }
    }

    fn supported_events(&self) -> Option<Vec<String>> {
        Some(EVENTS.map(str::to_owned).into())
    }

    fn configure(&mut self, config: &Map<String, Value>) -> Result<(), PluginError> {
        self.settings = Settings::read(config)?;
        Ok(())
    }

    fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
        if !EVENTS.contains(&event.kind.as_str()) && !event.kind.starts_with("custom") {
            return Ok(Handled::not_mine());
        }
        let settings = &self.settings;
        let limit = event.budget(settings.timeout);
        let begun = Instant::now();
        let done = flush(settings, begun + limit);
        let seconds = begun.elapsed().as_secs_f64();
        let handled = match done {
            Ok(saved) => Handled::with_status("redis_saved")
                .verified(saved.verified)
                .and("keys", saved.keys)
                .and("changes", saved.changes)
                .and("dataset_bytes", saved.bytes),
            Err(error) => Handled::failed(PluginError::from(error).to_string()),
        };
        Ok(handled.and("mode", settings.mode.as_str()).and("seconds", seconds))
    }

    fn health(&mut self) -> Result<(), PluginError> {
        Ok(flush::ping(&self.settings, Instant::now() + HEALTH_LIMIT)?)
    }
}

fn main() -> ExitCode {
    serve(RedisFlusher::default())
}
