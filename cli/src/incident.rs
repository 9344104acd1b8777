//! An incident as a person reads it.

use serde_json::Value;

use crate::text::{self, cell, list, milliseconds, seconds};

/// What happened, how it stands, and its steps.
pub(crate) fn person(known: &Value) -> String {
    let mut out = format!("{}, {}\n", title(known), standing(known));
    let mut rows = vec![
        ["incident".to_owned(), cell(known, "incident")],
        ["opened".to_owned(), text::moment(known, "opened")],
    ];
    let text = cell(known, "text");
    if text != "-" {
        rows.push(["ended".to_owned(), text]);
    }
    if list(known, "steps").is_empty() {
        rows.push(["steps".to_owned(), "none: no policy matches".to_owned()]);
    }
    out.push_str(&text::indented(&text::table(&rows), 2));
    if !list(known, "steps").is_empty() {
        out.push_str(&text::indented(&steps(known), 2));
    }
    out
}

/// What happened, in a few words.
pub(crate) fn title(known: &Value) -> String {
    let mut title = cell(known, "event_type");
    let action = cell(known, "action");
    if action != "-" {
        title.push_str(&format!(" {action}"));
    }
    if flag(known, "drill") {
        title.push_str(" (drill)");
    }
    title
}

fn standing(known: &Value) -> String {
    let outcome = cell(known, "outcome");
    let mut standing = match (outcome.as_str(), seconds(known, "left_seconds")) {
        ("-", left) if left == "-" => "open".to_owned(),
        ("-", left) => format!("open, {left} left"),
        (outcome, _) => match seconds(known, "margin_seconds") {
            margin if margin == "-" => outcome.to_owned(),
            margin => format!("{outcome} with {margin} to spare"),
        },
    };
    if flag(known, "survived") {
        standing.push_str("; the instance is still there");
    }
    standing
}

/// Whether a member is true.
pub(crate) fn flag(known: &Value, name: &str) -> bool {
    known.get(name).and_then(Value::as_bool).unwrap_or_default()
}

/// Whether it has ended.
pub(crate) fn is_closed(known: &Value) -> bool {
    known.get("outcome").is_some_and(Value::is_string)
}

/// How a step stands, in one word.
pub(crate) fn step_state(step: &Value) -> String {
    match cell(step, "outcome") {
        outcome if outcome == "-" => cell(step, "state"),
        outcome => outcome,
    }
}

fn steps(known: &Value) -> String {
    let head = ["STEP", "PRIORITY", "STATE", "AFTER", "TOOK", "TEXT"].map(str::to_owned);
    let rows = list(known, "steps").iter().map(|step| {
        [
            cell(step, "step"),
            cell(step, "priority"),
            step_state(step),
            milliseconds(step, "started_after_ms"),
            milliseconds(step, "milliseconds"),
            cell(step, "text"),
        ]
    });
    text::table(&[head].into_iter().chain(rows).collect::<Vec<_>>())
}
