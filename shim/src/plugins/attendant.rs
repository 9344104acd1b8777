//! The one who looks after an entry: a task that starts its process, hands it events and
//! questions, and starts it again when it ended.
//!
//! `start`, `step`, `between` and `talk` hold the parts of its work.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use snooze_plugin::{Info, Metrics, Vote};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};

use super::log::Tail;
use super::process::Heard;
use super::spare::Spare;
use super::{
    Entry, HostSettings, Kind, Outcome, PluginState, Redactor, Report, Run, Stats, StepOutcome,
};

/// Runs that may wait for one entry; two at once are rare already.
const QUEUE: usize = 16;

/// How long a plugin may take to end when nobody said otherwise.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// How long a report may wait for room once the host stops.
const LAST_REPORT: Duration = Duration::from_millis(100);

/// What the host tells an attendant.
#[derive(Debug)]
pub(super) enum Order {
    Run {
        run: Run,
        /// When it was ordered; its budget counts from there.
        came: Instant,
    },
    Shorten {
        run_id: u64,
        deadline: Instant,
    },
    CheckIdle(Metrics),
    Replace(Entry),
    Enable(bool),
    /// Stop after what is still to be done.
    Retire,
    Stop {
        grace: Duration,
    },
}

/// What all attendants of a host share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: HostSettings,
    pub(super) reports: mpsc::Sender<Report>,
    /// So many processes may be in their start at once, unless an event waits for one.
    pub(super) starts: Semaphore,
    pub(super) spare: Spare,
}

/// What the host can see of an entry at any time.
#[derive(Debug)]
pub(super) struct Face {
    pub(super) kind: Option<Kind>,
    pub(super) state: PluginState,
    pub(super) pid: Option<u32>,
    pub(super) info: Option<Info>,
    pub(super) supported: Option<Vec<String>>,
    pub(super) stats: Stats,
    pub(super) gaps: Vec<String>,
}

/// Looks after one entry.
pub(super) struct Attendant {
    pub(super) shared: Arc<Shared>,
    pub(super) entry: Entry,
    pub(super) face: Arc<Mutex<Face>>,
    pub(super) tail: Arc<Mutex<Tail>>,
    pub(super) inbox: mpsc::Receiver<Order>,
    pub(super) work: Work,
}

/// What is to be done, as far as orders said so.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) runs: VecDeque<Pending>,
    /// The run whose event the plugin has, and when its time is over.
    pub(super) current: Option<(u64, Instant)>,
    pub(super) question: Option<Metrics>,
    pub(super) replacement: Option<Entry>,
    pub(super) is_disabled: bool,
    pub(super) is_retired: bool,
    /// Stop, within this grace.
    pub(super) stop: Option<Duration>,
    /// Starts that went well.
    pub(super) starts: u64,
    /// Starts and processes that failed in a row.
    pub(super) failures: u32,
    pub(super) not_before: Option<Instant>,
    pub(super) redactor: Redactor,
}

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) run: Run,
    pub(super) came: Instant,
    pub(super) deadline: Instant,
    pub(super) starts: u32,
    /// When the first of these starts began.
    pub(super) began: Option<Instant>,
}

/// Why a wait is over.
pub(super) enum Next {
    Heard(Heard),
    Time,
    /// An order changed what is to be done.
    Noted,
}

impl Attendant {
    pub(super) fn new(
        shared: Arc<Shared>,
        entry: Entry,
        face: Arc<Mutex<Face>>,
        tail: Arc<Mutex<Tail>>,
        inbox: mpsc::Receiver<Order>,
        is_disabled: bool,
    ) -> Self {
        let work = Work { is_disabled, ..Work::default() };
        Self { shared, entry, face, tail, inbox, work }
    }

    /// Does all that is ordered until it is told to stop.
    pub(super) async fn attend(mut self) {
        let mut process = None;
        while self.work.stop.is_none() && !(self.work.is_retired && self.work.runs.is_empty()) {
            self.expire().await;
            process = match process {
                None => self.start_when_due().await,
                Some(process) if self.work.wants_other_process() => {
                    self.end(process, GRACE).await;
                    None
                }
                Some(process) => match self.work.runs.pop_front() {
                    Some(pending) => self.run(process, pending).await,
                    None => self.idle(process).await,
                },
            };
            if let Some(entry) = self.work.replacement.take_if(|_| process.is_none()) {
                self.entry = entry;
                (self.work.failures, self.work.not_before) = (0, None);
            }
        }
        let grace = self.work.stop.unwrap_or(GRACE);
        if let Some(process) = process {
            self.end(process, grace).await;
        }
        self.refuse_all(&Outcome::Failed("the daemon stops".to_owned())).await;
        self.turn(PluginState::Stopped).await;
    }

    pub(super) async fn note(&mut self, order: Option<Order>) {
        match order {
            None => self.work.stop = self.work.stop.or(Some(GRACE)),
            Some(Order::Retire) => self.work.is_retired = true,
            Some(Order::Stop { grace }) => self.work.stop = Some(grace),
            Some(Order::Run { run, came }) if self.work.runs.len() < QUEUE => {
                let deadline = came + run.budget;
                self.work.runs.push_back(Pending { run, came, deadline, starts: 0, began: None });
            }
            Some(Order::Run { run, .. }) => {
                let outcome = Outcome::Failed("too many runs wait for this plugin".to_owned());
                self.ended(run.run_id, StepOutcome::bare(outcome, Duration::ZERO)).await;
            }
            Some(Order::Shorten { run_id, deadline }) => self.work.shorten(run_id, deadline),
            Some(Order::CheckIdle(metrics)) => self.work.question = Some(metrics),
            Some(Order::Replace(entry)) => self.work.replacement = Some(entry),
            Some(Order::Enable(is_enabled)) => {
                self.work.is_disabled = !is_enabled;
                if is_enabled {
                    (self.work.failures, self.work.not_before) = (0, None);
                }
            }
        }
    }

    /// Answers the waiting runs whose time is over.
    pub(super) async fn expire(&mut self) {
        let now = Instant::now();
        let is_over = |pending: &Pending| pending.deadline <= now;
        while let Some(index) = self.work.runs.iter().position(is_over) {
            let Some(pending) = self.work.runs.remove(index) else { return };
            let mut outcome = StepOutcome::bare(Outcome::TimedOut, pending.came.elapsed());
            outcome.status = "the plugin was not ready in time".to_owned();
            outcome.start_seconds = pending.began.map_or(0.0, |b| b.elapsed().as_secs_f64());
            self.ended(pending.run.run_id, outcome).await;
        }
    }

    pub(super) async fn refuse_all(&mut self, outcome: &Outcome) {
        while let Some(pending) = self.work.runs.pop_front() {
            let outcome = StepOutcome::bare(outcome.clone(), pending.came.elapsed());
            self.ended(pending.run.run_id, outcome).await;
        }
    }

    pub(super) fn note_run(&mut self, outcome: &StepOutcome) {
        let is_fine =
            matches!(outcome.outcome, Outcome::Done | Outcome::Degraded | Outcome::NotHandled);
        if is_fine {
            self.work.failures = 0;
        }
        let error = outcome.outcome.reason();
        self.show(|face| {
            face.stats.calls += 1;
            face.stats.failures += u64::from(!is_fine);
            face.stats.last_seconds = Some(outcome.seconds);
            face.stats.total_seconds += outcome.seconds;
            if !is_fine {
                face.stats.last_error =
                    Some(error.unwrap_or_else(|| outcome.outcome.as_str().to_owned()));
            }
        });
    }

    pub(super) async fn ended(&mut self, run_id: u64, outcome: StepOutcome) {
        self.report(Report::Ended { run_id, outcome }).await;
    }

    pub(super) async fn vote(&self, vote: Option<Vote>) {
        self.report(Report::Vote { entry_id: self.entry.id.clone(), vote }).await;
    }

    pub(super) async fn turn(&self, state: PluginState) {
        let mut has_changed = false;
        self.show(|face| {
            has_changed = face.state != state;
            face.state = state;
        });
        if has_changed {
            self.report(Report::State { entry_id: self.entry.id.clone(), state }).await;
        }
    }

    pub(super) async fn report(&self, report: Report) {
        let sent = self.shared.reports.send(report);
        // When the daemon is about to end nobody reads any more, or only until there is no room.
        match self.work.stop {
            None => drop(sent.await),
            Some(_) => drop(timeout(LAST_REPORT, sent).await),
        }
    }

    pub(super) fn show(&self, change: impl FnOnce(&mut Face)) {
        change(&mut self.face.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Work {
    pub(super) fn wants_other_process(&self) -> bool {
        self.is_disabled || self.replacement.is_some()
    }

    /// Deadlines only move forward.
    pub(super) fn shorten(&mut self, run_id: u64, deadline: Instant) {
        if let Some((current, until)) = &mut self.current
            && *current == run_id
        {
            *until = deadline.min(*until);
        }
        for pending in self.runs.iter_mut().filter(|pending| pending.run.run_id == run_id) {
            pending.deadline = deadline.min(pending.deadline);
        }
    }
}

impl Face {
    pub(super) fn new() -> Self {
        Self {
            kind: None,
            state: PluginState::Waiting,
            pid: None,
            info: None,
            supported: None,
            stats: Stats::default(),
            gaps: Vec::new(),
        }
    }
}
