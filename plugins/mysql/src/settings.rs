//! What can be set.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};
use snooze_plugin::{Config, PluginError, Setting};

use crate::dsn::Dsn;

/// Half of what the shortest usual notice leaves after its reserve.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Every write waits while the lock waits, so that this is as long as clients are made to wait.
const DEFAULT_LOCK_WAIT: i64 = 2;

/// How long after its deadline an instance counts as one that lives on, as the daemon counts.
const DEFAULT_RELEASE_AFTER: Duration = Duration::from_secs(60);

/// How the data gets to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Lock all tables, which writes them, then flush the logs.
    Lock,
    /// Flush the logs only: nobody waits.
    Logs,
    /// Flush the logs, then end the server cleanly.
    FastStop,
}

/// What becomes of the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It is released when all is flushed.
    Release,
    /// It is kept until the instance goes.
    Deadline,
}

/// The checked configuration of the flusher. It holds the password, so that it has no `Debug`.
#[derive(Clone)]
pub struct Settings {
    /// Where the server is; `None` before there is a configuration.
    pub dsn: Option<Dsn>,
    /// The certificates that a server's is checked by, instead of the usual ones.
    pub ca_file: Option<PathBuf>,
    /// How the data gets to disk.
    pub strategy: Strategy,
    /// What becomes of the lock.
    pub hold: Hold,
    /// How long after the deadline what is held is released.
    pub release_after: Duration,
    /// How many seconds the lock may wait.
    pub lock_wait: u64,
    /// Writes are refused until the instance goes.
    pub read_only: bool,
    /// The log of InnoDB is flushed.
    pub flush_engine_logs: bool,
    /// The binary log is flushed.
    pub flush_binary_logs: bool,
    /// The pages of InnoDB are written.
    pub checkpoint: bool,
    /// How InnoDB ends.
    pub innodb_fast_shutdown: Option<i64>,
    /// How long all of it may take.
    pub timeout: Duration,
    /// Nothing is done.
    pub dry_run: bool,
}

impl Strategy {
    const ALL: [Self; 3] = [Self::Lock, Self::Logs, Self::FastStop];

    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Logs => "logs",
            Self::FastStop => "fast-stop",
        }
    }
}

/// Where the server is, by either name.
pub(crate) fn place_settings() -> [Setting; 3] {
    let form = "where the server is: `user:password@tcp(host:port)/database`, \
                `user@unix(/path)/` or `mysql://user:password@host:port/database`";
    [
        Setting::text("connection_string", form).secret(),
        Setting::text("dsn", "another name of `connection_string`").secret(),
        Setting::text("ca_file", "certificates to trust instead of the usual ones (PEM)"),
    ]
}

/// Reads [`place_settings`].
pub(crate) fn read_place(config: &mut Config<'_>) -> (Option<Dsn>, Option<PathBuf>) {
    let names = ["connection_string", "dsn"];
    let given = names.into_iter().find_map(|name| Some((name, config.text(name)?)));
    let dsn = match given.map(|(name, text)| (name, Dsn::read(&text))) {
        Some((_, Ok(dsn))) => Some(dsn),
        Some((name, Err(error))) => {
            config.fault(name, error.to_string());
            None
        }
        None => {
            config.fault("connection_string", "where is the server? expected it here or as `dsn`");
            None
        }
    };
    (dsn, config.text("ca_file").map(PathBuf::from))
}

/// All settings of the flusher.
pub(crate) fn all() -> Vec<Setting> {
    let strategies = Strategy::ALL.map(Strategy::as_str);
    let mut settings = Vec::from(place_settings());
    settings.extend([
        Setting::choice("strategy", &strategies, "how the data gets to disk").default("lock"),
        Setting::choice("hold", &["release", "deadline"], "when the lock is released")
            .default("release"),
        Setting::number("release_after_seconds", 0.0..=3600.0, "how long after the deadline")
            .default(DEFAULT_RELEASE_AFTER.as_secs()),
        Setting::integer("lock_wait_seconds", 1..=600, "how long the lock may wait for writes")
            .default(DEFAULT_LOCK_WAIT),
        Setting::flag("read_only", "refuse writes until the instance goes").default(false),
        Setting::flag("flush_engine_logs", "flush the log of InnoDB").default(true),
        Setting::flag("flush_binary_logs", "flush the binary log").default(true),
        Setting::flag("checkpoint", "write the pages of InnoDB (MariaDB)").default(false),
        Setting::integer("innodb_fast_shutdown", 0..=3, "how InnoDB ends with `fast-stop`"),
        Setting::number("timeout_seconds", 0.1..=3600.0, "how long all of it may take at most")
            .default(DEFAULT_TIMEOUT.as_secs()),
        Setting::dry_run(),
    ]);
    settings
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dsn: None,
            ca_file: None,
            strategy: Strategy::Lock,
            hold: Hold::Release,
            release_after: DEFAULT_RELEASE_AFTER,
            lock_wait: DEFAULT_LOCK_WAIT.unsigned_abs(),
            read_only: false,
            flush_engine_logs: true,
            flush_binary_logs: true,
            checkpoint: false,
            innodb_fast_shutdown: None,
            timeout: DEFAULT_TIMEOUT,
            dry_run: false,
        }
    }
}

impl Settings {
    /// Reads a configuration.
    ///
    /// # Errors
    /// All that is wrong with it, without any value.
    pub fn read(given: &Map<String, Value>) -> Result<Self, PluginError> {
        let known = all();
        let mut config = Config::new(&known, given);
        let default = Self::default();
        let (dsn, ca_file) = read_place(&mut config);
        let word = config.text("strategy");
        let strategy = Strategy::ALL.into_iter().find(|s| Some(s.as_str()) == word.as_deref());
        let settings = Self {
            dsn,
            ca_file,
            strategy: strategy.unwrap_or(default.strategy),
            hold: match config.text("hold").as_deref() {
                Some("deadline") => Hold::Deadline,
                _ => Hold::Release,
            },
            release_after: config.seconds("release_after_seconds").unwrap_or(default.release_after),
            lock_wait: config
                .integer("lock_wait_seconds")
                .map_or(default.lock_wait, i64::unsigned_abs),
            read_only: config.flag("read_only"),
            flush_engine_logs: config.flag("flush_engine_logs"),
            flush_binary_logs: config.flag("flush_binary_logs"),
            checkpoint: config.flag("checkpoint"),
            innodb_fast_shutdown: config.integer("innodb_fast_shutdown"),
            timeout: config.seconds("timeout_seconds").unwrap_or(default.timeout),
            dry_run: config.flag("dry_run"),
        };
        if settings.strategy == Strategy::FastStop && settings.hold == Hold::Deadline {
            config.fault("hold", "a server that was stopped holds no lock; leave it out");
        }
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
    fn the_server_is_named_by_either_name_and_has_no_default() {
        for name in ["connection_string", "dsn"] {
            let settings = check(json!({ name: "u:p@tcp(db:3307)/x" }));
            let dsn = settings.unwrap_or_else(|error| panic!("{error}")).dsn.unwrap();
            assert_eq!(dsn.place.to_string(), "db:3307");
        }
        let error = check(json!({})).err().unwrap();
        assert!(error.starts_with("`connection_string`: where is the server?"), "{error}");
    }

    #[test]
    fn faults_are_told_together_and_no_value_is_shown() {
        let given = json!({
            "dsn": "hunter2", "strategy": "fast-stop", "hold": "deadline", "lock_wait_seconds": 0,
        });
        let error = check(given).err().unwrap();
        assert!(!error.contains("hunter2"), "{error}");
        for fault in ["`dsn`: expected `user", "`hold`: a server", "`lock_wait_seconds`: expected"]
        {
            assert!(error.contains(fault), "{error}");
        }
    }
}
