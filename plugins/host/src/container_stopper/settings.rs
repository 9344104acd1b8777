//! What can be set.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};
use snooze_plugin::{Config, PluginError, Setting};

use super::engine::ENGINES;

/// The label of the containers that are stopped when nobody says otherwise.
const DEFAULT_LABEL: &str = "cloudsnooze.stop=true";

/// What Docker and Podman give a container that says nothing (docker-stop(1), podman-stop(1)).
const DEFAULT_PATIENCE: Duration = Duration::from_secs(10);

/// Some groups of containers with their usual time-out.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(45);

/// The choice that takes the first engine that is installed.
const ANY: &str = "auto";

/// The checked configuration.
pub(super) struct Settings {
    /// `None` is the first one that is installed.
    pub(super) engine: Option<&'static str>,
    pub(super) label: String,
    pub(super) socket: Option<PathBuf>,
    /// What a container gets that has no time-out of its own.
    pub(super) patience: Duration,
    pub(super) timeout: Duration,
    pub(super) dry_run: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            engine: None,
            label: DEFAULT_LABEL.to_owned(),
            socket: None,
            patience: DEFAULT_PATIENCE,
            timeout: DEFAULT_TIMEOUT,
            dry_run: false,
        }
    }
}

/// All settings.
pub(super) fn all() -> [Setting; 6] {
    let engines: Vec<&str> = [ANY].into_iter().chain(ENGINES).collect();
    [
        Setting::choice("engine", &engines, "which engine; the first that is installed")
            .default(ANY),
        Setting::text("label", "the label of the containers, `name` or `name=value`")
            .default(DEFAULT_LABEL),
        Setting::text("socket", "the path of the engine's socket, where it is not the usual one"),
        Setting::number("stop_seconds", 1.0..=3600.0, "for containers without a time-out")
            .default(DEFAULT_PATIENCE.as_secs()),
        Setting::number("timeout_seconds", 0.1..=3600.0, "how long all of it may take at most")
            .default(DEFAULT_TIMEOUT.as_secs()),
        Setting::dry_run(),
    ]
}

impl Settings {
    pub(super) fn read(given: &Map<String, Value>) -> Result<Self, PluginError> {
        let known = all();
        let mut config = Config::new(&known, given);
        let defaults = Self::default();
        let word = config.text("engine");
        let engine = ENGINES.into_iter().find(|engine| word.as_deref() == Some(engine));
        let socket = config.text("socket").map(PathBuf::from);
        if socket.as_ref().is_some_and(|path| !path.is_absolute()) {
            config.fault("socket", "expected an absolute path, without `unix://`");
        }
        if socket.is_some() && engine.is_none() {
            config.fault("socket", "needs an `engine` by name");
        }
        let label = config.text("label").unwrap_or(defaults.label);
        let patience = config.seconds("stop_seconds").unwrap_or(defaults.patience);
        let timeout = config.seconds("timeout_seconds").unwrap_or(defaults.timeout);
        let dry_run = config.flag("dry_run");
        config.finish()?;
        Ok(Self { engine, label, socket, patience, timeout, dry_run })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_socket_is_that_of_one_engine() {
        let error = |given: Value| {
            Settings::read(given.as_object().unwrap()).err().map(|error| error.to_string())
        };
        assert!(error(json!({ "socket": "/run/d.sock" })).unwrap().contains("`engine` by name"));
        let relative = json!({ "socket": "unix:///run/d.sock", "engine": "docker" });
        assert!(error(relative).unwrap().contains("without `unix://`"));
        assert_eq!(error(json!({ "socket": "/run/d.sock", "engine": "docker" })), None);
        assert_eq!(error(json!({})), None);
    }
}
