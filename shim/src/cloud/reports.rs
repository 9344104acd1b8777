//! Reports on their way to the bus. The journal is their spool: what the bus did not take stands
//! in the list that the loop shows, also after a restart.

use std::collections::BTreeMap;

use snooze_cloud::bus::Entry;
use snooze_cloud::{CloudError, Kind};
use snooze_event::IncidentKey;
use tokio::sync::{mpsc, watch};
use tokio::time::{self, Instant};
use tracing::{debug, error};

use super::counter::Putting;
use super::hello::put;
use super::home::Home;
use super::part::{Backoff, Closed, State, Voice, dice};
use super::{News, report};
use crate::incident::Incident;

/// One call takes ten entries and 256 KiB (EventBridge API reference, "PutEvents", checked
/// 2026-11); a report alone is shorter.
const CALL: usize = 240 << 10;
/// What stands around the detail of an entry.
const AROUND: usize = 1 << 10;

/// An outcome that the bus has not taken.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outgoing {
    pub(super) incident: IncidentKey,
    /// How many incidents of the cloud it names.
    pub(super) told: usize,
    pub(super) entry: Entry,
}

impl Outgoing {
    pub(super) fn of(known: &Incident, home: &Home, durable: bool) -> Self {
        Self {
            incident: known.key.clone(),
            told: known.told_by.len(),
            entry: report::outcome(known, home, durable),
        }
    }
}

/// Puts reports.
#[derive(Debug)]
pub(super) struct Reports {
    pub(super) bus: Putting,
    pub(super) outcomes: watch::Receiver<Vec<Outgoing>>,
    pub(super) phases: mpsc::Receiver<Entry>,
    /// The last word on idleness; one that was overtaken is not told.
    pub(super) idleness: watch::Receiver<Option<Entry>>,
    pub(super) ending: watch::Receiver<bool>,
}

/// What the bus need not be given again, by incident: how much of it, until the loop has noted it.
type Done = BTreeMap<IncidentKey, usize>;

impl Reports {
    pub(super) async fn run(mut self, mut voice: Voice) {
        // Ends when nobody listens any more.
        let _ = self.work(&mut voice).await;
    }

    async fn work(&mut self, voice: &mut Voice) -> Result<(), Closed> {
        let mut backoff = Backoff::default();
        let mut done = Done::new();
        let mut not_before = Instant::now();
        let mut ending = self.ending.clone();
        let mut word: Option<Entry> = None;
        voice.say(State::On, "").await?;
        loop {
            let waiting = self.waiting(&mut done);
            tokio::select! {
                biased;
                () = time::sleep_until(not_before), if !waiting.is_empty() => {
                    match self.send(waiting, &mut done, voice).await? {
                        None => backoff.reset(),
                        Some(error) => {
                            voice.fail(&error).await?;
                            not_before = Instant::now() + backoff.next(dice());
                            continue;
                        }
                    }
                    voice.say(State::On, "").await?;
                }
                () = time::sleep_until(not_before), if word.is_some() => {
                    let Some(entry) = word.clone() else { continue };
                    match put(&self.bus, entry).await {
                        Ok(()) => word = None,
                        Err(error) => {
                            voice.fail(&error).await?;
                            not_before = Instant::now() + backoff.next(dice());
                            continue;
                        }
                    }
                    backoff.reset();
                    voice.say(State::On, "").await?;
                }
                changed = self.idleness.changed() => {
                    changed.or(Err(Closed))?;
                    word = self.idleness.borrow_and_update().clone();
                }
                changed = ending.changed() => {
                    changed.or(Err(Closed))?;
                    not_before = Instant::now();
                }
                changed = self.outcomes.changed() => changed.or(Err(Closed))?,
                phase = self.phases.recv() => {
                    let phase = phase.ok_or(Closed)?;
                    // One try: the outcome tells all that a phase does.
                    if Instant::now() >= not_before
                        && let Err(error) = put(&self.bus, phase).await
                    {
                        debug!(%error, "a phase was not told");
                    }
                }
            }
        }
    }

    /// What the loop shows, less what the bus has already.
    fn waiting(&mut self, done: &mut Done) -> Vec<Outgoing> {
        let shown = self.outcomes.borrow_and_update();
        done.retain(|incident, _| shown.iter().any(|known| known.incident == *incident));
        let is_new =
            |known: &&Outgoing| done.get(&known.incident).is_none_or(|told| *told < known.told);
        shown.iter().filter(is_new).cloned().collect()
    }

    /// Gives all to the bus; answers with what kept it from taking some.
    async fn send(
        &self,
        waiting: Vec<Outgoing>,
        done: &mut Done,
        voice: &Voice,
    ) -> Result<Option<CloudError>, Closed> {
        let mut failed = None;
        for call in calls(waiting) {
            let entries: Vec<Entry> = call.iter().map(|known| known.entry.clone()).collect();
            let answers = match Box::pin(self.bus.put(&entries)).await {
                Ok(answers) => answers,
                Err(error) => return Ok(Some(error)),
            };
            for (known, answer) in call.into_iter().zip(answers) {
                let Outgoing { incident, told, .. } = known;
                match answer {
                    Ok(()) => {
                        done.insert(incident.clone(), told);
                        voice.tell(News::Reported { incident, told }).await?;
                    }
                    // Nothing of it will change: the others must not wait for it.
                    Err(error) if error.kind == Kind::Invalid => {
                        error!(%incident, %error, "the bus does not take an outcome");
                        done.insert(incident, told);
                    }
                    Err(error) => failed = Some(error),
                }
            }
        }
        Ok(failed)
    }
}

/// Cuts a list into what one call takes.
fn calls(waiting: Vec<Outgoing>) -> Vec<Vec<Outgoing>> {
    let mut calls: Vec<Vec<Outgoing>> = Vec::new();
    let mut size = usize::MAX;
    for known in waiting {
        let own = known.entry.detail.len().saturating_add(AROUND);
        match calls.last_mut() {
            Some(call) if call.len() < 10 && size.saturating_add(own) <= CALL => {
                size += own;
                call.push(known);
            }
            Some(_) | None => {
                size = own;
                calls.push(vec![known]);
            }
        }
    }
    calls
}
