//! The trace of an incident as the cloud side saw it, read from the ledger once it has ended.
//! Pure.
//!
//! The instance tells of its plan and its steps in the same trace, below the same root: all ids
//! follow from the correlation id.

use jiff::Timestamp;
use serde_json::Value;
use snooze_event::wire::otlp::{self, ROOT, Span};
use snooze_policy::ledger::{Incident, TaskState};

/// The document of an incident, in the trace of a correlation id; `None` while it is open.
#[must_use]
pub fn document(incident: &Incident, correlation: &str, stack: &str) -> Option<Value> {
    let ended = incident.ended.as_ref()?;
    let hop = |name: &str| incident.hops.get(name).copied();
    let begun = hop("noticed").unwrap_or(incident.opened_at).min(incident.opened_at);
    let last = hop("recorded").unwrap_or(ended.at).max(ended.at);
    let word = |key: &str| incident.event.get(key).and_then(Value::as_str).unwrap_or_default();
    let is_good = ["done", "cancelled"].contains(&ended.outcome.as_str());
    let mut spans = vec![Span {
        key: ROOT.to_owned(),
        parent: None,
        name: format!("incident {}", word("type")),
        start: begun,
        end: last,
        attributes: vec![
            ("cloudsnooze.incident", incident.id.clone()),
            ("cloudsnooze.instance", incident.instance.clone().unwrap_or_default()),
            ("cloudsnooze.cause", word("cause").to_owned()),
            ("cloudsnooze.outcome", ended.outcome.clone()),
            ("cloudsnooze.drill", incident.drill.to_string()),
        ],
        error: (!is_good).then(|| ended.text.clone()),
    }];
    let mut between = |name: &str, from: Option<Timestamp>, to: Option<Timestamp>| {
        if let (Some(start), Some(end)) = (from, to) {
            spans.push(below(name, start, end, None));
        }
    };
    between("dispatch", hop("dispatched"), hop("commanded"));
    between("record", hop("finished"), hop("recorded"));
    for task in &incident.tasks {
        let (end, error) = match &task.state {
            TaskState::Done { at, .. } => (*at, None),
            TaskState::Failed { at, error, .. } => (*at, Some(error.clone())),
            TaskState::Waiting
            | TaskState::Pending { .. }
            | TaskState::Sent { .. }
            | TaskState::Running { .. }
            | TaskState::Skipped { .. } => continue,
        };
        spans.push(below(&format!("task {}", task.id), incident.opened_at, end, error));
    }
    let about =
        [("service.name", "cloudsnooze".to_owned()), ("cloudsnooze.stack", stack.to_owned())];
    Some(otlp::write(correlation, &about, &spans))
}

fn below(name: &str, start: Timestamp, end: Timestamp, error: Option<String>) -> Span {
    Span {
        key: name.to_owned(),
        parent: Some(ROOT.to_owned()),
        name: name.to_owned(),
        start,
        end,
        attributes: Vec::new(),
        error,
    }
}
