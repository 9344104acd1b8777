//! `redis-flusher`: has Redis write its data to disk, and reads back that it did.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use snooze_plugin::{Handled, Info, LOSSES, Plugin, PluginError, PluginEvent, Setting, WARNINGS};

use crate::flush::{self, Saved, flush};
use crate::settings::{self, Settings};

/// How long a `PING` may take. A server that needs longer is not well.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);

/// `redis-flusher`.
#[derive(Default)]
pub struct Flusher {
    settings: Option<Settings>,
}

impl Flusher {
    fn settings(&self) -> Result<&Settings, PluginError> {
        self.settings.as_ref().ok_or_else(|| PluginError::new("it is not configured"))
    }
}

impl Plugin for Flusher {
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
        Some(LOSSES.into_iter().chain(WARNINGS).map(str::to_owned).collect())
    }

    fn configure(&mut self, config: &Map<String, Value>) -> Result<(), PluginError> {
        self.settings = Some(Settings::read(config)?);
        Ok(())
    }

    fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
        let settings = self.settings()?;
        let begun = Instant::now();
        let done = flush(settings, begun + event.budget(settings.timeout));
        let seconds = begun.elapsed().as_secs_f64();
        let handled = match done {
            Ok(saved) => told(settings, saved),
            Err(error) => Handled::failed(PluginError::from(error).to_string()),
        };
        Ok(handled.and("mode", settings.mode.as_str()).and("seconds", seconds))
    }

    fn health(&mut self) -> Result<(), PluginError> {
        Ok(flush::ping(&self.settings()?.server, Instant::now() + HEALTH_LIMIT)?)
    }
}

fn told(settings: &Settings, saved: Saved) -> Handled {
    let mut handled = match settings.dry_run {
        true => Handled::with_status("redis_would_be_saved").and("dry_run", true),
        false => Handled::with_status("redis_saved")
            .verified(saved.verified)
            .and("saved", format!("{} keys", saved.keys)),
    };
    if let Some(reached) = saved.replicas {
        handled = handled.and("replicas", reached).and("replicas_wanted", settings.replicas);
    }
    handled
        .and("keys", saved.keys)
        .and("changes", saved.changes)
        .and("dataset_bytes", saved.bytes)
        .and("role", saved.role)
        .and("cluster", saved.cluster)
}
