//! Writes a process and all below it to image files, from which CRIU can start it again.

mod dump;
mod images;
mod settings;

use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use snooze_plugin::{Handled, Info, LOSSES, Plugin, PluginError, PluginEvent, Setting};

use crate::program::Programs;
use crate::report::{texts, would};
use crate::step::Step;
use dump::{Dump, Way};
use settings::Settings;

/// The event that warns of a loss: most of the memory is written then, and the rest at the loss.
const WARNING: &str = "cloud.spot.rebalance";

/// How long `criu check` may take; it needs a tenth of a second.
const HEALTH_LIMIT: Duration = Duration::from_secs(10);

/// The plugin `criu-checkpointer`.
#[derive(Default)]
pub struct CriuCheckpointer {
    programs: Programs,
    settings: Option<Settings>,
}

impl CriuCheckpointer {
    /// One that finds `criu` among these programs.
    #[must_use]
    pub fn new(programs: Programs) -> Self {
        Self { programs, settings: None }
    }

    fn settings(&self) -> Result<&Settings, PluginError> {
        self.settings.as_ref().ok_or_else(|| PluginError::new(settings::NOTHING))
    }
}

impl Plugin for CriuCheckpointer {
    fn info(&self) -> Info {
        Info {
            display_name: "CRIU Checkpointer".to_owned(),
            author: "CloudSnooze".to_owned(),
            description: "Writes a process and all below it to image files, from which CRIU can \
                          start it again"
                .to_owned(),
            category: "checkpoint".to_owned(),
            tags: ["criu", "checkpoint", "process"].map(str::to_owned).into(),
            official: true,
            language: Some("rust".to_owned()),
            config_schema: Setting::schema(&settings::all()),
            permissions: ["root", "run:criu", "write:images_directory"].map(str::to_owned).into(),
            ..Info::new("criu-checkpointer", env!("CARGO_PKG_VERSION"))
        }
    }

    fn supported_events(&self) -> Option<Vec<String>> {
        Some(LOSSES.into_iter().chain([WARNING]).map(str::to_owned).collect())
    }

    fn configure(&mut self, config: &Map<String, Value>) -> Result<(), PluginError> {
        self.settings = Some(Settings::read(config)?);
        Ok(())
    }

    fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
        let way = if event.kind == WARNING { Way::Early } else { Way::Whole };
        let settings = self.settings()?;
        let step = Step::begin(event, settings.timeout);
        let criu = self.programs.find("criu")?;
        let dump = Dump::prepare(settings, criu, way)?;
        if settings.dry_run || event.drill {
            return Ok(step.end(would(&[dump.act()])));
        }
        let memory = dump.memory();
        let handled = match dump.run(step.until) {
            Ok(done) => Handled::with_status(way.status())
                // What was written early is not all of it.
                .verified(way == Way::Whole)
                .and("saved", texts(&[done.directory]))
                .and("bytes", done.bytes),
            Err(error) => Handled::failed(PluginError::from(error).to_string()).verified(false),
        };
        let handled = match way {
            Way::Early => Handled { verified: None, ..handled },
            Way::Whole => handled,
        };
        Ok(step.end(handled.and("memory_bytes", memory)))
    }

    fn health(&mut self) -> Result<(), PluginError> {
        let settings = self.settings()?;
        let criu = self.programs.find("criu")?;
        criu.run(&["check"], Instant::now() + HEALTH_LIMIT)?;
        Ok(settings.target.find().map(drop)?)
    }
}
