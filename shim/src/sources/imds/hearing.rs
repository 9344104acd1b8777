//! What an answer means, when trouble is worth telling, and how long to wait: pure.

use std::collections::BTreeMap;
use std::time::Duration;

use snooze_event::wire::imds::{self, LifecycleState, Maintenance, RebalanceNotice, SpotNotice};
use snooze_imds::{Answer, Fault, SignalPath};

use super::super::Heard;
use super::SOURCE;

/// So many misses in a row are trouble; one or two happen.
const MISSES: u32 = 3;

/// The longest wait in trouble: longer would take too much of the two minutes of a notice.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What stands on a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A Spot notice.
    Spot(SpotNotice),
    /// A recommendation to rebalance.
    Rebalance(RebalanceNotice),
    /// The state that Auto Scaling moves it to.
    Lifecycle(LifecycleState),
    /// At least one entry.
    Maintenance(Vec<Maintenance>),
    /// What stood there does no more.
    Gone,
}

/// What has been heard on each path, and how well.
#[derive(Debug)]
pub struct Hearing {
    interval: Duration,
    paths: BTreeMap<SignalPath, Line>,
    /// The health that was told last.
    told: Option<bool>,
}

#[derive(Debug, Default)]
struct Line {
    /// Misses in a row.
    misses: u32,
    /// The last one.
    fault: Option<Fault>,
    /// Whether news stands there, as far as is known.
    news: bool,
}

impl Hearing {
    /// Nothing was heard yet; the service is asked every `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { interval, paths: BTreeMap::new(), told: None }
    }

    /// Takes the answer of a path; `None` when it says nothing, be it for lack of news or trouble.
    pub fn on(&mut self, path: SignalPath, answer: Result<Answer, Fault>) -> Option<News> {
        let line = self.paths.entry(path).or_default();
        match answer.and_then(|answer| read(path, &answer)) {
            Ok(news) => {
                let stood = std::mem::replace(&mut line.news, news.is_some());
                line.misses = 0;
                line.fault = None;
                news.or(stood.then_some(News::Gone))
            }
            Err(fault) => {
                line.misses = line.misses.saturating_add(1);
                line.fault = Some(fault);
                None
            }
        }
    }

    /// Whether the last answer of a path was none that could be used.
    pub(super) fn is_missed(&self, path: SignalPath) -> bool {
        self.paths.get(&path).is_some_and(|line| line.misses > 0)
    }

    /// The health, at the end of a tick, if it is not the one that was told last.
    pub fn judge(&mut self) -> Option<Heard> {
        let deaf = self.paths.iter().find(|(_, line)| line.misses >= MISSES);
        let ok = deaf.is_none();
        let missed = self.paths.values().any(|line| line.misses > 0);
        // One or two misses change nothing: neither is it known to be well, nor to be ill.
        if self.told == Some(ok) || (ok && missed) {
            return None;
        }
        let detail = deaf.map_or_else(String::new, |(path, line)| match &line.fault {
            Some(fault) => format!("{path}: {fault}"),
            None => path.to_string(),
        });
        self.told = Some(ok);
        Some(Heard::Health { source: SOURCE, ok, detail })
    }

    /// How long from the start of one tick to the next.
    #[must_use]
    pub fn wait(&self) -> Duration {
        let misses = self.paths.get(&SignalPath::SpotInstanceAction).map_or(0, |line| line.misses);
        let doublings = misses.saturating_sub(MISSES - 1).min(8);
        let stretched = self.interval.saturating_mul(1 << doublings);
        stretched.min(LONGEST_WAIT.max(self.interval))
    }
}

/// Reads the answer of a path; `None` when it says that there is no news.
fn read(path: SignalPath, answer: &Answer) -> Result<Option<News>, Fault> {
    let Answer::Found(body) = answer else { return Ok(None) };
    let news = match path {
        SignalPath::SpotInstanceAction => imds::spot_instance_action(body).map(News::Spot),
        SignalPath::Rebalance => imds::rebalance(body).map(News::Rebalance),
        SignalPath::TargetLifecycleState => imds::target_lifecycle_state(body).map(News::Lifecycle),
        SignalPath::MaintenanceScheduled => imds::maintenance(body).map(News::Maintenance),
    };
    let news = news.map_err(|error| Fault::unreadable(&error))?;
    let is_none = match &news {
        News::Lifecycle(state) => *state == LifecycleState::InService,
        News::Maintenance(entries) => entries.is_empty(),
        News::Spot(_) | News::Rebalance(_) | News::Gone => false,
    };
    Ok((!is_none).then_some(news))
}

#[cfg(test)]
mod tests;
