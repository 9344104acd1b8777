//! The plugin `postgres-flusher`.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use snooze_plugin::{Handled, Info, LOSSES, Plugin, PluginError, PluginEvent, Setting, WARNINGS};
use tokio::runtime::{self, Runtime};

use crate::door::{self, Door};
use crate::flush::{self, Flushed, Task};
use crate::rehearse::rehearse;
use crate::session::Session;
use crate::settings::{self, Settings};
use crate::target::Target;

/// How long the questions of a health check may take. A server that needs longer is not well.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);

/// Makes PostgreSQL write its data to disk before the instance goes, and reads back that it did.
#[derive(Default)]
pub struct Flusher {
    settings: Settings,
    /// Shut after a quiesce.
    door: Option<Door>,
    /// Bytes a second, as a checkpoint of this server was measured.
    rate: Option<f64>,
}

impl Plugin for Flusher {
    fn info(&self) -> Info {
        Info {
            display_name: "PostgreSQL Flusher".to_owned(),
            author: "CloudSnooze".to_owned(),
            description: "Makes PostgreSQL write its data to disk, and reads back that it did"
                .to_owned(),
            category: "database".to_owned(),
            tags: ["postgresql", "postgres", "flush"].map(str::to_owned).into(),
            official: true,
            language: Some("rust".to_owned()),
            config_schema: Setting::schema(&settings::all()),
            // The last two are needed by `fast-stop` only.
            permissions: ["network", "read:/var/lib/postgresql", "signal:postgres"]
                .map(str::to_owned)
                .into(),
            ..Info::new("postgres-flusher", env!("CARGO_PKG_VERSION"))
        }
    }

    fn supported_events(&self) -> Option<Vec<String>> {
        Some(LOSSES.into_iter().chain(WARNINGS).map(str::to_owned).collect())
    }

    fn configure(&mut self, config: &Map<String, Value>) -> Result<(), PluginError> {
        self.settings = Settings::read(config)?;
        self.rate = None;
        Ok(())
    }

    fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
        let begun = Instant::now();
        let limit = event.budget(self.settings.timeout);
        let handled = match event.data.get("phase").is_some_and(|phase| phase == "undo") {
            true => {
                self.door = None;
                self.undo(begun + limit)
            }
            false => self.flush(event, begun, limit),
        };
        Ok(handled
            .unwrap_or_else(|error| Handled::failed(error.to_string()))
            .and("strategy", self.settings.strategy.as_str())
            .and("seconds", begun.elapsed().as_secs_f64()))
    }

    fn health(&mut self) -> Result<(), PluginError> {
        let until = (Instant::now() + HEALTH_LIMIT).into();
        let target = self.target()?;
        runtime()?.block_on(rehearse(&self.settings, target, until))
    }

    fn shutdown(&mut self) -> Result<(), PluginError> {
        self.door = None;
        Ok(())
    }
}

impl Flusher {
    fn flush(
        &mut self,
        event: &PluginEvent,
        begun: Instant,
        limit: Duration,
    ) -> Result<Handled, PluginError> {
        let settings = &self.settings;
        let left = event.time_remaining().unwrap_or(limit);
        let task = Task {
            settings,
            target: self.target()?,
            until: (begun + limit).into(),
            door_until: (begun + left + settings.hold).into(),
            held_back: held_back(event),
            rate: self.rate.unwrap_or(settings.disk_rate),
        };
        let flushed = runtime()?.block_on(flush::flush(&task));
        let dry_run = settings.dry_run;
        self.rate = flushed.rate.or(self.rate);
        Ok(self.handled(flushed, dry_run))
    }

    fn handled(&mut self, flushed: Flushed, dry_run: bool) -> Handled {
        // What holds back, such as a drill, must not open a door that was shut for good reason.
        self.door = flushed.door.or(self.door.take());
        let error = (!flushed.errors.is_empty()).then(|| flushed.errors.join("; "));
        let status = if dry_run { "postgres_would_be_flushed" } else { "postgres_flushed" };
        let mut handled = match (flushed.saved.is_empty(), error) {
            (true, Some(error)) => Handled::failed(error),
            (_, error) => Handled { error, ..Handled::with_status(status) },
        };
        handled.verified = flushed.verified;
        handled.more = flushed.figures;
        if dry_run {
            handled = handled.and("dry_run", true);
        }
        for (key, texts) in [("saved", flushed.saved), ("skipped", flushed.skipped)] {
            if !texts.is_empty() {
                handled = handled.and(key, texts.join("; "));
            }
        }
        handled
    }

    /// Opens the door that another process of this plugin may keep shut.
    fn undo(&self, until: Instant) -> Result<Handled, PluginError> {
        let target = self.target()?;
        let opened: i64 = runtime()?.block_on(async {
            let session = Session::open(target, flush::NAME, until.into()).await?;
            let statement = format!(
                "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE application_name = '{}' AND usename = current_user",
                door::NAME
            );
            session.one("let sessions in", &statement).await
        })?;
        Ok(Handled::with_status("postgres_reopened").and("doors_opened", opened))
    }

    fn target(&self) -> Result<&Target, PluginError> {
        self.settings.target.as_ref().ok_or(PluginError::new("no usable `connection_string`"))
    }
}

/// Why clients are not cut and the server is not stopped for an event, if so.
fn held_back(event: &PluginEvent) -> Option<&'static str> {
    if event.drill {
        Some("this is a drill")
    } else if event.is_warning() {
        Some("the instance may stay")
    } else if event.data.get("action").is_some_and(|action| action == "hibernate") {
        Some("sessions survive hibernation")
    } else {
        None
    }
}

fn runtime() -> std::io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}
