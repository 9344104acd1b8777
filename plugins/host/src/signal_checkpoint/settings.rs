//! What can be set.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Map, Value};
use snooze_plugin::{Config, PluginError, Setting};

use crate::signal::{self, named};
use crate::target::{Scope, Target};

/// What is missing when nothing says who is to save.
pub(super) const NOTHING: &str = "nothing says who is to save: give `pid_file` or `process`";

/// A checkpoint of some gigabytes, and half of what a Spot notice gives.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// The checked configuration.
pub(super) struct Settings {
    pub(super) target: Target,
    pub(super) scope: Scope,
    pub(super) signal: Signal,
    /// What is written when the checkpoint is whole.
    pub(super) marker: Option<PathBuf>,
    /// The marker holds the sums of the files.
    pub(super) sums: bool,
    pub(super) timeout: Duration,
    pub(super) dry_run: bool,
}

/// All settings.
pub(super) fn all() -> Vec<Setting> {
    let mut all: Vec<Setting> = Target::settings().into();
    all.extend([
        Setting::choice("scope", &Scope::WORDS, "who gets the signal: it, its group, all below it")
            .default(Scope::Process.as_str()),
        Setting::choice("signal", &signal::STOPPING, "what tells it to save").default("USR1"),
        Setting::text("marker_file", "what it writes when the checkpoint is whole"),
        Setting::flag("marker_sha256", "the marker holds lines of `sha256sum`, which are compared")
            .default(false),
        Setting::number("timeout_seconds", 0.1..=3600.0, "how long it may take at most")
            .default(DEFAULT_TIMEOUT.as_secs()),
        Setting::dry_run(),
    ]);
    all
}

impl Settings {
    pub(super) fn read(given: &Map<String, Value>) -> Result<Self, PluginError> {
        let known = all();
        let mut config = Config::new(&known, given);
        let target = Target::read(&mut config);
        if target.is_none() {
            config.fault("process", NOTHING);
        }
        let scope = config.text("scope").and_then(|word| Scope::named(&word));
        let signal = config.text("signal").and_then(|name| named(&name)).unwrap_or(Signal::USR1);
        let marker = config.path("marker_file");
        let sums = config.flag("marker_sha256");
        if sums && marker.is_none() {
            config.fault("marker_sha256", "needs `marker_file`");
        }
        let timeout = config.seconds("timeout_seconds").unwrap_or(DEFAULT_TIMEOUT);
        let dry_run = config.flag("dry_run");
        config.finish()?;
        let scope = scope.unwrap_or(Scope::Process);
        let target = target.ok_or_else(|| PluginError::new(NOTHING))?;
        Ok(Self { target, scope, signal, marker, sums, timeout, dry_run })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn somebody_must_be_named_and_sums_need_a_marker() {
        let error = |given: Value| {
            Settings::read(given.as_object().unwrap()).err().map(|error| error.to_string())
        };
        assert!(error(json!({ "scope": "world" })).unwrap().contains(NOTHING));
        let given = json!({ "process": "python", "marker_sha256": true });
        assert!(error(given).unwrap().contains("needs `marker_file`"));
        assert_eq!(error(json!({ "process": "python", "scope": "children" })), None);
    }
}
