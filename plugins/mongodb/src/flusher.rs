//! `mongodb-flusher`: has MongoDB write its data to disk, and a primary hand its part over.

use std::io;
use std::time::Duration;

use mongodb::bson::Timestamp;
use serde_json::{Map, Value};
use snooze_plugin::{Handled, Info, LOSSES, Plugin, PluginError, PluginEvent, Setting, WARNINGS};
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::flush::{self, Flushed, acts, flush};
use crate::server::{Server, ServerError};
use crate::settings::{self, Settings};

/// How long a look may take. A server that needs longer is not well.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// What a step leaves of its time for its answer, at most.
const ANSWER: Duration = Duration::from_millis(250);

/// `mongodb-flusher`.
#[derive(Default)]
pub struct Flusher {
    settings: Option<Settings>,
}

impl Flusher {
    fn settings(&self) -> Result<&Settings, PluginError> {
        self.settings.as_ref().ok_or_else(|| PluginError::new("it is not configured"))
    }
}

impl Plugin for Flusher {
    fn info(&self) -> Info {
        Info {
            display_name: "MongoDB Flusher".to_owned(),
            author: "CloudSnooze".to_owned(),
            description:
                "Makes MongoDB hand over its part as primary and write its data to disk, or ends it"
                    .to_owned(),
            category: "database".to_owned(),
            tags: ["mongodb", "flush", "failover"].map(str::to_owned).into(),
            official: true,
            language: Some("rust".to_owned()),
            config_schema: Setting::schema(&settings::all()),
            permissions: vec!["network".to_owned()],
            ..Info::new("mongodb-flusher", env!("CARGO_PKG_VERSION"))
        }
    }

    fn supported_events(&self) -> Option<Vec<String>> {
        Some(LOSSES.into_iter().chain(WARNINGS).map(str::to_owned).collect())
    }

    fn configure(&mut self, config: &Map<String, Value>) -> Result<(), PluginError> {
        self.settings = None;
        let settings = within(async {
            let settings = Settings::read(config).await?;
            // What only the driver finds wrong is told now, too.
            Server::open(&settings, Instant::now())?;
            Ok::<_, PluginError>(settings)
        })??;
        self.settings = Some(settings);
        Ok(())
    }

    fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
        let settings = self.settings()?;
        let begun = Instant::now();
        let budget = event.budget(settings.timeout);
        let until = begun + budget.saturating_sub(ANSWER.min(budget / 10));
        let leaves = event.time_remaining();
        let handled = within(async {
            if settings.dry_run || event.drill {
                let role = flush::look(settings, until).await?;
                let would = Handled::with_status("dry_run").and("role", role.as_str());
                return Ok(would.and("would", acts(settings, role, leaves.is_some())));
            }
            Ok(told(flush(settings, leaves, until).await?))
        })?;
        let handled = handled.unwrap_or_else(|error: ServerError| {
            Handled::failed(PluginError::from(error).to_string())
        });
        let handled = handled.and("strategy", settings.strategy.as_str());
        Ok(handled.and("seconds", begun.elapsed().as_secs_f64()))
    }

    fn health(&mut self) -> Result<(), PluginError> {
        let settings = self.settings()?;
        within(flush::look(settings, Instant::now() + LOOK_LIMIT))??;
        Ok(())
    }
}

fn told(done: Flushed) -> Handled {
    let error = (!done.failed.is_empty()).then(|| done.failed.join("; "));
    let mut handled = match (done.synced, done.ending) {
        (_, true) => Handled::with_status("mongodb_ending"),
        (true, false) => Handled::with_status("mongodb_flushed"),
        (false, false) => Handled::default(),
    };
    handled.error = error;
    handled = handled.and("role", done.role.as_str()).and("ending", done.ending);
    if let Some(stepped_down) = done.stepped_down {
        handled = handled.and("stepped_down", stepped_down);
    }
    if !handled.handled {
        return handled;
    }
    let Some(applied) = done.applied else { return handled.and("saved", "all that was written") };
    handled = handled.and("saved", format!("changes up to {}", at(applied)));
    let Some(reached) = done.reached else { return handled };
    handled.verified = Some(reached.durable >= applied);
    handled.and("replicated", reached.committed >= applied)
}

/// A place in the log of all changes, as `seconds since 1970:number`.
fn at(timestamp: Timestamp) -> String {
    format!("{}:{}", timestamp.time, timestamp.increment)
}

/// Does something with the driver, whose work in the background ends with it. A name that is still
/// being looked up keeps nobody waiting.
fn within<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(done)
}
