//! One incident: the fold of its records.
//!
//! ```text
//!            signal                 all steps ended            the instance outlived it
//!   (none) ---------> open --------------------------> closed ---------------------> survived
//!                      | ^                               ^
//!       another signal | |   called off: what has not    |
//!       of the loss    +-+   begun will not, what runs   |
//!                      +---- may end --------------------+
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use snooze_event::{Cause, Event, IncidentKey, LossAction};
use snooze_policy::{Step, StepId};

use crate::record::{Ending, Entry, Outcome, Record, StepOutcome};

/// A notice that was not seen for this long, and is seen again, is another loss.
const SAME_LOSS: Duration = Duration::from_secs(600);

/// One loss or event, and what was done about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// What it is found by.
    pub key: IncidentKey,
    /// The keys of all signals that belong to it, its own among them.
    pub keys: BTreeSet<IncidentKey>,
    /// The event that opened it.
    pub event: Event,
    /// When, by the wall clock.
    pub opened: Timestamp,
    /// When, since boot.
    pub opened_at: Duration,
    /// When the instance goes, since boot.
    pub due: Option<Duration>,
    /// The same as the first signal had it.
    first_due: Option<Duration>,
    /// When a signal of it was last seen, since boot.
    pub seen: Duration,
    /// Its steps, higher priorities first.
    pub steps: Vec<StepState>,
    /// The loss was called off.
    pub cancelled: bool,
    /// How it ended, and why, and when; `None` while it is open.
    pub closed: Option<Closed>,
    /// The instance outlived it.
    pub survived: bool,
    /// When its first step began, by the wall clock.
    pub begun: Option<Timestamp>,
    /// The incidents in the cloud whose commands told of it.
    pub told_by: BTreeSet<String>,
    /// How many of those the report named that the bus took; `None` before that.
    pub reported: Option<usize>,
}

/// How many incidents of the cloud one incident is told by; more are not kept.
pub const TOLD: usize = 20;

/// How an incident ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    /// In one word.
    pub outcome: Outcome,
    /// For a person.
    pub text: String,
    /// When, by the wall clock.
    pub at: Timestamp,
    /// What was left before the deadline; `None` without one.
    pub margin: Option<Duration>,
}

/// A step and how far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct StepState {
    /// The step.
    pub step: Step,
    /// How far it is.
    pub progress: Progress,
    /// How often it was begun.
    pub attempts: u32,
    /// When it was last begun, since boot.
    pub started: Option<Duration>,
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// It has not begun.
    Pending,
    /// It runs.
    Running,
    /// It ended, or will never run.
    Ended(StepOutcome),
}

impl StepState {
    fn new(step: Step) -> Self {
        Self { step, progress: Progress::Pending, attempts: 0, started: None }
    }

    /// How it ended; `None` before that.
    #[must_use]
    pub fn outcome(&self) -> Option<&StepOutcome> {
        match &self.progress {
            Progress::Ended(outcome) => Some(outcome),
            Progress::Pending | Progress::Running => None,
        }
    }
}

impl Incident {
    /// The incident that an `Opened` entry begins; `None` for another record, or when the event
    /// in it cannot be read.
    #[must_use]
    pub fn open(entry: &Entry) -> Option<Self> {
        let Record::Opened { event, due_ms, steps } = &entry.record else { return None };
        let key = entry.key();
        Some(Self {
            keys: BTreeSet::from([key.clone()]),
            key,
            event: snooze_event::wire::cloudevents::read(event, entry.at).ok()?,
            opened: entry.at,
            opened_at: Duration::from_millis(entry.clock_ms),
            due: due_ms.map(Duration::from_millis),
            first_due: due_ms.map(Duration::from_millis),
            seen: Duration::from_millis(entry.clock_ms),
            steps: steps.iter().filter_map(|step| step.step().map(StepState::new)).collect(),
            cancelled: false,
            closed: None,
            survived: false,
            begun: None,
            told_by: BTreeSet::new(),
            reported: None,
        })
    }

    /// Takes a record in. The same record twice is the same as once.
    pub fn apply(&mut self, entry: &Entry) {
        let clock = Duration::from_millis(entry.clock_ms);
        match &entry.record {
            Record::Opened { .. } => {}
            Record::Joined { key, due_ms, steps } => {
                self.keys.insert(IncidentKey::stored(key));
                self.due = due_ms.map(Duration::from_millis);
                self.seen = clock;
                let steps = steps.iter().filter_map(crate::record::StepRecord::step);
                for step in steps {
                    if self.step(&step.id).is_none() {
                        self.steps.push(StepState::new(step));
                    }
                }
                self.steps.sort_by_key(|state| std::cmp::Reverse(state.step.priority));
            }
            Record::Seen => self.seen = clock,
            Record::Started { step, attempt, .. } => {
                self.begun.get_or_insert(entry.at);
                if let Some(state) = self.step_mut(step) {
                    state.progress = Progress::Running;
                    state.attempts = *attempt;
                    state.started = Some(clock);
                }
            }
            Record::Ended { step, outcome } => {
                if let Some(state) = self.step_mut(step) {
                    state.progress = Progress::Ended(outcome.clone());
                }
            }
            Record::Cancelled => self.cancelled = true,
            Record::Closed { outcome, text } => {
                self.seen = self.seen.max(clock);
                self.closed = Some(Closed {
                    outcome: *outcome,
                    text: text.clone(),
                    at: entry.at,
                    margin: self.due.map(|due| due.saturating_sub(clock)),
                });
            }
            Record::Survived => self.survived = true,
            Record::Told { by } => drop(self.told_by.insert(by.clone())),
            Record::Reported { told } => self.reported = self.reported.max(Some(*told)),
        }
    }

    /// It is closed, and the cloud side does not know all of how it ended. What undoes a loss is
    /// the instance's own affair.
    #[must_use]
    pub fn is_unreported(&self) -> bool {
        self.closed.is_some() && !self.is_undo() && self.reported < Some(self.told_by.len())
    }

    /// It undoes what was done for a loss that did not come.
    #[must_use]
    pub fn is_undo(&self) -> bool {
        self.key.as_str().ends_with("/undo")
    }

    /// The step of an id.
    #[must_use]
    pub fn step(&self, id: &StepId) -> Option<&StepState> {
        self.steps.iter().find(|state| state.step.id == *id)
    }

    fn step_mut(&mut self, id: &str) -> Option<&mut StepState> {
        self.steps.iter_mut().find(|state| state.step.id.as_str() == id)
    }

    /// It takes the instance away, and is no exercise. What undoes a loss is none, though its
    /// event, read back, has the cause of its type again.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        self.event.cause.is_some() && !self.event.drill && !self.is_undo()
    }

    /// Whether a signal with `key`, seen now, tells of this incident and not of a later one.
    #[must_use]
    pub fn covers(&self, key: &IncidentKey, now: Duration) -> bool {
        let is_over = self.cancelled || now.saturating_sub(self.seen) >= SAME_LOSS;
        self.is_told_by(key) && (self.closed.is_none() || !is_over)
    }

    /// Whether a signal with `key` tells of this incident or of another one of the same kind.
    #[must_use]
    pub fn is_told_by(&self, key: &IncidentKey) -> bool {
        self.keys.iter().any(|own| of_boot(own) == of_boot(key))
    }

    /// Whether all signals of it had one of these causes.
    #[must_use]
    pub fn keys_are_of(&self, causes: &[Cause]) -> bool {
        self.keys.iter().all(|key| {
            let word = key.as_str().split('/').nth(2).unwrap_or_default();
            Cause::of(word).is_some_and(|cause| causes.contains(&cause))
        })
    }

    /// Whether a signal of it may still come and tell nothing new: what the metadata service
    /// shows stands there for long, while an event by hand comes once.
    #[must_use]
    pub fn may_stand(&self, now: Duration) -> bool {
        let by_hand = self.key.as_str().ends_with(&format!("/event/{}", self.event.id));
        !by_hand && now.saturating_sub(self.seen) < SAME_LOSS
    }

    /// What is left before the deadline.
    #[must_use]
    pub fn left(&self, now: Duration) -> Duration {
        self.due.map_or(NO_DEADLINE, |due| due.saturating_sub(now))
    }

    /// Where another notice of it moves the deadline: as far as its time lies before the time
    /// that the first one named. `None` when either names none, or when it is not earlier.
    #[must_use]
    pub fn moved_due(&self, event: &Event) -> Option<Duration> {
        let (first, due) = (self.event.deadline?, self.first_due?);
        let earlier = Duration::try_from(first.duration_since(event.deadline?)).ok()?;
        Some(due.saturating_sub(earlier))
    }

    /// Makes the steps that a killed daemon left running pending again.
    pub fn resume(&mut self) {
        for state in &mut self.steps {
            if state.progress == Progress::Running {
                state.progress = Progress::Pending;
            }
        }
    }

    /// The steps that have not begun.
    #[must_use]
    pub fn pending(&self) -> Vec<Step> {
        let pending = |state: &&StepState| state.progress == Progress::Pending;
        self.steps.iter().filter(pending).map(|state| state.step.clone()).collect()
    }

    /// Whether a step runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.steps.iter().any(|state| state.progress == Progress::Running)
    }

    /// How it ends, once all its steps have.
    #[must_use]
    pub fn ending(&self) -> (Outcome, String) {
        let count = |wanted: &[Ending]| {
            let is = |state: &&StepState| {
                state.outcome().is_some_and(|outcome| wanted.contains(&outcome.kind))
            };
            self.steps.iter().filter(is).count()
        };
        let all = self.steps.len();
        let good = count(&[Ending::Done, Ending::Rehearsed, Ending::NotNeeded]);
        let half = count(&[Ending::Degraded]);
        let (unhandled, unknown) = (count(&[Ending::NotHandled]), count(&[Ending::Unknown]));
        let (dropped, cancelled) = (count(&[Ending::Dropped]), count(&[Ending::Cancelled]));
        if all == 0 {
            return match self.cancelled {
                true => (Outcome::Cancelled, "called off".to_owned()),
                false => (Outcome::Done, "nothing was to be done".to_owned()),
            };
        }
        let outcome = if self.cancelled && good + half + cancelled == all {
            Outcome::Cancelled
        } else if good + unhandled == all && good > 0 {
            Outcome::Done
        } else if good + half == 0 && unknown > 0 {
            Outcome::Unknown
        } else if dropped == all || (dropped > 0 && self.came_too_late()) {
            Outcome::Expired
        } else if good + half == 0 {
            Outcome::Failed
        } else if unknown > 0 && good + half + unknown + unhandled == all {
            Outcome::Unknown
        } else {
            Outcome::Partial
        };
        (outcome, self.summary())
    }

    /// The deadline had passed at the first signal already.
    fn came_too_late(&self) -> bool {
        self.event.action != Some(LossAction::Hibernate)
            && self.due.is_some_and(|due| due <= self.opened_at)
    }

    /// For example `2 done, 1 timed-out`.
    fn summary(&self) -> String {
        let mut words: Vec<(&str, usize)> = Vec::new();
        for outcome in self.steps.iter().filter_map(StepState::outcome) {
            let word = outcome.kind.as_str();
            match words.iter_mut().find(|(known, _)| *known == word) {
                Some((_, count)) => *count += 1,
                None => words.push((word, 1)),
            }
        }
        let words: Vec<String> = words.iter().map(|(word, n)| format!("{n} {word}")).collect();
        words.join(", ")
    }
}

/// A key without its instance: the instance's id may become known only after the first signal,
/// and the boot tells as much.
fn of_boot(key: &IncidentKey) -> &str {
    key.as_str().split_once('/').map_or(key.as_str(), |(_, rest)| rest)
}

/// What an event without a deadline leaves: the time-outs of the handlers bound it.
const NO_DEADLINE: Duration = Duration::from_secs(3600);
