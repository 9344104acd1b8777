//! All that the daemon knows and decides.
//!
//! [`Watch::on`] takes one input and the time, and answers with effects; it does nothing itself
//! and reads no clock. Whatever changes an incident is a record: the effects say that it must be
//! written, and the same record is applied to the incident, here and again after a restart.
//! Records stand before the effects that depend on them, so that whoever carries them out in
//! order, syncing the journal first, never starts a step that a restart would not know of.

mod after;
mod signals;
mod steps;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use snooze_event::{
    BootId, Cause, Event, EventId, EventType, IncidentKey, InstanceId, LossAction, SPOT_NOTICE,
    Severity,
};
use snooze_policy::{Facts, Policy, StepId};

use crate::clock::Now;
use crate::incident::Incident;
use crate::record::{Entry, Record, StepOutcome};

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
    /// A command of the cloud side told of an event.
    Commanded {
        /// The event.
        event: Box<Event>,
        /// The incident in the cloud that the command belongs to.
        by: Option<IncidentKey>,
    },
    /// The bus took the outcome of an incident.
    Reported {
        /// The incident.
        incident: IncidentKey,
        /// How many incidents of the cloud the report named.
        told: usize,
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
            Input::Heard { event, channel } => drop(self.heard(*event, channel, now)),
            Input::Commanded { event, by } => self.commanded(*event, by.as_ref(), now),
            Input::Reported { incident, told } => self.reported(&incident, told, now),
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

    /// The boot of the machine.
    #[must_use]
    pub fn boot(&self) -> &BootId {
        &self.boot
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

    fn open_keys(&self) -> Vec<IncidentKey> {
        let open = self.incidents.values().filter(|incident| incident.closed.is_none());
        open.map(|incident| incident.key.clone()).collect()
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
