//! Steps: what starts next, and what follows when one ended.

use std::time::Duration;

use snooze_event::{IncidentKey, wire};
use snooze_policy::{StepId, handled, next};

use super::{Effect, Start, Watch, after};
use crate::clock::{Now, milliseconds};
use crate::record::{Ending, Record, StepOutcome};

impl Watch {
    /// A pending step will not run. One that a killed daemon had begun may have done its work.
    pub(super) fn give_up(
        &mut self,
        key: &IncidentKey,
        id: &StepId,
        kind: Ending,
        why: &str,
        now: Now,
    ) {
        let state = self.incidents.get(key).and_then(|incident| incident.step(id));
        let outcome = match state.is_some_and(|state| state.attempts > 0) {
            true => StepOutcome::plain(Ending::Unknown, format!("cut, and not run again: {why}")),
            false => StepOutcome::plain(kind, why),
        };
        self.write(key, Record::Ended { step: id.to_string(), outcome }, now);
    }

    pub(super) fn ended(&mut self, run: u64, outcome: StepOutcome, now: Now) {
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
    pub(super) fn advance(&mut self, key: &IncidentKey, now: Now) {
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
        let mut event = incident.event.clone();
        event.instance = event.instance.or_else(|| self.facts.id.clone());
        let event = wire::plugin::write(&event, left, deadline, kind, &incident.key, attempt);
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
}
