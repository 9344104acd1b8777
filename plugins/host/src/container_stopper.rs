//! Stops containers by label, in order, each with its own time-out.

mod container;
mod engine;
mod settings;

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use snooze_plugin::{Handled, Info, LOSSES, Plugin, PluginError, PluginEvent, Setting};

use crate::program::Programs;
use crate::report::{Report, would};
use crate::step::Step;
use crate::wait;
use container::Container;
use engine::{Engine, EngineError};
use settings::Settings;

/// How long an engine may take to list its containers when it is asked how it is.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);

/// What is kept of the time for the engine to kill what did not end, and to say so.
const REST: Duration = Duration::from_secs(3);

/// The most containers that are stopped side by side: each takes a process of the engine's command.
const SIDE_BY_SIDE: usize = 16;

/// The plugin `container-stopper`.
#[derive(Default)]
pub struct ContainerStopper {
    programs: Programs,
    settings: Settings,
}

impl ContainerStopper {
    /// One that finds `docker`, `podman` and `nerdctl` among these programs.
    #[must_use]
    pub fn new(programs: Programs) -> Self {
        Self { programs, settings: Settings::default() }
    }

    /// The containers that are meant, in groups by their order.
    fn groups(&self, engine: &Engine, until: Instant) -> Result<Groups, EngineError> {
        let mut groups = Groups::new();
        for container in engine.running(&self.settings.label, until)? {
            groups.entry(container.order).or_default().push(container);
        }
        Ok(groups)
    }

    fn stop(&self, engine: &Engine, groups: Groups, step: &Step) -> Report {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let (mut report, mut left) = (Report::default(), groups.len());
        for group in groups.into_values() {
            let (own, group): (Vec<_>, Vec<_>) =
                group.into_iter().partition(|container| own.contains(&container.id));
            for container in own {
                report.missed(container.name, "this plugin runs in it");
            }
            let share = step.less(REST).share(left);
            left = left.saturating_sub(1);
            for some in group.chunks(SIDE_BY_SIDE) {
                self.stop_some(engine, some, share, step.until, &mut report);
            }
        }
        report
    }

    fn stop_some(
        &self,
        engine: &Engine,
        containers: &[Container],
        share: Instant,
        until: Instant,
        report: &mut Report,
    ) {
        let stop = |container: &Container| {
            let (engine, container) = (engine.clone(), container.clone());
            let own = container.patience.unwrap_or(self.settings.patience);
            // Whole seconds, as the engines take them, and not so many that it is never said how
            // it went.
            let patience = own.min(wait::left(share)).as_secs().max(1);
            move || engine.stop(&container, patience, until)
        };
        let works = containers.iter().map(stop).collect();
        for (container, result) in containers.iter().zip(wait::gather(works, until)) {
            match result {
                Some(Ok(())) => report.saved.push(container.name.clone()),
                Some(Err(error)) => report.missed(&container.name, PluginError::from(error)),
                None => report.missed(&container.name, "not stopped in time"),
            }
        }
    }
}

/// Containers by the order in which they are stopped.
type Groups = BTreeMap<i64, Vec<Container>>;

impl Plugin for ContainerStopper {
    fn info(&self) -> Info {
        Info {
            display_name: "Container Stopper".to_owned(),
            author: "CloudSnooze".to_owned(),
            description: "Stops containers by label, in order, each with its own time-out"
                .to_owned(),
            category: "process".to_owned(),
            tags: ["docker", "podman", "containerd", "stop"].map(str::to_owned).into(),
            official: true,
            language: Some("rust".to_owned()),
            config_schema: Setting::schema(&settings::all()),
            permissions: ["root", "run:docker", "run:podman", "run:nerdctl"]
                .map(str::to_owned)
                .into(),
            ..Info::new("container-stopper", env!("CARGO_PKG_VERSION"))
        }
    }

    fn supported_events(&self) -> Option<Vec<String>> {
        Some(LOSSES.map(str::to_owned).into())
    }

    fn configure(&mut self, config: &Map<String, Value>) -> Result<(), PluginError> {
        self.settings = Settings::read(config)?;
        Ok(())
    }

    fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
        let step = Step::begin(event, self.settings.timeout);
        let engine = Engine::find(&self.programs, &self.settings)?;
        let groups = self.groups(&engine, step.until)?;
        if self.settings.dry_run || event.drill {
            let all = groups.values().flatten();
            let acts: Vec<String> =
                all.map(|container| format!("stop {}", container.name)).collect();
            return Ok(step.end(would(&acts)));
        }
        let handled = match groups.is_empty() {
            // Nothing that runs is nothing that was proven: the label may be wrong.
            true => Handled { verified: None, ..Report::default().handled("nothing_to_stop") },
            false => self.stop(&engine, groups, &step).handled("containers_stopped"),
        };
        Ok(step.end(handled.and("engine", engine.name)))
    }

    fn health(&mut self) -> Result<(), PluginError> {
        let engine = Engine::find(&self.programs, &self.settings)?;
        Ok(engine.running(&self.settings.label, Instant::now() + HEALTH_LIMIT).map(drop)?)
    }
}
