//! What can be set.

use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use serde_json::{Map, Value};
use snooze_plugin::{Config, PluginError, Setting};

/// Where Redis is when nobody says otherwise.
pub(crate) const DEFAULT_URL: &str = "redis://127.0.0.1:6379";

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
    pub(crate) server: Option<ConnectionInfo>,
    pub(crate) mode: Mode,
    pub(crate) timeout: Duration,
}

/// All settings.
pub(crate) fn all() -> [Setting; 3] {
    let modes = Mode::ALL.map(Mode::as_str);
    [
        Setting::text("redis_url", "where Redis is; `unix:///path` for a socket")
            .default(DEFAULT_URL)
            .secret(),
        Setting::choice("mode", &modes, "how the data gets to disk").default(Mode::Bgsave.as_str()),
        Setting::number("timeout_seconds", 0.1..=3600.0, "how long a save may take at most")
            .default(DEFAULT_TIMEOUT.as_secs()),
    ]
}

impl Default for Settings {
    fn default() -> Self {
        let server = DEFAULT_URL.into_connection_info().ok();
        Self { server, mode: Mode::Bgsave, timeout: DEFAULT_TIMEOUT }
    }
}

impl Settings {
    pub(crate) fn read(given: &Map<String, Value>) -> Result<Self, PluginError> {
        let known = all();
        let mut config = Config::new(&known, given);
        let mut settings = Self::default();
        if let Some(url) = config.text("redis_url") {
            match url.into_connection_info() {
                Ok(server) if !matches!(server.addr(), ConnectionAddr::TcpTls { .. }) => {
                    settings.server = Some(server);
                }
                // The reason is not shown, since it may hold a part of the URL.
                Ok(_) | Err(_) => config.fault(
                    "redis_url",
                    "expected `redis://[user:password@]host:port[/db]` or `unix:///path`; TLS is \
                     not supported",
                ),
            }
        }
        let word = config.text("mode");
        let mode = Mode::ALL.into_iter().find(|mode| Some(mode.as_str()) == word.as_deref());
        settings.mode = mode.unwrap_or(settings.mode);
        settings.timeout = config.seconds("timeout_seconds").unwrap_or(settings.timeout);
        config.finish()?;
        Ok(settings)
    }

    /// Where Redis is, without user and password.
    pub(crate) fn place(&self) -> String {
        self.server.as_ref().map_or_else(String::new, |server| server.addr().to_string())
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
        assert_eq!(settings.place(), "127.0.0.1:6379");
        assert_eq!((settings.mode, settings.timeout), (Mode::Bgsave, DEFAULT_TIMEOUT));
    }

    #[test]
    fn a_url_that_is_refused_is_never_shown() {
        for url in
            ["rediss://u:hunter2@h", "mysql://u:hunter2@h", "redis://u:hunter2@:x", "hunter2"]
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
        assert_eq!(settings.place(), "db:7000");
    }
}
