//! From moment to moment: how an instance falls asleep, and what wakes it.
//!
//! ```text
//!            all agree                naptime over            warning over
//!  Active ---------------> Napping ---------------> Warned ----------------> Idle
//!    ^                        |                        |                       |
//!    +--- something is busy --+------------------------+-----------------------+
//!                     (a figure unknown: Napping waits, the others end)
//! ```
//!
//! Only time between two moments at which all agreed counts for the naptime, on a clock that does
//! not jump. So neither a gap nor a figure that could not be read ever leads to a stop.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::hours;
use super::judge::{Judgement, Seen, Verdict, judge};
use super::settings::Settings;

/// How often an idle instance says that it still is.
pub const HEARTBEAT: Duration = Duration::from_secs(300);
/// How often is measured while users are warned, and while the instance is idle: what somebody
/// does now has to be seen before it is too late.
const WATCHFUL: Duration = Duration::from_secs(5);
/// A gap between two moments that is longer than this and than five intervals was a suspension.
const GAP: Duration = Duration::from_secs(120);
/// How long the daemon may have been away without a nap being forgotten.
const AWAY: Duration = Duration::from_secs(600);
/// For how long is remembered why an instance was not idle.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// How many stretches of that are remembered.
const SPANS: usize = 200;

/// A reading of two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock: for stamps and hours.
    pub wall: Timestamp,
    /// Since the machine started, time in which it was suspended included.
    pub boot: Duration,
}

/// How far an instance has fallen asleep. Moments are on the boot clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Something goes on.
    Active,
    /// All agree, not yet for long enough.
    Napping,
    /// Its users are told that it will count as idle.
    Warned {
        /// When the warning is over.
        until: Duration,
    },
    /// It is idle.
    Idle {
        /// When that was told last.
        told: Duration,
    },
}

impl Phase {
    /// The words of all phases.
    pub const WORDS: [&str; 4] = ["active", "napping", "warned", "idle"];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Napping => "napping",
            Self::Warned { .. } => "warned",
            Self::Idle { .. } => "idle",
        }
    }
}

/// What follows from a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Tell the users that the instance counts as idle in so much time.
    Warn {
        /// How much.
        left: Duration,
    },
    /// Tell them that it does not: something went on.
    CalledOff {
        /// What.
        reason: String,
    },
    /// The instance is idle: tell it. Comes again as a heartbeat.
    Idle {
        /// It was told before.
        heartbeat: bool,
    },
    /// The instance that was idle is not any more: tell it at once.
    Active {
        /// Why.
        reason: String,
    },
}

/// What has to outlive the daemon, so that it does not forget a nap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    phase: Phase,
    since: Timestamp,
    napped: Duration,
    last: Duration,
    started: Duration,
}

/// A stretch of time with one verdict from one cause.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its first moment.
    pub from: Timestamp,
    /// Its last.
    pub to: Timestamp,
    /// The verdict.
    pub verdict: Verdict,
    /// What decided.
    pub decided_by: String,
    /// Why, at its last moment.
    pub reason: String,
    ended: Duration,
}

/// Whether an instance is idle.
#[derive(Debug, Clone)]
pub struct Idle {
    settings: Settings,
    phase: Phase,
    /// Since when it is in its phase, a nap and what follows from it taken together.
    since: Timestamp,
    /// How much of the naptime has passed.
    napped: Duration,
    /// When the machine started or woke.
    started: Duration,
    /// Somebody started it after CloudSnooze had stopped it.
    restarted: bool,
    last: Option<Duration>,
    latest: Option<Judgement>,
    /// The last moment by the wall clock, and what kept the instance up that no setting says.
    looked: Option<(Timestamp, Vec<String>)>,
    spans: VecDeque<Span>,
}

impl Idle {
    /// Of an instance of which nothing is known yet.
    #[must_use]
    pub fn new(settings: Settings, at: Moment) -> Self {
        Self {
            settings,
            phase: Phase::Active,
            since: at.wall,
            napped: Duration::ZERO,
            started: Duration::ZERO,
            restarted: false,
            last: None,
            latest: None,
            looked: None,
            spans: VecDeque::new(),
        }
    }

    /// Goes on where an earlier daemon of the same boot stood.
    pub fn restore(&mut self, kept: &Kept, at: Moment) {
        self.started = kept.started;
        let away = at.boot.checked_sub(kept.last);
        if away.is_none_or(|away| away > AWAY) {
            return;
        }
        (self.phase, self.since, self.napped) = (kept.phase, kept.since, kept.napped);
    }

    /// What has to outlive the daemon.
    #[must_use]
    pub fn kept(&self) -> Kept {
        Kept {
            phase: self.phase,
            since: self.since,
            napped: self.napped,
            last: self.last.unwrap_or_default(),
            started: self.started,
        }
    }

    /// Takes other settings up.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// CloudSnooze had stopped this instance, and somebody started it again.
    pub fn restarted(&mut self) {
        self.restarted = true;
    }

    /// Takes one moment in.
    pub fn on(&mut self, mut seen: Seen, at: Moment) -> Vec<Effect> {
        let gap = self.last.map(|last| at.boot.saturating_sub(last));
        let mut effects = Vec::new();
        if gap.is_some_and(|gap| gap > GAP.max(self.settings.interval * 5)) {
            self.started = at.boot;
            self.wake("it was suspended", at, &mut effects);
        }
        self.looked = Some((at.wall, seen.holds.clone()));
        seen.holds.extend(self.young(at));
        seen.holds.extend(hours::hold(&self.settings.hours, at.wall));
        let judgement = judge(&self.settings, seen, self.phase != Phase::Active);
        let was = self.latest.as_ref().map(|latest| latest.agreement.verdict);
        let (verdict, reason) = (judgement.agreement.verdict, judgement.agreement.reason.clone());
        self.remember(&judgement, at);
        self.latest = Some(judgement);
        self.last = Some(at.boot);
        match verdict {
            Verdict::Idle => {
                let counts = was == Some(Verdict::Idle);
                self.rest(gap.filter(|_| counts).unwrap_or_default(), at, &mut effects);
            }
            // The nap waits: an instance whose figures come and go is not busy for ever.
            Verdict::Unknown if matches!(self.phase, Phase::Active | Phase::Napping) => {}
            Verdict::Busy | Verdict::Unknown => self.wake(&reason, at, &mut effects),
        }
        effects
    }

    /// An instance that has just started is not idle, whatever it does.
    fn young(&self, at: Moment) -> Option<String> {
        let up = at.boot.saturating_sub(self.started);
        let least = match self.restarted {
            true => self.settings.cooldown.max(self.settings.minimum_uptime),
            false => self.settings.minimum_uptime,
        };
        let left = least.checked_sub(up).filter(|left| !left.is_zero())?;
        Some(format!(
            "it started {} s ago and is left alone for {} s more",
            up.as_secs(),
            left.as_secs()
        ))
    }

    fn rest(&mut self, counted: Duration, at: Moment, effects: &mut Vec<Effect>) {
        if self.phase == Phase::Active {
            (self.phase, self.since, self.napped) = (Phase::Napping, at.wall, Duration::ZERO);
        }
        self.napped += counted;
        if self.phase == Phase::Napping && self.napped >= self.settings.naptime {
            let left = self.settings.warning;
            self.phase = Phase::Warned { until: at.boot + left };
            if !left.is_zero() {
                effects.push(Effect::Warn { left });
            }
        }
        match self.phase {
            Phase::Warned { until } if at.boot >= until => {
                self.phase = Phase::Idle { told: at.boot };
                effects.push(Effect::Idle { heartbeat: false });
            }
            Phase::Idle { told } if at.boot.saturating_sub(told) >= HEARTBEAT => {
                self.phase = Phase::Idle { told: at.boot };
                effects.push(Effect::Idle { heartbeat: true });
            }
            Phase::Active | Phase::Napping | Phase::Warned { .. } | Phase::Idle { .. } => {}
        }
    }

    fn wake(&mut self, reason: &str, at: Moment, effects: &mut Vec<Effect>) {
        let reason = reason.to_owned();
        match self.phase {
            Phase::Active => return,
            Phase::Napping => {}
            Phase::Warned { .. } => effects.push(Effect::CalledOff { reason }),
            Phase::Idle { .. } => effects.push(Effect::Active { reason }),
        }
        (self.phase, self.since, self.napped) = (Phase::Active, at.wall, Duration::ZERO);
    }

    fn remember(&mut self, judgement: &Judgement, at: Moment) {
        let agreement = &judgement.agreement;
        match self.spans.back_mut() {
            Some(span)
                if span.verdict == agreement.verdict && span.decided_by == agreement.decided_by =>
            {
                (span.to, span.ended) = (at.wall, at.boot);
                span.reason.clone_from(&agreement.reason);
            }
            Some(_) | None => self.spans.push_back(Span {
                from: at.wall,
                to: at.wall,
                verdict: agreement.verdict,
                decided_by: agreement.decided_by.clone(),
                reason: agreement.reason.clone(),
                ended: at.boot,
            }),
        }
        let is_old = |span: &Span| at.boot.saturating_sub(span.ended) > REMEMBERED;
        while self.spans.len() > SPANS || self.spans.front().is_some_and(is_old) {
            self.spans.pop_front();
        }
    }

    /// How long until the next moment is wanted.
    #[must_use]
    pub fn pace(&self) -> Duration {
        match self.phase {
            Phase::Active | Phase::Napping => self.settings.interval,
            Phase::Warned { .. } | Phase::Idle { .. } => self.settings.interval.min(WATCHFUL),
        }
    }

    /// How far it has fallen asleep.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// For how long all has agreed, of the naptime.
    #[must_use]
    pub fn napped(&self) -> Duration {
        self.napped
    }

    /// Whether it counts as idle now.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle { .. })
    }

    /// The last moment, judged.
    #[must_use]
    pub fn latest(&self) -> Option<&Judgement> {
        self.latest.as_ref()
    }

    /// What decided in the last hour, the oldest first.
    pub fn spans(&self) -> impl Iterator<Item = &Span> {
        self.spans.iter()
    }

    /// What is told of an idle instance, or of one that is not any more: the `data` of
    /// `instance.idle` and `instance.active`.
    #[must_use]
    pub fn report(&self) -> Map<String, Value> {
        let latest = self.latest.as_ref();
        let metrics = latest.map(Judgement::metrics).unwrap_or_default();
        let votes = latest.map(|latest| latest.votes.iter().map(super::Vote::view).collect());
        let members = [
            ("since", json!(self.since.to_string())),
            ("naptime_minutes", minutes(self.settings.naptime)),
            ("reason", json!(latest.map(|latest| latest.agreement.reason.as_str()))),
            ("metrics", Value::Object(metrics)),
            ("votes", votes.unwrap_or_else(|| json!([]))),
        ];
        members.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
    }

    /// All that is known, for `status`.
    #[must_use]
    pub fn view(&self) -> Value {
        let latest = self.latest.as_ref();
        let checks = latest.map(|latest| {
            let checks = latest.checks.iter();
            checks
                .map(|check| (check.monitor.key().to_owned(), check.view()))
                .collect::<Map<_, _>>()
        });
        let left = self.settings.naptime.saturating_sub(self.napped);
        let mut view = self.report();
        let members = [
            ("enabled", json!(self.settings.enabled)),
            ("looked", json!(self.looked.as_ref().map(|(at, _)| at.to_string()))),
            ("held", json!(self.looked.as_ref().map(|(_, holds)| holds))),
            ("phase", json!(self.phase.as_str())),
            ("verdict", json!(latest.map(|latest| latest.agreement.verdict.as_str()))),
            ("decided_by", json!(latest.map(|latest| latest.agreement.decided_by.as_str()))),
            ("napped_seconds", json!(self.napped.as_secs())),
            ("left_seconds", json!(left.as_secs())),
            ("monitors", json!(checks)),
            ("holds", json!(latest.map(|latest| &latest.holds))),
        ];
        view.extend(members.map(|(key, value)| (key.to_owned(), value)));
        Value::Object(view)
    }
}

/// Minutes, whole where they are.
fn minutes(duration: Duration) -> Value {
    match duration.as_secs() {
        seconds if seconds % 60 == 0 && duration.subsec_nanos() == 0 => json!(seconds / 60),
        _ => json!(duration.as_secs_f64() / 60.0),
    }
}
