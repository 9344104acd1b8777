//! The metadata service as a source: asks, again and again, whether there is news.
//!
//! AWS recommends a look every 5 seconds (EC2 User Guide, "Spot Instance interruption notices",
//! checked 2026-11); each second that is lost comes off two minutes, so that we look every second
//! by default. A poll ("tick") asks one path after the other, the Spot notice first:
//!
//! - never two requests at once, and ticks never queue up: from one to the next it takes at most
//!   the interval and the limit of one exchange, unless trouble has stretched the interval;
//! - what there was no time for comes first in the next tick;
//! - 404 is no news; everything else that is not a readable notice is a miss. Three misses of a
//!   path in a row are a fault of health, and three of the Spot notice stretch the interval, up to
//!   five seconds, until an answer comes.
//!
//! `spot/termination-time` is never asked: it keeps quiet about stop and hibernate, and may hold a
//! time long past.

mod hearing;
mod polls;
mod telling;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use snooze_event::wire::imds::Identity;
use snooze_imds::{Client, Facts, Path, Reading, SignalPath};
use tokio::sync::mpsc::Sender;
use tokio::time::{self, Instant};
use tracing::{debug, trace};

pub use self::hearing::{Hearing, News};
pub use self::polls::Polls;
pub use self::telling::Telling;
use super::Heard;

/// The name of this source in reports of health.
pub const SOURCE: &str = "metadata";

/// How often the facts are read: a changed tag may select other policies, but is no emergency.
const FACTS_EVERY: Duration = Duration::from_secs(60);

/// Nobody listens any more.
struct Closed;

/// Asks the metadata service, again and again, whether there is news.
#[derive(Debug)]
pub struct ImdsSource {
    client: Client,
    interval: Duration,
    hearing: Hearing,
    polls: Arc<Polls>,
    telling: Telling,
    /// The paths beside the Spot notice, in the order in which they are due.
    due: VecDeque<SignalPath>,
    identity: Option<Identity>,
    facts: Option<Facts>,
    reading: Option<Reading>,
    read_from: Instant,
}

impl ImdsSource {
    /// A source that polls every `interval`.
    #[must_use]
    pub fn new(client: Client, interval: Duration) -> Self {
        let beside =
            SignalPath::ALL.into_iter().filter(|path| *path != SignalPath::SpotInstanceAction);
        Self {
            client,
            interval,
            hearing: Hearing::new(interval),
            polls: Arc::default(),
            telling: Telling::default(),
            due: beside.collect(),
            identity: None,
            facts: None,
            reading: None,
            read_from: Instant::now(),
        }
    }

    /// How often it has asked, kept up while it runs.
    #[must_use]
    pub fn polls(&self) -> Arc<Polls> {
        Arc::clone(&self.polls)
    }

    /// Polls until nobody listens any more; no answer of the service ends it.
    pub async fn run(mut self, heard: Sender<Heard>) {
        let ended = async {
            while let Ok(start) = self.tick(&heard).await {
                time::sleep_until(start + self.hearing.wait()).await;
            }
        };
        tokio::select! {
            () = heard.closed() => {}
            () = ended => {}
        }
    }

    /// One poll; returns when it began. Only the question for the Spot notice is always asked, the
    /// others begin while the interval lasts.
    async fn tick(&mut self, heard: &Sender<Heard>) -> Result<Instant, Closed> {
        let start = Instant::now();
        let end = start + self.interval;
        self.ask(SignalPath::SpotInstanceAction, end, heard).await?;
        for _ in 0..self.due.len() {
            let Some(path) = self.due.front().copied() else { break };
            if Instant::now() >= end {
                break;
            }
            self.due.rotate_left(1);
            self.ask(path, end, heard).await?;
        }
        if let Some(health) = self.hearing.judge() {
            tell(heard, health).await?;
        }
        self.read_facts(end, heard).await?;
        Ok(start)
    }

    /// Asks for one path, and tells what its answer means.
    async fn ask(
        &mut self,
        path: SignalPath,
        end: Instant,
        heard: &Sender<Heard>,
    ) -> Result<(), Closed> {
        let answer = self.client.get(&Path::Signal(path)).await;
        match &answer {
            Ok(answer) => trace!(%path, ?answer, "metadata"),
            Err(fault) => debug!(%path, %fault, "metadata did not say"),
        }
        let news = self.hearing.on(path, answer);
        self.polls.count(path, self.hearing.is_missed(path));
        let Some(news) = news else { return Ok(()) };
        // An event names its instance. A notice that comes before the facts waits for one answer,
        // and for no longer.
        if self.identity.is_none() && Instant::now() < end {
            self.identity = self.client.identity().await.ok();
        }
        for told in self.telling.tell(path, &news, self.identity.as_ref(), Timestamp::now()) {
            tell(heard, told).await?;
        }
        Ok(())
    }

    /// Goes on with the reading of the facts while the tick has time.
    async fn read_facts(&mut self, end: Instant, heard: &Sender<Heard>) -> Result<(), Closed> {
        if self.reading.is_none() && Instant::now() >= self.read_from {
            self.reading = Some(Reading::default());
        }
        let Some(reading) = &mut self.reading else { return Ok(()) };
        while Instant::now() < end
            && let Some(path) = reading.next()
        {
            let answer = self.client.get(path).await;
            if let Err(fault) = answer.and_then(|answer| reading.heard(answer)) {
                debug!(%fault, "metadata did not say who we are");
                return Ok(());
            }
        }
        if reading.next().is_some() {
            return Ok(());
        }
        let facts = self.reading.take().and_then(Reading::facts);
        self.read_from = Instant::now() + FACTS_EVERY;
        if facts.is_some() && facts != self.facts {
            self.facts.clone_from(&facts);
            self.identity = facts.as_ref().map(|facts| facts.identity.clone());
            if let Some(facts) = facts {
                tell(heard, Heard::Facts(Box::new(facts))).await?;
            }
        }
        Ok(())
    }
}

async fn tell(heard: &Sender<Heard>, what: Heard) -> Result<(), Closed> {
    // Waits while the channel is full: the polls pause then, and nothing is lost.
    heard.send(what).await.or(Err(Closed))
}

#[cfg(test)]
mod tests;
