//! One event: handed over, answered, judged.

use std::sync::PoisonError;
use std::time::Duration;

use serde_json::{Map, Value};
use snooze_plugin::Handled;
use snooze_plugin::wire::{Answer, Method, covers};
use tokio::time::Instant;

use super::attendant::{Attendant, Next, Pending};
use super::exchange::{Said, Trouble, ending_text, judge};
use super::process::{Ending, Heard, Process};
use super::{Outcome, PluginState, Report, StepOutcome};

/// How long after its answer a plugin must still be alive for the answer to count: one that
/// answers and then fails has not done its step. It is asked, so this is a bound, not a wait.
const CONFIRM: Duration = Duration::from_millis(250);

impl Attendant {
    /// Hands an event over and waits for the answer; returns the process if it can go on.
    pub(super) async fn run(&mut self, mut process: Process, pending: Pending) -> Option<Process> {
        let Pending { run, came, deadline, began, .. } = pending;
        let start = began.map_or(0.0, |began| began.elapsed().as_secs_f64());
        if !self.is_supported(&run.event) {
            let mut outcome = StepOutcome::bare(Outcome::NotHandled, came.elapsed());
            outcome.status = "the plugin does not support this type of event".to_owned();
            self.ended(run.run_id, outcome).await;
            return Some(process);
        }
        self.turn(PluginState::Busy).await;
        self.work.current = Some((run.run_id, deadline));
        let params = Map::from_iter([("event".to_owned(), run.event)]);
        let answer = match process.ask(Method::HandleEvent, params).await {
            Ok(id) => {
                self.report(Report::Started { run_id: run.run_id }).await;
                self.answer_to(&mut process, id, None).await
            }
            Err(fault) => Err(self.ending_or(&mut process, fault.into()).await),
        };
        let (mut outcome, can_go_on) = match answer {
            Ok(answer) => {
                let took = came.elapsed();
                let outcome = self.judged(answer, took);
                self.confirmed(&mut process, outcome).await
            }
            Err(Trouble::Time) => (self.timed_out(&mut process, run.grace, came).await, false),
            Err(trouble) => {
                let outcome = self.outcome_of(trouble);
                (StepOutcome::bare(outcome, came.elapsed()), false)
            }
        };
        self.work.current = None;
        outcome.start_seconds = start;
        if can_go_on {
            self.note_run(&outcome);
            self.ended(run.run_id, outcome).await;
            self.turn(PluginState::Ready).await;
            return Some(process);
        }
        let left = self.kill(process).await;
        if let (Some(text), Outcome::TimedOut) = (&left, &outcome.outcome) {
            outcome.outcome = Outcome::Unkillable(text.clone());
        }
        self.note_run(&outcome);
        let error = outcome.outcome.reason().or(left);
        self.ended(run.run_id, outcome).await;
        match error {
            Some(error) => self.failed(&error).await,
            None => self.turn(PluginState::Waiting).await,
        }
        None
    }

    pub(super) fn is_supported(&self, event: &Value) -> bool {
        let face = self.face.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(supported) = &face.supported else { return true };
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        supported.iter().any(|named| covers(named, kind))
    }

    /// What the answer of a handler means.
    pub(super) fn judged(&self, answer: Answer, took: Duration) -> StepOutcome {
        let value = match answer {
            Answer::NotSupported => return StepOutcome::bare(Outcome::NotHandled, took),
            Answer::Failed(text) => {
                let text = self.work.redactor.text(&text);
                return StepOutcome::bare(Outcome::Failed(text), took);
            }
            Answer::Result(value) => self.work.redactor.value(&value),
        };
        let handled = Handled::read(&value);
        let outcome = match (handled.handled, handled.degraded(), handled.error) {
            (true, false, _) => Outcome::Done,
            (true, true, _) => Outcome::Degraded,
            (false, _, Some(error)) => Outcome::Failed(error),
            (false, _, None) => Outcome::NotHandled,
        };
        let mut result = handled.more;
        if let (Outcome::Degraded, Some(error)) = (&outcome, value.get("error")) {
            result.insert("error".to_owned(), error.clone());
        }
        StepOutcome {
            status: handled.status.unwrap_or_default(),
            result,
            verified: handled.verified,
            ..StepOutcome::bare(outcome, took)
        }
    }

    /// A plugin that fails right after its answer has failed (F4).
    pub(super) async fn confirmed(
        &mut self,
        process: &mut Process,
        outcome: StepOutcome,
    ) -> (StepOutcome, bool) {
        let end = Instant::now() + CONFIRM;
        // The budget is for the answer, which has come.
        self.work.current = None;
        let trouble = match self.ask(process, Method::Info, Map::new(), end).await {
            Ok(_) | Err(Trouble::Time | Trouble::Stopped) => return (outcome, true),
            Err(trouble) => trouble,
        };
        match trouble {
            Trouble::Ended(ending @ (Ending::Exited(1..) | Ending::Killed(_))) => {
                let text = format!("{} after its answer", ending_text(ending));
                (StepOutcome { outcome: Outcome::Failed(text), ..outcome }, false)
            }
            Trouble::Ended(_)
            | Trouble::Closed
            | Trouble::NotWritten(_)
            | Trouble::Broken(_)
            | Trouble::TooMuch
            | Trouble::Launch(_)
            | Trouble::Time
            | Trouble::Stopped => (outcome, false),
        }
    }

    /// TERM, and the grace for an end of its own; an answer that still comes is late.
    pub(super) async fn timed_out(
        &mut self,
        process: &mut Process,
        grace: Duration,
        came: Instant,
    ) -> StepOutcome {
        process.terminate();
        let end = Instant::now() + grace;
        let mut outcome = StepOutcome::bare(Outcome::TimedOut, came.elapsed());
        self.work.current = None;
        loop {
            match self.wait(Some(process), end).await {
                Next::Heard(Heard::Line(line)) => {
                    if let Said::Answer(answer) = judge(&line, process.last_id()) {
                        let late = self.judged(answer, came.elapsed());
                        outcome = StepOutcome { outcome: Outcome::TimedOut, late: true, ..late };
                    }
                }
                Next::Noted if self.work.stop.is_none() => {}
                Next::Heard(Heard::Closed) => {}
                Next::Heard(Heard::TooMuch(_) | Heard::Ended(_)) | Next::Time | Next::Noted => {
                    outcome.seconds = came.elapsed().as_secs_f64();
                    return outcome;
                }
            }
        }
    }

    pub(super) fn outcome_of(&self, trouble: Trouble) -> Outcome {
        let text = trouble.told(&self.work.redactor);
        match trouble {
            Trouble::Time => Outcome::TimedOut,
            Trouble::Broken(_) => Outcome::BrokenReply(text),
            Trouble::TooMuch => Outcome::TooMuchOutput,
            Trouble::Ended(Ending::Exited(code)) => Outcome::Exited { code },
            Trouble::Ended(Ending::Killed(signal)) => Outcome::Killed { signal },
            Trouble::Launch(_)
            | Trouble::Ended(Ending::NotStarted)
            | Trouble::NotWritten(_)
            | Trouble::Closed
            | Trouble::Stopped => Outcome::Failed(text),
        }
    }
}
