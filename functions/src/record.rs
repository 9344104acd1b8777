//! `record`: what instances tell on the bus is kept, and the queues of instances are made and
//! removed.
//!
//! | event | what follows |
//! |---|---|
//! | `instance.registered`, `instance.updated` | facts into Instances; the queue and its subscription, where they are missing |
//! | `incident.phase`, `incident.outcome` | into every incident it belongs to; what waited for the outcome is sent. Where there is none, one is opened that says `unseen` |
//! | `instance.idle`, `instance.active` | since when the instance is idle, and in which boot |
//! | `instance.deleted` | queue and subscription go |
//! | state change `terminated` | the same, and the instance is forgotten |

pub mod told;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_cloud::incidents::{Claimed, Incidents, Stored};
use snooze_cloud::instances::{Instance, Instances};
use snooze_cloud::queue::Queues;
use snooze_cloud::topic::Topic;
use snooze_cloud::{Aws, CloudError};
use snooze_event::wire::eventbridge;
use snooze_event::{Event, EventType, InstanceId};
use snooze_policy::Facts;
use snooze_policy::ledger::{Incident, Machine, Report, idle_since};
use tokio::time;
use tracing::{Instrument, error, info, info_span, warn};

use crate::clock::Clock;
use crate::failure::{Failure, Name};
use crate::fan::{self, Fan};
use crate::host::Invocation;
use crate::settings::{Arn, Variables};
use crate::telemetry::{By, Meter, Metric, excerpt};

/// The name of the function, in figures.
pub const NAME: &str = "record";
/// Signals and incidents of one instance within this time belong together.
const TOGETHER: Duration = Duration::from_secs(600);
/// For how long what an instance tells without any event of ours is known by its key.
const KNOWN: Duration = Duration::from_secs(24 * 3600);
/// A lifecycle hook waits at most this long, so that what waits is no older.
const OLDEST: Duration = Duration::from_secs(48 * 3600);
/// How many incidents of one instance are looked at.
const OTHERS: u32 = 25;
/// How many commands of one report are looked up beyond those.
const COMMANDS: usize = 10;

/// What `record` needs, and `sweep`, which does later what was left undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name of the stack.
    pub stack: String,
    /// The table Instances.
    pub instances: String,
    /// What sending needs.
    pub fan: fan::Settings,
    /// What the names of the queues of instances begin with.
    pub prefix: String,
    /// Whether traces are written.
    pub traces: bool,
}

impl Settings {
    /// Reads them from the environment.
    pub fn read(from: &mut Variables<'_>) -> Self {
        Self {
            stack: from.text("STACK"),
            instances: from.text("INSTANCES_TABLE"),
            fan: fan::Settings::read(from),
            prefix: from.text("INSTANCE_QUEUE_PREFIX"),
            traces: from.flag("TRACES", false),
        }
    }
}

/// The function.
#[derive(Debug)]
pub struct Record {
    instances: Instances,
    queues: Queues,
    commands: Topic,
    incidents: Incidents,
    fan: Fan,
    home: Arn,
    prefix: String,
    /// The stack, where traces are written.
    traced: Option<String>,
    meter: Arc<Meter>,
}

impl Record {
    /// The function by these settings.
    #[must_use]
    pub fn new(settings: &Settings, aws: &Aws, meter: Arc<Meter>) -> Self {
        let fan = Fan::new(aws, &settings.fan, Arc::clone(&meter));
        Self {
            instances: Instances::new(aws, &settings.instances, settings.fan.retention),
            queues: Queues::new(aws),
            commands: fan.commands.clone(),
            incidents: fan.incidents.clone(),
            fan,
            home: settings.fan.commands.clone(),
            prefix: settings.prefix.clone(),
            traced: settings.traces.then(|| settings.stack.clone()),
            meter,
        }
    }

    /// Takes one event.
    ///
    /// # Errors
    /// A part of it has to come again. What was done is written down and not done again.
    pub async fn handle(&self, invocation: Invocation) -> Result<Value, Failure> {
        let events = match eventbridge::read(&invocation.text) {
            Ok(events) => events,
            Err(error) => return Ok(self.unreadable(&error, &invocation.text)),
        };
        let clock = Clock::begin(invocation.now);
        let (mut answers, mut failures) = (Vec::new(), Vec::new());
        for event in events {
            let id = event.instance.as_ref().map(ToString::to_string);
            let span = info_span!("event", id = %event.id, kind = %event.kind, instance = id,
                correlationid = tracing::field::Empty);
            let work = Box::pin(self.event(&event, clock)).instrument(span.clone());
            let (answer, failed) = match time::timeout_at(clock.end(), work).await {
                Ok(done) => done,
                Err(_elapsed) => {
                    let text = format!("event `{}`", event.id);
                    (Value::Null, vec![Failure::new(Name::OutOfTime, text)])
                }
            };
            let _in = span.enter();
            for failure in &failed {
                error!(name = %failure.name, text = %failure.text, "a part of the event has to come again");
            }
            answers.push(answer);
            failures.extend(failed);
        }
        match Failure::of_all(failures) {
            None => Ok(json!({ "events": answers })),
            Some(failure) => Err(failure),
        }
    }

    fn unreadable(&self, error: &dyn std::error::Error, text: &str) -> Value {
        let payload = excerpt(text);
        error!(name = %Name::EventUnreadable, %error, %payload, "event not readable");
        self.meter.count(Metric::Unreadable, By::ALL, 1);
        json!({ "unreadable": error.to_string() })
    }

    async fn event(&self, event: &Event, clock: Clock) -> (Value, Vec<Failure>) {
        if let Some(foreign) = event.foreign(&self.home.home()) {
            warn!(?foreign, "an event that is not ours");
            self.meter.count(Metric::Foreign, By::ALL, 1);
            return (json!("not ours"), Vec::new());
        }
        if event.replay.is_some() {
            self.meter.count(Metric::Stale, By::ALL, 1);
            return (json!("a replay"), Vec::new());
        }
        let Some(id) = &event.instance else {
            self.meter.count(Metric::Unknown, By::ALL, 1);
            return (json!("about no instance"), Vec::new());
        };
        let state = event.data.get("state").and_then(Value::as_str);
        // EC2 tells by the same kind that an instance runs, which says nothing of its being idle.
        let is_word = !event.source.starts_with("aws.") && !event.drill;
        let done = match &event.kind {
            EventType::InstanceRegistered => self.hello(id, event, true, clock).await,
            EventType::InstanceUpdated => self.hello(id, event, false, clock).await,
            EventType::InstanceDeleted => self.goodbye(id, event).await,
            EventType::InstanceTermination if state == Some("terminated") && !event.drill => {
                self.terminated(id).await
            }
            EventType::InstanceIdle if is_word => self.idle(id, event, true).await,
            EventType::InstanceActive if is_word => self.idle(id, event, false).await,
            EventType::IncidentPhase | EventType::IncidentOutcome => {
                return self.told(id, event, clock).await;
            }
            EventType::SpotInterrupt
            | EventType::SpotRebalance
            | EventType::InstanceTermination
            | EventType::AutoscalingScale
            | EventType::DiskLow
            | EventType::CpuHigh
            | EventType::MemoryPressure
            | EventType::NetworkDown
            | EventType::InstanceIdle
            | EventType::InstanceActive
            | EventType::HealthChanged
            | EventType::TriggerTeardown
            | EventType::TriggerScale
            | EventType::TriggerUpdate
            | EventType::TriggerStart
            | EventType::Custom(_)
            | EventType::Unknown(_) => {
                self.meter.count(Metric::Unknown, By::ALL, 1);
                Ok("no kind of ours")
            }
        };
        match done {
            Ok(done) => (json!(done), Vec::new()),
            Err(failures) => (Value::Null, failures),
        }
    }

    /// Keeps the facts; makes the queue where the instance is new, or has trouble.
    async fn hello(
        &self,
        id: &InstanceId,
        event: &Event,
        is_new: bool,
        clock: Clock,
    ) -> Result<&'static str, Vec<Failure>> {
        let mut instance = told::instance(id, event);
        // A clock that runs ahead must not make all later news look old.
        instance.last_seen = instance.last_seen.map(|seen| seen.min(clock.now()));
        let mut failures = Vec::new();
        let is_whole = |known: &Instance| known.queue_url.is_some() && known.subscription.is_some();
        let is_fine = match is_new || !instance.faults.is_empty() {
            true => false,
            false => match self.instances.read(id).await {
                Ok(known) => known.as_ref().is_some_and(is_whole),
                Err(error) => {
                    failures.push(Failure::of(Name::InstancesUnavailable, &error));
                    true
                }
            },
        };
        if !is_fine {
            match self.make(id).await {
                Ok((queue, subscription)) => {
                    (instance.queue_url, instance.subscription) = (Some(queue), Some(subscription));
                }
                Err(error) => failures.push(Failure::of(Name::QueueNotMade, &error)),
            }
        }
        if let Err(error) = self.instances.update(&instance).await {
            failures.push(Failure::of(Name::InstancesUnavailable, &error));
        }
        if is_new {
            match self.back(id, instance.boot.as_deref(), event.time).await {
                Ok(Some(stored)) => failures.extend(self.fan.settle(stored, clock).await),
                Ok(None) => {}
                Err(error) => failures.push(Failure::of(Name::LedgerUnavailable, &error)),
            }
        }
        if failures.is_empty() { Ok("kept") } else { Err(failures) }
    }

    /// An instance that we stopped, and that says hello in another boot, runs again. EC2 tells
    /// that too; its word may be lost. Its daemon has read by now that its tags say it is stopped,
    /// so that they may be set right.
    async fn back(
        &self,
        id: &InstanceId,
        boot: Option<&str>,
        at: Timestamp,
    ) -> Result<Option<Stored>, CloudError> {
        let Some(boot) = boot else { return Ok(None) };
        let found = self.incidents.of_instance(id, Timestamp::UNIX_EPOCH, OTHERS).await?;
        let stopped = found.into_iter().find(|stored| stored.incident.stopped_at().is_some());
        let Some(stored) = stopped else { return Ok(None) };
        let before = stored.incident.machine.as_ref().and_then(|machine| machine.boot.as_deref());
        if before.is_none_or(|before| before == boot) {
            return Ok(None);
        }
        let change = |incident: &mut Incident| {
            incident.back(at);
            incident.greeted();
        };
        Ok(self.incidents.change_from(stored, change).await?.map(|((), stored)| stored))
    }

    async fn make(&self, id: &InstanceId) -> Result<(String, String), CloudError> {
        let topic = &self.home.text;
        let (url, arn) = self.queues.make(&self.queue(id), id, topic).await?;
        let subscription = self.commands.subscribe(&arn, id).await?;
        Ok((url, subscription))
    }

    fn queue(&self, id: &InstanceId) -> String {
        format!("{}{id}", self.prefix)
    }

    /// The machine shuts down: nobody reads its queue any more. One that came up again meanwhile
    /// keeps it.
    async fn goodbye(&self, id: &InstanceId, event: &Event) -> Result<&'static str, Vec<Failure>> {
        let known = self.instances.read(id).await;
        let known = known.map_err(|error| vec![Failure::of(Name::InstancesUnavailable, &error)])?;
        let is_back = |known: &Instance| known.last_seen.is_some_and(|seen| seen > event.time);
        if known.as_ref().is_some_and(is_back) {
            return Ok("it is back");
        }
        let failures = remove(&self.queues, &self.commands, &self.queue(id), known.as_ref()).await;
        if failures.is_empty() { Ok("queue removed") } else { Err(failures) }
    }

    async fn terminated(&self, id: &InstanceId) -> Result<&'static str, Vec<Failure>> {
        let known = self.instances.read(id).await;
        let known = known.map_err(|error| vec![Failure::of(Name::InstancesUnavailable, &error)])?;
        let Some(known) = known else { return Ok("not known") };
        let failures = remove(&self.queues, &self.commands, &self.queue(id), Some(&known)).await;
        if !failures.is_empty() {
            return Err(failures);
        }
        match self.instances.remove(id).await {
            Ok(()) => Ok("forgotten"),
            Err(error) => Err(vec![Failure::of(Name::InstancesUnavailable, &error)]),
        }
    }

    async fn idle(
        &self,
        id: &InstanceId,
        event: &Event,
        is_idle: bool,
    ) -> Result<&'static str, Vec<Failure>> {
        let since = is_idle.then(|| idle_since(event));
        let boot = told::boot(event);
        match self.instances.idle(id, since, boot.as_deref(), event.time).await {
            Ok(()) => Ok("kept"),
            Err(error) => Err(vec![Failure::of(Name::InstancesUnavailable, &error)]),
        }
    }

    /// Takes a report into every incident it belongs to, and sends what it releases.
    async fn told(&self, id: &InstanceId, event: &Event, clock: Clock) -> (Value, Vec<Failure>) {
        let report = match told::report(event) {
            Ok(report) => report,
            Err(error) => {
                let data = Value::Object(event.data.clone()).to_string();
                return (self.unreadable(&error, &data), Vec::new());
            }
        };
        tracing::Span::current().record("correlationid", report.incident.as_str());
        let now = clock.now();
        let mut failures = Vec::new();
        let found = self.found(id, event, &report, clock, &mut failures).await;
        let mut taken = Vec::new();
        let mut has_drilled = event.drill;
        let mut is_known = false;
        for stored in found {
            has_drilled |= stored.incident.drill;
            is_known |= told::is_about(&stored.incident, event, &report);
            match self.take(stored, &report, now).await {
                Ok(Some((is_news, stored))) => taken.push((is_news, stored)),
                Ok(None) => {}
                Err(error) => failures.push(Failure::of(Name::LedgerUnavailable, &error)),
            }
        }
        if !is_known && failures.is_empty() && !has_drilled {
            match self.unseen(id, event, &report, now).await {
                Ok(known) => taken.extend(known),
                Err(error) => failures.push(Failure::of(Name::LedgerUnavailable, &error)),
            }
        }
        if taken.iter().any(|(is_news, _)| *is_news) {
            self.count(&report);
        }
        if let Some(stack) = &self.traced {
            let ended = taken.iter().filter(|(is_news, _)| *is_news);
            for trace in told::traces(ended.map(|(_, stored)| &stored.incident), &report, stack) {
                self.meter.trace(trace);
            }
        }
        let ids: Vec<String> = taken.iter().map(|(_, stored)| stored.incident.id.clone()).collect();
        for (_, stored) in taken {
            failures.extend(self.fan.settle(stored, clock).await);
        }
        if has_drilled && report.outcome.as_deref() == Some("done") {
            failures.extend(self.drilled(id, event, now).await);
        }
        info!(incidents = ?ids, outcome = report.outcome, "report taken");
        (json!(ids), failures)
    }

    /// The incidents that a report belongs to: those of the instance, and those it names.
    async fn found(
        &self,
        id: &InstanceId,
        event: &Event,
        report: &Report,
        clock: Clock,
        failures: &mut Vec<Failure>,
    ) -> Vec<Stored> {
        let now = clock.now();
        let since = now.checked_sub(OLDEST).unwrap_or(now);
        let mut found = match self.incidents.of_instance(id, since, OTHERS).await {
            Ok(found) => found,
            Err(error) => {
                failures.push(Failure::of(Name::LedgerUnavailable, &error));
                Vec::new()
            }
        };
        // The index may be late, and an incident older than it tells.
        for told in report.told_by.iter().take(COMMANDS) {
            if found.iter().any(|stored| stored.incident.id == *told) {
                continue;
            }
            match self.incidents.read(told).await {
                Ok(stored) => found.extend(stored),
                Err(error) => failures.push(Failure::of(Name::LedgerUnavailable, &error)),
            }
        }
        found.retain(|stored| {
            told::is_about(&stored.incident, event, report)
                || told::is_awaited(&stored.incident, event, report)
        });
        found
    }

    /// Takes a report into one incident; says whether the outcome is news to it.
    async fn take(
        &self,
        stored: Stored,
        report: &Report,
        now: Timestamp,
    ) -> Result<Option<(bool, Stored)>, CloudError> {
        let change = |incident: &mut Incident| {
            let is_first = incident.word().is_none();
            incident.report(report, now);
            is_first && incident.word().is_some()
        };
        self.incidents.change_from(stored, change).await
    }

    /// Opens an incident of which no event of EC2 told.
    async fn unseen(
        &self,
        id: &InstanceId,
        event: &Event,
        report: &Report,
        now: Timestamp,
    ) -> Result<Option<(bool, Stored)>, CloudError> {
        let first = told::unseen(event, report);
        // It is of no use but for reports of what was saved.
        let known = self.instances.read(id).await.ok().flatten();
        let machine = known.map(|known| Machine::of(&known.facts, event));
        let open = |id: &str| {
            let mut incident = Incident::unseen(id, &first, now);
            incident.machine.clone_from(&machine);
            incident.report(report, now);
            incident
        };
        match self.incidents.claim(&told::claim(id, report), open, now).await? {
            Claimed::Opened(stored) => {
                self.meter.count(Metric::Incidents, By::cause(first.cause), 1);
                warn!(incident = stored.incident.id, "an incident that no event told of");
                let is_news = stored.incident.word().is_some();
                Ok(Some((is_news, stored)))
            }
            Claimed::Known(stored) => self.take(stored, report, now).await,
        }
    }

    async fn drilled(&self, id: &InstanceId, event: &Event, now: Timestamp) -> Option<Failure> {
        let facts = Facts { id: Some(id.clone()), ..Facts::default() };
        let last_seen = Some(event.time.min(now));
        let instance = Instance { facts, last_seen, drilled_at: Some(now), ..Instance::default() };
        let error = self.instances.update(&instance).await.err()?;
        Some(Failure::of(Name::InstancesUnavailable, &error))
    }

    fn count(&self, report: &Report) {
        let (ended, failed) = told::handlers(report);
        self.meter.count(Metric::Outcomes, By::outcome(report.outcome.as_deref().unwrap_or("")), 1);
        self.meter.count(Metric::Handlers, By::ALL, ended);
        self.meter.count(Metric::HandlerFailures, By::ALL, failed);
    }
}

/// Removes the queue of an instance and its subscription; what is gone is fine.
pub(crate) async fn remove(
    queues: &Queues,
    commands: &Topic,
    name: &str,
    known: Option<&Instance>,
) -> Vec<Failure> {
    let gone = async {
        if let Some(subscription) = known.and_then(|known| known.subscription.as_deref()) {
            commands.unsubscribe(subscription).await?;
        }
        let url = match known.and_then(|known| known.queue_url.clone()) {
            Some(url) => Some(url),
            None => queues.find(name).await?,
        };
        match url {
            Some(url) => queues.remove(&url).await,
            None => Ok(()),
        }
    };
    let failure = |error: CloudError| Failure::of(Name::QueueNotRemoved, &error);
    gone.await.err().map(failure).into_iter().collect()
}
