//! `sweep`: once a minute, what was left undone is done, by the same code and only later.
//!
//! Incidents that are due are mended (an outcome that nobody told, orders that were lost, late
//! heartbeats) and sent as `dispatch` sends. About once an hour the queues of instances that are
//! gone are removed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_cloud::incidents::{Incidents, Stored};
use snooze_cloud::instances::{Instance, Instances};
use snooze_cloud::queue::Queues;
use snooze_cloud::topic::Topic;
use snooze_cloud::{Aws, CloudError};
use snooze_event::InstanceId;
use snooze_policy::ledger::{By as Teller, Incident};
use tokio::task::JoinSet;
use tokio::time;
use tracing::{Instrument, error, info, info_span};

use crate::clock::Clock;
use crate::failure::{Failure, Name};
use crate::fan::Fan;
use crate::host::Invocation;
use crate::record::{Settings, remove};
use crate::settings::Arn;
use crate::telemetry::{By, Meter, Metric};
use crate::trace;

/// The name of the function, in figures.
pub const NAME: &str = "sweep";
/// So many incidents are asked for at once.
const PAGE: u32 = 100;
/// The longest page, where the incidents that come first cannot be mended.
const LONGEST_PAGE: u32 = 1600;
/// So many incidents are mended at once.
const AT_ONCE: usize = 8;
/// Orphaned queues are looked for after this time.
const TIDY: Duration = Duration::from_secs(3500);
/// So many queues are removed in one run.
const QUEUES: usize = 50;
/// An instance that was not heard of for so long is gone: it reports every 15 minutes.
const SILENT: Duration = Duration::from_secs(24 * 3600);

/// The function, with what it remembers of the last look at the queues.
#[derive(Debug)]
pub struct Sweep {
    incidents: Incidents,
    instances: Instances,
    queues: Queues,
    commands: Topic,
    fan: Fan,
    home: Arn,
    prefix: String,
    /// The stack, where traces are written.
    traced: Option<String>,
    meter: Arc<Meter>,
    tidied: Mutex<Tidied>,
}

#[derive(Debug, Default)]
struct Tidied {
    at: Option<Timestamp>,
    /// Queues that seemed orphaned then. One that still does is: a queue is made a moment before
    /// its instance is written down.
    suspects: BTreeSet<String>,
}

/// What one run came to.
#[derive(Debug, Default)]
struct Run {
    seen: BTreeSet<String>,
    mended: u64,
    overdue: u64,
    failures: Vec<Failure>,
}

/// What became of one incident.
struct Mended {
    changed: bool,
    overdue: bool,
    failures: Vec<Failure>,
}

impl Sweep {
    /// The function by these settings.
    #[must_use]
    pub fn new(settings: &Settings, aws: &Aws, meter: Arc<Meter>) -> Self {
        let fan = Fan::new(aws, &settings.fan, Arc::clone(&meter));
        Self {
            incidents: fan.incidents.clone(),
            instances: Instances::new(aws, &settings.instances, settings.fan.retention),
            queues: Queues::new(aws),
            commands: fan.commands.clone(),
            fan,
            home: settings.fan.commands.clone(),
            prefix: settings.prefix.clone(),
            traced: settings.traces.then(|| settings.stack.clone()),
            meter,
            tidied: Mutex::default(),
        }
    }

    /// Mends what is due, until nothing is or the time is over.
    ///
    /// # Errors
    /// A part of it failed. The next run tries it again.
    pub async fn handle(self: Arc<Self>, invocation: Invocation) -> Result<Value, Failure> {
        let now = invocation.now;
        let left = Duration::try_from(invocation.until.duration_since(now)).unwrap_or_default();
        let until = time::Instant::now() + left;
        let mut run = Run::default();
        if time::timeout_at(until, self.mend_all(now, &mut run)).await.is_err() {
            info!(seen = run.seen.len(), "the time is over, the next run goes on");
        }
        self.meter.count(Metric::Mended, By::ALL, run.mended);
        self.meter.count(Metric::Overdue, By::ALL, run.overdue);
        let mut removed = 0;
        if self.is_untidy(now) {
            match time::timeout_at(until, self.tidy(now, &mut run.failures)).await {
                Ok(count) => removed = count,
                Err(_elapsed) => info!("the time is over, queues wait for the next look"),
            }
        }
        let answer = json!({
            "looked_at": run.seen.len(),
            "mended": run.mended,
            "overdue": run.overdue,
            "queues_removed": removed,
        });
        match Failure::of_all(run.failures) {
            None => Ok(answer),
            Some(failure) => Err(failure),
        }
    }

    async fn mend_all(self: &Arc<Self>, now: Timestamp, run: &mut Run) {
        let mut page = PAGE;
        loop {
            let ids = match self.incidents.due(now, page).await {
                Ok(ids) => ids,
                Err(error) => {
                    run.failures.push(Failure::of(Name::LedgerUnavailable, &error));
                    return;
                }
            };
            let is_full = ids.len() >= usize::try_from(page).unwrap_or(usize::MAX);
            let fresh: Vec<String> = ids.into_iter().filter(|id| !run.seen.contains(id)).collect();
            if fresh.is_empty() {
                // What stands before the others and cannot be mended must not hide them.
                if !is_full || page >= LONGEST_PAGE {
                    return;
                }
                page = page.saturating_mul(2);
                continue;
            }
            self.mend_page(fresh, now, run).await;
            if !is_full {
                return;
            }
        }
    }

    async fn mend_page(self: &Arc<Self>, ids: Vec<String>, now: Timestamp, run: &mut Run) {
        let mut tasks = JoinSet::new();
        let mut ids = ids.into_iter();
        loop {
            while tasks.len() < AT_ONCE
                && let Some(id) = ids.next()
            {
                run.seen.insert(id.clone());
                let this = Arc::clone(self);
                let span = info_span!("incident", correlationid = %id);
                tasks.spawn(async move { this.mend(&id, now).await }.instrument(span));
            }
            match tasks.join_next().await {
                None => return,
                Some(Ok(mended)) => {
                    run.mended += u64::from(mended.changed);
                    run.overdue += u64::from(mended.overdue);
                    run.failures.extend(mended.failures);
                }
                // The poison incident alone fails.
                Some(Err(error)) => {
                    let failure = Failure::new(Name::Panicked, error.to_string());
                    error!(name = %failure.name, %error, "an incident broke our own code");
                    run.failures.push(failure);
                }
            }
        }
    }

    async fn mend(&self, id: &str, now: Timestamp) -> Mended {
        let clock = Clock::begin(now);
        let mend = |incident: &mut Incident| {
            let had_ended = incident.ended.is_some();
            let changed = incident.mend(now);
            let by_us = incident.ended.as_ref().is_some_and(|ended| ended.by == Teller::Sweep);
            (changed, !had_ended && by_us)
        };
        match self.incidents.change(id, mend).await {
            Ok(Some(((changed, overdue), stored))) => {
                if overdue {
                    error!("the instance did not tell how it ended");
                    self.meter.count(Metric::Outcomes, By::outcome(&outcome(&stored)), 1);
                    let stack = self.traced.as_deref();
                    let document = stack.and_then(|s| trace::document(&stored.incident, id, s));
                    document.into_iter().for_each(|document| self.meter.trace(document));
                }
                let failures = self.fan.settle(stored, clock).await;
                for failure in &failures {
                    error!(name = %failure.name, text = %failure.text, "a part waits for the next run");
                }
                Mended { changed, overdue, failures }
            }
            Ok(None) => Mended { changed: false, overdue: false, failures: Vec::new() },
            Err(error) => {
                let failures = vec![Failure::of(Name::LedgerUnavailable, &error)];
                error!(%error, "incident not mended");
                Mended { changed: false, overdue: false, failures }
            }
        }
    }

    fn is_untidy(&self, now: Timestamp) -> bool {
        let tidied = self.tidied.lock().unwrap_or_else(PoisonError::into_inner);
        let is_long_ago = |at: Timestamp| now.duration_since(at).unsigned_abs() >= TIDY;
        tidied.at.is_none_or(is_long_ago)
    }

    /// Removes the queues that nobody reads any more, and says how many; tells how long ago the
    /// last drill was.
    async fn tidy(&self, now: Timestamp, failures: &mut Vec<Failure>) -> u64 {
        // The queues first: what is made between the two lists belongs to an instance we see.
        let queues = match self.queues.list(&self.prefix).await {
            Ok(queues) => queues,
            Err(error) => {
                failures.push(Failure::of(Name::QueueNotRemoved, &error));
                return 0;
            }
        };
        let instances = match self.instances.list().await {
            Ok(instances) => instances,
            Err(error) => {
                failures.push(Failure::of(Name::InstancesUnavailable, &error));
                return 0;
            }
        };
        let orphans = orphans(&queues, &instances, &self.prefix, now);
        let suspects = {
            let mut tidied = self.tidied.lock().unwrap_or_else(PoisonError::into_inner);
            tidied.at = Some(now);
            let names = orphans.iter().map(|(name, _)| name.clone()).collect();
            std::mem::replace(&mut tidied.suspects, names)
        };
        let drilled = instances.iter().filter_map(|instance| instance.drilled_at).max();
        if let Some(drilled) = drilled {
            let age = u64::try_from(now.duration_since(drilled).as_secs()).unwrap_or_default();
            self.meter.value(Metric::DrillAge, By::ALL, age);
        }
        let mut removed = 0;
        let sure = orphans.into_iter().filter(|(name, _)| suspects.contains(name));
        for (name, known) in sure.take(QUEUES) {
            match self.remove(&name, known).await {
                Ok(()) => removed += 1,
                Err(mut failed) => failures.append(&mut failed),
            }
        }
        self.meter.count(Metric::QueuesRemoved, By::ALL, removed);
        removed
    }

    async fn remove(&self, name: &str, known: Option<&Instance>) -> Result<(), Vec<Failure>> {
        let failed = |error: CloudError| vec![Failure::of(Name::QueueNotRemoved, &error)];
        let id = name.strip_prefix(&self.prefix).and_then(|id| id.parse::<InstanceId>().ok());
        let Some(id) = id else { return Ok(()) };
        let mut known = known.cloned().unwrap_or_default();
        if known.subscription.is_none() {
            // Nothing tells which subscription the queue has; asked to subscribe it, the topic does.
            let Arn { partition, region, account, .. } = &self.home;
            let arn = format!("arn:{partition}:sqs:{region}:{account}:{name}");
            let subscription = self.commands.subscribe(&arn, &id).await.map_err(failed)?;
            known.subscription = Some(subscription);
        }
        let failures = remove(&self.queues, &self.commands, name, Some(&known)).await;
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }
}

/// The queues whose instance is not known, or silent for long, with what is known of it.
fn orphans<'a>(
    queues: &[(String, String)],
    instances: &'a [Instance],
    prefix: &str,
    now: Timestamp,
) -> Vec<(String, Option<&'a Instance>)> {
    let known = |id: &str| {
        let is = |instance: &&Instance| {
            instance.facts.id.as_ref().is_some_and(|known| known.as_str() == id)
        };
        instances.iter().find(is)
    };
    let is_silent = |instance: &Instance| {
        instance.last_seen.is_none_or(|seen| now.duration_since(seen).unsigned_abs() > SILENT)
    };
    queues
        .iter()
        .filter_map(|(name, _)| {
            let id = name.strip_prefix(prefix)?;
            id.parse::<InstanceId>().ok()?;
            match known(id) {
                Some(instance) if !is_silent(instance) => None,
                instance => Some((name.clone(), instance)),
            }
        })
        .collect()
}

fn outcome(stored: &Stored) -> String {
    stored.incident.ended.as_ref().map(|ended| ended.outcome.clone()).unwrap_or_default()
}
