//! A loopback server that plays DynamoDB, SNS, SQS and EventBridge as far as the adapters use
//! them, records every call, and produces faults call by call. Other services answer what a test
//! registers for an operation ([`Server::answer`]); an operation without an answer is refused as
//! `NotPlayed`.
//!
//! ```no_run
//! # async fn shown() -> std::io::Result<()> {
//! use snooze_cloud::fake::{Fault, Server};
//!
//! let server = Server::start().await?;
//! let aws = server.aws().await;
//! server.fault("PutItem", Fault::error(400, "ThrottlingException")); // The next one.
//! server.standing("Publish", Fault::Hang); // Until it is lifted.
//! // ... adapters made from `aws` ...
//! assert_eq!(server.count("PutItem"), 2);
//! # Ok(()) }
//! ```
//!
//! Tables are there as soon as they are used; how a name ends (`policies`, `instances`,
//! `incidents`) says what keys it has. An expression may use placeholders only, since DynamoDB
//! refuses its many reserved words; a placeholder that is not used is refused as there.

mod bus;
mod condition;
mod door;
mod fault;
mod queues;
mod stage;
mod tables;
mod topics;
mod update;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use axum::Router;
use axum::serve::ListenerExt;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::{Aws, Options, Role, connect};

use self::stage::Stage;

pub use self::fault::{Fault, When};

/// The account in which all of it happens.
pub const ACCOUNT: &str = "123456789012";
/// The Region in which all of it happens.
pub const REGION: &str = "eu-central-1";

/// A running fake. It ends, with all its connections, when it is dropped.
#[derive(Debug)]
pub struct Server {
    stage: Stage,
    _task: JoinSet<io::Result<()>>,
}

/// One call, as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The name under which the service signs: `dynamodb`, `sqs`, `sns`, `events`,
    /// `autoscaling`, `ec2`, `elasticloadbalancing`, `lambda`, `iam`, `ssm`, `secretsmanager`.
    pub service: String,
    /// The operation by its name; for REST (Lambda) `Invoke`, or method and path.
    pub operation: String,
    /// The path of the address, with its query.
    pub path: String,
    /// The body: JSON, or the form of the query protocol.
    pub body: String,
}

/// What was published to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The ARN of the topic.
    pub topic: String,
    /// The subject, where it has one.
    pub subject: Option<String>,
    /// The message.
    pub message: String,
    /// The texts of its attributes.
    pub attributes: BTreeMap<String, String>,
}

/// What was put on a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The name of the bus.
    pub bus: String,
    /// The source.
    pub source: String,
    /// The detail-type.
    pub detail_type: String,
    /// The detail, as JSON text.
    pub detail: String,
}

impl Call {
    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// A parameter of the query protocol, such as `AutoScalingGroupName`.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<String> {
        self.params().remove(name)
    }

    /// All parameters of the query protocol.
    #[must_use]
    pub fn params(&self) -> BTreeMap<String, String> {
        door::form(&self.body)
    }
}

impl Server {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let stage = Stage::new(&format!("http://{}", listener.local_addr()?));
        let router = Router::new().fallback(door::answer).with_state(stage.clone());
        let listener = listener.tap_io(|stream| {
            // Without it a call may be slower, and nothing worse.
            let _slower = stream.set_nodelay(true);
        });
        let mut task = JoinSet::new();
        task.spawn(axum::serve(listener, router).into_future());
        Ok(Self { stage, _task: task })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        self.stage.url()
    }

    /// The settings of a function, pointed at this server: as many attempts as in earnest, hardly
    /// a pause between them, and limits that a busy machine keeps (an attempt 2 s, all of them
    /// 5 s), so that no call is counted twice. A test of what hangs takes [`Server::aws_within`].
    pub async fn aws(&self) -> Aws {
        self.aws_within(Duration::from_secs(2), Duration::from_secs(5)).await
    }

    /// As [`Server::aws`], with the limit of an attempt and that of all of them.
    pub async fn aws_within(&self, attempt: Duration, operation: Duration) -> Aws {
        let aws = self.aws_as(Role::Function).await;
        let limits = TimeoutConfig::builder()
            .connect_timeout(attempt)
            .operation_attempt_timeout(attempt)
            .operation_timeout(operation)
            .build();
        let retries = aws.retry_config().cloned().map(|retries| {
            retries
                .with_initial_backoff(Duration::from_millis(5))
                .with_max_backoff(Duration::from_millis(20))
        });
        let mut builder = aws.into_builder().timeout_config(limits);
        builder.set_retry_config(retries);
        builder.build()
    }

    /// The settings of this role, limits and retries included, pointed at this server.
    pub async fn aws_as(&self, role: Role) -> Aws {
        let options = Options { region: Some(REGION.to_owned()), role, ..Options::default() };
        let keys = Credentials::new("test", "test", None, None, "fake");
        connect(&options)
            .await
            .into_builder()
            .endpoint_url(self.url())
            .credentials_provider(SharedCredentialsProvider::new(keys))
            .build()
    }

    /// All calls so far, in the order in which they came, those with a fault included.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.stage.state().calls.clone()
    }

    /// How many calls of an operation came.
    #[must_use]
    pub fn count(&self, operation: &str) -> usize {
        self.stage.state().calls.iter().filter(|call| call.operation == operation).count()
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&self) {
        self.stage.state().calls.clear();
    }

    /// The next call of an operation has a fault; `*` is any operation. Called again, the one
    /// after that.
    pub fn fault(&self, operation: &str, fault: Fault) {
        self.fault_when(When::next(operation), fault);
    }

    /// The next so many calls of an operation have a fault.
    pub fn faults(&self, operation: &str, times: usize, fault: Fault) {
        self.fault_when(When::next(operation).times(times), fault);
    }

    /// All calls of an operation have a fault until it is lifted.
    pub fn standing(&self, operation: &str, fault: Fault) {
        self.fault_when(When::next(operation).always(), fault);
    }

    /// The calls so described have a fault; of two that fit the first registered holds.
    pub fn fault_when(&self, when: When, fault: Fault) {
        self.stage.state().faults.push((when, fault));
    }

    /// Lifts all faults of an operation; `*` those for any operation.
    pub fn lift(&self, operation: &str) {
        self.stage.state().faults.retain(|(when, _)| when.operation() != operation);
    }

    /// What an operation answers from now on: a body of JSON or XML as the service sends it. An
    /// empty body with status 200 is an answer that holds nothing. Goes before what is played.
    pub fn answer(&self, operation: &str, status: u16, body: &str) {
        let mut state = self.stage.state();
        state.answers.entry(operation.to_owned()).or_default().standing =
            Some((status, body.to_owned()));
    }

    /// What the next call of an operation answers; called again, the one after that.
    pub fn answer_next(&self, operation: &str, status: u16, body: &str) {
        let mut state = self.stage.state();
        let answers = state.answers.entry(operation.to_owned()).or_default();
        answers.next.push_back((status, body.to_owned()));
    }

    /// The items of a table, in DynamoDB's JSON, in the order of their keys.
    #[must_use]
    pub fn items(&self, table: &str) -> Vec<Map<String, Value>> {
        self.stage.state().tables.items(table)
    }

    /// Puts an item into a table, in DynamoDB's JSON, replacing the one of its key.
    pub fn put_item(&self, table: &str, item: Map<String, Value>) {
        self.stage.state().tables.insert(table, item);
    }

    /// Whether a transaction that comes again with its token is recognised, as DynamoDB does for
    /// ten minutes; it is unless this is called with false.
    pub fn know_tokens(&self, known: bool) {
        self.stage.state().tables.forgets_tokens = !known;
    }

    /// Makes a queue, and answers with its address; one that is there stays.
    pub fn make_queue(&self, name: &str) -> String {
        self.stage.state().queues.make(name, Map::new());
        queues::url(self.url(), name)
    }

    /// Lets what a queue gave out so often go to another queue. Both are made if need be.
    pub fn redrive(&self, queue: &str, dead: &str, most: u32) {
        let target = self.queue_arn(dead);
        let policy = json!({ "deadLetterTargetArn": target, "maxReceiveCount": most });
        let mut state = self.stage.state();
        state.queues.make(dead, Map::new());
        state.queues.make(queue, Map::new());
        state.queues.redrives(queue, &policy.to_string());
    }

    /// The ARN of a queue of this name.
    #[must_use]
    pub fn queue_arn(&self, name: &str) -> String {
        queues::arn(name)
    }

    /// The ARN of a topic of this name. Topics are there as soon as they are used.
    #[must_use]
    pub fn topic_arn(&self, name: &str) -> String {
        format!("arn:aws:sns:{REGION}:{ACCOUNT}:{name}")
    }

    /// The names of all queues.
    #[must_use]
    pub fn queues(&self) -> Vec<String> {
        self.stage.state().queues.names()
    }

    /// The attributes that a queue was made with.
    #[must_use]
    pub fn queue_attributes(&self, name: &str) -> Map<String, Value> {
        self.stage.state().queues.attributes(name)
    }

    /// The bodies of all messages in a queue, those that are delayed or being read included.
    #[must_use]
    pub fn messages(&self, queue: &str) -> Vec<String> {
        self.stage.state().queues.bodies(queue)
    }

    /// Puts a message into a queue, which is made if need be.
    pub fn put_message(&self, queue: &str, body: &str) {
        {
            let mut state = self.stage.state();
            state.queues.make(queue, Map::new());
            state.queues.put(queue, body, Duration::ZERO);
        }
        self.stage.wake();
    }

    /// Lets time pass for the queues: delays and visibility time-outs end so much earlier.
    pub fn elapse(&self, time: Duration) {
        self.stage.state().queues.elapse(time);
        self.stage.wake();
    }

    /// All that was published, in order.
    #[must_use]
    pub fn published(&self) -> Vec<Published> {
        self.stage.state().topics.published.clone()
    }

    /// The subscriptions: ARN, topic, endpoint, attributes.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<Value> {
        self.stage.state().topics.subscriptions()
    }

    /// From now on what is published goes into the queues that are subscribed and whose filter
    /// lets it, in the SNS envelope, unsigned.
    pub fn deliver(&self) {
        self.deliver_with(|envelope| envelope);
    }

    /// As [`Server::deliver`]; `sign` has each envelope before it goes into a queue.
    pub fn deliver_with(&self, sign: impl Fn(Value) -> Value + Send + Sync + 'static) {
        self.stage.state().topics.sign = Some(topics::Sign(Box::new(sign)));
    }

    /// All that was put on buses, in order.
    #[must_use]
    pub fn entries(&self) -> Vec<Put> {
        self.stage.state().entries.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stage.close();
    }
}
