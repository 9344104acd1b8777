//! The idle voter.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};
use snooze_plugin::{Config, Info, Metrics, Plugin, PluginError, Setting, Vote};
use tokio::time::Instant;

use crate::dsn::Dsn;
use crate::hold::runtime;
use crate::server::{ServerError, Session};
use crate::settings::{place_settings, read_place};

/// How long a look at the server may take: the host waits five seconds for the vote.
const LOOK_LIMIT: Duration = Duration::from_secs(4);

/// The number of CloudSnooze's own sample.
const DEFAULT_THRESHOLD: i64 = 5;

/// When a client last asked something, in seconds since 1970. Without the privilege `PROCESS` a
/// user sees only sessions of its own.
const LAST_QUERY: &str = "SELECT UNIX_TIMESTAMP() - MIN(IF(COMMAND = 'Sleep', TIME, 0)) FROM \
    information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND COMMAND <> 'Daemon'";

/// Votes by the number of clients.
pub struct Monitor {
    dsn: Option<Dsn>,
    ca_file: Option<PathBuf>,
    threshold: i64,
}

/// What was seen.
struct Seen {
    connections: i64,
    last_query: Option<i64>,
}

impl Default for Monitor {
    fn default() -> Self {
        Self { dsn: None, ca_file: None, threshold: DEFAULT_THRESHOLD }
    }
}

impl Plugin for Monitor {
    fn info(&self) -> Info {
        Info {
            display_name: "MySQL Connection Monitor".to_owned(),
            author: "CloudSnooze".to_owned(),
            description: "Votes that the instance is idle when few clients are connected to MySQL \
                          or MariaDB"
                .to_owned(),
            category: "idle".to_owned(),
            tags: ["mysql", "mariadb", "idle"].map(str::to_owned).into(),
            official: true,
            language: Some("rust".to_owned()),
            config_schema: Setting::schema(&all()),
            permissions: vec!["network".to_owned()],
            ..Info::new("mysql-monitor", env!("CARGO_PKG_VERSION"))
        }
    }

    fn configure(&mut self, config: &Map<String, Value>) -> Result<(), PluginError> {
        let known = all();
        let mut config = Config::new(&known, config);
        let (dsn, ca_file) = read_place(&mut config);
        let threshold = config.integer("connection_threshold").unwrap_or(DEFAULT_THRESHOLD);
        config.finish()?;
        *self = Self { dsn, ca_file, threshold };
        Ok(())
    }

    fn check_idle(&mut self, _metrics: &Metrics) -> Result<Vote, PluginError> {
        let runtime = runtime()?;
        let seen = runtime.block_on(self.look());
        runtime.shutdown_background();
        let Seen { connections, last_query } = seen?;
        let (threshold, is_idle) = (self.threshold, connections < self.threshold);
        let vote = match is_idle {
            true => Vote::idle(format!(
                "MySQL has only {connections} active connections (below threshold {threshold})"
            )),
            false => Vote::busy(format!(
                "MySQL has {connections} active connections (threshold {threshold})"
            )),
        };
        let vote = vote.detail("connection_count", connections);
        Ok(match last_query {
            Some(seconds) => vote.detail("last_query_timestamp", seconds),
            None => vote,
        })
    }

    fn health(&mut self) -> Result<(), PluginError> {
        self.check_idle(&Metrics::read(&Value::Null)).map(drop)
    }
}

impl Monitor {
    async fn look(&self) -> Result<Seen, ServerError> {
        let until = Instant::now() + LOOK_LIMIT;
        let mut session = Session::open(self.dsn.as_ref(), self.ca_file.as_ref(), until).await?;
        let status = "SHOW GLOBAL STATUS LIKE 'Threads_connected'";
        let connected = session.pairs(status).await?;
        let connected = connected.values().next().and_then(|count| count.parse::<i64>().ok());
        let Some(connected) = connected else { return Err(session.says_nothing(status)) };
        // It is a detail only, and MySQL may not have that table any more.
        let last_query = session.number(LAST_QUERY).await.unwrap_or_default();
        session.close().await;
        // One of them is ours.
        Ok(Seen { connections: (connected - 1).max(0), last_query })
    }
}

fn all() -> Vec<Setting> {
    let mut settings = Vec::from(place_settings());
    settings.push(
        Setting::integer(
            "connection_threshold",
            1..=1_000_000,
            "idle with fewer clients than this",
        )
        .default(DEFAULT_THRESHOLD),
    );
    settings
}
