//! Writes to the disks what the kernel still holds, and freezes file systems if asked to.

mod freeze;
mod guard;
mod mounts;
mod settings;
mod spared;

use std::path::PathBuf;

use serde_json::{Map, Value};
use snooze_plugin::{Handled, Info, LOSSES, Plugin, PluginError, PluginEvent, Setting, WARNINGS};

use crate::program::Programs;
use crate::report::{Report, texts, would};
use crate::step::Step;
use freeze::{Frozen, Surroundings};
use mounts::Mount;
use settings::Settings;

pub use guard::guard_volumes;

/// The plugin `volume-sync`.
#[derive(Default)]
pub struct VolumeSync {
    surroundings: Surroundings,
    settings: Settings,
    frozen: Option<Frozen>,
}

impl VolumeSync {
    /// One that finds `fsfreeze`, `systemctl` and `systemd-run` among these programs, becomes the
    /// guard of a frozen file system by the program `guard`, and takes systemd for process 1 when
    /// the directory `systemd` is there.
    #[must_use]
    pub fn new(programs: Programs, guard: PathBuf, systemd: PathBuf) -> Self {
        let surroundings = Surroundings { programs, guard, systemd };
        Self { surroundings, ..Self::default() }
    }

    /// Thaws what an earlier event froze.
    fn thaw(&mut self) -> Result<(), PluginError> {
        let Some(frozen) = self.frozen.take() else { return Ok(()) };
        Ok(frozen.thaw(&self.surroundings)?)
    }

    /// Freezes the file systems of the paths; returns those that are frozen.
    fn freeze(&mut self, mounts: &[Mount], step: &Step, report: &mut Report) -> Vec<String> {
        let mut wanted = Vec::new();
        for mount in mounts {
            match spared::why(mount, &self.surroundings) {
                Some(why) => report.missed(format!("freeze {}", mount.shown()), why),
                None => wanted.push(mount),
            }
        }
        if wanted.is_empty() {
            return Vec::new();
        }
        let hold = self.settings.hold;
        match Frozen::begin(&wanted, hold, &self.surroundings, step.until) {
            Ok((frozen, failed)) => {
                for (mount, why) in failed {
                    report.missed(format!("freeze {mount}"), why);
                }
                let mounts = frozen.mounts();
                self.frozen = Some(frozen);
                mounts
            }
            Err(error) => {
                report.missed("freeze", PluginError::from(error));
                Vec::new()
            }
        }
    }
}

impl Plugin for VolumeSync {
    fn info(&self) -> Info {
        Info {
            display_name: "Volume Sync".to_owned(),
            author: "CloudSnooze".to_owned(),
            description: "Writes to the disks what the kernel still holds, and freezes file \
                          systems if asked to"
                .to_owned(),
            category: "storage".to_owned(),
            tags: ["disk", "volume", "sync", "freeze"].map(str::to_owned).into(),
            official: true,
            language: Some("rust".to_owned()),
            config_schema: Setting::schema(&settings::all()),
            permissions: ["root", "run:fsfreeze", "run:systemd-run"].map(str::to_owned).into(),
            ..Info::new("volume-sync", env!("CARGO_PKG_VERSION"))
        }
    }

    fn supported_events(&self) -> Option<Vec<String>> {
        Some(LOSSES.into_iter().chain(WARNINGS).map(str::to_owned).collect())
    }

    fn configure(&mut self, config: &Map<String, Value>) -> Result<(), PluginError> {
        self.settings = Settings::read(config)?;
        Ok(())
    }

    fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
        let is_warning = event.is_warning();
        let step = Step::begin(event, self.settings.timeout);
        let (mounts, missing) = mounts::of(&self.settings.paths)?;
        let freezes = self.settings.freeze && !is_warning;
        if self.settings.dry_run || event.drill {
            let mut acts: Vec<String> =
                mounts.iter().map(|mount| format!("sync {}", mount.shown())).collect();
            for mount in mounts.iter().filter(|_| freezes) {
                acts.push(match spared::why(mount, &self.surroundings) {
                    None => format!("freeze {}", mount.shown()),
                    Some(why) => format!("not freeze {}: {why}", mount.shown()),
                });
            }
            return Ok(step.end(would(&acts)));
        }
        // What is frozen cannot be written to.
        self.thaw()?;
        let mut report = Report { not_done: missing, ..Report::default() };
        let before = mounts::unwritten();
        let synced = mounts::sync(&mounts, step.until, &mut report);
        let after = mounts::unwritten();
        let frozen = match freezes {
            true => self.freeze(&synced, &step, &mut report),
            false => Vec::new(),
        };
        let mut handled = report.handled("volumes_synced");
        for (key, bytes) in [("dirty_bytes_before", before), ("dirty_bytes_after", after)] {
            handled = bytes.map_or(handled.clone(), |bytes| handled.and(key, bytes));
        }
        if !frozen.is_empty() {
            let seconds = self.settings.hold.as_secs_f64();
            handled = handled.and("frozen", texts(&frozen)).and("thaw_within_seconds", seconds);
        }
        Ok(step.end(handled))
    }

    fn health(&mut self) -> Result<(), PluginError> {
        let (mounts, missing) = mounts::of(&self.settings.paths)?;
        if let Some((path, why)) = missing.first() {
            return Err(PluginError::new(format!("{path}: {why}")));
        }
        if !self.settings.freeze {
            return Ok(());
        }
        self.surroundings.programs.find("fsfreeze")?;
        for mount in &mounts {
            if let Some(why) = spared::why(mount, &self.surroundings) {
                let mount = mount.shown();
                return Err(PluginError::new(format!("{mount} would not be frozen: {why}")));
            }
        }
        Ok(())
    }

    fn shutdown(&mut self) -> Result<(), PluginError> {
        self.thaw()
    }
}
