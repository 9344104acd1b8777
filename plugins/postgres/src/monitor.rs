//! The plugin `postgres-monitor`.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use snooze_plugin::{Config, Info, Metrics, Plugin, PluginError, Setting, Vote};
use tokio::runtime;

use crate::session::Session;
use crate::settings;
use crate::target::{self, Target};

/// The name of the session, as `pg_stat_activity` shows it.
const NAME: &str = "postgres-monitor";

/// How long counting may take. A server that needs longer is not idle.
const LIMIT: Duration = Duration::from_secs(5);

const DEFAULT_THRESHOLD: i64 = 5;

/// Sessions of clients, and when one of them last did something. A role that may not see what
/// others do counts all that use a database.
const SESSIONS: &str = "
    SELECT count(*) FILTER (WHERE NOT $1 OR state IS DISTINCT FROM 'idle'),
           to_char(max(greatest(query_start, state_change)) AT TIME ZONE 'UTC',
                   'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
    FROM pg_stat_activity
    WHERE (backend_type = 'client backend' OR backend_type IS NULL AND datid IS NOT NULL)
      AND pid <> pg_backend_pid()
      AND application_name NOT LIKE 'postgres-flusher%'";

/// Votes idle when PostgreSQL has few client sessions.
pub struct Monitor {
    target: Option<Target>,
    threshold: i64,
    active_only: bool,
}

impl Default for Monitor {
    fn default() -> Self {
        let target = Target::read(target::DEFAULT, None).ok();
        Self { target, threshold: DEFAULT_THRESHOLD, active_only: false }
    }
}

fn all() -> [Setting; 4] {
    [
        Setting::text("dsn", "where PostgreSQL is, as a URL or as libpq's words")
            .default(target::DEFAULT)
            .secret(),
        settings::ca_file(),
        Setting::integer("connection_threshold", 1..=1_000_000, "idle with fewer sessions")
            .default(DEFAULT_THRESHOLD),
        Setting::flag("active_only", "count only sessions that run something").default(false),
    ]
}

impl Plugin for Monitor {
    fn info(&self) -> Info {
        Info {
            display_name: "PostgreSQL Monitor".to_owned(),
            author: "CloudSnooze".to_owned(),
            description: "Votes idle when PostgreSQL has few connections".to_owned(),
            category: "idle".to_owned(),
            tags: ["postgresql", "postgres", "idle"].map(str::to_owned).into(),
            official: true,
            language: Some("rust".to_owned()),
            config_schema: Setting::schema(&all()),
            permissions: vec!["network".to_owned()],
            ..Info::new("postgres-monitor", env!("CARGO_PKG_VERSION"))
        }
    }

    fn configure(&mut self, config: &Map<String, Value>) -> Result<(), PluginError> {
        let known = all();
        let mut config = Config::new(&known, config);
        let monitor = Self {
            target: settings::target(&mut config, "dsn"),
            threshold: config.integer("connection_threshold").unwrap_or(DEFAULT_THRESHOLD),
            active_only: config.flag("active_only"),
        };
        config.finish()?;
        *self = monitor;
        Ok(())
    }

    fn check_idle(&mut self, _metrics: &Metrics) -> Result<Vote, PluginError> {
        let (count, last) = self.count()?;
        let threshold = self.threshold;
        let kind = if self.active_only { "active connections" } else { "connections" };
        let vote = match count < threshold {
            true => Vote::idle(format!(
                "PostgreSQL has only {count} {kind} (below threshold {threshold})"
            )),
            false => Vote::busy(format!("PostgreSQL has {count} {kind} (threshold {threshold})")),
        };
        Ok(vote.detail("connection_count", count).detail("last_query_timestamp", json!(last)))
    }

    fn health(&mut self) -> Result<(), PluginError> {
        self.count().map(drop)
    }
}

impl Monitor {
    fn count(&self) -> Result<(i64, Option<String>), PluginError> {
        const DOING: &str = "count sessions";
        let target = self.target.as_ref().ok_or(PluginError::new("no usable `dsn`"))?;
        let until = (Instant::now() + LIMIT).into();
        runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let session = Session::open(target, NAME, until).await?;
            let rows = session.rows(DOING, SESSIONS, &[&self.active_only]).await?;
            let row = rows.first().ok_or_else(|| session.unreadable(DOING))?;
            Ok((session.value(DOING, row, 0)?, session.value(DOING, row, 1)?))
        })
    }
}
