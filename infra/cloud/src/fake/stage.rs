//! All that the server knows, behind one lock.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::queues::Queues;
use super::tables::Tables;
use super::topics::Topics;
use super::{Call, Fault, Put, When};

/// A handle on what the server knows.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    url: String,
    state: Mutex<State>,
    /// Something may be in a queue.
    news: Notify,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) calls: Vec<Call>,
    pub(super) faults: Vec<(When, Fault)>,
    pub(super) answers: HashMap<String, Answers>,
    pub(super) tables: Tables,
    pub(super) queues: Queues,
    pub(super) topics: Topics,
    pub(super) entries: Vec<Put>,
}

/// What a test wants an operation to answer.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) next: VecDeque<(u16, String)>,
    pub(super) standing: Option<(u16, String)>,
}

impl Stage {
    pub(super) fn new(url: &str) -> Self {
        let (state, news) = (Mutex::default(), Notify::new());
        let shared = Shared { url: url.to_owned(), state, news, closed: AtomicBool::new(false) };
        Self { shared: Arc::new(shared) }
    }

    pub(super) fn url(&self) -> &str {
        &self.shared.url
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who wait for messages to look again.
    pub(super) fn wake(&self) {
        self.shared.news.notify_waiters();
    }

    pub(super) fn news(&self) -> &Notify {
        &self.shared.news
    }

    pub(super) fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.wake();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Relaxed)
    }

    /// Writes a call down, and says what goes wrong with it.
    pub(super) fn hear(&self, call: &Call) -> Option<Fault> {
        let mut state = self.state();
        state.calls.push(call.clone());
        let fault = state
            .faults
            .iter_mut()
            .find_map(|(when, fault)| when.strikes(call).then(|| fault.clone()));
        if fault.is_some() {
            state.faults.retain(|(when, _)| !when.is_over());
        }
        fault
    }
}

impl State {
    /// What a test registered for this operation.
    pub(super) fn answer(&mut self, operation: &str) -> Option<(u16, String)> {
        let answers = self.answers.get_mut(operation)?;
        answers.next.pop_front().or_else(|| answers.standing.clone())
    }
}
