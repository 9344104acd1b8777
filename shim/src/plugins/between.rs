//! What an attendant does with a process between events, and how it ends one.

use std::time::Duration;

use serde_json::Map;
use snooze_plugin::wire::{Answer, Method};
use snooze_plugin::{Metrics, Vote};
use tokio::time::Instant;

use super::PluginState;
use super::attendant::{Attendant, Next};
use super::exchange::Trouble;
use super::process::{Heard, Process};

impl Attendant {
    /// Waits for something to do; returns the process if it is still well.
    pub(super) async fn idle(&mut self, mut process: Process) -> Option<Process> {
        if let Some(metrics) = self.work.question.take() {
            return self.check_idle(process, &metrics).await;
        }
        let ping = Instant::now() + self.shared.settings.limits.health_period;
        let trouble = match self.wait(Some(&mut process), ping).await {
            Next::Noted => return Some(process),
            Next::Time => return self.check_health(process).await,
            Next::Heard(Heard::Line(_)) => {
                tracing::debug!(step = %self.entry.id, "a reply to no request");
                return Some(process);
            }
            Next::Heard(Heard::TooMuch(_)) => Trouble::TooMuch,
            Next::Heard(Heard::Closed) => self.ending_or(&mut process, Trouble::Closed).await,
            Next::Heard(Heard::Ended(ending)) => Trouble::Ended(ending),
        };
        let text = trouble.to_string();
        tracing::warn!(step = %self.entry.id, error = text, "plugin ended between events");
        self.bury(process, Some(&text)).await;
        None
    }

    pub(super) async fn check_idle(
        &mut self,
        mut process: Process,
        metrics: &Metrics,
    ) -> Option<Process> {
        let params = Map::from_iter([("metrics".to_owned(), metrics.to_value())]);
        let end = Instant::now() + self.shared.settings.limits.call;
        let answer = self.ask(&mut process, Method::CheckIdle, params, end).await;
        self.show(|face| face.stats.calls += 1);
        let trouble = match answer {
            Ok(answer) => {
                let vote = Vote::of(&answer).map(|vote| Vote {
                    reason: self.work.redactor.text(&vote.reason),
                    details: self.work.redactor.map(&vote.details),
                    ..vote
                });
                self.vote(vote).await;
                return Some(process);
            }
            Err(trouble) => trouble.told(&self.work.redactor),
        };
        self.vote(Some(Vote::unknown(trouble.as_str()))).await;
        self.bury(process, Some(&trouble)).await;
        None
    }

    /// `Health`, or `Info` where the plugin does not know that; silence means that it hangs.
    pub(super) async fn check_health(&mut self, mut process: Process) -> Option<Process> {
        let end = Instant::now() + self.shared.settings.limits.call;
        let mut answer = self.ask(&mut process, Method::Health, Map::new(), end).await;
        if answer == Ok(Answer::NotSupported) {
            answer = self.ask(&mut process, Method::Info, Map::new(), end).await;
        }
        match answer {
            Ok(answer) => {
                self.work.failures = 0;
                if let Err(text) = answer.done() {
                    let text = self.work.redactor.text(&text);
                    self.show(|face| face.stats.last_error = Some(text));
                }
                Some(process)
            }
            Err(Trouble::Stopped) => Some(process),
            Err(trouble) => {
                let text = trouble.told(&self.work.redactor);
                tracing::warn!(step = %self.entry.id, error = text, "plugin is not well");
                self.bury(process, Some(&text)).await;
                None
            }
        }
    }

    /// Kills what is left of a process and sets the time of the next start. `error` is what it
    /// did wrong, if anything.
    pub(super) async fn bury(&mut self, process: Process, error: Option<&str>) {
        let left = self.kill(process).await;
        match left.as_deref().or(error) {
            Some(error) => self.failed(error).await,
            None => self.turn(PluginState::Waiting).await,
        }
    }

    /// Kills all of a process; says what cannot be killed.
    pub(super) async fn kill(&self, process: Process) -> Option<String> {
        let left = process.kill().await;
        self.show(|face| face.pid = None);
        if left.is_empty() {
            return None;
        }
        let left: Vec<String> = left.iter().map(|pid| pid.as_raw_nonzero().to_string()).collect();
        let text = format!(
            "the kernel does not end {} a second after SIGKILL; see `/proc/{}/stack`",
            left.join(", "),
            left.first().map_or("", String::as_str),
        );
        tracing::error!(step = %self.entry.id, error = text, "plugin cannot be killed");
        Some(text)
    }

    pub(super) async fn failed(&mut self, error: &str) {
        let limits = &self.shared.settings.limits;
        self.work.failures = self.work.failures.saturating_add(1);
        let wait = limits.backoff_after(self.work.failures);
        let gave_up = self.work.failures >= limits.attempts;
        self.work.not_before = Some(Instant::now() + wait);
        self.show(|face| face.stats.last_error = Some(error.to_owned()));
        self.turn(if gave_up { PluginState::Failed } else { PluginState::Waiting }).await;
    }

    /// Lets a process end: `Shutdown` and the end of its stdin, then TERM, then KILL (S3-13).
    pub(super) async fn end(&mut self, mut process: Process, grace: Duration) {
        let now = Instant::now();
        let _ = process.ask(Method::Shutdown, Map::new()).await;
        process.close_stdin();
        if process.wait_until(now + grace / 2).await.is_none() {
            process.terminate();
            process.wait_until(now + grace).await;
        }
        // What cannot be killed is in the log, and no reason to stay.
        let _ = self.kill(process).await;
        self.turn(PluginState::Waiting).await;
    }
}
