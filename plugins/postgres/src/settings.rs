//! What can be set for the flusher.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};
use snooze_plugin::{Config, PluginError, Setting};

use crate::target::{self, Target};

/// Half of what the shortest usual notice leaves after its reserve.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The usual web request is over by then.
const DEFAULT_DRAIN: Duration = Duration::from_secs(5);

/// An instance that is still there so long after its time was not taken away, and the daemon runs
/// what undoes its plan: clients are let in even if nobody says so.
const DEFAULT_HOLD: Duration = Duration::from_secs(60);

/// A segment of 16 MiB over a slow line.
const DEFAULT_ARCHIVE_WAIT: Duration = Duration::from_secs(10);

/// Megabytes a second: a little less than the smallest gp3 volume writes.
const DEFAULT_DISK_RATE: f64 = 100.0;

/// Bytes in the megabyte of disk makers.
const MEGABYTE: f64 = 1e6;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// `CHECKPOINT`: clients go on, and the next start has little to recover.
    Checkpoint,
    /// And the newest WAL file goes to the archive or to a standby.
    SwitchWal,
    /// Sessions end and none comes, then `CHECKPOINT`.
    Quiesce,
    /// `CHECKPOINT`, then the server stops cleanly.
    FastStop,
}

impl Strategy {
    const ALL: [Self; 4] = [Self::Checkpoint, Self::SwitchWal, Self::Quiesce, Self::FastStop];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::SwitchWal => "checkpoint+switch-wal",
            Self::Quiesce => "quiesce",
            Self::FastStop => "fast-stop",
        }
    }
}

/// The checked configuration. It holds the password, so that it has no `Debug`.
pub(crate) struct Settings {
    pub(crate) target: Option<Target>,
    pub(crate) strategy: Strategy,
    pub(crate) timeout: Duration,
    pub(crate) drain: Duration,
    /// How long the door stays shut after the instance should be gone.
    pub(crate) hold: Duration,
    pub(crate) archive_wait: Duration,
    /// Bytes a second that a checkpoint is expected to write.
    pub(crate) disk_rate: f64,
    pub(crate) data_directory: Option<PathBuf>,
    pub(crate) dry_run: bool,
}

/// All settings.
pub(crate) fn all() -> [Setting; 10] {
    let strategies = Strategy::ALL.map(Strategy::as_str);
    [
        Setting::text("connection_string", "where PostgreSQL is, as a URL or as libpq's words")
            .default(target::DEFAULT)
            .secret(),
        ca_file(),
        Setting::choice("strategy", &strategies, "what is done")
            .default(Strategy::Checkpoint.as_str()),
        Setting::number("timeout_seconds", 0.1..=3600.0, "how long all of it may take at most")
            .default(DEFAULT_TIMEOUT.as_secs()),
        Setting::number("drain_seconds", 0.0..=600.0, "`quiesce`: how long transactions may go on")
            .default(DEFAULT_DRAIN.as_secs()),
        Setting::number(
            "hold_seconds",
            0.0..=86_400.0,
            "`quiesce`: how long after the deadline no session is let in",
        )
        .default(DEFAULT_HOLD.as_secs()),
        Setting::number(
            "archive_wait_seconds",
            0.1..=600.0,
            "`checkpoint+switch-wal`: how long the archive or a standby may take",
        )
        .default(DEFAULT_ARCHIVE_WAIT.as_secs()),
        Setting::number(
            "disk_mb_per_second",
            1.0..=100_000.0,
            "how fast a checkpoint writes, until one was measured",
        )
        .default(DEFAULT_DISK_RATE),
        Setting::text(
            "data_directory",
            "`fast-stop`: where the data is, if the role may not ask the server",
        ),
        Setting::dry_run(),
    ]
}

/// The authorities that sign the server's certificate: a setting of both plugins.
pub(crate) fn ca_file() -> Setting {
    Setting::text("ca_file", "a PEM file of authorities for TLS, instead of the system's")
}

/// Where the server is, out of the setting `name`.
pub(crate) fn target(config: &mut Config, name: &str) -> Option<Target> {
    let ca_file = config.text("ca_file").map(PathBuf::from);
    let read = Target::read(&config.text(name)?, ca_file.as_deref());
    read.inspect_err(|expected| config.fault(name, expected)).ok()
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            target: Target::read(target::DEFAULT, None).ok(),
            strategy: Strategy::Checkpoint,
            timeout: DEFAULT_TIMEOUT,
            drain: DEFAULT_DRAIN,
            hold: DEFAULT_HOLD,
            archive_wait: DEFAULT_ARCHIVE_WAIT,
            disk_rate: DEFAULT_DISK_RATE * MEGABYTE,
            data_directory: None,
            dry_run: false,
        }
    }
}

impl Settings {
    pub(crate) fn read(given: &Map<String, Value>) -> Result<Self, PluginError> {
        let known = all();
        let mut config = Config::new(&known, given);
        let other = Self::default();
        let word = config.text("strategy");
        let strategy = Strategy::ALL.into_iter().find(|one| Some(one.as_str()) == word.as_deref());
        let settings = Self {
            target: target(&mut config, "connection_string"),
            strategy: strategy.unwrap_or(other.strategy),
            timeout: config.seconds("timeout_seconds").unwrap_or(other.timeout),
            drain: config.seconds("drain_seconds").unwrap_or(other.drain),
            hold: config.seconds("hold_seconds").unwrap_or(other.hold),
            archive_wait: config.seconds("archive_wait_seconds").unwrap_or(other.archive_wait),
            disk_rate: config
                .number("disk_mb_per_second")
                .map_or(other.disk_rate, |rate| rate * MEGABYTE),
            data_directory: config.text("data_directory").map(PathBuf::from),
            dry_run: config.flag("dry_run"),
        };
        config.finish()?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(given: Value) -> Result<Settings, String> {
        Settings::read(given.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_a_checkpoint_of_the_server_on_this_machine() {
        let settings = check(json!({})).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(settings.target.unwrap().place(), "/var/run/postgresql:5432");
        assert_eq!((settings.strategy, settings.timeout), (Strategy::Checkpoint, DEFAULT_TIMEOUT));
        assert_eq!((settings.drain, settings.disk_rate), (DEFAULT_DRAIN, 1e8));
    }

    #[test]
    fn every_fault_is_told_and_no_secret() {
        let error = check(json!({
            "connection_string": "postgres://u:hunter2@h:x/d", "strategy": "vacuum",
            "timeout_seconds": 0, "drain": 5,
        }));
        let error = error.err().unwrap();
        for part in [
            "`strategy`: expected `checkpoint`, `checkpoint+switch-wal`, `quiesce` or `fast-stop`",
            "`timeout_seconds`: expected a number from 0.1 to 3600",
            "`drain` is no setting of this plugin",
            "`connection_string`: expected `postgres://",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
    }
}
