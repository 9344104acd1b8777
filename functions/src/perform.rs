//! `perform`: does one task of an incident for each order in the queue of actions.
//!
//! ```text
//!  order --> take --> may the destination be called? --> act --> tell the breaker --> finish
//!              |                  |                       |
//!            busy: order        open: order             again: order with a delay, then finish
//! ```
//!
//! Whoever is killed between two of these leaves the task taken; after the lease the same message
//! comes again, and the task is done again. So each action looks first whether it was done, or
//! does what does no harm twice; where a service allows neither, its comment says so. A follow-up
//! stands in the queue before the ledger says that it does: it may come twice, and is never lost.

mod act;
mod attempt;
mod batch;
pub mod done;
mod groups;
pub mod hooks;
mod instances;
mod message;
mod starts;
mod stops;
pub mod taking;
mod telling;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use snooze_cloud::Aws;
use snooze_cloud::balancers::Balancers;
use snooze_cloud::breakers::Breakers;
use snooze_cloud::bus::Bus;
use snooze_cloud::ec2::Ec2;
use snooze_cloud::groups::Groups;
use snooze_cloud::incidents::Incidents;
use snooze_cloud::instances::Instances;
use snooze_cloud::invoke::Functions;
use snooze_cloud::limits::{self, Limits};
use snooze_cloud::queue::Queues;
use snooze_cloud::secrets::Secrets;
use snooze_cloud::topic::Topic;
use snooze_cloud::web::{Reach, Web};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tracing::error;

use self::attempt::Attempt;
use crate::failure::{Failure, Name};
use crate::order::{NotAnOrder, Order};
use crate::settings::Variables;
use crate::telemetry::{By, Meter, Metric};

/// How long one order may take. A function answers within 15 seconds.
pub const LIMIT: Duration = Duration::from_secs(8);

/// What the function is told by its environment.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of the stack.
    pub stack: String,
    /// The name of the table Incidents.
    pub incidents: String,
    /// The name of the table Instances.
    pub instances: String,
    /// The address of the queue of actions.
    pub actions: String,
    /// The ARN of the topic of commands.
    pub commands: String,
    /// The ARN of the topic of the operators.
    pub operators: String,
    /// The name of the bus.
    pub bus: String,
    /// What the keys of our tags begin with.
    pub tag_prefix: String,
    /// Whether a stop also writes the tags that older tools read.
    pub legacy_tags: bool,
    /// How many stops all policies together may do in an hour of the clock.
    pub stops_per_hour: u64,
    /// How long incidents and instances are kept.
    pub keep: Duration,
}

/// Reads the environment.
pub fn settings(from: &mut Variables<'_>) -> Settings {
    Settings {
        stack: from.text("STACK"),
        incidents: from.text("INCIDENTS_TABLE"),
        instances: from.text("INSTANCES_TABLE"),
        actions: from.url("ACTIONS_QUEUE_URL"),
        commands: from.arn("COMMANDS_TOPIC_ARN").text,
        operators: from.arn("OPERATORS_TOPIC_ARN").text,
        bus: from.text("BUS_NAME"),
        tag_prefix: from.text_or("TAG_PREFIX", "CloudSnooze"),
        legacy_tags: from.flag("LEGACY_TAGS", false),
        stops_per_hour: from.count("MAX_STOPS_PER_HOUR", 20, 0..=limits::LARGEST),
        keep: from.days("RETENTION_DAYS", 90, 1..=3653),
    }
}

/// The function, with all that it acts on.
#[derive(Debug)]
pub struct Perform {
    settings: Settings,
    aws: Aws,
    meter: Meter,
    incidents: Incidents,
    instances: Instances,
    breakers: Breakers,
    limits: Limits,
    queues: Queues,
    commands: Topic,
    bus: Bus,
    groups: Groups,
    ec2: Ec2,
    balancers: Balancers,
    functions: Functions,
    secrets: Secrets,
    web: Web,
}

impl Perform {
    /// The function by these settings; `reach` says whom its webhooks may call.
    #[must_use]
    pub fn new(aws: &Aws, settings: Settings, reach: Reach) -> Self {
        Self {
            meter: Meter::new(&settings.stack, "perform"),
            incidents: Incidents::new(aws, &settings.incidents, settings.keep),
            instances: Instances::new(aws, &settings.instances, settings.keep),
            breakers: Breakers::new(aws, &settings.incidents),
            limits: Limits::new(aws, &settings.incidents),
            queues: Queues::new(aws),
            commands: Topic::new(aws, &settings.commands),
            bus: Bus::new(aws, &settings.bus),
            groups: Groups::new(aws),
            ec2: Ec2::new(aws),
            balancers: Balancers::new(aws),
            functions: Functions::new(aws),
            secrets: Secrets::new(aws),
            web: Web::new(reach),
            aws: aws.clone(),
            settings,
        }
    }

    /// Its figures.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Obeys the orders of a batch side by side, and answers with the ids of the messages that
    /// the queue is to give again.
    ///
    /// A message that is no order comes again too, until it goes to the dead-letter queue.
    ///
    /// # Errors
    /// The batch itself cannot be read; nothing of it was done.
    pub async fn batch(self: &Arc<Self>, text: &str, now: Timestamp) -> Result<Value, Failure> {
        let records = batch::read(text)?;
        let mut running = JoinSet::new();
        let mut ids = BTreeMap::new();
        let mut turns: BTreeMap<String, Arc<Mutex<()>>> = BTreeMap::new();
        for record in records {
            let order = Order::read(&record.body);
            let incident = order.as_ref().map(|order| order.incident.clone()).unwrap_or_default();
            let turn = Arc::clone(turns.entry(incident).or_default());
            let perform = Arc::clone(self);
            let task = running.spawn(async move { perform.message(order, &turn, now).await });
            ids.insert(task.id(), record.id);
        }
        let mut failed = Vec::new();
        while let Some(ended) = running.join_next_with_id().await {
            let (task, result) = match ended {
                Ok((task, result)) => (task, result),
                Err(lost) => (lost.id(), Err(Failure::new(Name::Panicked, lost.to_string()))),
            };
            let Err(failure) = result else { continue };
            let id = ids.remove(&task).unwrap_or_default();
            error!(name = %failure.name, text = %failure.text, message = id, "order not obeyed");
            failed.push(id);
        }
        Ok(batch::answer(failed))
    }

    /// Obeys the order of one message. Those of one incident take turns with its item.
    async fn message(
        &self,
        order: Result<Order, NotAnOrder>,
        turn: &Mutex<()>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let order = order.map_err(|error| {
            self.meter.count(Metric::Unreadable, By::ALL, 1);
            Failure::new(Name::EventUnreadable, error.to_string())
        })?;
        let attempt = Attempt { id: uuid::Uuid::new_v4().to_string(), turn, now };
        let obeyed = Box::pin(self.obey(&order, &attempt));
        tokio::time::timeout(LIMIT, obeyed).await.unwrap_or_else(|_late| {
            let text = format!("`{}` of `{}` did not end in time", order.task, order.incident);
            Err(Failure::new(Name::OutOfTime, text))
        })
    }
}
