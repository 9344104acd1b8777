//! The parts of the cloud side: how each fares, and how long it waits when it fails.

use std::time::Duration;

use snooze_cloud::CloudError;
use tokio::sync::mpsc;
use tokio::time;

use super::News;

/// What the daemon does with the cloud side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Tells of this instance.
    Hello,
    /// Reads the table of policies.
    Policies,
    /// Takes commands.
    Commands,
    /// Reports outcomes.
    Reports,
    /// Fetches the secrets that policies name.
    Secrets,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 5] =
        [Self::Hello, Self::Policies, Self::Commands, Self::Reports, Self::Secrets];

    /// The word in settings, status and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Policies => "policies",
            Self::Commands => "commands",
            Self::Reports => "reports",
            Self::Secrets => "secrets",
        }
    }
}

/// How a part fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Switched off in the settings.
    Off,
    /// What it needs is not there yet.
    Waiting,
    /// It works.
    On,
    /// It does not work, and tries again.
    Failing,
}

impl State {
    /// The word in status and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Waiting => "waiting",
            Self::On => "on",
            Self::Failing => "failing",
        }
    }
}

/// The wait before the first further try, and the shortest of all.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(300);

/// How often a part has failed in a row.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure: drawn by lot (`dice` is any number) between the shortest
    /// and a bound that doubles, so that a fleet that lost a service together does not come back
    /// together.
    pub fn next(&mut self, dice: u32) -> Duration {
        let bound = FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let share = f64::from(dice) / f64::from(u32::MAX);
        FIRST + bound.saturating_sub(FIRST).mul_f64(share)
    }

    pub(super) async fn wait(&mut self) {
        time::sleep(self.next(dice())).await;
    }
}

/// A number by lot.
pub(super) fn dice() -> u32 {
    let (high, _, _, _) = uuid::Uuid::new_v4().as_fields();
    high
}

/// Nobody listens any more.
#[derive(Debug)]
pub(super) struct Closed;

/// What a part tells the loop with.
#[derive(Debug)]
pub(super) struct Voice {
    part: Part,
    news: mpsc::Sender<News>,
    said: Option<(State, String)>,
}

impl Voice {
    pub(super) fn new(part: Part, news: mpsc::Sender<News>) -> Self {
        Self { part, news, said: None }
    }

    /// Tells the loop; waits while it has no time.
    pub(super) async fn tell(&self, news: News) -> Result<(), Closed> {
        self.news.send(news).await.or(Err(Closed))
    }

    /// Says how the part fares, unless that is what it said last.
    pub(super) async fn say(&mut self, state: State, detail: &str) -> Result<(), Closed> {
        let said = (state, detail.to_owned());
        if self.said.as_ref() == Some(&said) {
            return Ok(());
        }
        self.said = Some(said);
        let detail = detail.to_owned();
        self.tell(News::Part { part: self.part, state, detail }).await
    }

    /// Says that a call failed.
    pub(super) async fn fail(&mut self, error: &CloudError) -> Result<(), Closed> {
        self.say(State::Failing, &error.to_string()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_to_five_minutes_is_drawn_by_lot_and_is_never_short() {
        let waits = |dice| {
            let mut backoff = Backoff::default();
            let waits: Vec<u64> = (0..12).map(|_| backoff.next(dice).as_secs()).collect();
            backoff.reset();
            assert_eq!(backoff.next(dice), FIRST);
            waits
        };
        assert_eq!(waits(0), [1; 12]);
        assert_eq!(waits(u32::MAX), [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        let mut long = Backoff { failures: u32::MAX };
        assert_eq!(long.next(u32::MAX), LONGEST);
    }

    #[test]
    fn lots_differ() {
        let drawn: std::collections::BTreeSet<u32> = (0..100).map(|_| dice()).collect();
        assert!(drawn.len() > 90);
    }
}
