//! What can be set.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};
use snooze_plugin::{Config, PluginError, Setting};

/// As for the other plugins that wait for disks: four gigabytes at a usual rate.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Long enough for a snapshot to be begun, and short enough for what waits meanwhile.
const DEFAULT_HOLD: Duration = Duration::from_secs(10);

/// The checked configuration.
pub(super) struct Settings {
    /// None means all file systems.
    pub(super) paths: Vec<PathBuf>,
    pub(super) freeze: bool,
    /// How long file systems stay frozen.
    pub(super) hold: Duration,
    pub(super) timeout: Duration,
    pub(super) dry_run: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let (hold, timeout) = (DEFAULT_HOLD, DEFAULT_TIMEOUT);
        Self { paths: Vec::new(), freeze: false, hold, timeout, dry_run: false }
    }
}

/// All settings.
pub(super) fn all() -> [Setting; 5] {
    [
        Setting::list("paths", "directories whose file systems are meant; all when it is empty"),
        Setting::flag("freeze", "freeze the file systems of `paths` after that").default(false),
        Setting::number("hold_seconds", 0.1..=120.0, "when they are thawed at the latest")
            .default(DEFAULT_HOLD.as_secs()),
        Setting::number("timeout_seconds", 0.1..=3600.0, "how long it may take at most")
            .default(DEFAULT_TIMEOUT.as_secs()),
        Setting::dry_run(),
    ]
}

impl Settings {
    pub(super) fn read(given: &Map<String, Value>) -> Result<Self, PluginError> {
        let known = all();
        let mut config = Config::new(&known, given);
        let paths: Vec<PathBuf> = config.list("paths").into_iter().map(PathBuf::from).collect();
        if paths.iter().any(|path| !path.is_absolute()) {
            config.fault("paths", "expected absolute paths");
        }
        let freeze = config.flag("freeze");
        if freeze && paths.is_empty() {
            config.fault("freeze", "needs `paths`: not all file systems can be frozen");
        }
        let hold = config.seconds("hold_seconds").unwrap_or(DEFAULT_HOLD);
        let timeout = config.seconds("timeout_seconds").unwrap_or(DEFAULT_TIMEOUT);
        let dry_run = config.flag("dry_run");
        config.finish()?;
        Ok(Self { paths, freeze, hold, timeout, dry_run })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_freeze_needs_paths_and_paths_are_absolute() {
        let check = |given: Value| Settings::read(given.as_object().unwrap());
        let error = |given: Value| check(given).err().unwrap().to_string();
        assert!(error(json!({ "freeze": true })).contains("needs `paths`"));
        assert!(error(json!({ "paths": ["data"] })).contains("expected absolute paths"));
        assert!(check(json!({ "paths": ["/data"], "freeze": true })).is_ok());
        assert!(check(json!({})).is_ok());
    }
}
