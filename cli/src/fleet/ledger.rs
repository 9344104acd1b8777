//! An incident of the ledger, as a person reads it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use snooze_policy::ledger::{By, Hook, Incident, StepReport, Task, TaskState};

use super::timing;
use crate::text::{self, word};

/// The stations of an incident, in the order of the road.
const STATIONS: [&str; 7] =
    ["noticed", "dispatched", "commanded", "received", "started", "finished", "recorded"];

/// All that the ledger holds of an incident.
pub(super) fn person(incident: &Incident, now: Timestamp) -> String {
    let mut out = format!("{}, {}\n", title(incident), standing(incident, now));
    out.push_str(&text::indented(&text::table(&facts(incident)), 2));
    let hops = hops(incident);
    let rows = hops.iter().map(|hop| [hop.name.to_owned(), text::at(hop.at), after(hop)]);
    out.push_str(&part(&["HOP", "AT", "AFTER"], rows.collect()));
    out.push_str(&part(
        &["STEP", "OUTCOME", "TOOK", "TEXT"],
        incident.steps.iter().map(step).collect(),
    ));
    out.push_str(&part(
        &["TASK", "STATE", "ATTEMPTS", "TEXT"],
        incident.tasks.iter().map(task).collect(),
    ));
    if !incident.plan.is_empty() {
        out.push_str("\n  planned for the instance\n");
        out.push_str(&text::indented(&text::shown_lines(&incident.plan.join("\n")), 4));
    }
    out
}

/// The incident as it is stored, with what follows from it.
pub(super) fn data(incident: &Incident) -> Value {
    let mut data = serde_json::to_value(incident).unwrap_or_default();
    if let Some(members) = data.as_object_mut() {
        let hops = hops(incident);
        let hops = hops.iter().map(|hop| {
            json!({ "hop": hop.name, "at": hop.at.to_string(),
                    "after_seconds": hop.after.map(|after| after.as_secs_f64()) })
        });
        members.insert("latencies".to_owned(), hops.collect());
        let margin = margin(incident).map(|margin| margin.as_secs_f64());
        members.insert("margin_seconds".to_owned(), json!(margin));
    }
    data
}

/// What happened, in a few words.
pub(super) fn title(incident: &Incident) -> String {
    let attribute = |name: &str| incident.event.get(name).and_then(Value::as_str);
    let mut title = word(attribute("type").unwrap_or_default());
    if let Some(action) = attribute("action") {
        title.push_str(&format!(" {}", word(action)));
    }
    if incident.drill {
        title.push_str(" (drill)");
    }
    title
}

/// How it stands.
pub(super) fn standing(incident: &Incident, now: Timestamp) -> String {
    let Some(ended) = &incident.ended else {
        let left = incident.deadline.map(|deadline| deadline.duration_since(now));
        return match left {
            None => "open".to_owned(),
            Some(left) if left.is_negative() => {
                format!("open, {} after its deadline", text::took(left.unsigned_abs()))
            }
            Some(left) => format!("open, {} left", text::took(left.unsigned_abs())),
        };
    };
    let outcome = word(&ended.outcome);
    match margin(incident) {
        None => outcome,
        Some(margin) if margin.is_negative() => format!("{outcome}, {}", timing::margin(margin)),
        Some(margin) => format!("{outcome} with {}", timing::margin(margin)),
    }
}

/// The time between the end of the work on the instance and its deadline.
pub(super) fn margin(incident: &Incident) -> Option<SignedDuration> {
    let finished = incident.hops.get("finished")?;
    Some(incident.deadline?.duration_since(*finished))
}

pub(super) fn done(incident: &Incident) -> String {
    format!("{}/{}", steps_done(incident), incident.steps.len())
}

/// How many of the steps on the instance did their work.
pub(super) fn steps_done(incident: &Incident) -> usize {
    let is_done = |step: &&StepReport| step.outcome.as_deref() == Some("done");
    incident.steps.iter().filter(is_done).count()
}

/// One station that an incident passed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hop<'a> {
    pub(super) name: &'a str,
    pub(super) at: Timestamp,
    /// Since the station before; none at the first.
    pub(super) after: Option<Duration>,
}

/// The stations in the order in which they were passed: an instance may hear of its loss before
/// the cloud side does. Each is by the clock of its own machine.
pub(super) fn hops(incident: &Incident) -> Vec<Hop<'_>> {
    let place = |name: &str| STATIONS.iter().position(|station| *station == name);
    let mut passed: Vec<(&str, Timestamp)> =
        incident.hops.iter().map(|(name, at)| (name.as_str(), *at)).collect();
    passed.sort_by_key(|(name, at)| (*at, place(name).unwrap_or(STATIONS.len())));
    let mut before: Option<Timestamp> = None;
    let mut hops = Vec::new();
    for (name, at) in passed {
        let after = before.map(|before| at.duration_since(before).unsigned_abs());
        hops.push(Hop { name, at, after });
        before = Some(at);
    }
    hops
}

/// What the instance told of a step, in one word.
pub(super) fn step_state(step: &StepReport) -> &str {
    step.outcome.as_deref().unwrap_or("not told")
}

/// How long a step took; nothing of one that did not run.
pub(super) fn took(step: &StepReport) -> Option<String> {
    (step.milliseconds > 0).then(|| text::took(Duration::from_millis(step.milliseconds)))
}

/// Who told how it ended.
pub(super) fn by(by: By) -> &'static str {
    match by {
        By::Instance => "the instance",
        By::Sweep => "the sweep",
        By::Dispatch => "dispatch",
    }
}

fn facts(incident: &Incident) -> Vec<[String; 2]> {
    let row = |name: &str, text: String| [name.to_owned(), text];
    let mut rows = vec![row("incident", word(&incident.id))];
    rows.push(row("instance", word(incident.instance.as_deref().unwrap_or_default())));
    rows.push(row("opened", text::at(incident.opened_at)));
    if let Some(deadline) = incident.deadline {
        rows.push(row("deadline", text::at(deadline)));
    }
    if let Some(ended) = &incident.ended {
        let told = format!("{}, by {}: ", text::at(ended.at), by(ended.by));
        rows.push(row("ended", told + &word(&ended.text)));
    }
    for (state, at) in &incident.fate {
        rows.push(row("EC2 told", format!("{}, {}", text::at(*at), word(state))));
    }
    if let Some(hook) = &incident.hook {
        rows.push(row("hook", of_hook(hook, incident)));
    }
    rows.push(row(
        "policies",
        match incident.policies {
            Some(version) => format!("version {version}"),
            None => "the table could not be read; the instance acted on its own copy".to_owned(),
        },
    ));
    for signal in &incident.signals {
        let told = format!("{}, {} from {}", text::at(signal.heard_at), signal.kind, signal.source);
        rows.push(row("signal", word(&told)));
    }
    if incident.unseen {
        rows.push(row("cloud", "the instance told of it; no event of EC2 came".to_owned()));
    }
    rows
}

fn of_hook(hook: &Hook, incident: &Incident) -> String {
    let answer = if incident.is_completed() { "answered" } else { "not answered" };
    let timeout = text::took(hook.timeout());
    word(&format!("{} of group {}, {answer}, waits {timeout}", hook.name, hook.group))
}

fn after(hop: &Hop<'_>) -> String {
    hop.after.map_or_else(|| "-".to_owned(), text::took)
}

fn step(step: &StepReport) -> [String; 4] {
    [
        word(&step.step),
        word(step_state(step)),
        took(step).unwrap_or_else(|| "-".to_owned()),
        word(&step.text),
    ]
}

fn task(task: &Task) -> [String; 4] {
    let text = match &task.state {
        TaskState::Done { text, .. } | TaskState::Skipped { text } => text.clone(),
        TaskState::Failed { error, text, .. } => format!("{error}: {text}"),
        TaskState::Waiting
        | TaskState::Pending { .. }
        | TaskState::Sent { .. }
        | TaskState::Running { .. } => task.error.clone(),
    };
    [word(&task.id), task.state.as_str().to_owned(), task.attempts.to_string(), word(&text)]
}

/// A table with a head, moved to the right; nothing without rows.
fn part<const N: usize>(head: &[&str; N], rows: Vec<[String; N]>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head = head.map(str::to_owned);
    let rows: Vec<[String; N]> = [head].into_iter().chain(rows).collect();
    format!("\n{}", text::indented(&text::table(&rows), 2))
}

#[cfg(test)]
pub(super) mod samples;
#[cfg(test)]
mod tests;
