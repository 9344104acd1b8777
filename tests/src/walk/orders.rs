//! The queue of actions, and `perform` at its orders.

use std::time::Duration;

use jiff::SignedDuration;
use snooze_functions::order::Order;
use snooze_functions::perform::done::{Did, Verdict, verdict};
use snooze_functions::perform::hooks;
use snooze_functions::perform::taking::{self, Start};
use snooze_policy::ActionName;
use snooze_policy::ledger::{Incident, Task, What};
use snoozed::clock::milliseconds;

use super::cloud::{CALL, Cut, HOOK, LATE, WAY};
use super::moves::Fault;
use super::promises::{Broken, Flaw, Kept, Promise};
use super::world::{Attempt, Happening, World};

/// A message that was not taken from the queue of actions comes again.
const VISIBILITY: u64 = 60_000;
/// How often it does before it goes to the dead-letter queue.
const RECEIVED: u32 = 5;

impl World {
    pub(super) fn push(&mut self, order: &Order, delay: u64) {
        let lost = self.cloud.meets(Fault::LoseOrder);
        let wait = if self.cloud.meets(Fault::LateOrder) { LATE } else { WAY };
        let copies = if self.cloud.meets(Fault::DoubleOrder) { 2 } else { 1 };
        for copy in 0..copies {
            if !lost {
                let text = order.write();
                self.after(delay + wait + copy * 300, Happening::Order { text, tries: 0 });
            }
        }
    }

    /// The queue of actions gives an order to `perform`.
    pub(super) fn order(&mut self, text: String, tries: u32) -> Kept {
        match self.taken(&text, tries) {
            Ok(()) => Ok(()),
            Err(Cut::Broken(broken)) => Err(broken),
            Err(Cut::Again) => {
                self.redeliver(text, tries);
                Ok(())
            }
        }
    }

    fn redeliver(&mut self, text: String, tries: u32) {
        if tries + 1 < RECEIVED {
            self.after(VISIBILITY, Happening::Order { text, tries: tries + 1 });
        }
    }

    fn taken(&mut self, text: &str, tries: u32) -> Result<(), Cut> {
        if !self.cloud.is_up {
            return Err(Cut::Again);
        }
        let Ok(order) = Order::read(text) else { return Ok(()) };
        self.cloud.ledger()?;
        let now = self.aws();
        self.cloud.attempts += 1;
        let id = format!("attempt-{}", self.cloud.attempts);
        let started = self.change(&order.incident, |row| taking::start(row, &order, &id, now))?;
        match started {
            Some(Start::Go) => {
                self.cloud.call("perform")?;
                let Some(incident) = self.cloud.rows.get(&order.incident).cloned() else {
                    return Ok(());
                };
                let attempt = Attempt { id, order, incident, text: text.to_owned(), tries };
                self.after(CALL, Happening::Act(Box::new(attempt)));
            }
            Some(Start::Busy(left)) => {
                let pause = milliseconds(left.saturating_add(Duration::from_secs(1)));
                self.push(&order, pause);
            }
            Some(Start::Over | Start::Late) | None => {}
        }
        Ok(())
    }

    /// An attempt does what it took.
    pub(super) fn act(&mut self, attempt: Attempt) -> Kept {
        let Some(task) = attempt.incident.task(&attempt.order.task).cloned() else {
            return Ok(());
        };
        let now = self.aws();
        let did = self.does(&attempt, &task)?;
        let until = taking::until(&attempt.incident, &attempt.order);
        let most = hooks::patience(&attempt.incident, &task);
        let verdict = verdict(did, task.attempts, &attempt.id, most, now, until);
        if let Err(Cut::Again) = self.cloud.call("perform") {
            self.excuse(&attempt);
            self.redeliver(attempt.text, attempt.tries);
            return Ok(());
        }
        if let Some(delay) = verdict.again {
            let next = taking::next(&attempt.order, &attempt.incident, &verdict, now);
            self.push(&next, milliseconds(delay));
        }
        self.after(CALL, Happening::Finish(Box::new(attempt), Box::new(verdict)));
        Ok(())
    }

    fn excuse(&mut self, attempt: &Attempt) {
        let Order { incident, task, .. } = &attempt.order;
        let effect = self.cloud.effects.entry((incident.clone(), task.clone())).or_default();
        effect.1 += 1;
    }

    pub(super) fn finish(&mut self, attempt: Attempt, verdict: Verdict) -> Kept {
        if self.cloud.meets(Fault::LedgerDown) {
            self.excuse(&attempt);
            if verdict.again.is_none() {
                self.redeliver(attempt.text, attempt.tries);
            }
            return Ok(());
        }
        let now = self.aws();
        let Order { incident, task, .. } = &attempt.order;
        let Verdict { finish, .. } = verdict;
        self.change(incident, |row| row.finish(task, &attempt.id, finish, now)).map(drop)
    }

    /// What an action comes to.
    fn does(&mut self, attempt: &Attempt, task: &Task) -> Result<Did, Broken> {
        let later =
            |error| Did::Later { error, text: "slow down".to_owned(), least: Duration::ZERO };
        let incident = &attempt.incident;
        if task.what == What::Command {
            if incident.ended.is_some() {
                return Ok(Did::Skipped("it is over".to_owned()));
            }
            self.publish(incident)?;
            return Ok(Did::Done(String::new()));
        }
        if self.cloud.meets(Fault::ActThrottled) || !self.cloud.is_up {
            return Ok(later("Unavailable"));
        }
        if self.cloud.meets(Fault::ActDenied) {
            return Ok(Did::Failed { error: "AccessDenied", text: String::new() });
        }
        let is_unanswered = self.cloud.meets(Fault::ActUnanswered);
        let did = match task.action().map(|(name, _)| name) {
            None => self.beat(incident)?,
            Some(ActionName::CompleteLifecycle) => self.complete(incident)?,
            Some(_) => {
                let key = (attempt.order.incident.clone(), attempt.order.task.clone());
                let effect = self.cloud.effects.entry(key).or_default();
                effect.0 += 1;
                if is_unanswered {
                    effect.1 += 1;
                }
                if effect.0 > effect.1 + 1 {
                    let text = format!("`{}` was done {} times", attempt.order.task, effect.0);
                    return Err(self.broken(Promise::OneEnding, text));
                }
                Did::Done("told".to_owned())
            }
        };
        Ok(if is_unanswered { later("Unreachable") } else { did })
    }

    /// As `perform` keeps a hook waiting.
    fn beat(&mut self, incident: &Incident) -> Result<Did, Broken> {
        let Some(hook) = &incident.hook else { return Ok(Did::Skipped(String::new())) };
        let now = self.aws();
        if let Some(why) = hooks::needless(incident, now)
            && self.flaw != Some(Flaw::BeatsForEver)
        {
            return Ok(Did::Done(why.to_owned()));
        }
        let Some(waits) = self.cloud.hooks.get_mut(&hook.token) else {
            return Ok(Did::Done("the hook no longer waited".to_owned()));
        };
        if waits.answer.is_some() || now > waits.until {
            return Ok(Did::Done("the hook no longer waited".to_owned()));
        }
        waits.until = now + HOOK;
        if now > incident.overdue_at() + SignedDuration::from_secs(1) {
            let text = format!("`{}` is held past its deadline", incident.id);
            return Err(self.broken(Promise::Release, text));
        }
        Ok(Did::Beat(hook.beat().min(Duration::from_secs(900))))
    }

    /// As `perform` answers a hook.
    fn complete(&mut self, incident: &Incident) -> Result<Did, Broken> {
        let Some(hook) = &incident.hook else { return Ok(Did::Skipped(String::new())) };
        let Some(ended) = &incident.ended else {
            let text = String::new();
            return Ok(Did::Later { error: "NoOutcome", text, least: Duration::ZERO });
        };
        let well = ended.outcome == "done";
        let now = self.aws();
        let waits = self.cloud.hooks.get_mut(&hook.token);
        let waits = waits.filter(|waits| waits.answer.is_none() && now <= waits.until);
        let Some(waits) = waits else {
            return Ok(Did::Done("the hook no longer waited".to_owned()));
        };
        waits.answer = Some(well);
        Ok(Did::Done(if well { "CONTINUE" } else { "ABANDON" }.to_owned()))
    }
}
