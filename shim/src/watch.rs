//! All that the daemon knows and decides.
//!
//! [`Watch::on`] takes one input and the time, and answers with effects; it does nothing itself
//! and reads no clock. Whatever changes an incident is a record: the effects say that it must be
//! written, and the same record is applied to the incident, here and again after a restart.
//! Records stand before the effects that depend on them, so that whoever carries them out in
//! order, syncing the journal first, never starts a step that a restart would not know of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_event::{
    BootId, Cause, Event, EventId, EventType, Foreign, Home, IncidentKey, InstanceId, LossAction,
    SPOT_NOTICE, Severity, budget, wire,
};
use snooze_policy::{
    Facts, Policy, Step, StepId, document, handled, next, select, steps, undo_steps,
};

use crate::clock::{Now, milliseconds};
use crate::incident::{Incident, Progress};
use crate::record::{Ending, Entry, Outcome, Record, StepOutcome, StepRecord};

/// A spot event that is older than this is stale: what it told of has happened.
const STALE: Duration = SPOT_NOTICE;
/// An instance that lives this long after the time of a Spot notice was not taken.
const SURVIVED_AFTER: Duration = Duration::from_secs(60);
/// A notice that stands after its incident closed is noted this often, so that a restart of the
/// daemon does not take it for a new one.
const SEEN_EVERY: Duration = Duration::from_secs(300);
/// How many closed incidents are kept.
const KEPT: usize = 100;
/// The smallest change of a deadline that counts; below it clocks disagree.
const EARLIER_BY: Duration = Duration::from_secs(1);

/// What wakes the watch.
#[derive(Debug)]
pub enum Input {
    /// A channel told of an event.
    Heard {
        /// The event.
        event: Box<Event>,
        /// Who told it.
        channel: Channel,
    },
    /// The metadata service no longer shows notices of this cause.
    Gone(Cause),
    /// What is known of the instance.
    Facts(Box<Facts>),
    /// The policies changed.
    Policies(Vec<Policy>),
    /// A step ended.
    Ended {
        /// The run, as [`Effect::Start`] named it.
        run: u64,
        /// How.
        outcome: Box<StepOutcome>,
    },
    /// Time has passed.
    Tick,
    /// The daemon is asked to end.
    Stop {
        /// The whole machine goes down, not only the daemon.
        shutdown: bool,
    },
}

/// Who told an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// The metadata service: what stands there is so at this moment, whatever the clock says.
    Metadata,
    /// The local socket, or another channel that may be late.
    Command,
    /// The daemon itself.
    Own,
}

/// What must be done, in order.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Write it to the journal; sync before the next effect that is no `Write`.
    Write(Entry),
    /// Let a plugin do a step.
    Start(Box<Start>),
    /// A running step has less time than it was told.
    Shorten {
        /// The run.
        run: u64,
        /// What it still has.
        left: Duration,
    },
    /// An event changed nothing.
    Ignored {
        /// Its id.
        event: EventId,
        /// Why.
        why: &'static str,
    },
    /// All is done: end the daemon.
    Exit,
}

impl Effect {
    /// What it has to be written.
    #[must_use]
    pub fn written(&self) -> Option<&Entry> {
        match self {
            Self::Write(entry) => Some(entry),
            Self::Start(_) | Self::Shorten { .. } | Self::Ignored { .. } | Self::Exit => None,
        }
    }
}

/// A step to be done by a plugin.
#[derive(Debug, PartialEq)]
pub struct Start {
    /// Names this run in [`Input::Ended`].
    pub run: u64,
    /// The incident.
    pub incident: IncidentKey,
    /// The step, which is also the name of the plugin's process.
    pub step: StepId,
    /// How long it may take.
    pub budget: Duration,
    /// What it has between TERM and KILL.
    pub grace: Duration,
    /// The event, as the plugin reads it.
    pub event: Value,
}

/// All state of the daemon that is not inside a plugin.
#[derive(Debug)]
pub struct Watch {
    instance: InstanceId,
    boot: BootId,
    facts: Facts,
    policies: Vec<Policy>,
    limits: Limits,
    incidents: BTreeMap<IncidentKey, Incident>,
    runs: BTreeMap<u64, (IncidentKey, StepId)>,
    next_run: u64,
    ignored: u64,
    last_ignored: Option<(EventId, &'static str)>,
    stopping: Option<bool>,
    effects: Vec<Effect>,
}

/// Times that the settings give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long before a maintenance window its handlers run.
    pub maintenance_lead: Duration,
    /// What an Auto Scaling termination leaves, since the metadata service does not say.
    pub lifecycle_budget: Duration,
    /// What a shutdown without a notice leaves.
    pub shutdown_budget: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            maintenance_lead: Duration::from_secs(600),
            lifecycle_budget: Duration::from_secs(120),
            shutdown_budget: Duration::from_secs(60),
        }
    }
}

impl Watch {
    /// A watch that knows of nothing.
    #[must_use]
    pub fn new(facts: Facts, boot: BootId, limits: Limits) -> Self {
        Self {
            instance: facts.id.clone().unwrap_or_else(unknown_instance),
            facts,
            boot,
            policies: Vec::new(),
            limits,
            incidents: BTreeMap::new(),
            runs: BTreeMap::new(),
            next_run: 1,
            ignored: 0,
            last_ignored: None,
            stopping: None,
            effects: Vec::new(),
        }
    }

    /// Takes up what an earlier run of the daemon left in its journal, and says what follows.
    ///
    /// Steps that ended stay ended. A step that was cut is run again when it is repeatable and
    /// there is time, else it is unknown. What another boot left open is closed.
    pub fn restore(&mut self, entries: &[Entry], now: Now) -> Vec<Effect> {
        for entry in entries {
            match self.incidents.get_mut(&entry.key()) {
                Some(incident) => incident.apply(entry),
                None => {
                    if let Some(mut incident) = Incident::open(entry) {
                        if entry.boot != self.boot.as_str() {
                            incident.seen = Duration::ZERO;
                        }
                        self.incidents.insert(incident.key.clone(), incident);
                    }
                }
            }
        }
        for key in self.open_keys() {
            self.take_up(&key, now);
        }
        self.prune(now);
        std::mem::take(&mut self.effects)
    }

    /// Decides what follows from one input.
    pub fn on(&mut self, input: Input, now: Now) -> Vec<Effect> {
        match input {
            Input::Heard { event, channel } => self.heard(*event, channel, now),
            Input::Gone(cause) => self.gone(cause, now),
            Input::Facts(facts) => self.learn(*facts, now),
            Input::Policies(policies) => self.policies = policies,
            Input::Ended { run, outcome } => self.ended(run, *outcome, now),
            Input::Tick => {}
            Input::Stop { shutdown } => self.stop(shutdown, now),
        }
        for key in self.open_keys() {
            self.advance(&key, now);
        }
        self.outlive(now);
        self.prune(now);
        if self.stopping.is_some_and(|shutdown| self.may_exit(shutdown)) {
            self.effects.push(Effect::Exit);
        }
        std::mem::take(&mut self.effects)
    }

    /// When the next `Tick` is due at the latest: the earliest deadline of an open incident that
    /// has not passed.
    #[must_use]
    pub fn wake(&self, now: Now) -> Option<Duration> {
        let open = self.incidents.values().filter(|incident| incident.closed.is_none());
        open.filter_map(|incident| incident.due?.checked_sub(now.boot)).min()
    }

    /// All incidents, open and closed.
    pub fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.values()
    }

    /// The policies in force.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// What is known of the instance.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// How many events changed nothing, being stale, cancelled or of another instance.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// The smallest journal that tells all that is known: of what stands, only the last look.
    #[must_use]
    pub fn compact(&self, entries: Vec<Entry>) -> Vec<Entry> {
        let looks = entries.iter().enumerate().filter(|(_, entry)| entry.record == Record::Seen);
        let last: BTreeMap<String, usize> =
            looks.map(|(index, entry)| (entry.incident.clone(), index)).collect();
        let is_needed = |index: usize, entry: &Entry| {
            self.incidents.contains_key(&entry.key())
                && (entry.record != Record::Seen || last.get(&entry.incident) == Some(&index))
        };
        let numbered = entries.into_iter().enumerate();
        numbered.filter(|(index, entry)| is_needed(*index, entry)).map(|(_, entry)| entry).collect()
    }

    fn heard(&mut self, event: Event, channel: Channel, now: Now) {
        if let Some(why) = self.not_ours(&event) {
            return self.ignore(event.id, why);
        }
        let key = self.key_of(&event, channel);
        if event.cancelled {
            return self.called_off(event, &key, now);
        }
        let covering = self.incidents.values().find(|known| known.covers(&key, now.boot));
        let known = covering.map(|incident| incident.key.clone());
        if event.cause == Some(Cause::Maintenance) && self.is_far(&event, now) {
            return;
        }
        if let Some(known) = known {
            return self.again(&known, &key, &event, now);
        }
        let left = self.left(&event, channel, now);
        let stale = channel != Channel::Metadata
            && event.cause == Some(Cause::Spot)
            && age(&event, now) > STALE;
        if stale {
            return self.open_stale(&event, now);
        }
        let open_loss = self.open_loss();
        if event.drill && open_loss.is_some() {
            return self.ignore(event.id, "a drill while a loss goes on");
        }
        match open_loss.filter(|_| event.cause.is_some()) {
            Some(open) => self.join(&open, &key, &event, left, now),
            None => self.open(key, &event, left, now),
        }
    }

    /// Records an event that came too late to act on. Its key is its own, so that it is never
    /// taken for a loss that is still to come.
    fn open_stale(&mut self, event: &Event, now: Now) {
        let key = IncidentKey::of_event(&self.instance, &self.boot, &event.id);
        if self.incidents.contains_key(&key) {
            return;
        }
        let event = wire::cloudevents::write(event, Some(&key));
        let due_ms = Some(now.clock_ms());
        self.write(&key, Record::Opened { event, due_ms, steps: Vec::new() }, now);
        let text = "the event came too late to act on".to_owned();
        self.write(&key, Record::Closed { outcome: Outcome::Expired, text }, now);
    }

    /// A loss that has another cause, too, goes on.
    fn called_off(&mut self, event: Event, key: &IncidentKey, now: Now) {
        let told = self.incidents.values().filter(|known| known.is_told_by(key));
        let Some(known) = told.max_by_key(|known| (known.closed.is_none(), known.seen)) else {
            return self.ignore(event.id, "called off before it began");
        };
        match event.cause.is_some_and(|cause| known.keys_are_of(&[cause])) {
            true => self.cancel(&known.key.clone(), now),
            false => self.ignore(event.id, "called off, but the loss has another cause, too"),
        }
    }

    fn not_ours(&self, event: &Event) -> Option<&'static str> {
        let home = Home {
            account: self.facts.account.as_deref(),
            region: self.facts.region.as_deref(),
            instance: self.facts.id.as_ref(),
        };
        match event.foreign(&home) {
            Some(Foreign::Account) => Some("from another account"),
            Some(Foreign::Region) => Some("from another Region"),
            Some(Foreign::Instance) => Some("about another instance"),
            None => event.replay.as_ref().map(|_| "a replay from an archive"),
        }
    }

    fn ignore(&mut self, event: EventId, why: &'static str) {
        let ignored = Some((event.clone(), why));
        // What stands in the metadata service is told at every poll.
        if self.last_ignored != ignored {
            self.last_ignored = ignored;
            self.ignored = self.ignored.saturating_add(1);
            self.effects.push(Effect::Ignored { event, why });
        }
    }

    /// A drill, and an event that takes nothing away, is its own incident; what the metadata
    /// service shows for as long as it lasts is one for as long.
    fn key_of(&self, event: &Event, channel: Channel) -> IncidentKey {
        let of_event = |id| IncidentKey::of_event(&self.instance, &self.boot, id);
        match (&event.cause, &event.action) {
            (Some(cause), Some(action)) if !event.drill => {
                IncidentKey::of_loss(&self.instance, &self.boot, *cause, action)
            }
            _ if event.drill => of_event(&event.id),
            _ if channel == Channel::Metadata || event.kind == EventType::SpotRebalance => {
                let state = event
                    .data
                    .get("targetLifecycleState")
                    .and_then(Value::as_str)
                    .unwrap_or("seen");
                let id = format!("{}:{state}", event.kind).parse();
                of_event(id.as_ref().unwrap_or(&event.id))
            }
            _ => of_event(&event.id),
        }
    }

    fn is_far(&self, event: &Event, now: Now) -> bool {
        event.deadline.is_some_and(|deadline| {
            Duration::try_from(deadline.duration_since(now.wall))
                .is_ok_and(|left| left > self.limits.maintenance_lead)
        })
    }

    /// What an event leaves; `None` when it takes nothing away and sets no deadline.
    fn left(&self, event: &Event, channel: Channel, now: Now) -> Option<Duration> {
        let to_deadline = event.deadline.map(|deadline| {
            Duration::try_from(deadline.duration_since(now.wall)).unwrap_or_default()
        });
        let (Some(cause), Some(action)) = (event.cause, &event.action) else {
            return to_deadline;
        };
        if cause == Cause::Lifecycle && event.deadline.is_none() {
            return Some(self.limits.lifecycle_budget);
        }
        let longest = budget(cause, action, event.deadline, now.wall);
        Some(match (channel, to_deadline) {
            (Channel::Command, Some(left)) => left.min(longest),
            (Channel::Metadata | Channel::Own, _) | (Channel::Command, None) => longest,
        })
    }

    fn open(&mut self, signal: IncidentKey, event: &Event, left: Option<Duration>, now: Now) {
        let key = self.unused(signal.clone());
        let steps = self.steps_of(event, steps);
        if event.cause.is_some() && !event.drill {
            self.end_drills(now);
        }
        let due_ms = left.map(|left| milliseconds(now.boot.saturating_add(left)));
        let record = Record::Opened {
            event: wire::cloudevents::write(event, Some(&key)),
            due_ms,
            steps: steps.iter().map(StepRecord::of).collect(),
        };
        self.write(&key, record, now);
        if key != signal {
            // The next signal has no number: it has to find this incident.
            let joined = Record::Joined { key: signal.to_string(), due_ms, steps: Vec::new() };
            self.write(&key, joined, now);
        }
        if event.cause.is_some() && !event.drill {
            // A daemon that only restarts leaves its plans to the next one; a loss cannot wait.
            self.stopping = self.stopping.map(|_| true);
            self.spare_what_was_done(&key, now);
        }
    }

    /// A step that ended well for another signal of what is still to come is not done again,
    /// unless that does no harm: since then, data may have changed.
    fn spare_what_was_done(&mut self, key: &IncidentKey, now: Now) {
        let earlier = self.incidents.values().filter(|known| {
            let still_to_come = known.due.is_some_and(|due| now.boot <= due + SURVIVED_AFTER);
            known.is_loss()
                && known.closed.is_some()
                && !known.survived
                && !known.cancelled
                && still_to_come
                && self.is_of_this_boot(known)
        });
        let done = earlier.flat_map(|known| {
            let good = known.steps.iter().filter(|state| {
                !state.step.repeatable
                    && state.outcome().is_some_and(|outcome| outcome.kind == Ending::Done)
            });
            good.map(|state| (state.step.id.clone(), known.key.clone()))
        });
        let done: BTreeMap<StepId, IncidentKey> = done.collect();
        let pending = self.incidents.get(key).map(Incident::pending).unwrap_or_default();
        for step in pending {
            let Some(by) = done.get(&step.id) else { continue };
            let outcome = StepOutcome::plain(Ending::NotNeeded, format!("done in `{by}`"));
            self.write(key, Record::Ended { step: step.id.to_string(), outcome }, now);
        }
    }

    /// A key that no incident has: a second loss of the same kind gets a number.
    fn unused(&self, key: IncidentKey) -> IncidentKey {
        let numbered = (2..).map(|n: u32| IncidentKey::stored(&format!("{key}/{n}")));
        let mut keys = std::iter::once(key.clone()).chain(numbered);
        keys.find(|key| !self.incidents.contains_key(key)).unwrap_or(key)
    }

    fn steps_of(&self, event: &Event, wanted: fn(&[&Policy], &Event) -> Vec<Step>) -> Vec<Step> {
        let document = document(event, &self.facts);
        wanted(&select(&self.policies, &document), event)
    }

    /// An exercise gives way to the real thing.
    fn end_drills(&mut self, now: Now) {
        let open: Vec<IncidentKey> = self.open_keys();
        for key in open {
            if self.incidents.get(&key).is_some_and(|incident| incident.event.drill) {
                self.cancel(&key, now);
                self.shorten(&key, Duration::ZERO);
            }
        }
    }

    /// A signal of an incident that is known. Its deadline was fixed on the boot clock at first
    /// sight; only a notice that itself names an earlier time moves it, never our own clock.
    fn again(&mut self, known: &IncidentKey, key: &IncidentKey, event: &Event, now: Now) {
        let Some(incident) = self.incidents.get_mut(known) else { return };
        if incident.closed.is_some() {
            let unnoted = now.boot.saturating_sub(incident.seen);
            if unnoted >= SEEN_EVERY {
                self.write(known, Record::Seen, now);
            }
            return;
        }
        incident.seen = now.boot;
        let (Some(due), Some(moved)) = (incident.due, incident.moved_due(event)) else { return };
        if moved + EARLIER_BY < due {
            self.join(known, key, event, Some(moved.saturating_sub(now.boot)), now);
        }
    }

    /// What is known of the instance. A notice that came before it chose among the policies
    /// without it, and those that ask for the instance are added.
    fn learn(&mut self, facts: Facts, now: Now) {
        let is_first = self.facts.id.is_none();
        self.instance = facts.id.clone().unwrap_or_else(unknown_instance);
        self.facts = facts;
        if !is_first {
            return;
        }
        let goes_on = |known: &&Incident| {
            let has_time = known.due.is_none_or(|due| due > now.boot);
            known.is_loss() && !known.cancelled && !known.survived && has_time
        };
        let losses = self.incidents.values().filter(goes_on);
        let losses: Vec<Incident> =
            losses.filter(|known| self.is_of_this_boot(known)).cloned().collect();
        let mut chosen: BTreeSet<StepId> = losses
            .iter()
            .flat_map(|known| known.steps.iter().map(|state| state.step.id.clone()))
            .collect();
        for known in losses {
            let more = self.steps_of(&known.event, steps);
            let more = more.iter().filter(|step| chosen.insert(step.id.clone()));
            let steps: Vec<StepRecord> = more.map(StepRecord::of).collect();
            if steps.is_empty() {
                continue;
            }
            let due_ms = known.due.map(milliseconds);
            if known.closed.is_none() {
                let key = known.key.to_string();
                self.write(&known.key, Record::Joined { key, due_ms, steps }, now);
                continue;
            }
            let key = self.unused(known.key.clone());
            let event = wire::cloudevents::write(&known.event, Some(&key));
            self.write(&key, Record::Opened { event, due_ms, steps }, now);
        }
    }

    /// Another signal of the loss that is open: the earlier deadline counts, and policies that
    /// only it wakes add their steps.
    fn join(
        &mut self,
        open: &IncidentKey,
        key: &IncidentKey,
        event: &Event,
        left: Option<Duration>,
        now: Now,
    ) {
        let more = self.steps_of(event, steps);
        let Some(incident) = self.incidents.get(open) else { return };
        let due = left.map(|left| now.boot.saturating_add(left));
        let due = [due, incident.due].into_iter().flatten().min();
        let is_new = |step: &&Step| incident.step(&step.id).is_none();
        let steps = more.iter().filter(is_new).map(StepRecord::of).collect();
        let due_ms = due.map(milliseconds);
        self.write(open, Record::Joined { key: key.to_string(), due_ms, steps }, now);
        if let Some(due) = due {
            self.shorten(open, due.saturating_sub(now.boot));
        }
    }

    /// Tells what runs for an incident how much is left for it before its policy's reserve.
    fn shorten(&mut self, key: &IncidentKey, left: Duration) {
        let Some(incident) = self.incidents.get(key) else { return };
        for (run, (_, step)) in self.runs.iter().filter(|(_, (owner, _))| owner == key) {
            let reserve = incident.step(step).map(|state| state.step.reserve).unwrap_or_default();
            let left = left.saturating_sub(reserve);
            self.effects.push(Effect::Shorten { run: *run, left });
        }
    }

    fn cancel(&mut self, key: &IncidentKey, now: Now) {
        let Some(incident) = self.incidents.get(key) else { return };
        if incident.cancelled || incident.survived || !self.is_of_this_boot(incident) {
            return;
        }
        let pending = incident.pending();
        self.write(key, Record::Cancelled, now);
        for step in pending {
            self.give_up(key, &step.id, Ending::Cancelled, "called off before it began", now);
        }
    }

    /// A pending step will not run. One that a killed daemon had begun may have done its work.
    fn give_up(&mut self, key: &IncidentKey, id: &StepId, kind: Ending, why: &str, now: Now) {
        let state = self.incidents.get(key).and_then(|incident| incident.step(id));
        let outcome = match state.is_some_and(|state| state.attempts > 0) {
            true => StepOutcome::plain(Ending::Unknown, format!("cut, and not run again: {why}")),
            false => StepOutcome::plain(kind, why),
        };
        self.write(key, Record::Ended { step: id.to_string(), outcome }, now);
    }

    /// A notice that disappears may come again: a plan to save data goes on. Only maintenance,
    /// which is announced long before, was called off. What stood for a loss whose handlers have
    /// run, and is gone, did not come; for a Spot notice time alone tells.
    fn gone(&mut self, cause: Cause, now: Now) {
        let is_off = |known: &&Incident| match cause {
            Cause::Spot | Cause::StateChange => false,
            Cause::Lifecycle => known.closed.is_some(),
            Cause::Maintenance => true,
        };
        let only =
            self.incidents.values().filter(|known| known.is_loss() && known.keys_are_of(&[cause]));
        let keys: Vec<IncidentKey> = only.filter(is_off).map(|known| known.key.clone()).collect();
        for key in keys {
            self.cancel(&key, now);
        }
    }

    fn ended(&mut self, run: u64, outcome: StepOutcome, now: Now) {
        let Some((key, step)) = self.runs.remove(&run) else { return };
        let done = outcome.kind == Ending::Done;
        self.write(&key, Record::Ended { step: step.to_string(), outcome }, now);
        let Some(incident) = self.incidents.get(&key) else { return };
        let Some(by) = incident.step(&step).filter(|_| done) else { return };
        for (later, why) in handled(&incident.pending(), &by.step) {
            self.give_up(&key, &later, Ending::NotNeeded, &why.to_string(), now);
        }
    }

    /// Starts what is next, drops what no longer fits, and closes what is through.
    fn advance(&mut self, key: &IncidentKey, now: Now) {
        while let Some(incident) = self.incidents.get(key) {
            if incident.closed.is_some() || incident.is_running() {
                return;
            }
            let pending = incident.pending();
            if pending.is_empty() {
                let (outcome, text) = incident.ending();
                return self.write(key, Record::Closed { outcome, text }, now);
            }
            if self.stopping == Some(false) {
                return;
            }
            let left = incident.left(now.boot);
            let turn = next(&pending, left);
            for (step, why) in turn.drop {
                self.give_up(key, &step, Ending::Dropped, &why.to_string(), now);
            }
            for (step, budget) in turn.start {
                self.start(key, &step, budget, left, now);
            }
        }
    }

    fn start(
        &mut self,
        key: &IncidentKey,
        id: &StepId,
        budget: Duration,
        left: Duration,
        now: Now,
    ) {
        let Some(incident) = self.incidents.get(key) else { return };
        let Some(state) = incident.step(id) else { return };
        if state.step.rehearse {
            let outcome = StepOutcome::plain(Ending::Rehearsed, "would have run");
            return self.write(key, Record::Ended { step: id.to_string(), outcome }, now);
        }
        let attempt = state.attempts + 1;
        let deadline = incident.due.map(|_| after(now.wall, left));
        let kind = self.facts.kind.as_deref();
        let event =
            wire::plugin::write(&incident.event, left, deadline, kind, &incident.key, attempt);
        let run = self.next_run;
        self.next_run += 1;
        self.runs.insert(run, (key.clone(), id.clone()));
        let record =
            Record::Started { step: id.to_string(), attempt, budget_ms: milliseconds(budget) };
        self.write(key, record, now);
        self.effects.push(Effect::Start(Box::new(Start {
            run,
            incident: key.clone(),
            step: id.clone(),
            budget,
            grace: (left / 10).min(Duration::from_secs(5)),
            event,
        })));
    }

    /// Writes a record and lives by it.
    fn write(&mut self, key: &IncidentKey, record: Record, now: Now) {
        let entry = Entry {
            at: now.wall,
            clock_ms: now.clock_ms(),
            boot: self.boot.to_string(),
            incident: key.to_string(),
            record,
        };
        match self.incidents.get_mut(key) {
            Some(incident) => incident.apply(&entry),
            None => {
                if let Some(incident) = Incident::open(&entry) {
                    self.incidents.insert(key.clone(), incident);
                }
            }
        }
        self.effects.push(Effect::Write(entry));
    }

    /// Goes on with an incident that an earlier run of the daemon left open.
    fn take_up(&mut self, key: &IncidentKey, now: Now) {
        let Some(incident) = self.incidents.get(key) else { return };
        let rebooted = !self.is_of_this_boot(incident);
        let (left, called_off) = (incident.left(now.boot), incident.cancelled);
        let unfinished: Vec<(StepId, bool, bool)> = incident
            .steps
            .iter()
            .filter(|state| state.outcome().is_none())
            .map(|state| {
                let cut = state.progress == Progress::Running;
                let fits = left.saturating_sub(state.step.reserve) >= state.step.minimum;
                (state.step.id.clone(), cut, state.step.repeatable && fits && !called_off)
            })
            .collect();
        for (step, cut, again) in unfinished {
            let outcome = match (rebooted, cut) {
                (true, true) => StepOutcome::plain(Ending::Unknown, "cut by a reboot"),
                (true, false) => StepOutcome::plain(Ending::Dropped, "cut by a reboot"),
                (false, true) if !again => {
                    StepOutcome::plain(Ending::Unknown, "cut when the daemon was killed")
                }
                (false, true | false) => continue,
            };
            self.write(key, Record::Ended { step: step.to_string(), outcome }, now);
        }
        if rebooted {
            let text = "cut by a reboot".to_owned();
            return self.write(key, Record::Closed { outcome: Outcome::Unknown, text }, now);
        }
        if let Some(incident) = self.incidents.get_mut(key) {
            incident.resume();
        }
    }

    /// What was announced, and did not come true.
    fn outlive(&mut self, now: Now) {
        let outlived = |incident: &&Incident| {
            let past = incident.due.is_some_and(|due| now.boot > due + SURVIVED_AFTER);
            let called_off = incident.cancelled;
            let by_time = incident.keys_are_of(&[Cause::Spot, Cause::StateChange]);
            incident.is_loss()
                && incident.closed.is_some()
                && !incident.survived
                && self.is_of_this_boot(incident)
                && (called_off || (by_time && past))
        };
        let keys: Vec<IncidentKey> =
            self.incidents.values().filter(outlived).map(|known| known.key.clone()).collect();
        for key in keys {
            self.write(&key, Record::Survived, now);
            self.undo(&key, now);
        }
    }

    fn is_of_this_boot(&self, incident: &Incident) -> bool {
        incident.key.as_str().split('/').nth(1) == Some(self.boot.as_str())
    }

    fn undo(&mut self, key: &IncidentKey, now: Now) {
        let Some(incident) = self.incidents.get(key) else { return };
        let is_expired =
            incident.closed.as_ref().is_some_and(|closed| closed.outcome == Outcome::Expired);
        if is_expired && incident.steps.iter().all(|state| state.attempts == 0) {
            return;
        }
        let mut event = incident.event.clone();
        let undo = IncidentKey::stored(&format!("{key}/undo"));
        event.data.insert("phase".to_owned(), json!("undo"));
        let steps = self.steps_of(&event, undo_steps);
        if steps.is_empty() || self.incidents.contains_key(&undo) {
            return;
        }
        // What undoes takes nothing away: it has no deadline, and no further loss joins it.
        event.cause = None;
        event.action = None;
        event.deadline = None;
        let record = Record::Opened {
            event: wire::cloudevents::write(&event, Some(&undo)),
            due_ms: None,
            steps: steps.iter().map(StepRecord::of).collect(),
        };
        self.write(&undo, record, now);
        self.advance(&undo, now);
    }

    fn stop(&mut self, shutdown: bool, now: Now) {
        self.stopping = Some(shutdown || self.stopping == Some(true));
        let announced = self.incidents.values().any(|known| self.may_still_come(known, now));
        if shutdown && !announced {
            self.heard(shutdown_event(&self.instance, &self.limits, now), Channel::Own, now);
        }
    }

    /// Whether a shutdown now may be this loss, for which all was done that could be.
    fn may_still_come(&self, known: &Incident, now: Now) -> bool {
        let is_due = known.due.is_some_and(|due| now.boot <= due + SURVIVED_AFTER);
        let outcome = known.closed.as_ref().map(|closed| closed.outcome);
        known.is_loss()
            && !known.survived
            && self.is_of_this_boot(known)
            && outcome != Some(Outcome::Expired)
            && (outcome.is_none() || is_due || known.may_stand(now.boot))
    }

    /// Running steps end first. When the machine goes down the plan is carried out whole; when
    /// only the daemon is stopped, the next one goes on with what has not begun.
    fn may_exit(&self, shutdown: bool) -> bool {
        self.runs.is_empty() && (!shutdown || self.open_keys().is_empty())
    }

    fn open_keys(&self) -> Vec<IncidentKey> {
        let open = self.incidents.values().filter(|incident| incident.closed.is_none());
        open.map(|incident| incident.key.clone()).collect()
    }

    fn open_loss(&self) -> Option<IncidentKey> {
        let mut open = self.incidents.values();
        open.find(|known| known.closed.is_none() && known.is_loss()).map(|known| known.key.clone())
    }

    /// Forgets the closed incidents that were seen first, so that what is kept has a bound. What
    /// may still be signalled is kept, else the next signal of it would be a new loss.
    fn prune(&mut self, now: Now) {
        if self.incidents.len() <= KEPT {
            return;
        }
        let closed = self.incidents.values().filter(|known| known.closed.is_some());
        let excess = closed.clone().count().saturating_sub(KEPT);
        let mut done: Vec<(bool, Duration, IncidentKey)> = closed
            .map(|known| (self.is_of_this_boot(known), known))
            .filter(|(current, known)| !(*current && known.may_stand(now.boot)))
            .map(|(current, known)| (current, known.seen, known.key.clone()))
            .collect();
        done.sort();
        for (_, _, key) in done.into_iter().take(excess) {
            self.incidents.remove(&key);
        }
    }
}

/// Stands in keys until the metadata service has told the instance's id.
fn unknown_instance() -> InstanceId {
    "i-00000000".parse().unwrap_or_else(|_| unreachable!("the text has the form of an id"))
}

fn age(event: &Event, now: Now) -> Duration {
    Duration::try_from(now.wall.duration_since(event.time)).unwrap_or_default()
}

fn after(wall: Timestamp, left: Duration) -> Timestamp {
    wall.checked_add(left).unwrap_or(Timestamp::MAX)
}

/// The machine goes down and nobody said why.
fn shutdown_event(instance: &InstanceId, limits: &Limits, now: Now) -> Event {
    let id = format!("shutdown-{}", now.clock_ms());
    let id = id.parse().unwrap_or_else(|_| unreachable!("digits and letters make an event id"));
    Event {
        severity: Severity::Critical,
        instance: Some(instance.clone()),
        deadline: Some(after(now.wall, limits.shutdown_budget)),
        cause: Some(Cause::StateChange),
        action: Some(LossAction::Stop),
        ..Event::new(EventType::InstanceTermination, "systemd", now.wall, id)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;
