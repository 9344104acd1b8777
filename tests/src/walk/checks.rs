//! What is looked at on the instance after each step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use snoozed::clock::milliseconds;
use snoozed::record::{Ending, Entry, Record};
use snoozed::watch::Start;

use super::instance::{Key, RESTART};
use super::policies::{CANARY, FORBIDDEN};
use super::promises::{Kept, Promise};
use super::world::World;

/// The most bytes of a journal.
const LARGEST: usize = 8 << 20;

/// What the walk knows of the records, beside the watch: twenty lines that must agree with it.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) begun: BTreeMap<Key, u32>,
    pub(super) ended: BTreeSet<Key>,
    pub(super) opened: BTreeSet<String>,
    pub(super) closed: BTreeSet<String>,
}

impl World {
    pub(super) fn check_back(&self) -> Kept {
        let Some(daemon) = &self.instance.daemon else { return Ok(()) };
        let late = self.instance.died.is_some_and(|died| self.now > died + 1000);
        let boot = self.instance.boot();
        let idle = daemon.watch.incidents().find(|known| {
            known.closed.is_none()
                && !known.is_running()
                && known.key.as_str().contains(boot.as_str())
        });
        if late || idle.is_some() {
            let idle = idle.map(|known| known.key.to_string());
            return Err(self.broken(
                Promise::BackInASecond,
                format!("killed at {:?}, started only now; idle: {idle:?}", self.instance.died),
            ));
        }
        Ok(())
    }

    pub(super) fn check_start(&self, start: &Start, key: &Key) -> Kept {
        let Some(daemon) = &self.instance.daemon else { return Ok(()) };
        let found = daemon.watch.incidents().find(|known| known.key == start.incident);
        let state = found.and_then(|known| known.step(&start.step));
        let Some((incident, state)) = found.zip(state) else {
            return Err(self.broken(Promise::Authority, format!("{key:?} is of no incident")));
        };
        let step = &state.step;
        if [FORBIDDEN, "never"].contains(&step.plugin.as_str()) {
            return Err(self.broken(Promise::Authority, format!("{key:?} is not allowed")));
        }
        if self.instance.running.values().any(|running| running.key == *key) {
            return Err(self.broken(Promise::OneRun, format!("{key:?} runs already")));
        }
        if self.instance.durable.contains(key) {
            return Err(self.broken(Promise::DoneStaysDone, format!("{key:?} had ended")));
        }
        if state.attempts > 1 && !step.repeatable {
            return Err(self.broken(Promise::UnknownIsSaid, format!("{key:?} is run again")));
        }
        let left = incident.left(self.clocks().boot);
        let usable = left.saturating_sub(step.reserve) + Duration::from_millis(1);
        let is_late = !step.instant && start.budget > usable;
        let budget = milliseconds(start.budget.saturating_add(step.reserve));
        let is_of_spot = key.0.contains("/spot/") && !incident.is_undo() && !step.instant;
        let deadline = self.plain_deadline.filter(|_| is_of_spot);
        let passes = deadline.is_some_and(|deadline| self.now + budget > deadline + 1000);
        if is_late || passes || start.budget > step.timeout {
            let text = format!("{key:?} gets {:?}, {left:?} are left, {deadline:?}", start.budget);
            return Err(self.broken(Promise::Time, text));
        }
        Ok(())
    }

    pub(super) fn check_entry(&mut self, entry: &Entry) -> Kept {
        let book = &self.instance.book;
        let of = |step: &str| (entry.incident.clone(), step.to_owned());
        let is_closed = book.closed.contains(&entry.incident);
        let broken = match &entry.record {
            Record::Opened { .. } => book
                .opened
                .contains(&entry.incident)
                .then_some((Promise::OneEnding, "opened twice")),
            Record::Closed { .. } => is_closed.then_some((Promise::OneEnding, "closed twice")),
            Record::Joined { .. } => is_closed.then_some((Promise::OneEnding, "goes on")),
            Record::Started { step, attempt, .. } => {
                let before = book.begun.get(&of(step)).copied().unwrap_or_default();
                if is_closed || book.ended.contains(&of(step)) {
                    Some((Promise::DoneStaysDone, "starts after its end"))
                } else {
                    (*attempt != before + 1).then_some((Promise::UnknownIsSaid, "wrong attempt"))
                }
            }
            Record::Ended { step, outcome } => {
                let never_ran =
                    [Ending::Dropped, Ending::NotNeeded, Ending::Cancelled, Ending::Rehearsed];
                if is_closed || book.ended.contains(&of(step)) {
                    Some((Promise::OneEnding, "a step ends twice"))
                } else if never_ran.contains(&outcome.kind) && book.begun.contains_key(&of(step)) {
                    Some((Promise::UnknownIsSaid, "was begun, and is said not to"))
                } else {
                    let is_made_up =
                        outcome.kind == Ending::Done && !self.instance.done.contains(&of(step));
                    is_made_up.then_some((Promise::UnknownIsSaid, "done out of thin air"))
                }
            }
            Record::Seen
            | Record::Cancelled
            | Record::Survived
            | Record::Told { .. }
            | Record::Reported { .. } => None,
        };
        if let Record::Opened { .. } = entry.record
            && self.opened.insert(entry.incident.clone())
        {
            self.count.incidents += 1;
        }
        match broken {
            Some((promise, text)) => Err(self.broken(promise, format!("{text}: {entry:?}"))),
            None => Ok(()),
        }
    }

    pub(super) fn check_silence(&self, place: &str, text: &str) -> Kept {
        match text.contains(CANARY) {
            true => Err(self.broken(Promise::Silence, format!("a secret stands in {place}"))),
            false => Ok(()),
        }
    }

    pub(super) fn check_bounds(&self) -> Kept {
        let Some(daemon) = &self.instance.daemon else { return Ok(()) };
        let incidents = daemon.watch.incidents();
        let is_over = |known: &snoozed::incident::Incident| {
            known.told_by.len() > snoozed::incident::TOLD || known.steps.len() > 100
        };
        let (count, over) =
            incidents.fold((0, false), |(count, over), known| (count + 1, over || is_over(known)));
        if over || count > 200 || self.instance.disk.len() > LARGEST {
            let text = format!("{count} incidents, {} bytes", self.instance.disk.len());
            return Err(self.broken(Promise::Bounds, text));
        }
        Ok(())
    }

    pub(super) fn check_quiet(&self) -> Kept {
        if self.instance.taken {
            return Ok(());
        }
        let promise = match self.instance.network && self.cloud.is_up {
            true => Promise::OneEnding,
            false => Promise::NoCloud,
        };
        let Some(daemon) = &self.instance.daemon else {
            return Err(self.broken(Promise::BackInASecond, "it did not come back"));
        };
        let open = daemon.watch.incidents().find(|known| known.closed.is_none());
        match open {
            Some(known) => Err(self.broken(promise, format!("`{}` stays open", known.key))),
            None => Ok(()),
        }
    }

    /// An incident of which the cloud side does not know how it ended.
    pub(super) fn untold(&self) -> Option<String> {
        let daemon = self.instance.daemon.as_ref().filter(|_| !self.instance.taken)?;
        let mut untold = daemon.watch.incidents().filter(|known| known.is_unreported());
        untold.next().map(|known| known.key.to_string())
    }

    /// What is told to the cloud has come there, and a restart brings nothing back.
    pub(super) fn check_told(&mut self) -> Kept {
        if let Some(known) = self.untold() {
            return Err(self.broken(Promise::NoCloud, format!("`{known}` was never told")));
        }
        if self.instance.taken {
            return Ok(());
        }
        let runs = self.count.runs;
        self.kill();
        self.now += RESTART;
        self.start(self.instance.numbers.2)?;
        if self.count.runs != runs && self.flaw.is_none() {
            return Err(self.broken(Promise::DoneStaysDone, "a restart began steps again"));
        }
        Ok(())
    }
}

impl Book {
    pub(super) fn note(&mut self, entry: &Entry) {
        let of = |step: &str| (entry.incident.clone(), step.to_owned());
        match &entry.record {
            Record::Opened { .. } => drop(self.opened.insert(entry.incident.clone())),
            Record::Started { step, attempt, .. } => drop(self.begun.insert(of(step), *attempt)),
            Record::Ended { step, .. } => drop(self.ended.insert(of(step))),
            Record::Closed { .. } => drop(self.closed.insert(entry.incident.clone())),
            Record::Joined { .. }
            | Record::Seen
            | Record::Cancelled
            | Record::Survived
            | Record::Told { .. }
            | Record::Reported { .. } => {}
        }
    }
}
