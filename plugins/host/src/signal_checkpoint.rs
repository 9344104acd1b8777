//! Tells a program by a signal to save, and waits until it did.

mod marker;
mod settings;

use std::io;

use serde_json::{Map, Value};
use snooze_plugin::{Handled, Info, LOSSES, Plugin, PluginError, PluginEvent, Setting, WARNINGS};

use crate::process::Process;
use crate::report::{texts, would};
use crate::signal;
use crate::step::Step;
use crate::target::TargetError;
use marker::{Marker, MarkerError, Proof};
use settings::Settings;

/// The plugin `signal-checkpoint`.
#[derive(Default)]
pub struct SignalCheckpoint {
    settings: Option<Settings>,
}

/// Why nothing was saved, as far as is known.
#[derive(Debug, thiserror::Error)]
enum CheckpointError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("{target} does not run, or nothing of it in this `scope`: nobody can save")]
    Nobody { target: String },
    #[error("cannot signal {process}")]
    Signal { process: String, source: io::Error },
    #[error(transparent)]
    Marker(#[from] MarkerError),
    #[error("{processes} did not end on {signal} in time")]
    StillRuns { processes: String, signal: &'static str },
}

impl Plugin for SignalCheckpoint {
    fn info(&self) -> Info {
        Info {
            display_name: "Signal Checkpoint".to_owned(),
            author: "CloudSnooze".to_owned(),
            description: "Tells a program by a signal to save, and waits until it did".to_owned(),
            category: "checkpoint".to_owned(),
            tags: ["checkpoint", "signal", "pytorch", "slurm", "ray"].map(str::to_owned).into(),
            official: true,
            language: Some("rust".to_owned()),
            config_schema: Setting::schema(&settings::all()),
            permissions: ["signal", "read:marker_file"].map(str::to_owned).into(),
            ..Info::new("signal-checkpoint", env!("CARGO_PKG_VERSION"))
        }
    }

    fn supported_events(&self) -> Option<Vec<String>> {
        Some(LOSSES.into_iter().chain(WARNINGS).map(str::to_owned).collect())
    }

    fn configure(&mut self, config: &Map<String, Value>) -> Result<(), PluginError> {
        self.settings = Some(Settings::read(config)?);
        Ok(())
    }

    fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
        let is_warning = event.is_warning();
        let settings = self.settings.as_ref().ok_or_else(|| PluginError::new(settings::NOTHING))?;
        // Without a marker the end of the program is the sign, and a warning is none to end.
        if is_warning && settings.marker.is_none() {
            return Ok(Handled::not_mine());
        }
        let step = Step::begin(event, settings.timeout);
        if settings.dry_run || event.drill {
            return Ok(step.end(would(&would_save(settings)?)));
        }
        let handled = save(settings, &step).unwrap_or_else(|error| {
            let failed = Handled::failed(PluginError::from(error).to_string());
            // Without a marker there is nothing that could have been read back.
            if settings.marker.is_some() { failed.verified(false) } else { failed }
        });
        Ok(step.end(handled.and("signal", signal::name(settings.signal))))
    }

    fn health(&mut self) -> Result<(), PluginError> {
        let Some(settings) = &self.settings else {
            return Err(PluginError::new(settings::NOTHING));
        };
        Ok(settings.target.find().map(drop)?)
    }
}

fn save(settings: &Settings, step: &Step) -> Result<Handled, CheckpointError> {
    let processes = found(settings)?;
    let marker = settings.marker.as_deref().map(|path| Marker::before(path, settings.sums));
    for process in &processes {
        process
            .signal(settings.signal)
            .map_err(|source| CheckpointError::Signal { process: process.label(), source })?;
    }
    let handled = match marker {
        Some(marker) => proven(&marker.wait(&processes, step.until)?),
        None => ended(&processes, settings, step)?,
    };
    let has_ended = processes.iter().all(Process::is_gone);
    Ok(handled.and("signalled", texts(&labels(&processes))).and("exited", has_ended))
}

fn proven(proof: &Proof) -> Handled {
    Handled::with_status("checkpointed")
        .verified(true)
        .and("saved", texts(&proof.files))
        .and("bytes", proof.bytes)
        .and("sums_compared", proof.sums)
}

/// Waits for the end of all. What they saved, nobody can tell.
fn ended(
    processes: &[Process],
    settings: &Settings,
    step: &Step,
) -> Result<Handled, CheckpointError> {
    let running = processes.iter().filter(|process| !process.is_gone_by(step.until));
    let running: Vec<String> = running.map(Process::label).collect();
    let signal = signal::name(settings.signal);
    match running.is_empty() {
        true => Ok(Handled::with_status("exited").and("saved", texts(&[]))),
        false => Err(CheckpointError::StillRuns { processes: running.join(", "), signal }),
    }
}

fn would_save(settings: &Settings) -> Result<Vec<String>, CheckpointError> {
    let signal = signal::name(settings.signal);
    let mut acts: Vec<String> = found(settings)?
        .iter()
        .map(|process| format!("send {signal} to {}", process.label()))
        .collect();
    acts.push(match &settings.marker {
        Some(path) => format!("wait until `{}` is written", path.display()),
        None => "wait until they end".to_owned(),
    });
    Ok(acts)
}

fn found(settings: &Settings) -> Result<Vec<Process>, CheckpointError> {
    let processes = settings.scope.around(settings.target.find()?)?;
    match processes.is_empty() {
        true => Err(CheckpointError::Nobody { target: settings.target.label() }),
        false => Ok(processes),
    }
}

fn labels(processes: &[Process]) -> Vec<String> {
    processes.iter().map(Process::label).collect()
}
