//! `spot-interrupt-handler`: runs a script of the operator, within what is left.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use snooze_plugin::{Config, Handled, Info, Plugin, PluginError, PluginEvent, Setting};

use super::notice::{budget, info, time_remaining};
use run::{Ended, run};

mod run;

/// The only event it handles.
const EVENT: &str = "cloud.spot.interrupt";

/// What a script may take when nobody says otherwise; with the reserve it fits the two minutes.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(90);

/// What is kept free before the deadline for what comes after the script.
const DEFAULT_RESERVE: Duration = Duration::from_secs(15);

/// How many incidents are remembered. An instance is lost once; drills are few.
const REMEMBERED: usize = 64;

pub(super) struct SpotInterruptHandler {
    script: Option<PathBuf>,
    timeout: Duration,
    reserve: Duration,
    handled: VecDeque<String>,
}

impl Default for SpotInterruptHandler {
    fn default() -> Self {
        Self {
            script: None,
            timeout: DEFAULT_TIMEOUT,
            reserve: DEFAULT_RESERVE,
            handled: VecDeque::new(),
        }
    }
}

fn settings() -> [Setting; 3] {
    let script = "an executable file that nobody else may write";
    let seconds = |name, least, what| Setting::number(name, least..=3600.0, what);
    [
        Setting::text("shutdown_script_path", script).required(),
        seconds("timeout_seconds", 0.1, "how long the script may take")
            .default(DEFAULT_TIMEOUT.as_secs()),
        seconds("reserve_seconds", 0.0, "what is kept free before the deadline")
            .default(DEFAULT_RESERVE.as_secs()),
    ]
}

impl Plugin for SpotInterruptHandler {
    fn info(&self) -> Info {
        Info {
            config_schema: Setting::schema(&settings()),
            ..info(
                "spot-interrupt-handler",
                "AWS Spot Interrupt Handler",
                "Handles AWS Spot instance interruption notifications",
                &["aws", "spot", "interrupt"],
            )
        }
    }

    fn supported_events(&self) -> Option<Vec<String>> {
        Some(vec![EVENT.to_owned()])
    }

    fn configure(&mut self, given: &Map<String, Value>) -> Result<(), PluginError> {
        let settings = settings();
        let mut config = Config::new(&settings, given);
        let script = config.text("shutdown_script_path").map(PathBuf::from);
        if let Some(Err(fault)) = script.as_deref().map(check) {
            config.fault("shutdown_script_path", fault);
        }
        let timeout = config.seconds("timeout_seconds").unwrap_or(DEFAULT_TIMEOUT);
        let reserve = config.seconds("reserve_seconds").unwrap_or(DEFAULT_RESERVE);
        config.finish()?;
        *self = Self { script, timeout, reserve, handled: std::mem::take(&mut self.handled) };
        Ok(())
    }

    fn health(&mut self) -> Result<(), PluginError> {
        self.script()?;
        Ok(())
    }

    fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
        if event.once_key().is_some_and(|key| self.handled.iter().any(|known| known == key)) {
            return Ok(Handled::with_status("already_handled"));
        }
        let script = self.script()?;
        let limit = budget(event, self.reserve, self.timeout);
        if limit.is_zero() {
            let reserve = self.reserve.as_secs_f64();
            return Ok(unsuccessful(
                format!("no time for the script: {reserve} s are kept free"),
                event,
            ));
        }
        let result = run(script, &environment(event), limit);
        if result.is_ok() {
            self.remember(event);
        }
        Ok(match result {
            Ok(Ended { error: None, output }) => Handled { handled: true, ..Handled::default() }
                .and("success", true)
                .and("time_remaining", time_remaining(event))
                .and("script_output", output),
            Ok(Ended { error: Some(error), output }) => {
                unsuccessful(error, event).and("script_output", output)
            }
            Err(error) => unsuccessful(format!("cannot run the script: {error}"), event),
        })
    }
}

impl SpotInterruptHandler {
    /// The script, which may have changed since it was configured.
    fn script(&self) -> Result<&Path, PluginError> {
        let script = self.script.as_deref();
        let script = script.ok_or_else(|| PluginError::new("`shutdown_script_path` is not set"))?;
        check(script)
            .map_err(|fault| PluginError::new(format!("`shutdown_script_path`: {fault}")))?;
        Ok(script)
    }

    fn remember(&mut self, event: &PluginEvent) {
        let Some(key) = event.once_key() else { return };
        self.handled.push_back(key.to_owned());
        if self.handled.len() > REMEMBERED {
            self.handled.pop_front();
        }
    }
}

/// Handled, since nobody else will do better, but without success.
fn unsuccessful(error: String, event: &PluginEvent) -> Handled {
    let handled = Handled { handled: true, error: Some(error), ..Handled::default() };
    handled.and("success", false).and("time_remaining", time_remaining(event))
}

/// What the script finds in its environment.
fn environment(event: &PluginEvent) -> [(&'static str, String); 5] {
    [
        ("CLOUDSNOOZE_EVENT_TYPE", event.kind.clone()),
        ("CLOUDSNOOZE_EVENT_ID", event.id.clone()),
        ("CLOUDSNOOZE_INCIDENT", event.incident.clone().unwrap_or_default()),
        ("CLOUDSNOOZE_TIME_REMAINING", time_remaining(event).to_string()),
        ("CLOUDSNOOZE_DRILL", u8::from(event.drill).to_string()),
    ]
    .map(|(name, value)| (name, value.replace('\0', "")))
}

/// Whether a file may be run: what is wrong with it otherwise.
fn check(path: &Path) -> Result<(), String> {
    if !path.is_absolute() {
        return Err("expected an absolute path".to_owned());
    }
    let file = fs::metadata(path).map_err(|error| format!("`{}`: {error}", path.display()))?;
    let own = rustix::process::geteuid().as_raw();
    let parent = path.parent().map(fs::metadata);
    let fault = if !file.is_file() {
        "is no regular file"
    } else if file.mode() & 0o111 == 0 {
        "is not executable; use `chmod +x`"
    } else if file.mode() & 0o002 != 0 {
        "may be written by anybody; use `chmod o-w`"
    } else if file.uid() != 0 && file.uid() != own {
        "belongs to another user; use `chown root`"
    } else if parent.is_some_and(|found| found.is_ok_and(|found| found.mode() & 0o1002 == 0o002)) {
        "is in a folder that anybody may write"
    } else {
        return Ok(());
    };
    Err(format!("`{}` {fault}", path.display()))
}

#[cfg(test)]
mod tests;
