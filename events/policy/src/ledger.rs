//! The ledger: one [`Incident`] as the cloud side knows it, and what follows for it.
//!
//! An incident is one item of the table Incidents. Functions read it, let a method here change
//! it, and write it back on the condition that nobody wrote it meanwhile; so all that decides is
//! here, pure, and whoever comes second sees what the first one did.
//!
//! ```text
//!             open                 sent                take                 finish
//!  event ------------> Pending ------------> Sent ------------> Running ------------> Done
//!             |                                ^      (again)      |                  Failed
//!             +------> Waiting --- ended ------+<------------------+                  Skipped
//!                   (for the outcome)
//! ```
//!
//! The path of an event and the sweep call the same [`Incident::due`]; the sweep only later.

mod key;
mod machine;
mod mend;
mod report;
mod task;
#[cfg(test)]
mod tests;
mod told;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use snooze_event::{Cause, Event, EventType, LossAction, wire};

use crate::{ActionName, Facts, Plan, PolicySet, When, schedule, steps};

pub use key::{Claim, claim, idle_since, of_loss};
pub use machine::Machine;
pub use report::{Report, StepReport};
pub use task::{Finish, LEASE, Send, Take, Task, TaskState, What};
pub use told::Told;

/// The version of the stored form. Fields are added without a new one.
pub const SCHEMA: u32 = 1;
/// How many signals of one incident are kept; the first ones count.
const SIGNALS: usize = 20;
/// A Spot event older than this tells of what has happened.
pub const STALE: Duration = snooze_event::SPOT_NOTICE;
/// Any other event that is older than this was lost and found again: EventBridge and Lambda give
/// up long before. A scheduled change alone stays true until it begins.
pub const OLD: Duration = Duration::from_secs(900);
/// How long after its deadline an incident waits for the outcome of its instance.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The id of the task that tells the instance.
pub const COMMAND: &str = "command";
/// The id of the task that keeps a lifecycle hook waiting.
pub const HEARTBEAT: &str = "heartbeat";
/// The id of the task that tells the operators, where no policy does.
pub const OPERATORS: &str = "operators";
/// The id of the task that takes our word back that an instance is stopped.
pub const RUNNING: &str = "running";

/// One incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// The version of this form.
    pub schema: u32,
    /// Its key; stands as `correlationid` in all that concerns it.
    pub id: String,
    /// The instance, where the event is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// What the instance was, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// The first signal, as a CloudEvent.
    pub event: Told,
    /// An exercise: nothing real is stopped, terminated or completed.
    #[serde(default)]
    pub drill: bool,
    /// Every signal of it, the first among them.
    pub signals: Vec<Signal>,
    /// When the cloud side first knew of it.
    pub opened_at: Timestamp,
    /// When the instance goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The lifecycle hook that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<Hook>,
    /// The version of the policies that it was planned with; `None` when the table could not be
    /// read, and the instance acts on its own copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<u64>,
    /// What the instance is expected to do, one line for each step, as a plan prints.
    #[serde(default)]
    pub plan: Vec<String>,
    /// What the cloud side does.
    pub tasks: Vec<Task>,
    /// What the instance told of its steps.
    #[serde(default)]
    pub steps: Vec<StepReport>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// What EC2 did in the end: the states that it told, with their times.
    #[serde(default)]
    pub fate: BTreeMap<String, Timestamp>,
    /// When it passed each station: `noticed`, `dispatched`, `commanded`, `received`, `started`,
    /// `finished`, `recorded`.
    #[serde(default)]
    pub hops: BTreeMap<String, Timestamp>,
    /// The instance told of it first; no event of EC2 did.
    #[serde(default)]
    pub unseen: bool,
}

/// One message about an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The id that its channel gave it.
    pub id: String,
    /// Who told it.
    pub source: String,
    /// The type of the event.
    pub kind: String,
    /// When it happened, by the clock of the source.
    pub time: Timestamp,
    /// When the cloud side heard it.
    pub heard_at: Timestamp,
}

/// A lifecycle hook that waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The Auto Scaling group.
    pub group: String,
    /// The name of the hook.
    pub name: String,
    /// The token of this one wait.
    pub token: String,
    /// How long it waits without a heartbeat, in seconds; `None` when that could not be learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// When the last heartbeat was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beat_at: Option<Timestamp>,
}

/// How an incident ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// `done`, `partial`, `failed`, `expired`, `cancelled` or `unknown`.
    pub outcome: String,
    /// Who says so.
    pub by: By,
    /// Why, for a person.
    pub text: String,
    /// When.
    pub at: Timestamp,
}

/// Who told how an incident ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The instance. Its word is final.
    Instance,
    /// The sweep, since nobody told in time. The word of the instance replaces it.
    Sweep,
    /// `dispatch`, for an event that takes nothing away or came too late.
    Dispatch,
}

/// The policies of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shelf {
    /// The version of the table; `None` when it could not be read.
    pub version: Option<u64>,
    /// Those that can be read.
    pub policies: PolicySet,
    /// What is wrong with the others.
    pub faults: Vec<crate::Fault>,
}

/// What an incident is opened with.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// The event.
    pub event: &'a Event,
    /// What is known of the instance; `None` for one that never said hello.
    pub facts: Option<&'a Facts>,
    /// The policies.
    pub shelf: &'a Shelf,
    /// How long the hook of the event waits without a heartbeat.
    pub hook_timeout: Option<Duration>,
    /// What an Auto Scaling termination leaves the instance, since its event does not say.
    pub lifecycle_budget: Duration,
}

impl Incident {
    /// An incident of one signal, with all that follows from it.
    #[must_use]
    pub fn open(id: &str, opening: Opening<'_>, now: Timestamp) -> Self {
        let Opening { event, facts, shelf, .. } = opening;
        let mut incident = Self::blank(id, event, now);
        incident.policies = shelf.version;
        incident.machine = facts.map(|facts| Machine::of(facts, event));
        incident.deadline = event.deadline;
        incident.hook = hook(event, opening.hook_timeout);
        if incident.hook.is_some() && incident.deadline.is_none() {
            incident.deadline = event.time.checked_add(opening.lifecycle_budget).ok();
        }
        if event.replay.is_some() || is_stale(event, now) {
            incident.end("expired", By::Dispatch, "the event came too late to act on", now);
            return incident;
        }
        let nothing = Facts::default();
        let selected = shelf.policies.select(event, facts.unwrap_or(&nothing));
        let left = incident.deadline.map_or(snooze_event::SPOT_NOTICE, |deadline| {
            Duration::try_from(deadline.duration_since(now)).unwrap_or_default()
        });
        let plan = schedule(&steps(&selected, event), left);
        incident.plan = lines(&plan);
        let is_loss = event.cause.is_some();
        if event.instance.is_some()
            && (is_loss || !incident.plan.is_empty() || shelf.version.is_none())
        {
            incident.tasks.push(Task::command());
        }
        let saves_first = event.kind == EventType::InstanceIdle && !incident.plan.is_empty();
        task::add_of_policies(&mut incident.tasks, &selected, event.drill, saves_first);
        if incident.hook.is_some() && incident.completes() {
            incident.tasks.push(Task::heartbeat(event.drill));
        }
        let told = incident.tasks.iter().any(|task| {
            task.when() == When::Now
                && task.action().map(|(name, _)| name) == Some(ActionName::Notify)
        });
        if is_loss && facts.is_some() && !told {
            incident.tasks.push(Task::operators());
        }
        if incident.task(COMMAND).is_none() {
            incident.end("done", By::Dispatch, "nothing runs on an instance for it", now);
        }
        incident
    }

    /// An incident of which the instance told before any event came.
    #[must_use]
    pub fn unseen(id: &str, event: &Event, now: Timestamp) -> Self {
        Self { unseen: true, deadline: event.deadline, ..Self::blank(id, event, now) }
    }

    fn blank(id: &str, event: &Event, now: Timestamp) -> Self {
        Self {
            schema: SCHEMA,
            id: id.to_owned(),
            instance: event.instance.as_ref().map(|id| id.as_str().to_owned()),
            machine: None,
            event: Told::new(event, snooze_event::IncidentKey::stored(id)),
            drill: event.drill,
            signals: vec![Signal::of(event, now)],
            opened_at: now,
            deadline: None,
            hook: None,
            policies: None,
            plan: Vec::new(),
            tasks: Vec::new(),
            steps: Vec::new(),
            ended: None,
            fate: BTreeMap::new(),
            hops: BTreeMap::from([
                ("noticed".to_owned(), event.time),
                ("dispatched".to_owned(), now),
            ]),
            unseen: false,
        }
    }

    /// Another signal of it. Nothing is started twice; an earlier deadline counts.
    pub fn join(&mut self, event: &Event, now: Timestamp) {
        let signal = Signal::of(event, now);
        let is_new = self.signals.iter().all(|known| known.id != signal.id);
        if is_new && self.signals.len() < SIGNALS {
            self.signals.push(signal);
        }
        self.unseen = self.unseen && event.source.starts_with("cloudsnooze.");
        self.deadline = match (self.deadline, event.deadline) {
            (Some(known), Some(told)) => Some(known.min(told)),
            (known, told) => known.or(told),
        };
    }

    /// What EC2 tells of the instance's state.
    pub fn fated(&mut self, state: &str, at: Timestamp) {
        self.fate.entry(state.to_owned()).or_insert(at);
    }

    /// The first event, read back.
    ///
    /// # Errors
    /// The stored form is not one of ours.
    pub fn first(&self) -> Result<Event, wire::ReadError> {
        wire::cloudevents::read(&self.event, self.opened_at)
    }

    /// What the instance is told: the event with the deadline that counts now.
    ///
    /// # Errors
    /// The stored form is not one of ours.
    pub fn told(&self) -> Result<Event, wire::ReadError> {
        let event = self.first()?;
        Ok(Event { deadline: self.deadline, ..event })
    }

    /// Whether something is still to be done or heard.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.ended.is_none() || self.tasks.iter().any(|task| !task.state.is_over())
    }

    /// The outcome of the instance, when it told one.
    #[must_use]
    pub fn word(&self) -> Option<&Ended> {
        self.ended.as_ref().filter(|ended| ended.by == By::Instance)
    }

    /// Whether it is about an instance that does nothing.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.event.get("type").and_then(Value::as_str) == Some(EventType::InstanceIdle.as_str())
    }

    /// A task by its id.
    #[must_use]
    pub fn task(&self, id: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id == id)
    }

    /// Whether a policy answers the hook.
    fn completes(&self) -> bool {
        let completes = |task: &Task| {
            task.action().map(|(name, _)| name) == Some(ActionName::CompleteLifecycle)
        };
        self.tasks.iter().any(completes)
    }

    /// Ends it and releases the tasks that waited for that.
    fn end(&mut self, outcome: &str, by: By, text: &str, now: Timestamp) {
        let (outcome, text) = (outcome.to_owned(), text.to_owned());
        let good = outcome == "done";
        self.ended = Some(Ended { outcome, by, text, at: now });
        let mut stays = false;
        for task in &mut self.tasks {
            task.release(good, now);
            stays |= matches!(task.state, TaskState::Skipped { .. }) && task.stops() && !good;
        }
        // Whoever counts on the stop has to know that the instance still runs.
        if stays && self.is_idle() && !self.drill && self.task(OPERATORS).is_none() {
            self.tasks.push(Task::operators());
        }
        if let Some(beat) = self.tasks.iter_mut().find(|task| task.what == What::Heartbeat) {
            beat.give_up();
        }
    }
}

impl Signal {
    fn of(event: &Event, now: Timestamp) -> Self {
        Self {
            id: event.id.as_str().to_owned(),
            source: event.source.clone(),
            kind: event.kind.as_str().to_owned(),
            time: event.time,
            heard_at: now,
        }
    }
}

/// Whether an event tells of what has happened: it comes too late, or the instance is gone.
#[must_use]
pub fn is_stale(event: &Event, now: Timestamp) -> bool {
    let age = Duration::try_from(now.duration_since(event.time)).unwrap_or_default();
    let is_gone = event.cause.is_some()
        && event.deadline.is_some_and(|deadline| deadline <= event.time)
        && event.action != Some(LossAction::Hibernate);
    let is_old = match event.cause {
        Some(Cause::Spot) => age > STALE,
        Some(Cause::Maintenance) => event.deadline.is_some_and(|deadline| deadline <= now),
        Some(Cause::Lifecycle | Cause::StateChange) | None => age > OLD,
    };
    is_gone || is_old
}

/// The hook of a lifecycle event.
fn hook(event: &Event, timeout: Option<Duration>) -> Option<Hook> {
    let text = |key: &str| event.data.get(key).and_then(Value::as_str).map(str::to_owned);
    Some(Hook {
        group: text("AutoScalingGroupName")?,
        name: text("LifecycleHookName")?,
        token: text("LifecycleActionToken")?,
        timeout_seconds: timeout.map(|timeout| timeout.as_secs()),
        beat_at: None,
    })
}

/// The lines of a plan; none for one in which nothing runs, whatever time there is.
fn lines(plan: &Plan) -> Vec<String> {
    if plan.steps.is_empty() && plan.dropped.is_empty() {
        return Vec::new();
    }
    plan.lines()
}
