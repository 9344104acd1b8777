//! What the bus is told of an incident. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};
use snooze_cloud::bus::Entry;
use snooze_event::{Event, EventType};
use snooze_policy::ledger::{Report, StepReport};

use super::hello;
use super::home::Home;
use crate::incident::{Incident, Progress, StepState};

/// The longest report: an entry on the bus has 256 KiB with all that is around it (EventBridge
/// API reference, "PutEvents", checked 2026-11).
const LONGEST: usize = 200 << 10;
/// So much is kept of texts when a report is too long.
const CUT_TEXT: usize = 200;
/// So many steps are kept when it is still too long.
const CUT_STEPS: usize = 200;

/// An incident was opened.
#[must_use]
pub fn phase(known: &Incident, home: &Home, durable: bool) -> Entry {
    entry(known, home, EventType::IncidentPhase, known.opened, of(known, durable))
}

/// An incident was closed.
#[must_use]
pub fn outcome(known: &Incident, home: &Home, durable: bool) -> Entry {
    let at = known.closed.as_ref().map_or(known.opened, |closed| closed.at);
    entry(known, home, EventType::IncidentOutcome, at, of(known, durable))
}

fn entry(known: &Incident, home: &Home, kind: EventType, at: Timestamp, report: Report) -> Entry {
    // An id of its own for each that says something else: reports come at least once.
    let id = format!("{}#{kind}/{}", known.key, known.told_by.len());
    let event = hello::about(home, kind, at, data(bounded(report)));
    let event = Event {
        id: id.parse().unwrap_or(event.id),
        deadline: deadline(known),
        drill: known.event.drill,
        ..event
    };
    Entry::of(&event, Some(&known.key))
}

fn of(known: &Incident, durable: bool) -> Report {
    let closed = known.closed.as_ref();
    let is_loss = known.is_loss() || known.event.drill;
    let hops = [
        ("received", Some(known.opened)),
        ("started", known.begun),
        ("finished", closed.map(|closed| closed.at)),
    ];
    let hops = hops.into_iter().filter_map(|(hop, at)| Some((hop.to_owned(), at?)));
    Report {
        incident: known.key.to_string(),
        told_by: known.told_by.iter().cloned().collect(),
        event: known.event.kind.to_string(),
        cause: known.event.cause.filter(|_| is_loss).map(|cause| cause.as_str().to_owned()),
        action: known.event.action.as_ref().filter(|_| is_loss).map(|a| a.as_str().to_owned()),
        outcome: closed.map(|closed| closed.outcome.as_str().to_owned()),
        text: closed.map(|closed| closed.text.clone()).unwrap_or_default(),
        durable,
        deadline: deadline(known),
        hops: BTreeMap::from_iter(hops),
        steps: known.steps.iter().map(step).collect(),
    }
}

/// When the instance goes, by the wall clock of the first sight.
fn deadline(known: &Incident) -> Option<Timestamp> {
    let left = known.due?.saturating_sub(known.opened_at);
    known.opened.checked_add(left).ok()
}

fn step(state: &StepState) -> StepReport {
    let step = state.step.id.to_string();
    match &state.progress {
        Progress::Pending | Progress::Running => StepReport {
            step,
            outcome: None,
            text: String::new(),
            milliseconds: 0,
            verified: None,
            result: Value::Null,
        },
        Progress::Ended(outcome) => StepReport {
            step,
            outcome: Some(outcome.kind.as_str().to_owned()),
            text: outcome.text.clone(),
            milliseconds: outcome.milliseconds,
            verified: outcome.verified,
            result: match outcome.result.is_empty() {
                true => Value::Null,
                false => Value::Object(outcome.result.clone()),
            },
        },
    }
}

/// A report that the bus takes: the results go first, then the ends of texts, then the last steps.
fn bounded(mut report: Report) -> Report {
    let is_long = |report: &Report| Value::Object(data(report.clone())).to_string().len() > LONGEST;
    if is_long(&report) {
        for step in &mut report.steps {
            step.result = Value::Null;
        }
    }
    if is_long(&report) {
        cut(&mut report.text);
        report.steps.iter_mut().for_each(|step| cut(&mut step.text));
    }
    if is_long(&report) {
        let all = report.steps.len();
        report.steps.truncate(CUT_STEPS);
        report.text = format!("{} (the first {CUT_STEPS} of {all} steps)", report.text);
    }
    report
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(CUT_TEXT) {
        text.truncate(end);
        text.push('…');
    }
}

fn data(report: Report) -> Map<String, Value> {
    match serde_json::to_value(report) {
        Ok(Value::Object(members)) => members,
        Ok(_) | Err(_) => unreachable!("a report is an object with texts as keys"),
    }
}

#[cfg(test)]
mod tests;
