//! When is measured, who is asked for a vote, and what keeps the instance up: all that stands
//! between the clock and [`Idle`], which decides.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use snooze_plugin::{Metrics, Verdict as Word, Vote as Told};
use snooze_policy::idle::{
    Effect, Idle, Kept, Moment, Monitor as Figure, Reading, Readings, Seen, Settings, Verdict, Vote,
};

use crate::clock::Now;

/// How long measuring and voting may take. Plugins have less for an answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// So much of what a plugin says is kept, in characters: it goes into every report.
const REASON: usize = 200;
/// How often at least the state is kept.
const KEEP: Duration = Duration::from_secs(60);
/// The longest `snooze wake`.
pub(crate) const LONGEST_WAKE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Where one look stands.
#[derive(Debug)]
enum Step {
    /// Nothing is asked.
    Waiting,
    /// The figures are not there yet.
    Measuring,
    /// Plugins are asked what they think of the figures.
    Voting { readings: Readings, votes: BTreeMap<String, Option<Told>> },
}

/// What outlives the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stored {
    boot: String,
    idle: Kept,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    awake_until: Option<Timestamp>,
}

/// The idle monitor.
#[derive(Debug)]
pub(crate) struct Monitor {
    idle: Idle,
    boot: String,
    file: PathBuf,
    step: Step,
    /// When the look that goes on began, since boot.
    begun: Duration,
    /// When the next one begins.
    next: Duration,
    /// The entries of the plugins that vote, with their names.
    voters: BTreeMap<String, String>,
    /// Those that answered that they do not vote.
    silent: BTreeSet<String>,
    awake_until: Option<Timestamp>,
    kept_at: Duration,
    kept: Option<Stored>,
}

fn moment(now: Now) -> Moment {
    Moment { wall: now.wall, boot: now.boot }
}

impl Monitor {
    /// The monitor of this boot, with what an earlier daemon of it left.
    pub(crate) fn new(settings: Settings, boot: &str, directory: &Path, now: Now) -> Self {
        let file = directory.join("idle.json");
        let mut idle = Idle::new(settings, moment(now));
        let stored = fs::read(&file).ok();
        let stored: Option<Stored> = stored.and_then(|text| serde_json::from_slice(&text).ok());
        if let Some(stored) = stored.as_ref().filter(|stored| stored.boot == boot) {
            idle.restore(&stored.idle, moment(now));
        }
        Self {
            idle,
            boot: boot.to_owned(),
            file,
            step: Step::Waiting,
            begun: Duration::ZERO,
            next: Duration::ZERO,
            voters: BTreeMap::new(),
            silent: BTreeSet::new(),
            awake_until: stored.and_then(|stored| stored.awake_until),
            kept_at: Duration::ZERO,
            kept: None,
        }
    }

    /// Takes other settings up.
    pub(crate) fn set(&mut self, settings: Settings) {
        self.idle.set(settings);
        self.next = Duration::ZERO;
    }

    /// The plugins that vote, by their entries.
    pub(crate) fn set_voters(&mut self, voters: BTreeMap<String, String>) {
        self.silent.retain(|entry| voters.contains_key(entry));
        self.voters = voters;
    }

    /// What is decided, and the settings.
    pub(crate) fn idle(&self) -> &Idle {
        &self.idle
    }

    /// CloudSnooze had stopped this instance.
    pub(crate) fn restarted(&mut self) {
        self.idle.restarted();
    }

    /// Whether a look begins now.
    pub(crate) fn begins(&mut self, now: Now) -> bool {
        let begins = self.idle.settings().enabled
            && matches!(self.step, Step::Waiting)
            && now.boot >= self.next;
        if begins {
            (self.step, self.begun) = (Step::Measuring, now.boot);
        }
        begins
    }

    /// Takes figures in; answers with the entries that are to be asked, and what they are told.
    pub(crate) fn measured(&mut self, readings: Readings, now: Now) -> (Vec<String>, Metrics) {
        let metrics = metrics(&readings, now.wall);
        if !matches!(self.step, Step::Measuring) {
            // It comes from a look that was given up.
            return (Vec::new(), metrics);
        }
        self.step = Step::Voting { readings, votes: BTreeMap::new() };
        (self.voting().cloned().collect(), metrics)
    }

    fn voting(&self) -> impl Iterator<Item = &String> {
        self.voters.keys().filter(|entry| !self.silent.contains(*entry))
    }

    /// Takes the answer of a plugin in.
    pub(crate) fn voted(&mut self, entry: String, vote: Option<Told>) {
        if vote.is_none() {
            self.silent.insert(entry.clone());
        }
        if let Step::Voting { votes, .. } = &mut self.step {
            votes.insert(entry, vote);
        }
    }

    /// Judges, once all is known or nobody can be waited for any longer.
    pub(crate) fn judge(&mut self, holds: Vec<String>, now: Now) -> Vec<Effect> {
        let is_late = now.boot.saturating_sub(self.begun) >= PATIENCE;
        let is_whole = match &self.step {
            Step::Waiting => return Vec::new(),
            Step::Measuring => false,
            Step::Voting { votes, .. } => self.voting().all(|entry| votes.contains_key(entry)),
        };
        if !is_whole && !is_late {
            return Vec::new();
        }
        let (readings, votes) = match std::mem::replace(&mut self.step, Step::Waiting) {
            Step::Voting { readings, votes } => (readings, votes),
            Step::Waiting | Step::Measuring => (hung(self.idle.settings()), BTreeMap::new()),
        };
        let votes = self.voting().map(|entry| {
            let plugin = self.voters.get(entry).cloned().unwrap_or_default();
            match votes.get(entry).and_then(Option::as_ref) {
                Some(told) => {
                    let reason = told.reason.chars().take(REASON).collect();
                    Vote { plugin, verdict: verdict(told.verdict), reason }
                }
                None => {
                    let reason = "it did not answer".to_owned();
                    Vote { plugin, verdict: Verdict::Unknown, reason }
                }
            }
        });
        let seen = Seen { readings, votes: votes.collect(), holds };
        let before = self.idle.phase().as_str();
        let effects = self.idle.on(seen, moment(now));
        self.next = self.begun + self.idle.pace();
        if before != self.idle.phase().as_str() || now.boot.saturating_sub(self.kept_at) >= KEEP {
            self.keep(now);
        }
        effects
    }

    /// Keeps the instance up until then; `None` takes that back.
    pub(crate) fn wake(&mut self, until: Option<Timestamp>, now: Now) {
        self.awake_until = until;
        self.next = Duration::ZERO;
        self.keep(now);
    }

    /// Until when `snooze wake` keeps it up.
    pub(crate) fn awake_until(&self, now: Now) -> Option<Timestamp> {
        self.awake_until.filter(|until| *until > now.wall)
    }

    /// Writes down what has to outlive the daemon. One that is killed loses at most a minute of a
    /// nap.
    pub(crate) fn keep(&mut self, now: Now) {
        self.kept_at = now.boot;
        let stored = Stored {
            boot: self.boot.clone(),
            idle: self.idle.kept(),
            awake_until: self.awake_until(now),
        };
        if self.kept.as_ref() == Some(&stored) {
            return;
        }
        let beside = self.file.with_extension("new");
        let text = serde_json::to_vec(&stored).unwrap_or_default();
        let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, &self.file));
        if let Err(error) = written {
            tracing::debug!(%error, file = %self.file.display(), "idle state not kept");
            return;
        }
        self.kept = Some(stored);
    }

    /// The `data` of `instance.idle` and `instance.active`.
    pub(crate) fn report(&self) -> Map<String, Value> {
        let mut report = self.idle.report();
        report.insert("boot_id".to_owned(), json!(self.boot));
        report
    }

    /// What `status` shows.
    pub(crate) fn view(&self, now: Now) -> Value {
        let mut view = self.idle.view();
        if let Some(members) = view.as_object_mut() {
            let until = self.awake_until(now).map(|until| until.to_string());
            members.insert("awake_until".to_owned(), json!(until));
        }
        view
    }

    /// What decided in the last hour.
    pub(crate) fn spans(&self) -> Value {
        let spans = self.idle.spans().map(|span| {
            json!({
                "from": span.from.to_string(),
                "to": span.to.to_string(),
                "verdict": span.verdict.as_str(),
                "decided_by": span.decided_by,
                "reason": span.reason,
            })
        });
        spans.collect()
    }
}

/// The figures of a look that does not end.
fn hung(settings: &Settings) -> Readings {
    let figure = |one: &Figure| (*one, Reading::Unknown("measuring takes too long".to_owned()));
    settings.used.iter().map(figure).collect()
}

fn verdict(word: Word) -> Verdict {
    match word {
        Word::Idle => Verdict::Idle,
        Word::Busy => Verdict::Busy,
        Word::Unknown => Verdict::Unknown,
    }
}

/// The figures as plugins are told them (S1-18).
fn metrics(readings: &Readings, wall: Timestamp) -> Metrics {
    let figure = |one: Figure| readings.get(&one).and_then(Reading::value);
    let named = [Figure::Cpu, Figure::Memory, Figure::Network, Figure::DiskIo, Figure::Gpu];
    let more = readings.iter().filter(|(one, _)| !named.contains(one));
    Metrics {
        cpu_usage: figure(Figure::Cpu).unwrap_or_default(),
        memory_usage: figure(Figure::Memory).unwrap_or_default(),
        network_traffic: figure(Figure::Network).unwrap_or_default(),
        disk_io: figure(Figure::DiskIo).unwrap_or_default(),
        gpu_usage: figure(Figure::Gpu).unwrap_or_default(),
        timestamp: wall.as_second(),
        more: more
            .filter_map(|(one, reading)| Some((one.key().to_owned(), json!(reading.value()?))))
            .collect(),
    }
}
