//! `redis-monitor`: votes that the instance is idle while few clients are connected to Redis.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use snooze_plugin::{Config, Info, Metrics, Plugin, PluginError, Setting, Vote};

use crate::flush;
use crate::server::{self, Server};

/// How long the question may take. A server that needs longer is not idle.
const LIMIT: Duration = Duration::from_secs(2);

/// Where Redis is when nobody says otherwise, as the printed plugin of the protocol has it.
const DEFAULT_URL: &str = "redis://localhost:6379";

const DEFAULT_THRESHOLD: u64 = 5;

/// `redis-monitor`.
#[derive(Default)]
pub struct Monitor {
    settings: Option<(Server, u64)>,
}

fn settings() -> Vec<Setting> {
    let threshold = "with fewer connections than this Redis is idle; the question's own counts";
    let mut all = server::settings(DEFAULT_URL).to_vec();
    all.push(
        Setting::integer("connection_threshold", 0..=i64::MAX, threshold)
            .default(DEFAULT_THRESHOLD),
    );
    all
}

impl Plugin for Monitor {
    fn info(&self) -> Info {
        Info {
            display_name: "Redis Connection Monitor".to_owned(),
            author: "CloudSnooze Team".to_owned(),
            description: "Monitors Redis for active connections".to_owned(),
            category: "idle".to_owned(),
            tags: ["redis", "valkey", "idle"].map(str::to_owned).into(),
            official: true,
            language: Some("rust".to_owned()),
            config_schema: Setting::schema(&settings()),
            permissions: vec!["network".to_owned()],
            ..Info::new("redis-monitor", env!("CARGO_PKG_VERSION"))
        }
    }

    fn configure(&mut self, given: &Map<String, Value>) -> Result<(), PluginError> {
        let known = settings();
        let mut config = Config::new(&known, given);
        let server = Server::read(&mut config);
        let threshold = config.integer("connection_threshold");
        config.finish()?;
        let threshold = threshold.and_then(|n| u64::try_from(n).ok()).unwrap_or(DEFAULT_THRESHOLD);
        self.settings = server.map(|server| (server, threshold));
        Ok(())
    }

    fn check_idle(&mut self, _metrics: &Metrics) -> Result<Vote, PluginError> {
        let Some((server, threshold)) = &self.settings else {
            return Err(PluginError::new("it is not configured"));
        };
        let clients = flush::look(server, Instant::now() + LIMIT)?.clients;
        let vote = match clients < *threshold {
            true => Vote::idle(format!(
                "Redis has only {clients} connections (below threshold {threshold})"
            )),
            false => Vote::busy(format!("Redis has {clients} connections (threshold {threshold})")),
        };
        Ok(vote.detail("connection_count", clients))
    }
}
