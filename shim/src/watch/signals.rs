//! Signals: what they belong to, and what they change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use snooze_event::{Cause, Event, EventId, EventType, Foreign, Home, IncidentKey, budget, wire};
use snooze_policy::{Facts, Policy, Step, StepId, document, select, steps};

use super::{
    Channel, EARLIER_BY, Effect, SEEN_EVERY, STALE, SURVIVED_AFTER, Watch, age, unknown_instance,
};
use crate::clock::{Now, milliseconds};
use crate::incident::{Incident, TOLD};
use crate::record::{Ending, Outcome, Record, StepOutcome, StepRecord};

impl Watch {
    /// An event of the cloud side. Its incident there learns how ours ends, be it that ours is
    /// closed already.
    pub(super) fn commanded(&mut self, event: Event, by: Option<&IncidentKey>, now: Now) {
        let known = self.heard(event, Channel::Command, now);
        let Some((key, by)) = known.zip(by) else { return };
        let told_by = self.incidents.get(&key).map(|known| &known.told_by);
        if told_by.is_some_and(|told| told.len() < TOLD && !told.contains(by.as_str())) {
            self.write(&key, Record::Told { by: by.to_string() }, now);
        }
    }

    pub(super) fn reported(&mut self, key: &IncidentKey, told: usize, now: Now) {
        let known = self.incidents.get(key);
        if known.is_some_and(|known| known.closed.is_some() && known.reported < Some(told)) {
            self.write(key, Record::Reported { told }, now);
        }
    }

    /// Takes an event in; answers with the incident that it belongs to, if it does to one.
    pub(super) fn heard(
        &mut self,
        event: Event,
        channel: Channel,
        now: Now,
    ) -> Option<IncidentKey> {
        if let Some(why) = self.not_ours(&event) {
            self.ignore(event.id, why);
            return None;
        }
        let key = self.key_of(&event, channel);
        if event.cancelled {
            return self.called_off(event, &key, now);
        }
        let covering = self.incidents.values().filter(|known| known.covers(&key, now.boot));
        // Of those that tell of the same loss, the one that goes on.
        let covering = covering.min_by_key(|known| known.closed.is_some());
        let known = covering.map(|incident| incident.key.clone());
        if event.cause == Some(Cause::Maintenance) && self.is_far(&event, now) {
            return None;
        }
        if let Some(known) = known {
            self.again(&known, &key, &event, now);
            return Some(known);
        }
        let left = self.left(&event, channel, now);
        let stale = channel != Channel::Metadata
            && event.cause == Some(Cause::Spot)
            && age(&event, now) > STALE;
        if stale {
            return Some(self.open_stale(&event, now));
        }
        let open_loss = self.open_loss();
        if event.drill && open_loss.is_some() {
            self.ignore(event.id, "a drill while a loss goes on");
            return None;
        }
        match open_loss.filter(|_| event.cause.is_some()) {
            Some(open) => {
                self.join(&open, &key, &event, left, now);
                Some(open)
            }
            None => Some(self.open(key, &event, left, now)),
        }
    }

    /// Records an event that came too late to act on. Its key is its own, so that it is never
    /// taken for a loss that is still to come.
    fn open_stale(&mut self, event: &Event, now: Now) -> IncidentKey {
        let key = IncidentKey::of_event(&self.instance, &self.boot, &event.id);
        if self.incidents.contains_key(&key) {
            return key;
        }
        let event = wire::cloudevents::write(event, Some(&key));
        let due_ms = Some(now.clock_ms());
        self.write(&key, Record::Opened { event, due_ms, steps: Vec::new() }, now);
        let text = "the event came too late to act on".to_owned();
        self.write(&key, Record::Closed { outcome: Outcome::Expired, text }, now);
        key
    }

    /// A loss that has another cause, too, goes on.
    fn called_off(&mut self, event: Event, key: &IncidentKey, now: Now) -> Option<IncidentKey> {
        let told = self.incidents.values().filter(|known| known.is_told_by(key));
        let Some(known) = told.max_by_key(|known| (known.closed.is_none(), known.seen)) else {
            self.ignore(event.id, "called off before it began");
            return None;
        };
        let known_key = known.key.clone();
        match event.cause.is_some_and(|cause| known.keys_are_of(&[cause])) {
            true => self.cancel(&known_key, now),
            false => self.ignore(event.id, "called off, but the loss has another cause, too"),
        }
        Some(known_key)
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

    fn open(
        &mut self,
        signal: IncidentKey,
        event: &Event,
        left: Option<Duration>,
        now: Now,
    ) -> IncidentKey {
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
        key
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

    /// Whether a policy has handlers for an event.
    #[must_use]
    pub fn is_handled(&self, event: &Event) -> bool {
        !self.steps_of(event, steps).is_empty()
    }

    pub(super) fn steps_of(
        &self,
        event: &Event,
        wanted: fn(&[&Policy], &Event) -> Vec<Step>,
    ) -> Vec<Step> {
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
    pub(super) fn learn(&mut self, facts: Facts, now: Now) {
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
            // The next signal has no number: it has to find this incident.
            let joined = Record::Joined { key: known.key.to_string(), due_ms, steps: Vec::new() };
            self.write(&key, joined, now);
            // The outcome that counts is the one to come: the cloud takes the first for final.
            for by in &known.told_by {
                self.write(&key, Record::Told { by: by.clone() }, now);
            }
            self.reported(&known.key, known.told_by.len(), now);
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

    pub(super) fn cancel(&mut self, key: &IncidentKey, now: Now) {
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

    /// A notice that disappears may come again: a plan to save data goes on. Only maintenance,
    /// which is announced long before, was called off. What stood for a loss whose handlers have
    /// run, and is gone, did not come; for a Spot notice time alone tells.
    pub(super) fn gone(&mut self, cause: Cause, now: Now) {
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

    fn open_loss(&self) -> Option<IncidentKey> {
        let mut open = self.incidents.values();
        open.find(|known| known.closed.is_none() && known.is_loss()).map(|known| known.key.clone())
    }
}
