//! Asking a plugin, and waiting for what it says while orders come in.

use std::time::Duration;

use serde_json::{Map, Value};
use snooze_plugin::wire::{Answer, Method};
use tokio::time::{Instant, sleep_until};

use super::attendant::{Attendant, GRACE, Next};
use super::exchange::{SETTLE, Said, Trouble, judge};
use super::process::{Heard, Process};

/// How long a plugin that closed its stdout may take to end, until it counts as living on.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

impl Attendant {
    pub(super) async fn ask(
        &mut self,
        process: &mut Process,
        method: Method,
        params: Map<String, Value>,
        end: Instant,
    ) -> Result<Answer, Trouble> {
        let end = end.min(Instant::now() + self.shared.settings.limits.call);
        match process.ask(method, params).await {
            Ok(id) => self.answer_to(process, id, Some(end)).await,
            Err(fault) => Err(self.ending_or(process, fault.into()).await),
        }
    }

    /// The answer to request `id`, until `end` or until the time of the current run is over.
    pub(super) async fn answer_to(
        &mut self,
        process: &mut Process,
        id: u64,
        end: Option<Instant>,
    ) -> Result<Answer, Trouble> {
        let mut perhaps: Option<(String, Instant)> = None;
        loop {
            let current = self.work.current.map(|(_, deadline)| deadline);
            let settled = perhaps.as_ref().map(|(_, until)| *until);
            let until = [end, current, settled].into_iter().flatten().min();
            let until = until.unwrap_or_else(|| Instant::now() + GRACE);
            let line = match self.wait(Some(process), until).await {
                Next::Noted if self.work.stop.is_some() => return Err(Trouble::Stopped),
                Next::Noted => continue,
                Next::Time => match perhaps {
                    Some((text, _)) => return Ok(Answer::Failed(text)),
                    None => return Err(Trouble::Time),
                },
                Next::Heard(Heard::TooMuch(_)) => return Err(Trouble::TooMuch),
                Next::Heard(Heard::Ended(ending)) => return Err(Trouble::Ended(ending)),
                Next::Heard(Heard::Closed) => {
                    return Err(self.ending_or(process, Trouble::Closed).await);
                }
                Next::Heard(Heard::Line(line)) => line,
            };
            match judge(&line, id) {
                Said::Answer(answer) => return Ok(answer),
                Said::Trouble(trouble) => return Err(trouble),
                Said::Perhaps(text) => perhaps = Some((text, Instant::now() + SETTLE)),
                Said::Nothing => {}
            }
        }
    }

    /// How the process ended if that is what is behind `trouble`.
    pub(super) async fn ending_or(&mut self, process: &mut Process, trouble: Trouble) -> Trouble {
        match process.wait_until(Instant::now() + CLOSE_LIMIT).await {
            Some(ending) => Trouble::Ended(ending),
            None => trouble,
        }
    }

    /// Waits for the process, an order or `until`, whatever comes first; orders are noted, and
    /// runs whose time is over meanwhile are answered.
    pub(super) async fn wait(&mut self, process: Option<&mut Process>, until: Instant) -> Next {
        let overdue = self.work.runs.iter().map(|pending| pending.deadline).min();
        let wake = overdue.map_or(until, |overdue| overdue.min(until));
        let heard = async {
            match process {
                Some(process) => process.hear().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            order = self.inbox.recv() => {
                self.note(order).await;
                Next::Noted
            }
            heard = heard => Next::Heard(heard),
            () = sleep_until(wake) => {
                self.expire().await;
                if Instant::now() < until { Next::Noted } else { Next::Time }
            }
        }
    }
}
