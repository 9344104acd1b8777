//! Recorded figures, and what would have followed from them.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::judge::{Seen, Verdict, Vote};
use super::machine::{Effect, Idle, Moment};
use super::reading::{Monitor, Reading};
use super::settings::Settings;

/// The most moments of one replay: a year of minutes.
const MOMENTS: usize = 525_600;

/// A line of a trace cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text}")]
pub struct TraceError {
    /// Which, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub text: String,
}

/// One line: figures, and for how long they stay.
#[derive(Debug, Deserialize)]
struct Line {
    at: Timestamp,
    #[serde(default)]
    for_minutes: f64,
    #[serde(default)]
    votes: Map<String, Value>,
    #[serde(default)]
    holds: Vec<String>,
    #[serde(flatten)]
    figures: Map<String, Value>,
}

/// Something that would have happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// When.
    pub at: Timestamp,
    /// What.
    pub effect: Effect,
    /// Why, for people.
    pub reason: String,
}

/// What would have happened with these settings.
///
/// A trace has a JSON object on each line: `at` (RFC 3339), figures by their keys
/// (`"cpu_percent": 2.5`; `null`: it could not be read; `"absent"`: there is nothing to measure),
/// `votes` (`{"PLUGIN": "idle"}`, or `busy`, `unknown`), `holds` (texts), and `for_minutes`: for
/// so long the same was measured at each interval. The first line counts as a machine that is up
/// for long enough.
///
/// # Errors
/// The first line that cannot be read.
pub fn replay(settings: &Settings, trace: &str) -> Result<(Idle, Vec<Happened>), TraceError> {
    let mut idle: Option<(Idle, Timestamp)> = None;
    let up = settings.minimum_uptime.max(settings.cooldown);
    let mut happened = Vec::new();
    let mut moments = 0_usize;
    for (number, text) in (1..).zip(trace.lines()) {
        if text.trim().is_empty() {
            continue;
        }
        let fault = |text: String| TraceError { line: number, text };
        let line: Line = serde_json::from_str(text).map_err(|error| fault(error.to_string()))?;
        let seen = line.seen().map_err(fault)?;
        let (idle, begun) = idle.get_or_insert_with(|| {
            (Idle::new(settings.clone(), Moment { wall: line.at, boot: up }), line.at)
        });
        let end = Duration::try_from_secs_f64(line.for_minutes * 60.0)
            .ok()
            .and_then(|long| line.at.checked_add(long).ok())
            .ok_or_else(|| fault("`for_minutes` is no number of minutes".to_owned()))?;
        let mut wall = line.at;
        loop {
            moments += 1;
            if moments > MOMENTS {
                return Err(fault(format!("more than {MOMENTS} moments")));
            }
            let since = Duration::try_from(wall.duration_since(*begun));
            let since =
                since.map_err(|_backwards| fault("`at` is before the first line".to_owned()))?;
            let effects = idle.on(seen.clone(), Moment { wall, boot: up + since });
            let reason = idle.latest().map(|latest| latest.agreement.reason.clone());
            let reason = reason.unwrap_or_default();
            happened.extend(effects.into_iter().map(|effect| Happened {
                at: wall,
                effect,
                reason: reason.clone(),
            }));
            let next = wall.checked_add(idle.pace());
            match next {
                Ok(next) if next < end => wall = next,
                Ok(_) | Err(_) => break,
            }
        }
    }
    let (idle, _) = idle.ok_or(TraceError { line: 1, text: "nothing was recorded".to_owned() })?;
    Ok((idle, happened))
}

impl Line {
    fn seen(&self) -> Result<Seen, String> {
        let mut seen = Seen { holds: self.holds.clone(), ..Seen::default() };
        for (key, value) in &self.figures {
            let monitor = Monitor::ALL.into_iter().find(|monitor| monitor.key() == key);
            let monitor = monitor.ok_or_else(|| {
                let known = Monitor::ALL.map(Monitor::key).join("`, `");
                format!("unknown key `{}`: expected some of `{known}`", key.escape_debug())
            })?;
            let reading = match value {
                Value::Number(number) => Reading::Value(number.as_f64().unwrap_or(f64::NAN)),
                Value::Null => Reading::Unknown("it could not be read".to_owned()),
                Value::String(text) if text == "absent" => Reading::Absent("not there".to_owned()),
                Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                    return Err(format!("`{key}`: expected a number, null or \"absent\""));
                }
            };
            seen.readings.insert(monitor, reading);
        }
        for (plugin, vote) in &self.votes {
            let verdict = vote.as_str().and_then(Verdict::of);
            let verdict = verdict.ok_or_else(|| {
                format!("vote of `{}`: expected idle, busy or unknown", plugin.escape_debug())
            })?;
            let (plugin, reason) = (plugin.clone(), String::new());
            seen.votes.push(Vote { plugin, verdict, reason });
        }
        Ok(seen)
    }
}
