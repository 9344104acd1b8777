//! What is sent for an incident: its command to the instance, its orders into the queue.
//!
//! `dispatch`, `record` and the sweep send by the same code; each of them may be killed between
//! any two calls, and whoever comes next sends what is not written down as sent. What is sent
//! twice has the same id both times.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use snooze_cloud::incidents::{Incidents, Stored};
use snooze_cloud::queue::Queues;
use snooze_cloud::topic::Topic;
use snooze_cloud::{Aws, CloudError};
use snooze_event::wire::ReadError;
use snooze_event::wire::command::{Command, Kind};
use snooze_event::{IncidentKey, MINIMUM_BUDGET};
use snooze_policy::ledger::{COMMAND, Incident, Send};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::failure::{Failure, Name};
use crate::order::Order;
use crate::settings::{Arn, Variables};
use crate::telemetry::{By, Meter, Metric};

/// How long a command is worth something whose event sets no deadline.
const NO_DEADLINE: Duration = Duration::from_secs(900);
/// How long an order is worth something. The sweep orders anew what stays open, so that one found
/// after this time was lost and found again.
const ORDER: Duration = Duration::from_secs(3600);
/// How long publishing, ordering or writing may take. A notice that meets a service that hangs
/// goes on after this time.
const CALL: Duration = Duration::from_secs(2);

/// What sending needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The table Incidents.
    pub incidents: String,
    /// The queue of orders.
    pub actions: String,
    /// The topic of commands.
    pub commands: Arn,
    /// How long incidents are kept.
    pub retention: Duration,
}

impl Settings {
    /// Reads them from the environment.
    pub fn read(from: &mut Variables<'_>) -> Self {
        Self {
            incidents: from.text("INCIDENTS_TABLE"),
            actions: from.url("ACTIONS_QUEUE_URL"),
            commands: from.arn("COMMANDS_TOPIC_ARN"),
            retention: retention(from),
        }
    }
}

/// How long items are kept.
pub fn retention(from: &mut Variables<'_>) -> Duration {
    from.days("RETENTION_DAYS", 90, 1..=3653)
}

/// Sends for incidents, and writes down what was sent.
#[derive(Debug, Clone)]
pub struct Fan {
    /// The ledger.
    pub incidents: Incidents,
    /// The topic of commands.
    pub commands: Topic,
    queues: Queues,
    actions: String,
    meter: Arc<Meter>,
}

/// What came of sending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// The tasks that are on their way.
    pub tasks: Vec<String>,
    /// What went wrong and has to come again.
    pub failures: Vec<Failure>,
}

impl Fan {
    /// Sends by these settings.
    #[must_use]
    pub fn new(aws: &Aws, settings: &Settings, meter: Arc<Meter>) -> Self {
        Self {
            incidents: Incidents::new(aws, &settings.incidents, settings.retention),
            commands: Topic::new(aws, &settings.commands.text),
            queues: Queues::new(aws),
            actions: settings.actions.clone(),
            meter,
        }
    }

    /// Sends all that is due of an incident as it stands in the table, and writes it down there.
    pub async fn settle(&self, stored: Stored, clock: Clock) -> Vec<Failure> {
        let due = stored.incident.due();
        let Sent { tasks, mut failures } = self.send(&stored.incident, &due, clock).await;
        if tasks.is_empty() {
            return failures;
        }
        let at = clock.now();
        let mark = |incident: &mut Incident| tasks.iter().for_each(|task| incident.sent(task, at));
        let write = self.incidents.change_from(stored, mark);
        if let Err(error) = clock.within(CALL, "PutItem", write).await {
            failures.push(Failure::of(Name::LedgerUnavailable, &error));
        }
        failures
    }

    /// Sends: the command at once, beside it all orders together.
    pub async fn send(&self, incident: &Incident, due: &[Send], clock: Clock) -> Sent {
        let orders: Vec<&str> =
            due.iter().filter(|send| **send != Send::Command).map(Send::task).collect();
        let is_told = due.contains(&Send::Command) && clock.now() < expires_at(incident);
        let (command, orders) = tokio::join!(
            async {
                match is_told {
                    true => self.tell(incident, clock).await,
                    false => Sent::default(),
                }
            },
            self.order(incident, &orders, clock)
        );
        let (mut tasks, mut failures) = (command.tasks, command.failures);
        tasks.extend(orders.tasks);
        failures.extend(orders.failures);
        Sent { tasks, failures }
    }

    /// Publishes the command. When the topic does not take it, the queue does, and whoever reads
    /// that publishes it later; until then it stays open in the ledger.
    pub async fn tell(&self, incident: &Incident, clock: Clock) -> Sent {
        let command = match command(incident) {
            Ok(command) => command,
            Err(error) => {
                let text = format!("the event of `{}` cannot be read: {error}", incident.id);
                let failures = vec![Failure::new(Name::EventUnreadable, text)];
                return Sent { tasks: Vec::new(), failures };
            }
        };
        let publish = clock.within(CALL, "Publish", self.commands.command(&command)).await;
        let Err(error) = publish else {
            self.note_command(incident, clock);
            return Sent { tasks: vec![COMMAND.to_owned()], failures: Vec::new() };
        };
        let failure = Failure::of(Name::CommandNotSent, &error);
        warn!(name = %failure.name, %error, "command not published, it goes into the queue");
        let ordered = self.order(incident, &[COMMAND], clock).await;
        // What cannot work later needs a person, also when the queue took it.
        let mut failures = ordered.failures;
        if !failures.is_empty() || !error.again() {
            failures.push(failure);
        }
        Sent { tasks: Vec::new(), failures }
    }

    async fn order(&self, incident: &Incident, tasks: &[&str], clock: Clock) -> Sent {
        if tasks.is_empty() {
            return Sent::default();
        }
        let now = clock.now();
        let messages: Vec<(String, Duration)> =
            tasks.iter().map(|task| (order(incident, task, now).write(), Duration::ZERO)).collect();
        let send = self.queues.send(&self.actions, &messages);
        let answers = match clock.within(CALL, "SendMessageBatch", send).await {
            Ok(answers) => answers,
            Err(error) => return Sent { tasks: Vec::new(), failures: vec![not_ordered(&error)] },
        };
        let mut sent = Sent::default();
        for (task, answer) in tasks.iter().zip(answers) {
            match answer {
                Ok(()) => sent.tasks.push((*task).to_owned()),
                Err(error) => sent.failures.push(not_ordered(&error)),
            }
        }
        let count = u64::try_from(sent.tasks.len()).unwrap_or_default();
        self.meter.count(Metric::Orders, By::ALL, count);
        sent
    }

    fn note_command(&self, incident: &Incident, clock: Clock) {
        info!("command sent");
        self.meter.count(Metric::Commands, By::ALL, 1);
        if let Some(noticed) = incident.hops.get("noticed") {
            self.meter.milliseconds(Metric::NoticeToCommand, By::ALL, clock.since(*noticed));
        }
    }
}

fn not_ordered(error: &CloudError) -> Failure {
    Failure::of(Name::OrdersNotSent, error)
}

/// The command of an incident, the same whenever it is asked for.
///
/// # Errors
/// The stored event is not one of ours.
pub fn command(incident: &Incident) -> Result<Command, ReadError> {
    let event = Box::new(incident.told()?);
    let instance = event.instance.clone();
    Ok(Command {
        id: format!("{}#{COMMAND}", incident.id),
        kind: if incident.drill { Kind::Drill(event) } else { Kind::Handle(event) },
        instance,
        issued_at: incident.opened_at,
        expires_at: expires_at(incident),
        policies: incident.policies,
        correlation: Some(IncidentKey::stored(&incident.id)),
    })
}

/// The order for a task of an incident.
#[must_use]
pub fn order(incident: &Incident, task: &str, now: Timestamp) -> Order {
    let expires_at = match task {
        COMMAND => expires_at(incident),
        _ => now.checked_add(ORDER).unwrap_or(now),
    };
    Order { incident: incident.id.clone(), task: task.to_owned(), expires_at }
}

/// When the command is worth nothing any more: at the deadline; one that leaves no time at all,
/// as hibernation does, still has that of a message on its way.
fn expires_at(incident: &Incident) -> Timestamp {
    let after = |wait: Duration| incident.opened_at.checked_add(wait).unwrap_or(incident.opened_at);
    incident.deadline.map_or(after(NO_DEADLINE), |deadline| deadline.max(after(MINIMUM_BUDGET)))
}
