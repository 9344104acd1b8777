//! Which task is done how.

use jiff::Timestamp;
use serde_json::{Map, Value};
use snooze_event::{Event, InstanceId};
use snooze_policy::ledger::{Incident, RUNNING, Task, What};
use snooze_policy::{ActionName, Facts};
use tracing::warn;

use super::attempt::timed;
use super::done::{Did, Trouble};
use super::{Perform, groups, hooks, instances, starts, stops, telling};

/// One attempt at one task.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) perform: &'a Perform,
    /// As it was when the task was taken.
    pub(super) incident: &'a Incident,
    pub(super) task: &'a Task,
    pub(super) now: Timestamp,
}

/// Does the task.
pub(super) async fn act(work: &Work<'_>) -> Result<Did, Trouble> {
    let config = match &work.task.what {
        What::Command => return telling::command(work).await,
        What::Heartbeat => return hooks::beat(work).await,
        What::Action { config, .. } => config,
    };
    let Some((name, _)) = work.task.action() else {
        return Err(Trouble::Config("this version knows no such action".to_owned()));
    };
    // The plan of a drill has skipped it already; nothing real depends on that alone.
    if work.incident.drill && !name.only_tells() {
        return Ok(Did::Skipped("a drill".to_owned()));
    }
    match name {
        ActionName::Notify => telling::notify(work, config).await,
        ActionName::Webhook => telling::webhook(work, config).await,
        ActionName::PutEvent => telling::put_event(work, config).await,
        ActionName::Invoke => telling::invoke(work, config).await,
        ActionName::CompleteLifecycle => hooks::complete(work).await,
        ActionName::Heartbeat => hooks::beat(work).await,
        ActionName::StopInstance => stops::stop(work, config, false).await,
        ActionName::HibernateInstance => stops::stop(work, config, true).await,
        ActionName::TerminateInGroup => stops::terminate(work, config).await,
        ActionName::StartInstance => starts::start(work, config).await,
        ActionName::Tag if work.task.id == RUNNING => starts::mark(work).await,
        ActionName::Tag => instances::tag(work, config).await,
        ActionName::SnapshotVolumes => instances::snapshot(work, config).await,
        ActionName::DrainTarget => instances::drain(work, config).await,
        ActionName::ScaleGroup => groups::scale(work, config).await,
    }
}

impl Work<'_> {
    /// What the same attempt is known by to others, however often it is made: `INCIDENT/TASK`.
    pub(super) fn key(&self) -> String {
        format!("{}/{}", self.incident.id, self.task.id)
    }

    /// The instance that the incident is about.
    pub(super) fn instance(&self) -> Result<InstanceId, Trouble> {
        let id = self.incident.instance.as_deref().and_then(|id| id.parse().ok());
        id.ok_or_else(|| Trouble::Config("the event is about no instance".to_owned()))
    }

    /// The first event.
    pub(super) fn event(&self) -> Result<Event, Trouble> {
        let told = self.incident.told();
        told.map_err(|error| Trouble::Config(format!("the stored event is not readable: {error}")))
    }

    /// What is known of the instance.
    pub(super) async fn facts(&self) -> Known {
        let Ok(instance) = self.instance() else { return Known::Unread };
        match timed(self.perform.instances.read(&instance)).await {
            Ok(Some(known)) => Known::Facts(Box::new(known.facts)),
            Ok(None) => Known::Nothing,
            Err(error) => {
                warn!(%instance, %error, "facts of the instance cannot be read");
                Known::Unread
            }
        }
    }
}

/// What is known of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// What it told.
    Facts(Box<Facts>),
    /// It never said hello.
    Nothing,
    /// The event is about none, or the table could not be read.
    Unread,
}

impl Known {
    pub(super) fn facts(&self) -> Option<&Facts> {
        match self {
            Self::Facts(facts) => Some(facts),
            Self::Nothing | Self::Unread => None,
        }
    }
}

/// A text of a configuration.
pub(super) fn text<'a>(config: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    config.get(key).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
}

/// A switch of a configuration.
pub(super) fn flag(config: &Map<String, Value>, key: &str, default: bool) -> bool {
    config.get(key).and_then(Value::as_bool).unwrap_or(default)
}

/// The trouble of a parameter that has to be there.
pub(super) fn missing(key: &str) -> Trouble {
    Trouble::Config(format!("`{key}` is missing or unusable in the `config` of the action"))
}
