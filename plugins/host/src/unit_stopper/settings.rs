//! What can be set.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Map, Value};
use snooze_plugin::{Config, PluginError, Setting};

use super::units::{Unit, groups};
use crate::signal::{self, named};
use crate::target::Target;

/// What is missing when nothing says what to stop.
pub(super) const NOTHING: &str = "nothing says what to stop: give `units`, `pid_file` or `process`";

/// As for the other plugins that wait for something of the operator's.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The checked configuration.
pub(super) struct Settings {
    pub(super) what: What,
    pub(super) timeout: Duration,
    pub(super) dry_run: bool,
}

/// What is stopped.
pub(super) enum What {
    /// One group after the other, the units of a group together.
    Units(Vec<Vec<Unit>>),
    Processes(Stop),
}

/// How processes are stopped.
pub(super) struct Stop {
    pub(super) target: Target,
    pub(super) signal: Signal,
    pub(super) kill_after: Option<Duration>,
}

/// All settings.
pub(super) fn all() -> Vec<Setting> {
    let seconds = 0.1..=3600.0;
    let mut all = vec![Setting::list(
        "units",
        "systemd units, stopped one after the other; those in one text with commas together",
    )];
    all.extend(Target::settings());
    all.extend([
        Setting::choice("signal", &signal::STOPPING, "what tells a process to end").default("TERM"),
        Setting::number(
            "kill_after_seconds",
            seconds.clone(),
            "when a process that did not end is killed; never when it is not given",
        ),
        Setting::number("timeout_seconds", seconds, "how long all of it may take at most")
            .default(DEFAULT_TIMEOUT.as_secs()),
        Setting::dry_run(),
    ]);
    all
}

impl Settings {
    pub(super) fn read(given: &Map<String, Value>) -> Result<Self, PluginError> {
        let known = all();
        let mut config = Config::new(&known, given);
        let texts = config.list("units");
        let units = groups(&texts).unwrap_or_else(|fault| {
            config.fault("units", fault);
            Vec::new()
        });
        let target = Target::read(&mut config);
        let kill_after = config.seconds("kill_after_seconds");
        let signal = config.text("signal").and_then(|name| named(&name)).unwrap_or(Signal::TERM);
        if target.is_none() && texts.is_empty() {
            config.fault("units", NOTHING);
        }
        if target.is_some() && !texts.is_empty() {
            config
                .fault("units", "units and a process cannot be stopped by one handler; write two");
        }
        if kill_after.is_some() && !texts.is_empty() {
            config.fault("kill_after_seconds", "for processes only; units have `TimeoutStopSec=`");
        }
        let timeout = config.seconds("timeout_seconds").unwrap_or(DEFAULT_TIMEOUT);
        let dry_run = config.flag("dry_run");
        config.finish()?;
        let what = match target {
            Some(target) => What::Processes(Stop { target, signal, kill_after }),
            None => What::Units(units),
        };
        Ok(Self { what, timeout, dry_run })
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
    fn one_of_units_and_process_is_needed_and_not_both() {
        assert!(check(json!({})).err().unwrap().contains(NOTHING));
        assert!(
            check(json!({ "units": ["a"], "process": "b" })).err().unwrap().contains("write two")
        );
        assert!(check(json!({ "units": ["a"] })).is_ok());
        assert!(check(json!({ "process": "b", "pid_file": "/run/b.pid" })).is_ok());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_all_at_once() {
        let given = json!({
            "units": ["a", "--root=/"], "kill_after_seconds": 1, "pid_file": "b", "signal": "KILL",
        });
        let error = check(given).err().unwrap();
        for part in [
            "`units`: expected",
            "`kill_after_seconds`: for",
            "`pid_file`: expected an ab",
            "`signal`: expected `TERM`",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
