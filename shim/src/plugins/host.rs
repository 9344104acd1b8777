//! The host as the run loop sees it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use snooze_event::PluginName;
use snooze_plugin::Metrics;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::attendant::{Attendant, Face, Order, Shared};
use super::log::Tail;
use super::spare::Spare;
use super::{
    Entry, Fetched, HostSettings, Outcome, PluginStatus, Report, Run, StepOutcome, keepers,
    remote_references,
};

/// Starts that go on at once when no event waits for them.
const STARTS: usize = 8;

/// Orders that an attendant may have before it reads them.
const ORDERS: usize = 64;

/// Runs that a place remembers: more than can be open there at once.
const RUNS: usize = 2 * ORDERS;

/// What the end of a plugin may take beyond its grace: two waits for its keeper and a sweep, of
/// half a second each, on a machine that does much else.
const END_MARGIN: Duration = Duration::from_secs(4);

/// All handlers of this instance.
///
/// Lives in a runtime with one thread, that of `main`: the kernel counts the end of the thread
/// that started a keeper as the end of the daemon.
#[derive(Debug)]
pub struct Host {
    shared: Arc<Shared>,
    places: BTreeMap<String, Place>,
    /// Places whose last runs still go on.
    retired: Vec<Place>,
    disabled: BTreeSet<PluginName>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Place {
    entry: Entry,
    orders: mpsc::Sender<Order>,
    /// The latest runs that it was given.
    runs: VecDeque<u64>,
    face: Arc<Mutex<Face>>,
    tail: Arc<Mutex<Tail>>,
}

impl Host {
    /// A host without entries, which reports to `reports`.
    ///
    /// The receiver must go on reading: an entry whose report nobody takes stands still.
    #[must_use]
    pub fn new(settings: HostSettings, reports: mpsc::Sender<Report>) -> Self {
        let shared = Arc::new(Shared {
            settings,
            reports,
            starts: Semaphore::new(STARTS),
            spare: Spare::new(),
        });
        Self {
            shared,
            places: BTreeMap::new(),
            retired: Vec::new(),
            disabled: BTreeSet::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Starts what is new, stops what is not among `entries`, and starts again what is configured
    /// otherwise than before. Runs that go on end first.
    pub fn set_entries(&mut self, entries: Vec<Entry>) {
        let ids: BTreeSet<&String> = entries.iter().map(|entry| &entry.id).collect();
        let gone: Vec<String> =
            self.places.keys().filter(|id| !ids.contains(id)).cloned().collect();
        for place in gone.iter().filter_map(|id| self.places.remove(id)) {
            let _ = place.orders.try_send(Order::Retire);
            self.retired.push(place);
        }
        for entry in entries {
            match self.places.get_mut(&entry.id) {
                Some(place) if place.entry == entry => {}
                Some(place) => {
                    place.entry = entry.clone();
                    let _ = place.orders.try_send(Order::Replace(entry));
                }
                None => self.open(entry),
            }
        }
        self.tidy();
    }

    /// The values of secrets as far as they were fetched: whoever fetches shelves them there.
    #[must_use]
    pub fn fetched(&self) -> Fetched {
        self.shared.settings.secrets.fetched.clone()
    }

    /// Starts again what is configured with one of these secrets, which have other values than
    /// before. Runs that go on end first.
    pub fn renew(&mut self, references: &BTreeSet<String>) {
        for place in self.places.values_mut() {
            if !remote_references(&place.entry.config).is_disjoint(references) {
                let _ = place.orders.try_send(Order::Replace(place.entry.clone()));
            }
        }
    }

    fn open(&mut self, entry: Entry) {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let face = Arc::new(Mutex::new(Face::new()));
        let tail = Arc::new(Mutex::new(Tail::default()));
        let attendant = Attendant::new(
            Arc::clone(&self.shared),
            entry.clone(),
            Arc::clone(&face),
            Arc::clone(&tail),
            inbox,
            self.disabled.contains(&entry.plugin),
        );
        self.tasks.spawn(attendant.attend());
        self.places
            .insert(entry.id.clone(), Place { entry, orders, runs: VecDeque::new(), face, tail });
    }

    /// Has a step done. Never blocks; exactly one [`Report::Ended`] follows.
    pub fn handle(&mut self, run: Run) {
        let run_id = run.run_id;
        let came = Instant::now();
        let refusal = match self.places.get_mut(&run.entry_id) {
            None => Some(format!("there is no handler `{}`", run.entry_id)),
            Some(place) => {
                place.remember(run_id);
                let sent = place.orders.try_send(Order::Run { run, came });
                sent.err().map(|_| "its plugin takes no orders".to_owned())
            }
        };
        if let Some(text) = refusal {
            let outcome = StepOutcome::bare(Outcome::CannotStart(text), Duration::ZERO);
            let reports = self.shared.reports.clone();
            self.tasks.spawn(async move {
                let _ = reports.send(Report::Ended { run_id, outcome }).await;
            });
        }
        self.tidy();
    }

    /// A run has at most so much time left; more than it had it never gets.
    pub fn shorten(&mut self, run_id: u64, budget_left: Duration) {
        let deadline = Instant::now() + budget_left;
        // An order to all would fill their inboxes when many runs are shortened at once.
        let all = self.places.values().chain(&self.retired);
        for place in all.filter(|place| place.runs.contains(&run_id)) {
            let _ = place.orders.try_send(Order::Shorten { run_id, deadline });
        }
    }

    /// Asks one entry whether the instance is idle; a [`Report::Vote`] follows.
    pub fn check_idle(&mut self, entry_id: &str, metrics: &Metrics) {
        if let Some(place) = self.places.get(entry_id) {
            let _ = place.orders.try_send(Order::CheckIdle(metrics.clone()));
        }
    }

    /// Switches a plugin on again.
    pub fn enable(&mut self, name: &PluginName) {
        self.disabled.remove(name);
        self.tell(name, true);
    }

    /// Switches a plugin off: its processes end, its steps cannot start.
    pub fn disable(&mut self, name: &PluginName) {
        self.disabled.insert(name.clone());
        self.tell(name, false);
    }

    fn tell(&self, name: &PluginName, is_enabled: bool) {
        for place in self.places.values().filter(|place| place.entry.plugin == *name) {
            let _ = place.orders.try_send(Order::Enable(is_enabled));
        }
    }

    /// What is known of each entry, by id.
    #[must_use]
    pub fn status(&self) -> Vec<PluginStatus> {
        self.places.values().map(Place::status).collect()
    }

    /// Ends all plugins: asks, closes their stdin, sends TERM, kills. What runs fails. Returns
    /// within `grace` and a few seconds.
    pub async fn stop(&mut self, grace: Duration) {
        let places = std::mem::take(&mut self.places);
        for place in places.values().chain(&self.retired) {
            let _ = place.orders.try_send(Order::Stop { grace });
        }
        drop(places);
        self.retired.clear();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(grace + END_MARGIN, all).await.is_err() {
            tracing::error!(left = self.tasks.len(), "plugins do not end");
            self.tasks.shutdown().await;
        }
        keepers::reap_strays().await;
    }

    /// Forgets what has ended.
    fn tidy(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(fault) = ended {
                tracing::error!(%fault, "an attendant failed");
            }
        }
        self.retired.retain(|place| !place.orders.is_closed());
    }
}

impl Place {
    fn remember(&mut self, run_id: u64) {
        self.runs.push_back(run_id);
        if self.runs.len() > RUNS {
            self.runs.pop_front();
        }
    }

    fn status(&self) -> PluginStatus {
        let face = self.face.lock().unwrap_or_else(PoisonError::into_inner);
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        PluginStatus {
            id: self.entry.id.clone(),
            plugin: self.entry.plugin.clone(),
            kind: face.kind.clone(),
            state: face.state,
            pid: face.pid,
            info: face.info.clone(),
            supported: face.supported.clone(),
            stats: face.stats.clone(),
            gaps: face.gaps.clone(),
            stderr_tail: tail.text(),
            stderr_bytes: tail.total,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;
    use crate::plugins::{Limits, SecretStore};
    use crate::sandbox::Sandboxes;

    #[tokio::test]
    async fn shortening_a_hundred_runs_at_once_reaches_each_of_them() {
        let settings = HostSettings {
            program: "/proc/self/exe".into(),
            builtins: Vec::new(),
            directories: Vec::new(),
            allowed: None,
            pins: BTreeMap::new(),
            unsigned: None,
            run_directory: "/".into(),
            secrets: SecretStore::default(),
            limits: Limits::default(),
            sandboxes: Sandboxes::default(),
        };
        let mut host = Host::new(settings, mpsc::channel(1).0);
        let entry = |id: u64| Entry {
            id: id.to_string(),
            plugin: "nothing".parse().unwrap(),
            config: Map::new(),
        };
        host.set_entries((0..100).map(entry).collect());
        let (budget, grace) = (Duration::from_secs(60), Duration::from_secs(1));
        for run_id in 0..100 {
            let entry_id = run_id.to_string();
            host.handle(Run { run_id, entry_id, event: Value::Null, budget, grace });
        }
        for run_id in 0..100 {
            host.shorten(run_id, Duration::from_secs(1));
        }
        // Nobody has read yet: a run and its shortening wait for each.
        assert!(host.places.values().all(|place| place.orders.capacity() == ORDERS - 2));
    }
}
