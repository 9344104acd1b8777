//! What comes after: restarts, the end of the daemon, and losses that did not come.

use serde_json::json;
use snooze_event::{Cause, IncidentKey, wire};
use snooze_policy::{StepId, undo_steps};

use super::{Channel, SURVIVED_AFTER, Watch, shutdown_event};
use crate::clock::Now;
use crate::incident::{Incident, Progress};
use crate::record::{Ending, Outcome, Record, StepOutcome, StepRecord};

impl Watch {
    /// Goes on with an incident that an earlier run of the daemon left open.
    pub(super) fn take_up(&mut self, key: &IncidentKey, now: Now) {
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
    pub(super) fn outlive(&mut self, now: Now) {
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

    pub(super) fn is_of_this_boot(&self, incident: &Incident) -> bool {
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

    pub(super) fn stop(&mut self, shutdown: bool, now: Now) {
        self.stopping = Some(shutdown || self.stopping == Some(true));
        let announced = self.incidents.values().any(|known| self.may_still_come(known, now));
        if shutdown && !announced {
            let event = shutdown_event(&self.instance, &self.limits, now);
            self.heard(event, Channel::Own, now);
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
    pub(super) fn may_exit(&self, shutdown: bool) -> bool {
        self.runs.is_empty() && (!shutdown || self.open_keys().is_empty())
    }
}
