//! What one moment says: each monitor against its threshold, the votes, and what holds the
//! instance up.

use serde_json::{Map, Value, json};

use super::reading::{Monitor, Reading, Readings};
use super::settings::{Combination, Settings};

/// What a plugin thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing goes on.
    Idle,
    /// Something goes on: its veto.
    Busy,
    /// It could not find out, or has not answered yet.
    Unknown,
}

impl Verdict {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Unknown => "unknown",
        }
    }

    /// The verdict of a word written by [`Verdict::as_str`].
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        [Self::Idle, Self::Busy, Self::Unknown].into_iter().find(|known| known.as_str() == word)
    }
}

/// The vote of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// The plugin.
    pub plugin: String,
    /// What it thinks.
    pub verdict: Verdict,
    /// Why, for people.
    pub reason: String,
}

/// All that is known at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// What was measured.
    pub readings: Readings,
    /// What plugins think.
    pub votes: Vec<Vote>,
    /// What else keeps the instance up, each a text for people: a tag, a lock, an open incident.
    pub holds: Vec<String>,
}

/// Where a figure stands to its threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is idle.
    Idle,
    /// It is busy.
    Busy,
    /// There is no figure, and there should be.
    Unknown,
    /// There is nothing to measure.
    Absent,
    /// It takes no part in the decision.
    NotUsed,
}

impl Standing {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Unknown => "unknown",
            Self::Absent => "absent",
            Self::NotUsed => "not used",
        }
    }
}

/// One monitor beside its threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// The monitor.
    pub monitor: Monitor,
    /// What it read.
    pub reading: Reading,
    /// Where it begins to be busy.
    pub threshold: f64,
    /// Where the figure stands.
    pub standing: Standing,
}

/// What all agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// The verdict of all.
    pub verdict: Verdict,
    /// What decided, in a word: a monitor, `plugin NAME`, `hold`.
    pub decided_by: String,
    /// Why, for people, with figures.
    pub reason: String,
}

/// One moment, judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Each monitor that was asked.
    pub checks: Vec<Check>,
    /// The votes.
    pub votes: Vec<Vote>,
    /// What holds the instance up.
    pub holds: Vec<String>,
    /// What follows.
    pub agreement: Agreement,
}

/// Judges one moment. `resting`: a nap is on, and a figure just above its threshold does not end
/// it.
#[must_use]
pub(super) fn judge(settings: &Settings, seen: Seen, resting: bool) -> Judgement {
    let Seen { readings, votes, holds } = seen;
    let missing = settings.used.iter().filter(|monitor| !readings.contains_key(monitor));
    let missing: Vec<_> = missing
        .map(|monitor| (*monitor, Reading::Unknown("it was not measured".to_owned())))
        .collect();
    let checks: Vec<Check> = readings
        .into_iter()
        .chain(missing)
        .map(|(monitor, reading)| check(settings, monitor, reading, resting))
        .collect();
    let agreement = agree(settings, &checks, &votes, &holds);
    Judgement { checks, votes, holds, agreement }
}

fn check(settings: &Settings, monitor: Monitor, reading: Reading, resting: bool) -> Check {
    let threshold = settings.threshold(monitor);
    let slack = if resting { 1.0 + settings.hysteresis } else { 1.0 };
    let standing = match &reading {
        _ if !settings.used.contains(&monitor) => Standing::NotUsed,
        Reading::Absent(_) => Standing::Absent,
        Reading::Unknown(_) => Standing::Unknown,
        Reading::Value(value) if !value.is_finite() || *value < 0.0 => Standing::Unknown,
        // Its slack works the other way round.
        Reading::Value(value) if monitor == Monitor::Input => {
            if value * slack >= threshold {
                Standing::Idle
            } else {
                Standing::Busy
            }
        }
        // Nothing at all is idle, also where the threshold is nothing.
        Reading::Value(value) if *value < threshold * slack || *value == 0.0 => Standing::Idle,
        Reading::Value(_) => Standing::Busy,
    };
    Check { monitor, reading, threshold, standing }
}

fn agree(settings: &Settings, checks: &[Check], votes: &[Vote], holds: &[String]) -> Agreement {
    let agreement = |verdict, decided_by: &str, reason: String| Agreement {
        verdict,
        decided_by: decided_by.to_owned(),
        reason,
    };
    if let Some(hold) = holds.first() {
        return agreement(Verdict::Busy, "hold", hold.clone());
    }
    let standing = |standing| checks.iter().find(|check| check.standing == standing);
    let vote = |verdict| votes.iter().find(|vote| vote.verdict == verdict);
    let of_check =
        |verdict, check: &Check| agreement(verdict, check.monitor.as_str(), check.text());
    let of_vote =
        |vote: &Vote| agreement(vote.verdict, &format!("plugin {}", vote.plugin), vote.text());
    let any = settings.votes == Combination::Any;
    if any
        && let Some(idle) = vote(Verdict::Idle)
        && standing(Standing::Unknown).is_none()
    {
        return of_vote(idle);
    }
    if let Some(busy) = standing(Standing::Busy) {
        return of_check(Verdict::Busy, busy);
    }
    if !any && let Some(busy) = vote(Verdict::Busy) {
        return of_vote(busy);
    }
    if let Some(unknown) = standing(Standing::Unknown) {
        return of_check(Verdict::Unknown, unknown);
    }
    if !any && let Some(unknown) = vote(Verdict::Unknown) {
        return of_vote(unknown);
    }
    if standing(Standing::Idle).is_none() {
        return agreement(Verdict::Unknown, "monitors", "nothing was measured".to_owned());
    }
    let told = checks.iter().filter(|check| check.standing == Standing::Idle).map(Check::text);
    let told: Vec<String> = told.chain(votes.iter().map(Vote::text)).collect();
    agreement(Verdict::Idle, "all", told.join(", "))
}

impl Check {
    /// For people: `cpu 3.2 % (busy from 10 %)`.
    #[must_use]
    pub fn text(&self) -> String {
        let (name, unit) = (self.monitor.as_str(), self.monitor.unit());
        let threshold = figure(self.threshold);
        match &self.reading {
            Reading::Value(value) if self.monitor == Monitor::Input => {
                format!("{name} {} {unit} ago (idle from {threshold} {unit})", figure(*value))
            }
            Reading::Value(value) => {
                format!("{name} {} {unit} (busy from {threshold} {unit})", figure(*value))
            }
            Reading::Unknown(why) => format!("{name} unknown: {why}"),
            Reading::Absent(why) => format!("{name} absent: {why}"),
        }
    }

    /// For programs.
    #[must_use]
    pub fn view(&self) -> Value {
        let why = match &self.reading {
            Reading::Value(_) => None,
            Reading::Unknown(why) | Reading::Absent(why) => Some(why),
        };
        json!({
            "value": self.reading.value(),
            "threshold": self.threshold,
            "unit": self.monitor.unit(),
            "standing": self.standing.as_str(),
            "why": why,
        })
    }
}

impl Vote {
    /// For people (S1-64): `Plugin NAME: REASON`.
    #[must_use]
    pub fn text(&self) -> String {
        match self.reason.as_str() {
            "" => format!("Plugin {}: {}", self.plugin, self.verdict.as_str()),
            reason => format!("Plugin {}: {reason}", self.plugin),
        }
    }

    /// For programs.
    #[must_use]
    pub fn view(&self) -> Value {
        json!({ "plugin": self.plugin, "vote": self.verdict.as_str(), "reason": self.reason })
    }
}

impl Judgement {
    /// The figures that there are, by their keys.
    #[must_use]
    pub fn metrics(&self) -> Map<String, Value> {
        let figures = self.checks.iter().filter_map(|check| {
            let value = check.reading.value()?;
            Some((check.monitor.key().to_owned(), json!((value * 100.0).round() / 100.0)))
        });
        figures.collect()
    }
}

/// A figure with at most one digit behind the point.
fn figure(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    format!("{rounded}")
}
