//! What can be set.

use std::time::Duration;

use serde_json::{Map, Value};
use snooze_plugin::{Config, PluginError, Setting};

use crate::server::{self, Server};

/// Half of what the shortest usual notice leaves after its reserve, and enough for four gigabytes
/// at the rate that Redis writes on one core.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// How the data gets to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `SAVE`: clients wait, no memory for a second process is needed.
    Save,
    /// `BGSAVE`, then waiting for it: clients go on.
    Bgsave,
    /// Waiting until the append-only file is on disk.
    Aof,
}

impl Mode {
    const ALL: [Self; 3] = [Self::Save, Self::Bgsave, Self::Aof];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Save => "save",
            Self::Bgsave => "bgsave",
            Self::Aof => "aof",
        }
    }
}

/// The checked configuration. It holds the password, so that it has no `Debug`.
pub(crate) struct Settings {
    pub(crate) server: Server,
    pub(crate) mode: Mode,
    /// How many replicas must have everything too.
    pub(crate) replicas: u64,
    pub(crate) timeout: Duration,
    pub(crate) dry_run: bool,
}

/// All settings.
pub(crate) fn all() -> Vec<Setting> {
    let modes = Mode::ALL.map(Mode::as_str);
    let replicas = "how many replicas must have all data before the save begins";
    let mut all = server::settings(server::DEFAULT_URL).to_vec();
    all.extend([
        Setting::choice("mode", &modes, "how the data gets to disk").default(Mode::Bgsave.as_str()),
        Setting::integer("wait_replicas", 0..=100, replicas).default(0),
        Setting::number("timeout_seconds", 0.1..=3600.0, "how long a save may take at most")
            .default(DEFAULT_TIMEOUT.as_secs()),
        Setting::dry_run(),
    ]);
    all
}

impl Settings {
    pub(crate) fn read(given: &Map<String, Value>) -> Result<Self, PluginError> {
        let known = all();
        let mut config = Config::new(&known, given);
        let server = Server::read(&mut config);
        let word = config.text("mode");
        let mode = Mode::ALL.into_iter().find(|mode| Some(mode.as_str()) == word.as_deref());
        let replicas = config.integer("wait_replicas").and_then(|n| u64::try_from(n).ok());
        let timeout = config.seconds("timeout_seconds");
        let dry_run = config.flag("dry_run");
        config.finish()?;
        // Where nothing is wrong there is a server.
        let server = server.ok_or_else(|| PluginError::new("no usable `redis_url`"))?;
        Ok(Self {
            server,
            mode: mode.unwrap_or(Mode::Bgsave),
            replicas: replicas.unwrap_or(0),
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
            dry_run,
        })
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
    fn the_defaults_are_a_background_save_on_this_machine() {
        let settings = check(json!({})).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(settings.server.place(), "127.0.0.1:6379");
        assert_eq!((settings.mode, settings.timeout), (Mode::Bgsave, DEFAULT_TIMEOUT));
    }

    #[test]
    fn a_url_that_is_refused_is_never_shown() {
        for url in ["http://u:hunter2@h", "mysql://u:hunter2@h", "redis://u:hunter2@:x", "hunter2"]
        {
            let error = check(json!({ "redis_url": url, "mode": "quick" })).err().unwrap();
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains("`redis_url`: expected") && error.contains("`mode`: expected"));
        }
    }

    #[test]
    fn the_place_holds_no_password() {
        let settings = check(json!({ "redis_url": "redis://u:hunter2@db:7000/2" }));
        let settings = settings.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(settings.server.place(), "db:7000");
    }
}
