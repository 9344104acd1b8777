//! Stops systemd units in order, or a process, and waits until they are down.

mod processes;
mod settings;
mod units;

use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use snooze_plugin::{Handled, Info, LOSSES, Plugin, PluginError, PluginEvent, Setting};

use crate::program::Programs;
use crate::report::{Report, would};
use crate::step::Step;
use settings::{Settings, What};

/// How long `systemctl` may take to say whether it knows the units.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);

/// The plugin `unit-stopper`.
#[derive(Default)]
pub struct UnitStopper {
    programs: Programs,
    settings: Option<Settings>,
}

impl UnitStopper {
    /// One that finds `systemctl` among these programs.
    #[must_use]
    pub fn new(programs: Programs) -> Self {
        Self { programs, settings: None }
    }

    fn settings(&self) -> Result<&Settings, PluginError> {
        self.settings.as_ref().ok_or_else(|| PluginError::new(settings::NOTHING))
    }
}

impl Plugin for UnitStopper {
    fn info(&self) -> Info {
        Info {
            display_name: "Unit Stopper".to_owned(),
            author: "CloudSnooze".to_owned(),
            description:
                "Stops systemd units in order, or a process, and waits until they are down"
                    .to_owned(),
            category: "process".to_owned(),
            tags: ["systemd", "process", "signal", "stop"].map(str::to_owned).into(),
            official: true,
            language: Some("rust".to_owned()),
            config_schema: Setting::schema(&settings::all()),
            permissions: ["root", "signal", "run:systemctl"].map(str::to_owned).into(),
            ..Info::new("unit-stopper", env!("CARGO_PKG_VERSION"))
        }
    }

    fn supported_events(&self) -> Option<Vec<String>> {
        Some(LOSSES.map(str::to_owned).into())
    }

    fn configure(&mut self, config: &Map<String, Value>) -> Result<(), PluginError> {
        self.settings = Some(Settings::read(config)?);
        Ok(())
    }

    fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
        let settings = self.settings()?;
        let step = Step::begin(event, settings.timeout);
        if settings.dry_run || event.drill {
            let acts = match &settings.what {
                What::Units(groups) => units::would_stop(groups),
                What::Processes(stop) => processes::would_stop(stop)?,
            };
            return Ok(step.end(would(&acts)));
        }
        let report = match &settings.what {
            What::Units(groups) => units::stop(groups, &self.programs.find("systemctl")?, &step),
            What::Processes(stop) => processes::stop(stop, &step)?,
        };
        Ok(step.end(handled(&report)))
    }

    fn health(&mut self) -> Result<(), PluginError> {
        let What::Units(groups) = &self.settings()?.what else { return Ok(()) };
        let systemctl = self.programs.find("systemctl")?;
        units::are_known(groups, &systemctl, Instant::now() + HEALTH_LIMIT)
    }
}

/// Nothing that runs is nothing that was proven: the name may be wrong.
fn handled(report: &Report) -> Handled {
    match *report == Report::default() {
        true => Handled { verified: None, ..report.handled("nothing_to_stop") },
        false => report.handled("stopped"),
    }
}
