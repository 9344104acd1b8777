//! `dispatch`: an event of EventBridge becomes an incident, and what follows from it is sent.
//!
//! ```text
//! event -- unreadable, foreign, of no kind of ours --> counted, acknowledged
//!       -- too late, replayed ----------------------> `expired` in the ledger, nothing sent
//!       -- a state of an instance that goes --------> told to the incident that is known
//!       -- an instance that runs again -------------> told to the incident of its stop
//!       -- else: facts + policies + others at once -> claim -> command and orders -> written down
//! ```
//!
//! At most six calls for one notice, none of them to EC2, while the policies are at hand: facts,
//! other incidents, claim, command, orders, and the note of what was sent. Each part that does not
//! answer is gone around: without policies or facts the instance is told to use its own, without
//! the ledger it is told all the same. Then the function fails, so that the event comes again and
//! what is missing is added.

pub mod judge;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use snooze_cloud::groups::Groups;
use snooze_cloud::incidents::{Claimed, Stored};
use snooze_cloud::instances::{Instance, Instances};
use snooze_cloud::policies::Policies;
use snooze_cloud::topic::Topic;
use snooze_cloud::{Aws, CloudError};
use snooze_event::wire::command::{Command, Kind};
use snooze_event::wire::eventbridge;
use snooze_event::{Event, EventType};
use snooze_policy::Facts;
use snooze_policy::ledger::{Claim, Incident, Opening, Shelf, claim, idle_since};
use tokio::task::JoinSet;
use tokio::time;
use tracing::{Instrument, error, info, info_span, warn};

use crate::clock::Clock;
use crate::failure::{Failure, Name};
use crate::fan::{self, Fan};
use crate::hooks::Hooks;
use crate::host::Invocation;
use crate::settings::{Arn, Variables};
use crate::shelves::Shelves;
use crate::telemetry::{By, Meter, Metric, excerpt};

use judge::{TOGETHER, Way};

/// The name of the function, in figures.
pub const NAME: &str = "dispatch";
/// So many events of one delivery are worked on at once: a scheduled change may name hundreds.
const AT_ONCE: usize = 8;
/// How long one reading of a table may take.
const READ: Duration = Duration::from_millis(1500);
/// How long the claim may take, which is several calls when somebody else was first.
const CLAIM: Duration = Duration::from_millis(2500);
/// How many incidents of one instance are looked at.
const OTHERS: u32 = 10;
/// So long before it is done the incident of a stop may have been opened: it waits for handlers,
/// and is tried for an hour.
const STOPS: Duration = Duration::from_secs(2 * 3600);
/// For how long a late event is known.
const LATE: Duration = Duration::from_secs(24 * 3600);
/// For how long the news that policies changed are worth something: instances look by themselves
/// every five minutes.
const REFRESH: Duration = Duration::from_secs(900);

/// What `dispatch` needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name of the stack.
    pub stack: String,
    /// The table Policies.
    pub policies: String,
    /// The table Instances.
    pub instances: String,
    /// What sending needs.
    pub fan: fan::Settings,
    /// The topic of the operators.
    pub operators: Arn,
    /// How long policies that were read are used.
    pub policy_cache: Duration,
    /// What an Auto Scaling termination leaves an instance.
    pub lifecycle_budget: Duration,
}

impl Settings {
    /// Reads them from the environment.
    pub fn read(from: &mut Variables<'_>) -> Self {
        Self {
            stack: from.text("STACK"),
            policies: from.text("POLICIES_TABLE"),
            instances: from.text("INSTANCES_TABLE"),
            fan: fan::Settings::read(from),
            operators: from.arn("OPERATORS_TOPIC_ARN"),
            policy_cache: from.seconds("POLICY_CACHE_SECONDS", 30, 0..=300),
            lifecycle_budget: from.seconds("LIFECYCLE_BUDGET_SECONDS", 120, 30..=7200),
        }
    }
}

/// The function, with all that it keeps between two events.
#[derive(Debug)]
pub struct Dispatch {
    instances: Instances,
    shelves: Shelves,
    hooks: Hooks,
    fan: Fan,
    operators: Topic,
    home: Arn,
    lifecycle_budget: Duration,
    meter: Arc<Meter>,
}

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It opened this incident.
    Opened(String),
    /// It belongs to this incident.
    Joined(String),
    /// It came too late, which this incident says.
    Expired(String),
    /// All instances were told.
    Told,
    /// Nothing was to be done.
    Ignored(&'static str),
}

/// What is known about the instance of an event, and what its policies are.
struct Known {
    instance: Result<Option<Instance>, CloudError>,
    shelf: Arc<Shelf>,
    others: Vec<Stored>,
}

impl Dispatch {
    /// The function by these settings.
    #[must_use]
    pub fn new(settings: &Settings, aws: &Aws, meter: Arc<Meter>) -> Self {
        let Settings { policies, instances, fan, operators, .. } = settings;
        Self {
            instances: Instances::new(aws, instances, fan.retention),
            shelves: Shelves::new(Policies::new(aws, policies), settings.policy_cache),
            hooks: Hooks::new(Groups::new(aws)),
            home: fan.commands.clone(),
            fan: Fan::new(aws, fan, Arc::clone(&meter)),
            operators: Topic::new(aws, &operators.text),
            lifecycle_budget: settings.lifecycle_budget,
            meter,
        }
    }

    /// Takes one delivery, with all its events, and answers what became of each.
    ///
    /// # Errors
    /// A part of it has to come again. What was done is written down and not done again.
    pub async fn handle(self: Arc<Self>, invocation: Invocation) -> Result<Value, Failure> {
        let events = match eventbridge::read(&invocation.text) {
            Ok(events) => events,
            Err(error) => {
                let payload = excerpt(&invocation.text);
                error!(name = %Name::EventUnreadable, %error, %payload, "event not readable");
                self.meter.count(Metric::Unreadable, By::ALL, 1);
                return Ok(json!({ "unreadable": error.to_string() }));
            }
        };
        let clock = Clock::begin(invocation.now);
        let (mut tasks, mut events) = (JoinSet::new(), events.into_iter());
        let (mut done, mut failures) = (Vec::new(), Vec::new());
        loop {
            while tasks.len() < AT_ONCE
                && let Some(event) = events.next()
            {
                let this = Arc::clone(&self);
                tasks.spawn(async move { this.one(event, clock).await });
            }
            match tasks.join_next().await {
                None => break,
                Some(Ok((answer, failed))) => {
                    done.push(answer);
                    failures.extend(failed);
                }
                // The poison event alone fails.
                Some(Err(error)) => {
                    let failure = Failure::new(Name::Panicked, error.to_string());
                    error!(name = %failure.name, %error, "an event broke our own code");
                    failures.push(failure);
                }
            }
        }
        match Failure::of_all(failures) {
            None => Ok(json!({ "events": done })),
            Some(failure) => Err(failure),
        }
    }

    async fn one(&self, event: Event, clock: Clock) -> (Value, Vec<Failure>) {
        let span = info_span!("event", id = %event.id, kind = %event.kind,
            correlationid = tracing::field::Empty);
        let mut failures = Vec::new();
        let done = time::timeout_at(clock.end(), self.event(&event, clock, &mut failures));
        let done = done.instrument(span.clone()).await;
        let _in = span.enter();
        let answer = match done {
            Ok(Ok(done)) => {
                info!(done = ?done, "event taken");
                done.write(&event)
            }
            Ok(Err(failure)) => {
                failures.push(failure);
                Value::Null
            }
            Err(_elapsed) => {
                failures.push(Failure::new(Name::OutOfTime, format!("event `{}`", event.id)));
                Value::Null
            }
        };
        for failure in &failures {
            error!(name = %failure.name, text = %failure.text, "a part of the event has to come again");
        }
        (answer, failures)
    }

    async fn event(
        &self,
        event: &Event,
        clock: Clock,
        failures: &mut Vec<Failure>,
    ) -> Result<Done, Failure> {
        if let Some(foreign) = event.foreign(&self.home.home()) {
            warn!(?foreign, "an event that is not ours");
            self.meter.count(Metric::Foreign, By::ALL, 1);
            return Ok(Done::Ignored("not ours"));
        }
        match judge::way(event, clock.now()) {
            Way::Nothing => {
                self.meter.count(Metric::Unknown, By::ALL, 1);
                Ok(Done::Ignored("no kind of ours"))
            }
            Way::Refresh => self.refresh(event, clock).await,
            Way::Late => self.late(event, clock).await,
            Way::Back => self.back(event, clock).await,
            Way::Fate { gone } => {
                let known = self.known(event, clock, failures).await;
                let at = event.time;
                let state = judge::state(event).unwrap_or_default();
                let done = self.fated(&known, state, at, clock, failures).await;
                match done {
                    Some(done) => Ok(done),
                    None if gone => Ok(Done::Ignored("no incident of ours")),
                    None => self.incident(event, known, clock, failures).await,
                }
            }
            Way::Incident => {
                let known = self.known(event, clock, failures).await;
                self.incident(event, known, clock, failures).await
            }
        }
    }

    /// Tells all instances to read the policies again.
    async fn refresh(&self, event: &Event, clock: Clock) -> Result<Done, Failure> {
        let now = clock.now();
        self.shelves.forget().await;
        let command = Command {
            id: format!("{}#command", claim(event).key),
            kind: Kind::PoliciesChanged,
            instance: None,
            issued_at: now,
            expires_at: now.checked_add(REFRESH).unwrap_or(now),
            policies: None,
            correlation: None,
        };
        let publish = self.fan.commands.command(&command);
        let published = clock.within(READ, "Publish", publish).await;
        published.map_err(|error| Failure::of(Name::CommandNotSent, &error))?;
        self.meter.count(Metric::Commands, By::ALL, 1);
        Ok(Done::Told)
    }

    /// Writes down that an event of a known instance came too late. Its claim is its own: a notice
    /// that is true and comes a moment later must find nothing in its way.
    async fn late(&self, event: &Event, clock: Clock) -> Result<Done, Failure> {
        warn!(replay = event.replay, time = %event.time, "an event came too late to act on");
        self.meter.count(Metric::Stale, By::cause(event.cause), 1);
        let Some(id) = &event.instance else { return Ok(Done::Ignored("too late")) };
        if event.kind == EventType::InstanceIdle {
            // An instance that is idle still says so again.
            return Ok(Done::Ignored("too late"));
        }
        let read = clock.within(READ, "GetItem", self.instances.read(id)).await;
        let facts = match read {
            Ok(Some(instance)) => instance.facts,
            Ok(None) => return Ok(Done::Ignored("too late")),
            Err(error) => return Err(Failure::of(Name::InstancesUnavailable, &error)),
        };
        let now = clock.now();
        let since = event.time.checked_sub(TOGETHER).unwrap_or(event.time);
        let unavailable = |error: CloudError| Failure::of(Name::LedgerUnavailable, &error);
        let others = self.fan.incidents.of_instance(id, since, OTHERS);
        let others = clock.within(READ, "Query", others).await.map_err(unavailable)?;
        let told = |stored: &&Stored| {
            stored.incident.signals.iter().any(|signal| signal.id == event.id.as_str())
        };
        if let Some(known) = others.iter().find(told) {
            return Ok(Done::Joined(known.incident.id.clone()));
        }
        let claim = Claim { key: format!("{id}/late/{}", event.id), window: LATE };
        let shelf = Shelf::default();
        let opening = self.opening(event, Some(&facts), &shelf, None);
        let open = |id: &str| Incident::open(id, opening, now);
        let claimed = self.fan.incidents.claim(&claim, open, now);
        match clock.within(CLAIM, "TransactWriteItems", claimed).await.map_err(unavailable)? {
            Claimed::Opened(stored) | Claimed::Known(stored) => {
                Ok(Done::Expired(stored.incident.id))
            }
        }
    }

    /// An instance runs again: the incident of our stop learns how long it was stopped.
    async fn back(&self, event: &Event, clock: Clock) -> Result<Done, Failure> {
        let is_up = event.data.get("state").and_then(Value::as_str) == Some("running");
        let (true, Some(id)) = (is_up, &event.instance) else {
            return Ok(Done::Ignored("it comes up"));
        };
        let unavailable = |error: CloudError| Failure::of(Name::LedgerUnavailable, &error);
        let all = self.fan.incidents.of_instance(id, jiff::Timestamp::UNIX_EPOCH, OTHERS);
        let all = clock.within(READ, "Query", all).await.map_err(unavailable)?;
        let stopped = all.into_iter().find(|stored| stored.incident.stopped_at().is_some());
        let Some(stored) = stopped else { return Ok(Done::Ignored("no stop of ours")) };
        let id = stored.incident.id.clone();
        let change = |incident: &mut Incident| incident.back(event.time);
        let change = self.fan.incidents.change_from(stored, change);
        match clock.within(READ, "PutItem", change).await.map_err(unavailable)? {
            Some((true, _)) => Ok(Done::Joined(id)),
            Some((false, _)) | None => Ok(Done::Ignored("its stop is known to be over")),
        }
    }

    /// All that has to be known of an event, read at once. What is no loss and has no policy needs
    /// no instance.
    async fn known(&self, event: &Event, clock: Clock, failures: &mut Vec<Failure>) -> Known {
        let shelf = self.shelves.of(event.kind.as_str(), clock);
        let (instance, others, shelf) = if event.cause.is_some() {
            let wanted = !event.drill;
            let (shelf, instance, others) = tokio::join!(
                shelf,
                self.instance(event, clock),
                self.others(Some(event).filter(|_| wanted), clock),
            );
            (instance, others, shelf)
        } else {
            let shelf = shelf.await;
            let is_bare = shelf.0.version.is_some() && shelf.0.policies.is_empty();
            let instance = if is_bare { Ok(None) } else { self.instance(event, clock).await };
            (instance, Ok(Vec::new()), shelf)
        };
        let (shelf, failure) = shelf;
        failures.extend(failure);
        if let Err(error) = &instance {
            failures.push(Failure::of(Name::InstancesUnavailable, error));
        }
        let others = others.unwrap_or_else(|error| {
            failures.push(Failure::of(Name::LedgerUnavailable, &error));
            Vec::new()
        });
        Known { instance, shelf, others }
    }

    async fn instance(&self, event: &Event, clock: Clock) -> Result<Option<Instance>, CloudError> {
        let Some(id) = &event.instance else { return Ok(None) };
        clock.within(READ, "GetItem", self.instances.read(id)).await
    }

    /// The losses of the instance a moment ago, and our own stops that the event may come of, the
    /// latest first.
    async fn others(&self, event: Option<&Event>, clock: Clock) -> Result<Vec<Stored>, CloudError> {
        let Some((event, id)) = event.and_then(|event| Some((event, event.instance.as_ref()?)))
        else {
            return Ok(Vec::new());
        };
        let now = clock.now();
        let is_state = judge::state(event).is_some();
        let since = now.checked_sub(if is_state { STOPS } else { TOGETHER }).unwrap_or(now);
        let others = self.fan.incidents.of_instance(id, since, OTHERS);
        let mut others = clock.within(READ, "Query", others).await?;
        others.retain(|stored| judge::is_near(&stored.incident, event, now));
        Ok(others)
    }

    /// Tells the incidents of an instance what EC2 does to it; `None` when there is none.
    async fn fated(
        &self,
        known: &Known,
        state: &str,
        at: jiff::Timestamp,
        clock: Clock,
        failures: &mut Vec<Failure>,
    ) -> Option<Done> {
        for stored in &known.others {
            let change = |incident: &mut Incident| incident.fated(state, at);
            let change = self.fan.incidents.change_from(stored.clone(), change);
            if let Err(error) = clock.within(READ, "PutItem", change).await {
                failures.push(Failure::of(Name::LedgerUnavailable, &error));
            }
        }
        known.others.first().map(|stored| Done::Joined(stored.incident.id.clone()))
    }

    async fn incident(
        &self,
        event: &Event,
        known: Known,
        clock: Clock,
        failures: &mut Vec<Failure>,
    ) -> Result<Done, Failure> {
        let is_loss = event.cause.is_some();
        // Without facts no policy can be judged: the instance, which knows itself, uses its own.
        let blind = Shelf::default();
        let (facts, shelf) = match known.instance {
            Ok(instance) => (instance.map(|instance| instance.facts), &*known.shelf),
            Err(_) => (Some(Facts { id: event.instance.clone(), ..Facts::default() }), &blind),
        };
        if is_loss {
            self.meter.count(Metric::Notices, By::cause(event.cause), 1);
        }
        // The loss of a known instance is an incident whatever the policies say; the incident
        // itself asks them, once.
        let hook = event.data.contains_key("LifecycleHookName");
        let selected = match is_loss && facts.is_some() && !hook {
            true => Vec::new(),
            false => {
                let nothing = Facts::default();
                shelf.policies.select(event, facts.as_ref().unwrap_or(&nothing))
            }
        };
        if selected.is_empty() && facts.is_none() {
            if is_loss {
                self.meter.count(Metric::Unprotected, By::cause(event.cause), 1);
            }
            return Ok(Done::Ignored("an instance that never said hello, and no policy"));
        }
        if selected.is_empty() && !is_loss && shelf.version.is_some() {
            return Ok(Done::Ignored("no policy"));
        }
        if event.kind == EventType::InstanceIdle && shelf.version.is_none() {
            // Nothing hurries: it comes again, and without policies nothing is to be done.
            return Ok(Done::Ignored("the policies cannot be read"));
        }
        let timeout = self.hooks.timeout(event, &selected, clock).await.unwrap_or_else(|failure| {
            failures.push(failure);
            None
        });
        let now = clock.now();
        let opening = self.opening(event, facts.as_ref(), shelf, timeout);
        let is_told = self.is_told(event, clock).await;
        let heard = judge::heard(event, known.others.iter().map(|stored| &stored.incident));
        let open = |id: &str| {
            let mut incident = Incident::open(id, opening, now);
            if let Some(report) = &heard {
                incident.report(report, now);
            }
            if is_told {
                incident.repeats();
            }
            incident
        };
        let claim = claim(event);
        let claimed = self.fan.incidents.claim(&claim, open, now);
        let claimed = clock.within(CLAIM, "TransactWriteItems", claimed).await;
        let (stored, is_new) = match claimed {
            Ok(Claimed::Opened(stored)) => (stored, true),
            Ok(Claimed::Known(stored)) => {
                let planned = open(&stored.incident.id);
                (self.join(event, stored, &planned, clock, failures).await, false)
            }
            Err(error) => {
                let incident = open(&claim.id(event.time));
                self.without_ledger(&incident, is_loss, clock).await;
                return Err(Failure::of(Name::LedgerUnavailable, &error));
            }
        };
        let id = stored.incident.id.clone();
        tracing::Span::current().record("correlationid", id.as_str());
        if is_new {
            self.meter.count(Metric::Incidents, By::cause(event.cause), 1);
        }
        failures.extend(self.fan.settle(stored, clock).await);
        Ok(if is_new { Done::Opened(id) } else { Done::Joined(id) })
    }

    /// Whether an earlier incident of the same idleness told those who are to be told. Where that
    /// cannot be read, they are told again.
    async fn is_told(&self, event: &Event, clock: Clock) -> bool {
        let (EventType::InstanceIdle, Some(id)) = (&event.kind, &event.instance) else {
            return false;
        };
        let (now, since, claim) = (clock.now(), idle_since(event), claim(event));
        if event.drill || since > claim.over_before(now) {
            return false;
        }
        let others = self.fan.incidents.of_instance(id, since, OTHERS);
        match clock.within(READ, "Query", others).await {
            Ok(others) => {
                let begins = |stored: &Stored| {
                    let rest = stored.incident.id.strip_prefix(&claim.key);
                    rest.is_some_and(|rest| rest.starts_with('/'))
                };
                others.iter().any(begins)
            }
            Err(error) => {
                warn!(%error, "not known whether this idleness was told of before");
                false
            }
        }
    }

    /// Adds a signal to an incident that is known, and what was missing when it was opened.
    async fn join(
        &self,
        event: &Event,
        stored: Stored,
        planned: &Incident,
        clock: Clock,
        failures: &mut Vec<Failure>,
    ) -> Stored {
        let now = clock.now();
        let before = stored.clone();
        let change = |incident: &mut Incident| {
            incident.join(event, now);
            judge::adopt(incident, planned, now);
        };
        let change = self.fan.incidents.change_from(stored, change);
        match clock.within(CLAIM, "PutItem", change).await {
            Ok(Some(((), stored))) => stored,
            Ok(None) => before,
            Err(error) => {
                failures.push(Failure::of(Name::LedgerUnavailable, &error));
                before
            }
        }
    }

    /// The ledger does not answer: the instance is told all the same, and the operators. The key
    /// follows from the event, so that it is the same when the event comes again.
    async fn without_ledger(&self, incident: &Incident, is_loss: bool, clock: Clock) {
        let told = async {
            if incident.task(snooze_policy::ledger::COMMAND).is_some() {
                let sent = self.fan.tell(incident, clock).await;
                for failure in sent.failures {
                    error!(name = %failure.name, text = %failure.text, "command not sent");
                }
            }
        };
        let operators = async {
            if is_loss && !incident.drill {
                let instance = incident.instance.as_deref().unwrap_or("an instance");
                let subject = format!("CloudSnooze: {instance} goes, the ledger does not answer");
                let text = format!(
                    "{instance} is taken away ({id}).\nThe table of incidents did not answer. \
                     The instance was told to save what it can; actions of policies wait until \
                     the table answers.\nLook at the alarms of the table and of the function \
                     `dispatch`.",
                    id = incident.id,
                );
                let message = self.operators.message(&subject, &text);
                if let Err(error) = clock.within(READ, "Publish", message).await {
                    let failure = Failure::of(Name::OperatorsNotTold, &error);
                    error!(name = %failure.name, %error, "operators not told");
                }
            }
        };
        tokio::join!(told, operators);
    }

    fn opening<'a>(
        &self,
        event: &'a Event,
        facts: Option<&'a Facts>,
        shelf: &'a Shelf,
        hook_timeout: Option<Duration>,
    ) -> Opening<'a> {
        let lifecycle_budget = self.lifecycle_budget;
        Opening { event, facts, shelf, hook_timeout, lifecycle_budget }
    }
}

impl Done {
    fn write(&self, event: &Event) -> Value {
        let event = event.id.as_str();
        match self {
            Self::Opened(id) => json!({ "event": event, "opened": id }),
            Self::Joined(id) => json!({ "event": event, "joined": id }),
            Self::Expired(id) => json!({ "event": event, "expired": id }),
            Self::Told => json!({ "event": event, "told": "*" }),
            Self::Ignored(why) => json!({ "event": event, "ignored": why }),
        }
    }
}
