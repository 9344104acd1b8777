//! The functions on one stage, with the events that happen there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_cloud::fake::{ACCOUNT, REGION, Server};
use snooze_cloud::incidents::Incidents;
use snooze_cloud::instances::{Instance, Instances};
use snooze_cloud::policies::Policies;
use snooze_cloud::{Aws, Role};
use snooze_event::wire::command::{self, Command};
use snooze_functions::dispatch::{self, Dispatch};
use snooze_functions::failure::Failure;
use snooze_functions::host::Invocation;
use snooze_functions::order::Order;
use snooze_functions::record::{self, Record};
use snooze_functions::settings::{self, Environment};
use snooze_functions::sweep::Sweep;
use snooze_functions::telemetry::Meter;
use snooze_policy::Facts;
use snooze_policy::ledger::{Incident, TaskState};

/// An instance that said hello.
pub(crate) const ONE: &str = "i-0a1b2c3d4e5f60701";
/// Another.
pub(crate) const TWO: &str = "i-0a1b2c3d4e5f60702";
/// A third.
pub(crate) const THREE: &str = "i-0a1b2c3d4e5f60703";
/// One that never did.
pub(crate) const STRANGER: &str = "i-0a1b2c3d4e5f607ff";

/// What all instances tagged so do when they go.
pub(crate) const SAVE: &str = r#"{
  "name": "orders-db",
  "match": { "type": ["cloud.spot.interrupt", "cloud.instance.termination"],
             "instance": { "tags": { "role": ["orders-db"] } } },
  "handlers": [{ "plugin": "postgres-flusher", "priority": 100, "timeout_seconds": 30 }],
  "actions": [{ "action": "notify" },
              { "action": "put-event", "config": { "type": "custom.going" } },
              { "action": "complete-lifecycle", "when": "outcome" }]
}"#;
/// The tasks of a Spot notice under that policy that are sent at once.
pub(crate) const AT_ONCE: [&str; 2] = ["orders-db/notify", "orders-db/put-event"];

pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) aws: Aws,
    pub(crate) meter: Arc<Meter>,
    pub(crate) dispatch: Arc<Dispatch>,
    pub(crate) record: Arc<Record>,
    pub(crate) sweep: Arc<Sweep>,
    /// When the events happen.
    pub(crate) start: Timestamp,
}

impl Stage {
    /// A stack with [`SAVE`] in its table, and three instances to which it applies.
    pub(crate) async fn open() -> Self {
        let stage = Self::bare().await;
        stage.policy(SAVE).await;
        for id in [ONE, TWO, THREE] {
            stage.know(id).await;
        }
        stage.server.forget_calls();
        stage
    }

    /// A stack in which nothing is stored.
    pub(crate) async fn bare() -> Self {
        let server = Server::start().await.unwrap();
        let aws = server.aws().await;
        Self::with(server, aws)
    }

    /// As [`Stage::bare`], with the limits that hold in earnest.
    pub(crate) async fn earnest() -> Self {
        let server = Server::start().await.unwrap();
        let aws = server.aws_as(Role::Function).await;
        Self::with(server, aws)
    }

    fn with(server: Server, aws: Aws) -> Self {
        let environment = environment(&server);
        let meter = Arc::new(Meter::new("s", "test"));
        let of_dispatch = settings::read(&environment, dispatch::Settings::read).unwrap();
        let of_record = settings::read(&environment, record::Settings::read).unwrap();
        Self {
            dispatch: Arc::new(Dispatch::new(&of_dispatch, &aws, Arc::clone(&meter))),
            record: Arc::new(Record::new(&of_record, &aws, Arc::clone(&meter))),
            sweep: Arc::new(Sweep::new(&of_record, &aws, Arc::clone(&meter))),
            server,
            aws,
            meter,
            start: Timestamp::now(),
        }
    }

    /// The functions anew, as in another sandbox: nothing is remembered.
    pub(crate) fn cold(&mut self) {
        let environment = environment(&self.server);
        let settings = settings::read(&environment, dispatch::Settings::read).unwrap();
        self.dispatch = Arc::new(Dispatch::new(&settings, &self.aws, Arc::clone(&self.meter)));
    }

    pub(crate) async fn policy(&self, text: &str) {
        Policies::new(&self.aws, "s-policies").put(text, "test", self.start).await.unwrap();
    }

    /// Writes an instance down as one that said hello.
    pub(crate) async fn know(&self, id: &str) {
        let facts = Facts {
            id: Some(id.parse().unwrap()),
            kind: Some("m7g.large".to_owned()),
            region: Some(REGION.to_owned()),
            tags: [("role".to_owned(), "orders-db".to_owned())].into(),
            ..Facts::default()
        };
        let instance = Instance { facts, last_seen: Some(self.start), ..Instance::default() };
        self.instances().update(&instance).await.unwrap();
    }

    pub(crate) fn instances(&self) -> Instances {
        Instances::new(&self.aws, "s-instances", KEEP)
    }

    pub(crate) fn ledger(&self) -> Incidents {
        Incidents::new(&self.aws, "s-incidents", KEEP)
    }

    /// So many seconds after the start.
    pub(crate) fn at(&self, seconds: i64) -> Timestamp {
        self.start + jiff::SignedDuration::from_secs(seconds)
    }

    /// Gives an event to `dispatch`, so many seconds after the start.
    pub(crate) async fn dispatch(&self, event: &Value, seconds: i64) -> Result<Value, Failure> {
        Arc::clone(&self.dispatch).handle(self.invocation(event, seconds)).await
    }

    /// Gives an event to `record`.
    pub(crate) async fn record(&self, event: &Value, seconds: i64) -> Result<Value, Failure> {
        self.record.handle(self.invocation(event, seconds)).await
    }

    /// Lets the sweep run.
    pub(crate) async fn sweep(&self, seconds: i64) -> Result<Value, Failure> {
        Arc::clone(&self.sweep).handle(self.invocation(&json!({}), seconds)).await
    }

    pub(crate) fn invocation(&self, event: &Value, seconds: i64) -> Invocation {
        let now = self.at(seconds);
        let until = now + jiff::SignedDuration::from_secs(13);
        Invocation { text: event.to_string(), now, until }
    }

    /// All incidents, the latest first.
    pub(crate) async fn incidents(&self) -> Vec<Incident> {
        let all = self.ledger().list(Timestamp::UNIX_EPOCH, 5000).await.unwrap();
        all.into_iter().map(|stored| stored.incident).collect()
    }

    /// The one incident that there is.
    pub(crate) async fn incident(&self) -> Incident {
        let mut all = self.incidents().await;
        assert_eq!(all.len(), 1, "{all:#?}");
        all.remove(0)
    }

    /// All commands that were published.
    pub(crate) fn commands(&self) -> Vec<Command> {
        let topic = self.server.topic_arn("s-commands");
        let published = self.server.published().into_iter().filter(|it| it.topic == topic);
        published.map(|published| command::read(&published.message).unwrap()).collect()
    }

    /// All orders that stand in the queue.
    pub(crate) fn orders(&self) -> Vec<Order> {
        let bodies = self.server.messages("s-actions");
        bodies.iter().map(|body| Order::read(body).unwrap()).collect()
    }

    /// The tasks that are ordered, each once.
    pub(crate) fn ordered(&self) -> BTreeSet<String> {
        self.orders().into_iter().map(|order| order.task).collect()
    }

    /// The messages to operators.
    pub(crate) fn told(&self) -> Vec<String> {
        let topic = self.server.topic_arn("s-operators");
        let published = self.server.published().into_iter().filter(|it| it.topic == topic);
        published.map(|published| published.subject.unwrap_or_default()).collect()
    }

    /// An event as EventBridge delivers it, so many seconds after the start.
    pub(crate) fn event(&self, source: &str, kind: &str, seconds: i64, detail: Value) -> Value {
        json!({
            "version": "0", "id": format!("e-{kind}-{seconds}").replace(' ', "-"),
            "detail-type": kind, "source": source, "account": ACCOUNT, "region": REGION,
            "time": self.at(seconds).to_string(), "resources": [], "detail": detail,
        })
    }

    pub(crate) fn spot(&self, id: &str, seconds: i64) -> Value {
        let detail = json!({ "instance-id": id, "instance-action": "terminate" });
        self.event("aws.ec2", "EC2 Spot Instance Interruption Warning", seconds, detail)
    }

    pub(crate) fn state(&self, id: &str, state: &str, seconds: i64) -> Value {
        let detail = json!({ "instance-id": id, "state": state });
        self.event("aws.ec2", "EC2 Instance State-change Notification", seconds, detail)
    }

    pub(crate) fn hook(&self, id: &str, seconds: i64) -> Value {
        let detail = json!({
            "LifecycleActionToken": format!("00000000-0000-4000-8000-{}", &id[id.len() - 12..]),
            "AutoScalingGroupName": "orders", "LifecycleHookName": "save", "EC2InstanceId": id,
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
            "Origin": "AutoScalingGroup", "Destination": "EC2",
        });
        self.event("aws.autoscaling", "EC2 Instance-terminate Lifecycle Action", seconds, detail)
    }

    pub(crate) fn health(&self, ids: &[&str], seconds: i64, begins: i64) -> Value {
        let entities: Vec<Value> = ids.iter().map(|id| json!({ "entityValue": id })).collect();
        let detail = json!({
            "service": "EC2", "eventTypeCategory": "scheduledChange",
            "eventTypeCode": "AWS_EC2_INSTANCE_RETIREMENT_SCHEDULED", "statusCode": "upcoming",
            "startTime": self.at(begins).to_string(), "affectedEntities": entities,
        });
        self.event("aws.health", "AWS Health Event", seconds, detail)
    }

    /// What a shim puts on the bus.
    pub(crate) fn word(&self, kind: &str, id: &str, seconds: i64, data: Value) -> Value {
        let detail = json!({
            "specversion": "1.0", "id": format!("{id}-{kind}-{seconds}"), "type": kind,
            "source": "cloudsnooze.shim", "subject": id, "time": self.at(seconds).to_string(),
            "datacontenttype": "application/json", "schemaversion": "1", "data": data,
        });
        self.event("cloudsnooze.shim", kind, seconds, detail)
    }

    /// What a shim reports of a loss; without an outcome it goes on.
    pub(crate) fn report(
        &self,
        id: &str,
        cause: &str,
        outcome: Option<&str>,
        told_by: &[&str],
        seconds: i64,
    ) -> Value {
        let kind = if outcome.is_some() { "incident.outcome" } else { "incident.phase" };
        let failed = outcome.is_some_and(|outcome| outcome != "done");
        let step = if failed { "failed" } else { "done" };
        let data = json!({
            "incident": format!("{id}/boot/{cause}/terminate"), "told_by": told_by,
            "event": if cause == "spot" { "cloud.spot.interrupt" } else { "cloud.instance.termination" },
            "cause": cause, "action": "terminate", "outcome": outcome, "text": "1 of 1 steps",
            "durable": true, "hops": { "received": self.at(seconds).to_string() },
            "steps": [{ "step": "orders-db/postgres-flusher", "outcome": outcome.map(|_| step) }],
        });
        self.word(kind, id, seconds, data)
    }

    /// The facts that a shim tells.
    pub(crate) fn hello(&self, kind: &str, id: &str, seconds: i64) -> Value {
        let data = json!({
            "type": "m7g.large", "zone": "eu-central-1a", "region": REGION, "account": ACCOUNT,
            "lifecycle": "spot", "asg": "orders", "tags": { "role": "orders-db" }, "boot": "b1",
            "version": "0.1.0", "policies": 1, "faults": [],
        });
        self.word(kind, id, seconds, data)
    }
}

/// The state of a task, in one word.
pub(crate) fn state(incident: &Incident, task: &str) -> &'static str {
    match incident.task(task).map(|task| &task.state) {
        None => "none",
        Some(TaskState::Waiting) => "waiting",
        Some(TaskState::Pending { .. }) => "pending",
        Some(TaskState::Sent { .. }) => "sent",
        Some(TaskState::Running { .. }) => "running",
        Some(TaskState::Done { .. }) => "done",
        Some(TaskState::Failed { .. }) => "failed",
        Some(TaskState::Skipped { .. }) => "skipped",
    }
}

pub(crate) const KEEP: Duration = Duration::from_secs(90 * 24 * 3600);

/// The environment of all functions.
pub(crate) fn environment(server: &Server) -> Environment {
    let actions = server.make_queue("s-actions");
    let variables = [
        ("STACK", "s".to_owned()),
        ("POLICIES_TABLE", "s-policies".to_owned()),
        ("INSTANCES_TABLE", "s-instances".to_owned()),
        ("INCIDENTS_TABLE", "s-incidents".to_owned()),
        ("ACTIONS_QUEUE_URL", actions),
        ("COMMANDS_TOPIC_ARN", server.topic_arn("s-commands")),
        ("OPERATORS_TOPIC_ARN", server.topic_arn("s-operators")),
        ("BUS_NAME", "s".to_owned()),
        ("INSTANCE_QUEUE_PREFIX", "s-instance-".to_owned()),
        ("TRACES", "true".to_owned()),
    ];
    variables.map(|(name, value)| (name.to_owned(), value)).into()
}
