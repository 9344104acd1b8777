//! The function as a whole, against services on the loopback.

mod actions;
mod batches;
mod hooks;
mod idle;
mod killed;
mod trouble;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_cloud::fake::{Fault, Server};
use snooze_cloud::incidents::Incidents;
use snooze_cloud::instances::{Instance, Instances};
use snooze_cloud::web::Reach;
use snooze_event::{Cause, Event, EventType, InstanceId, LossAction};
use snooze_policy::ledger::{
    COMMAND, Claim, HEARTBEAT, Incident, Opening, RUNNING, Shelf, TaskState,
};
use snooze_policy::{Facts, check};

use super::{Perform, Settings};
use crate::order::Order;
use crate::telemetry::Metric;

/// The queue of actions.
const ACTIONS: &str = "cloudsnooze-actions";
/// The incident that most tests tell of.
const ID: &str = "lifecycle/token/20261121T100001Z";
/// How long an attempt is held against others, and a moment.
const LEASE: i64 = 21;

/// The function among its services.
struct World {
    server: Server,
    perform: Arc<Perform>,
    incidents: Incidents,
}

impl World {
    async fn new() -> Self {
        let server = Server::start().await.unwrap();
        let aws = server.aws().await;
        let settings = Settings {
            stack: "cloudsnooze".to_owned(),
            incidents: "cloudsnooze-incidents".to_owned(),
            instances: "cloudsnooze-instances".to_owned(),
            actions: server.make_queue(ACTIONS),
            commands: server.topic_arn("cloudsnooze-commands"),
            operators: server.topic_arn("cloudsnooze-operators"),
            bus: "cloudsnooze".to_owned(),
            tag_prefix: "CloudSnooze".to_owned(),
            legacy_tags: true,
            stops_per_hour: 30,
            // The tables are read by the real clock, which is far from that of these tests.
            keep: Duration::from_secs(36500 * 24 * 3600),
        };
        let incidents = Incidents::new(&aws, &settings.incidents, settings.keep);
        let facts = Facts { id: Some(instance()), ..Facts::default() };
        let known = Instance { facts, last_seen: Some(moment(0)), ..Instance::default() };
        let instances = Instances::new(&aws, &settings.instances, settings.keep);
        instances.update(&known).await.unwrap();
        let perform = Arc::new(Perform::new(&aws, settings, Reach::Loopback));
        usual(&server);
        Self { server, perform, incidents }
    }

    /// A world with the incident [`ID`] of these actions.
    async fn with(actions: &Value) -> Self {
        let world = Self::new().await;
        world.open(ID, &terminating(), actions).await;
        world
    }

    /// Opens an incident whose tasks are these actions, done now unless they say otherwise.
    async fn open(&self, id: &str, event: &Event, actions: &Value) {
        let claim = Claim { key: id.to_owned(), window: Duration::from_secs(600) };
        let incident = opened(id, event, actions);
        self.incidents.claim(&claim, |_| incident, moment(1)).await.unwrap();
        self.server.forget_calls();
    }

    /// The outcome of the instance is known.
    async fn end(&self, outcome: &str) {
        let report =
            json!({ "incident": "k", "event": "cloud.instance.termination", "outcome": outcome });
        let report = serde_json::from_value(report).unwrap();
        let changed = self.incidents.change(ID, |incident| incident.report(&report, moment(5)));
        changed.await.unwrap().unwrap();
        self.server.forget_calls();
    }

    /// Obeys an order for a task of [`ID`], with the order as it was first sent.
    async fn order(&self, task: &str, at: i64) -> Vec<String> {
        self.batch(&[("m", &order(ID, task))], at).await
    }

    /// Hands a batch over, and answers with the ids that come again.
    async fn batch(&self, messages: &[(&str, &str)], at: i64) -> Vec<String> {
        let answer = self.perform.batch(&batch(messages), moment(at)).await.unwrap();
        let items = answer["batchItemFailures"].as_array().unwrap();
        items.iter().map(|item| item["itemIdentifier"].as_str().unwrap().to_owned()).collect()
    }

    async fn incident(&self) -> Incident {
        self.incidents.read(ID).await.unwrap().unwrap().incident
    }

    async fn state(&self, task: &str) -> TaskState {
        self.incident().await.task(task).unwrap().state.clone()
    }

    /// How a task stands, in a line.
    async fn told(&self, task: &str) -> String {
        let incident = self.incident().await;
        let task = incident.task(task).unwrap();
        match &task.state {
            TaskState::Done { text, .. } => format!("done: {text}"),
            TaskState::Failed { error, text, .. } => format!("failed: {error}: {text}"),
            TaskState::Skipped { text } => format!("skipped: {text}"),
            TaskState::Sent { .. } => format!("again: {}", task.error),
            TaskState::Waiting => "waiting".to_owned(),
            TaskState::Pending { .. } => "pending".to_owned(),
            TaskState::Running { .. } => "running".to_owned(),
        }
    }

    /// The orders that were sent since the calls were last forgotten, with their delays in
    /// seconds.
    fn sent(&self) -> Vec<(String, i64)> {
        let calls = self.server.calls().into_iter();
        let batches = calls.filter(|call| call.operation == "SendMessageBatch");
        let entries = batches.flat_map(|call| call.json()["Entries"].as_array().cloned().unwrap());
        let read = |entry: Value| {
            let body = entry["MessageBody"].as_str().unwrap().to_owned();
            (body, entry["DelaySeconds"].as_i64().unwrap_or(0))
        };
        entries.map(read).collect()
    }
}

/// What the services answer when all is well; the instance is in no group.
fn usual(server: &Server) {
    for operation in [
        "CompleteLifecycleAction",
        "RecordLifecycleActionHeartbeat",
        "TerminateInstanceInAutoScalingGroup",
        "SetDesiredCapacity",
        "DescribeAutoScalingInstances",
        "CreateTags",
        "StopInstances",
        "StartInstances",
        "DescribeSnapshots",
        "DeregisterTargets",
    ] {
        server.answer(operation, 200, "");
    }
    server.answer("DescribeAutoScalingGroups", 200, &sized(1, 5, 3));
    server.answer("CreateSnapshots", 200, &snapshots("CreateSnapshots"));
    server.answer("Invoke", 200, r#"{"handled":true,"status":"moved"}"#);
    server.answer("POST /hook", 200, "");
}

/// A member of the group `g`.
fn member(state: &str) -> String {
    format!(
        "<DescribeAutoScalingInstancesResponse><DescribeAutoScalingInstancesResult>\
         <AutoScalingInstances><member><InstanceId>{}</InstanceId>\
         <AutoScalingGroupName>g</AutoScalingGroupName><LifecycleState>{state}</LifecycleState>\
         </member></AutoScalingInstances></DescribeAutoScalingInstancesResult>\
         </DescribeAutoScalingInstancesResponse>",
        instance()
    )
}

fn sized(least: u32, most: u32, desired: u32) -> String {
    format!(
        "<DescribeAutoScalingGroupsResponse><DescribeAutoScalingGroupsResult><AutoScalingGroups>\
         <member><AutoScalingGroupName>g</AutoScalingGroupName><MinSize>{least}</MinSize>\
         <MaxSize>{most}</MaxSize><DesiredCapacity>{desired}</DesiredCapacity></member>\
         </AutoScalingGroups></DescribeAutoScalingGroupsResult></DescribeAutoScalingGroupsResponse>"
    )
}

fn snapshots(operation: &str) -> String {
    format!(
        "<{operation}Response><snapshotSet><item><snapshotId>snap-1</snapshotId></item>\
         </snapshotSet></{operation}Response>"
    )
}

/// Nothing waits for an answer of the hook.
fn no_hook() -> Fault {
    Fault::Error {
        status: 400,
        code: "ValidationError".to_owned(),
        text: "No active Lifecycle Action found with token token".to_owned(),
    }
}

/// An event of a terminating lifecycle hook, by way of EventBridge.
fn terminating() -> Event {
    Event {
        instance: Some(instance()),
        account: Some("123456789012".to_owned()),
        region: Some("eu-central-1".to_owned()),
        cause: Some(Cause::Lifecycle),
        action: Some(LossAction::Terminate),
        data: json!({ "AutoScalingGroupName": "g", "LifecycleHookName": "h",
                      "LifecycleActionToken": "token" })
        .as_object()
        .cloned()
        .unwrap(),
        ..Event::new(
            EventType::InstanceTermination,
            "aws.autoscaling",
            moment(0),
            "e-1".parse().unwrap(),
        )
    }
}

/// The incident of an event, with these actions of a policy `p`. What a check would refuse, an
/// `http` address among it, is written in afterwards.
fn opened(id: &str, event: &Event, actions: &Value) -> Incident {
    let document = json!({ "name": "p", "match": { "source": [{ "prefix": "" }] },
        "actions": actions });
    let text = document.to_string().replace("http://", "https://");
    let policy = check(&text).unwrap_or_else(|faults| panic!("{faults:?}"));
    let shelf = Shelf { version: Some(3), policies: vec![policy].into(), faults: Vec::new() };
    let facts = Facts { id: Some(instance()), ..Facts::default() };
    let opening = Opening {
        event,
        facts: Some(&facts),
        shelf: &shelf,
        hook_timeout: Some(Duration::from_secs(30)),
        lifecycle_budget: Duration::from_secs(120),
    };
    let incident = Incident::open(id, opening, moment(1));
    let text = serde_json::to_string(&incident).unwrap();
    let mut incident: Incident =
        serde_json::from_str(&text.replace("https://", "http://")).unwrap();
    for send in incident.due() {
        incident.sent(send.task(), moment(1));
    }
    incident
}

fn order(id: &str, task: &str) -> String {
    let (incident, task) = (id.to_owned(), task.to_owned());
    Order { incident, task, expires_at: moment(3600) }.write()
}

fn batch(messages: &[(&str, &str)]) -> String {
    let records: Vec<Value> = messages
        .iter()
        .map(|(id, body)| json!({ "messageId": id, "body": body, "eventSource": "aws:sqs" }))
        .collect();
    json!({ "Records": records }).to_string()
}

fn instance() -> InstanceId {
    "i-0123456789abcdef0".parse().unwrap()
}

/// So many seconds after the notice.
fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_255_200 + seconds).unwrap()
}
