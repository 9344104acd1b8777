//! The cloud side of the daemon: tells the cloud of this instance, and listens to it.
//!
//! ```text
//!              identity, facts, faults      +--> hello ----+
//!   loop ---> outcomes and phases           +--> reports --+--> bus
//!     ^                                     |
//!     |     policies, commands,             +--> policies <---- table, snapshot
//!     +---- what the bus took, health <-----+--> commands <---- queue
//! ```
//!
//! Five parts, each a task of its own: what one lacks, the others do not miss, and the plan of an
//! incident needs none of them.
//!
//! Invariants: the loop never waits for a part: what it tells stands in cells that hold the
//! latest value, or goes into channels that refuse when they are full. A part that fails says so
//! once, and tries again after a wait that grows and is drawn by lot. Without the setting `cloud`
//! no task runs and no client is made.

mod commands;
mod counter;
mod hello;
mod home;
mod inbox;
mod part;
mod policies;
pub mod report;
mod reports;
mod secrets;
mod settings;
mod snapshot;
mod trust;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use snooze_cloud::{Aws, bus};
use snooze_event::wire::command::Command;
use snooze_event::{Event, EventType, IncidentKey};
use snooze_policy::Facts;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{Id, JoinSet};
use tracing::error;

use crate::incident::Incident;
use crate::plugins::Fetched;
pub use counter::Published;
use counter::{Counter, Putting};
pub use hello::Hello;
pub use home::Home;
pub use inbox::{Counts, Inbox, Verdict, Why};
pub use part::{Backoff, Part, State};
pub use settings::{Parts, Settings, read};
pub(crate) use snapshot::load;
pub use snapshot::{Here, Table, merge};
pub use trust::{Refused, Signatures, Trust, keys};

use part::Voice;
use reports::Outgoing;

/// How many phases may wait for the bus; the outcome tells what they would have.
const PHASES: usize = 16;
/// How many news of the parts may wait for the loop; a part waits then.
const NEWS: usize = 16;
/// The outcomes that wait for the bus have at most this many bytes together; those of newer
/// incidents go first when there are more.
const SPOOL: usize = 1 << 20;

/// What a part tells the loop.
#[derive(Debug)]
pub enum News {
    /// How a part fares.
    Part {
        /// Which.
        part: Part,
        /// How it fares.
        state: State,
        /// Why, for a person.
        detail: String,
    },
    /// The policies of the table.
    Policies(Box<Table>),
    /// An order.
    Command {
        /// The order.
        command: Box<Command>,
        /// Answers whether it is taken: on disk, or nothing to keep.
        taken: oneshot::Sender<bool>,
    },
    /// These secrets have other values than before.
    Secrets(BTreeSet<String>),
    /// What became of the messages on the queue.
    Counts(Counts),
    /// The bus took the outcome of an incident.
    Reported {
        /// The incident.
        incident: IncidentKey,
        /// How many incidents of the cloud the report named.
        told: usize,
    },
    /// The cloud side was told that the instance goes down, or cannot be told.
    Gone,
}

/// The cloud side, as the loop sees it.
#[derive(Debug)]
pub struct Cloud {
    settings: Settings,
    home: watch::Sender<Option<Home>>,
    hello: watch::Sender<Option<Hello>>,
    outcomes: watch::Sender<Vec<Outgoing>>,
    ending: watch::Sender<bool>,
    secrets: watch::Sender<BTreeSet<String>>,
    phases: mpsc::Sender<bus::Entry>,
    idleness: watch::Sender<Option<bus::Entry>>,
    refresh: Arc<Notify>,
    parts: BTreeMap<Part, (State, Timestamp, String)>,
    counts: Counts,
    counter: Counter,
    /// How many outcomes the bus has not taken.
    unreported: usize,
    /// The goodbye was said, or cannot be.
    gone: bool,
}

/// What the parts have of the loop.
#[derive(Debug)]
pub struct Link {
    settings: Settings,
    /// The address of the metadata service, where it is not the usual.
    metadata: Option<String>,
    /// Where the snapshot of the policies is.
    state_directory: PathBuf,
    signatures: Signatures,
    home: watch::Receiver<Option<Home>>,
    hello: watch::Receiver<Option<Hello>>,
    outcomes: watch::Receiver<Vec<Outgoing>>,
    ending: watch::Receiver<bool>,
    secrets: watch::Receiver<BTreeSet<String>>,
    /// Where the values of secrets are shelved.
    fetched: Fetched,
    phases: mpsc::Receiver<bus::Entry>,
    idleness: watch::Receiver<Option<bus::Entry>>,
    refresh: Arc<Notify>,
    counter: Counter,
    news: mpsc::Sender<News>,
}

impl Cloud {
    /// The cloud side, what its parts need, and where they tell their news.
    #[must_use]
    pub fn new(
        settings: Settings,
        metadata: Option<String>,
        state_directory: PathBuf,
        signatures: Signatures,
        fetched: Fetched,
        now: Timestamp,
    ) -> (Self, Link, mpsc::Receiver<News>) {
        let (home, home_told) = watch::channel(None);
        let (hello, hello_told) = watch::channel(None);
        let (outcomes, outcomes_told) = watch::channel(Vec::new());
        let (ending, ending_told) = watch::channel(false);
        let (secrets, secrets_told) = watch::channel(BTreeSet::new());
        let (phases, phases_told) = mpsc::channel(PHASES);
        let (idleness, idleness_told) = watch::channel(None);
        let (news, heard) = mpsc::channel(NEWS);
        let refresh = Arc::new(Notify::new());
        let counter = Counter::default();
        let state = |part| match settings.parts.has(part) {
            true => (State::Waiting, "the metadata service did not say yet who we are"),
            false => (State::Off, "switched off in the settings"),
        };
        let parts = Part::ALL.map(|part| {
            let (state, detail) = state(part);
            (part, (state, now, detail.to_owned()))
        });
        let link = Link {
            settings: settings.clone(),
            metadata,
            state_directory,
            signatures,
            home: home_told,
            hello: hello_told,
            outcomes: outcomes_told,
            ending: ending_told,
            secrets: secrets_told,
            fetched,
            phases: phases_told,
            idleness: idleness_told,
            refresh: Arc::clone(&refresh),
            counter: counter.clone(),
            news,
        };
        let cloud = Self {
            settings,
            home,
            hello,
            outcomes,
            ending,
            secrets,
            phases,
            idleness,
            refresh,
            parts: parts.into(),
            counts: Counts::default(),
            counter,
            unreported: 0,
            gone: false,
        };
        (cloud, link, heard)
    }

    /// The parts begin as soon as it is known where we are.
    pub fn know(&self, facts: &Facts) {
        let home = Home::of(facts);
        self.home.send_if_modified(|known| {
            let is_news = home.is_some() && known.is_none();
            if is_news {
                known.clone_from(&home);
            }
            is_news
        });
    }

    /// What the next hello says.
    pub fn greet(&self, hello: Hello) {
        self.hello.send_if_modified(|known| {
            let is_news = known.as_ref() != Some(&hello);
            if is_news {
                *known = Some(hello);
            }
            is_news
        });
    }

    /// Tells that an incident was opened, if there is room for that.
    pub fn opened(&self, known: &Incident, durable: bool) {
        let home = self.home.borrow();
        if let Some(home) = home.as_ref().filter(|_| self.settings.parts.reports) {
            let _ = self.phases.try_send(report::phase(known, home, durable));
        }
    }

    /// Tells an event of this instance, if there is room for that.
    pub fn tell(&self, event: &Event) {
        if self.settings.parts.reports {
            let _ = self.phases.try_send(bus::Entry::of(event, None));
        }
    }

    /// Tells that the instance is idle, or is not any more. Only the last word counts.
    pub fn tell_idleness(&self, kind: EventType, at: Timestamp, data: Map<String, Value>) {
        let home = self.home.borrow();
        if let Some(home) = home.as_ref().filter(|_| self.settings.parts.reports) {
            let event = hello::about(home, kind, at, data);
            self.idleness.send_replace(Some(bus::Entry::of(&event, None)));
        }
    }

    /// The outcomes that the bus has not taken, as far as they belong to this instance.
    pub fn spool<'a>(&mut self, incidents: impl Iterator<Item = &'a Incident>, durable: bool) {
        let home = self.home.borrow().clone();
        let Some(home) = home.filter(|_| self.settings.parts.reports) else { return };
        let mut unreported: Vec<&Incident> = incidents
            .filter(|known| known.is_unreported() && home.is_home_of(&known.key))
            .collect();
        self.unreported = unreported.len();
        unreported.sort_by_key(|known| std::cmp::Reverse(known.opened));
        let mut size = 0;
        let mut outgoing: Vec<Outgoing> = unreported
            .into_iter()
            .map(|known| Outgoing::of(known, &home, durable))
            .take_while(|outgoing| {
                size += outgoing.entry.detail.len();
                size <= SPOOL
            })
            .collect();
        outgoing.reverse();
        self.outcomes.send_if_modified(|known| {
            let is_news = *known != outgoing;
            if is_news {
                *known = outgoing;
            }
            is_news
        });
    }

    /// The secrets that the handlers need from now on.
    pub fn want(&self, references: BTreeSet<String>) {
        self.secrets.send_if_modified(|known| {
            let is_news = *known != references;
            if is_news {
                *known = references;
            }
            is_news
        });
    }

    /// Has the table looked at: its policies changed.
    pub fn refresh(&self) {
        self.refresh.notify_one();
    }

    /// The instance goes down: what is not told is told now or never.
    pub fn end(&self) {
        self.ending.send_replace(true);
    }

    /// The goodbye was said, or cannot be.
    pub fn depart(&mut self) {
        self.gone = true;
    }

    /// Whether a part has not told all that it has to before the end.
    #[must_use]
    pub fn has_to_tell(&self) -> bool {
        let parts = self.settings.parts;
        let is_known = self.home.borrow().is_some();
        is_known && (parts.reports && self.unreported > 0 || parts.hello && !self.gone)
    }

    /// Notes how a part fares; answers with whether that is another state than before.
    pub fn note(&mut self, part: Part, state: State, detail: String, now: Timestamp) -> bool {
        let before = self.parts.insert(part, (state, now, detail.clone()));
        let Some((known, since, _)) = before else { return true };
        if known == state {
            self.parts.insert(part, (state, since, detail));
        }
        known != state
    }

    /// Notes what became of messages.
    pub fn count(&mut self, counts: Counts) {
        self.counts = counts;
    }

    /// What became of the messages on the queue.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What the bus was told, by the type of events.
    #[must_use]
    pub fn published(&self) -> BTreeMap<&'static str, Published> {
        self.counter.read()
    }

    /// How many outcomes the bus has not taken.
    #[must_use]
    pub fn unreported(&self) -> usize {
        self.unreported
    }

    /// How the parts fare.
    pub fn states(&self) -> impl Iterator<Item = (Part, State)> {
        self.parts.iter().map(|(part, (state, ..))| (*part, *state))
    }

    /// Whether policies come from the table.
    #[must_use]
    pub fn has_policies(&self) -> bool {
        self.settings.parts.policies
    }

    /// The account and the Region that are called, once they are known.
    #[must_use]
    pub fn place(&self) -> Option<(String, String)> {
        let home = self.home.borrow();
        home.as_ref().map(|home| home.called(&self.settings)).map(|home| home.place())
    }

    /// What `status` shows of it.
    #[must_use]
    pub fn shown(&self) -> Value {
        let part = |(part, (state, since, detail)): (&Part, &(State, Timestamp, String))| {
            json!({
                "part": part.as_str(),
                "state": state.as_str(),
                "since": since.to_string(),
                "detail": detail,
            })
        };
        let place = self.place();
        json!({
            "stack": self.settings.stack,
            "account": place.as_ref().map(|(account, _)| account),
            "region": place.as_ref().map(|(_, region)| region),
            "parts": self.parts.iter().map(part).collect::<Vec<_>>(),
            "commands": self.counts.shown(),
            "unreported": self.unreported,
        })
    }
}

/// Lets the parts work until nobody listens any more.
pub async fn run(mut link: Link) {
    let known = link.home.wait_for(Option::is_some).await;
    let Some(home) = known.ok().and_then(|home| home.clone()) else { return };
    tokio::time::sleep(home.jitter(link.settings.startup_jitter)).await;
    let region = home.called(&link.settings).region;
    let aws = Box::pin(snooze_cloud::connect_daemon(&region, link.metadata.as_deref())).await;
    let news = link.news.clone();
    let mut started: Vec<(Id, Part)> = Vec::new();
    let mut parts = JoinSet::new();
    start(link, &home, &aws, &mut parts, &mut started);
    while let Some(ended) = parts.join_next_with_id().await {
        let Err(fault) = ended else { continue };
        let part = started.iter().find(|(id, _)| *id == fault.id()).map(|(_, part)| *part);
        error!(part = part.map(Part::as_str), %fault, "a part of the cloud side failed");
        if let Some(part) = part {
            let detail = "stopped by a fault of its own: restart the daemon".to_owned();
            let _ = news.send(News::Part { part, state: State::Failing, detail }).await;
        }
    }
}

fn start(
    link: Link,
    home: &Home,
    aws: &Aws,
    parts: &mut JoinSet<()>,
    started: &mut Vec<(Id, Part)>,
) {
    let Link { settings, state_directory, signatures, hello, outcomes, ending, .. } = link;
    let Link { secrets, fetched, phases, idleness, refresh, counter, news, .. } = link;
    let voice = |part| Voice::new(part, news.clone());
    let called = home.called(&settings);
    let names = called.names(&settings.stack);
    let wanted = settings.parts;
    let missed = Arc::new(Notify::new());
    let bus = Putting::new(bus::Bus::new(aws, &names.bus), counter);
    if wanted.hello {
        let hello = hello::Hellos {
            bus: bus.clone(),
            home: home.clone(),
            hello: hello.clone(),
            outcomes: outcomes.clone(),
            ending: ending.clone(),
            missed: Arc::clone(&missed),
        };
        started.push((parts.spawn(hello.run(voice(Part::Hello))).id(), Part::Hello));
    }
    if wanted.policies {
        let keeper =
            snapshot::Keeper::new(&state_directory, &settings.stack, called.place(), signatures);
        let task = policies::Refresher {
            table: snooze_cloud::policies::Policies::new(aws, &names.policies),
            keeper,
            refresh,
            hello,
            spread: settings.startup_jitter,
        };
        started.push((parts.spawn(task.run(voice(Part::Policies))).id(), Part::Policies));
    }
    if wanted.commands {
        let task = commands::Commands::new(aws, &called, &names, &settings, missed);
        started.push((parts.spawn(task.run(voice(Part::Commands))).id(), Part::Commands));
    }
    if wanted.secrets {
        let store = snooze_cloud::secrets::Secrets::new(aws);
        let task = secrets::Fetcher { secrets: store, wanted: secrets, fetched };
        started.push((parts.spawn(task.run(voice(Part::Secrets))).id(), Part::Secrets));
    }
    if wanted.reports {
        let task = reports::Reports { bus, outcomes, phases, idleness, ending };
        started.push((parts.spawn(task.run(voice(Part::Reports))).id(), Part::Reports));
    }
}
