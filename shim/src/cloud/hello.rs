//! The hello: what the cloud side knows of this instance, told again and again.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use snooze_cloud::CloudError;
use snooze_cloud::bus::{Entry, SHIM};
use snooze_event::{Event, EventType};
use snooze_policy::Facts;
use tokio::sync::{Notify, watch};
use tokio::time;

use super::News;
use super::counter::Putting;
use super::home::Home;
use super::part::{Backoff, Closed, State, Voice};
use super::reports::Outgoing;

/// How often it is told when nothing changes: an instance that is not heard of for long is
/// forgotten.
const EVERY: Duration = Duration::from_secs(900);
/// How long after one hello the next may follow, however much changes.
const APART: Duration = Duration::from_secs(5);
/// How long the goodbye waits for outcomes to be taken, which matter more.
const OUTCOMES_FIRST: Duration = Duration::from_secs(1);

/// What the hello says.
#[derive(Debug, Clone, PartialEq)]
pub struct Hello {
    /// What policies may ask of the instance.
    pub facts: Facts,
    /// The boot it is in.
    pub boot: String,
    /// The version of the table's policies that it acts on.
    pub policies: Option<u64>,
    /// What does not work on it, by part.
    pub faults: Vec<String>,
}

/// Tells hellos.
#[derive(Debug)]
pub(super) struct Hellos {
    pub(super) bus: Putting,
    pub(super) home: Home,
    pub(super) hello: watch::Receiver<Option<Hello>>,
    pub(super) outcomes: watch::Receiver<Vec<Outgoing>>,
    pub(super) ending: watch::Receiver<bool>,
    /// The cloud side does not seem to know of us.
    pub(super) missed: Arc<Notify>,
}

impl Hellos {
    pub(super) async fn run(mut self, mut voice: Voice) {
        let mut ending = self.ending.clone();
        let is_ending = async { ending.wait_for(|ending| *ending).await.is_ok() };
        tokio::select! {
            biased;
            true = is_ending => {}
            _ = self.greet(&mut voice) => return,
        }
        // Whoever does not listen any more needs no answer.
        let _ = self.part(&voice).await;
    }

    async fn greet(&mut self, voice: &mut Voice) -> Result<(), Closed> {
        let mut backoff = Backoff::default();
        let mut kind = EventType::InstanceRegistered;
        loop {
            let told = self.hello.wait_for(Option::is_some).await.or(Err(Closed))?.clone();
            let data = told.as_ref().map(Hello::data).unwrap_or_default();
            match self.put(kind.clone(), data).await {
                Ok(()) => {
                    backoff.reset();
                    voice.say(State::On, "").await?;
                }
                Err(error) => {
                    voice.fail(&error).await?;
                    backoff.wait().await;
                    continue;
                }
            }
            kind = EventType::InstanceUpdated;
            time::sleep(APART).await;
            tokio::select! {
                changed = self.hello.changed() => changed.or(Err(Closed))?,
                () = self.missed.notified() => kind = EventType::InstanceRegistered,
                () = time::sleep(EVERY) => {}
            }
        }
    }

    /// Says goodbye, after what is left to report.
    async fn part(&mut self, voice: &Voice) -> Result<(), Closed> {
        let taken = self.outcomes.wait_for(Vec::is_empty);
        let _ = time::timeout(OUTCOMES_FIRST, taken).await;
        let data = json!({ "reason": "shutdown" }).as_object().cloned().unwrap_or_default();
        if let Err(error) = self.put(EventType::InstanceDeleted, data).await {
            tracing::warn!(%error, "the cloud side does not know that we go");
        }
        voice.tell(News::Gone).await
    }

    async fn put(&self, kind: EventType, data: Map<String, Value>) -> Result<(), CloudError> {
        let event = about(&self.home, kind, Timestamp::now(), data);
        put(&self.bus, Entry::of(&event, None)).await
    }
}

impl Hello {
    fn data(&self) -> Map<String, Value> {
        let Facts { kind, zone, region, account, lifecycle, asg, tags, .. } = &self.facts;
        let data = json!({
            "type": kind,
            "zone": zone,
            "region": region,
            "account": account,
            "lifecycle": lifecycle,
            "asg": asg,
            "tags": tags,
            "boot": self.boot,
            "version": env!("CARGO_PKG_VERSION"),
            "policies": self.policies,
            "faults": self.faults,
        });
        data.as_object().cloned().unwrap_or_default()
    }
}

/// An event of ours about this instance.
pub(super) fn about(
    home: &Home,
    kind: EventType,
    time: Timestamp,
    data: Map<String, Value>,
) -> Event {
    let id = uuid::Uuid::new_v4().to_string();
    let id = id.parse().unwrap_or_else(|_| unreachable!("a UUID can be an event id"));
    Event {
        instance: Some(home.instance.clone()),
        account: Some(home.account.clone()),
        region: Some(home.region.clone()),
        data,
        ..Event::new(kind, SHIM, time, id)
    }
}

/// Puts one entry.
pub(super) async fn put(bus: &Putting, entry: Entry) -> Result<(), CloudError> {
    let answers = Box::pin(bus.put(&[entry])).await?;
    answers.into_iter().collect()
}
