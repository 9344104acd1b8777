//! Saves a small state when the instance goes, durably, and votes whether it is idle.

#![expect(clippy::print_stderr, reason = "stderr is the log of a plugin")]

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use snooze_plugin::{
    Config, Handled, Info, Metrics, Plugin, PluginError, PluginEvent, Setting, Vote, serve,
};

const EVENTS: [&str; 3] =
    ["cloud.spot.interrupt", "cloud.instance.termination", "cloud.autoscaling.scale"];

/// A save takes so long at most: with less time it is not begun.
const SAVE_LIMIT: Duration = Duration::from_secs(1);

/// What can be set. The daemon checks a configuration against it before the plugin gets it.
fn settings() -> [Setting; 3] {
    [
        Setting::text("path", "the file that the state is saved in")
            .default("/var/tmp/checkpoint.json"),
        Setting::number("cpu_threshold", 0.0..=100.0, "idle below so many percent of CPU")
            .default(5),
        Setting::dry_run(),
    ]
}

#[derive(Default)]
struct Checkpoint {
    path: PathBuf,
    cpu_threshold: f64,
    dry_run: bool,
}

impl Plugin for Checkpoint {
    fn info(&self) -> Info {
        Info {
            description: "Saves a small state when the instance goes".to_owned(),
            category: "cloud-event".to_owned(),
            language: Some("rust".to_owned()),
            config_schema: Setting::schema(&settings()),
            ..Info::new("checkpoint", env!("CARGO_PKG_VERSION"))
        }
    }

    fn supported_events(&self) -> Option<Vec<String>> {
        Some(EVENTS.map(str::to_owned).into())
    }

    fn configure(&mut self, config: &Map<String, Value>) -> Result<(), PluginError> {
        let settings = settings();
        let mut config = Config::new(&settings, config);
        let path = config.path("path").unwrap_or_default();
        let cpu_threshold = config.number("cpu_threshold").unwrap_or_default();
        let dry_run = config.flag("dry_run");
        config.finish()?;
        *self = Self { path, cpu_threshold, dry_run };
        Ok(())
    }

    fn health(&mut self) -> Result<(), PluginError> {
        let probe = self.path.with_extension("probe");
        File::create(&probe).and_then(|_| fs::remove_file(&probe)).map_err(|error| {
            let folder = self.path.parent().unwrap_or(&self.path).display();
            PluginError::new(format!("cannot write into {folder}: {error}; set `path` elsewhere"))
        })
    }

    fn check_idle(&mut self, metrics: &Metrics) -> Result<Vote, PluginError> {
        let reason = format!("CPU at {} % (threshold {} %)", metrics.cpu_usage, self.cpu_threshold);
        Ok(match metrics.cpu_usage < self.cpu_threshold {
            true => Vote::idle(reason),
            false => Vote::busy(reason),
        })
    }

    fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
        let path = self.path.display().to_string();
        if let Some(left) = event.time_remaining().filter(|left| *left < SAVE_LIMIT) {
            return Ok(Handled::failed(format!(
                "{left:?} are left, a save takes up to {SAVE_LIMIT:?}"
            )));
        }
        if self.dry_run || event.drill {
            return Ok(Handled::with_status("would_save").and("dry_run", true).and("path", path));
        }
        let begun = Instant::now();
        let text = format!("{}\n", state(event));
        Ok(match write_durably(&self.path, &text) {
            Ok(()) => Handled::with_status("saved")
                .verified(fs::read_to_string(&self.path).is_ok_and(|read| read == text))
                .and("path", path)
                .and("bytes", text.len())
                .and("seconds", begun.elapsed().as_secs_f64()),
            Err(error) => Handled::failed(format!("cannot save {path}: {error}")),
        })
    }
}

/// What is saved. The incident is the same however often one loss is signalled.
fn state(event: &PluginEvent) -> Value {
    json!({ "incident": event.incident, "event": event.id, "type": event.kind })
}

/// All of the text or nothing of it: a new file, fsync, a new name, fsync of the folder.
fn write_durably(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

fn main() -> ExitCode {
    let mut plugin = Checkpoint::default();
    match plugin.configure(&Map::new()) {
        Ok(()) => serve(plugin),
        Err(error) => {
            eprintln!("the defaults cannot be used: {error}");
            ExitCode::FAILURE
        }
    }
}
