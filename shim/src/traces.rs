//! Traces: each incident that has ended, as a trace for a collector of OpenTelemetry.
//!
//! What is told is read from the incident, which is the fold of its records; nothing is measured
//! for it. A thread of its own sends it, so that a collector that hangs holds nothing up; what it
//! does not take is dropped. Without the setting there is neither thread nor client.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderMap;
use serde_json::Value;
use snooze_event::wire::otlp::{self, ROOT, Span};
use snooze_policy::strict::{Fields, Unknown};
use snooze_policy::{Facts, Fault};
use tracing::{debug, warn};

use crate::builtins::http::{self, Sender};
use crate::incident::{Incident, StepState};
use crate::record::{Ending, Entry, Outcome, Record};

/// How many traces may wait for the collector.
const WAITING: usize = 16;
/// How long the collector may take for one.
const LIMIT: Duration = Duration::from_secs(5);
/// How long the last traces have when the daemon ends.
const LAST: Duration = Duration::from_secs(1);

/// The address of the collector, `traces.endpoint` in the settings; `None` without one.
pub fn read(root: &Fields<'_>, faults: &mut Vec<Fault>) -> Option<String> {
    let fields = root.object("traces", faults)?;
    fields.expect(&["endpoint"], Unknown::Refuse, faults);
    let text = fields.text("endpoint", faults)?;
    let is_fine = |url: &Url| url.username().is_empty() && url.password().is_none();
    if http::url(text).filter(is_fine).is_none() {
        let text = "expected the address of a collector, as `http://127.0.0.1:4318/v1/traces`";
        faults.push(fields.fault("endpoint", text));
        return None;
    }
    Some(text.to_owned())
}

/// The way to the collector; leads nowhere without the setting.
#[derive(Debug, Default)]
pub struct Traces {
    /// Where documents wait, and what is dropped when the last was sent.
    way: Option<(SyncSender<String>, Receiver<()>)>,
}

impl Traces {
    /// Sends to a collector at this address from now on.
    #[must_use]
    pub fn to(endpoint: Option<&str>) -> Self {
        let Some(url) = endpoint.and_then(http::url) else { return Self::default() };
        let (waiting, documents) = mpsc::sync_channel(WAITING);
        let (end, ended) = mpsc::sync_channel(0);
        let work = move || {
            send(&url, &documents);
            drop(end);
        };
        match thread::Builder::new().name("traces".to_owned()).spawn(work) {
            Ok(_thread) => Self { way: Some((waiting, ended)) },
            Err(error) => {
                warn!(%error, "traces are not sent");
                Self::default()
            }
        }
    }

    /// Sends what follows from what was written down of an incident, which has taken it in. Never
    /// waits.
    pub fn note(&self, entry: &Entry, known: &Incident, facts: &Facts, has_cloud: bool) {
        let Some((waiting, _)) = &self.way else { return };
        for correlation in correlations(entry, known) {
            let document = document(known, correlation, facts, has_cloud).to_string();
            if waiting.try_send(document).is_err() {
                debug!(incident = entry.incident, "a trace was dropped");
            }
        }
    }

    /// Lets the last traces go, for a moment.
    pub fn end(&mut self) {
        if let Some((waiting, ended)) = self.way.take() {
            drop(waiting);
            // It ends with the time-out, or when the thread does: there is never a message.
            let _ = ended.recv_timeout(LAST);
        }
    }
}

fn send(url: &Url, documents: &Receiver<String>) {
    let mut sender = None;
    let mut is_well = true;
    for document in documents {
        if sender.is_none() {
            sender = Sender::new(url).ok();
        }
        let Some(client) = &sender else { continue };
        let error = match client.post(HeaderMap::new(), document, LIMIT) {
            Ok(answer) if (200..300).contains(&answer.status) => None,
            Ok(answer) => Some(format!("status {}", answer.status)),
            Err(error) => Some(http::told(&error)),
        };
        // Once, until it works again.
        if let Some(error) = error.as_ref().filter(|_| is_well) {
            warn!(error, "a trace was not taken");
        }
        is_well = error.is_none();
    }
}

/// The incidents of the cloud in whose traces something is told now; its own where the cloud told
/// of none.
fn correlations<'a>(entry: &'a Entry, known: &'a Incident) -> Vec<&'a str> {
    match &entry.record {
        Record::Closed { .. } if known.told_by.is_empty() => vec![known.key.as_str()],
        Record::Closed { .. } => known.told_by.iter().map(String::as_str).collect(),
        Record::Told { by } if known.closed.is_some() => vec![by.as_str()],
        Record::Told { .. }
        | Record::Opened { .. }
        | Record::Joined { .. }
        | Record::Seen
        | Record::Started { .. }
        | Record::Ended { .. }
        | Record::Cancelled
        | Record::Survived
        | Record::Reported { .. } => Vec::new(),
    }
}

/// The document of an incident that has ended, in the trace of a correlation id. Where the cloud
/// side is on, it tells of the root.
#[must_use]
pub fn document(known: &Incident, correlation: &str, facts: &Facts, has_cloud: bool) -> Value {
    let key = format!("snoozed/{}", known.key);
    let closed = known.closed.as_ref();
    let outcome = closed.map_or("open", |closed| closed.outcome.as_str());
    let is_good = matches!(outcome_of(known), Some(Outcome::Done | Outcome::Cancelled));
    let cause = known.event.cause.map(snooze_event::Cause::as_str);
    let mut spans = vec![Span {
        key: key.clone(),
        parent: (has_cloud && !known.is_undo()).then(|| ROOT.to_owned()),
        name: format!("snoozed {}", known.event.kind),
        start: known.opened,
        end: closed.map_or(known.opened, |closed| closed.at),
        attributes: vec![
            ("cloudsnooze.incident", known.key.to_string()),
            ("cloudsnooze.cause", cause.unwrap_or_default().to_owned()),
            ("cloudsnooze.outcome", outcome.to_owned()),
            ("cloudsnooze.drill", known.event.drill.to_string()),
        ],
        error: closed.filter(|_| !is_good).map(|closed| closed.text.clone()),
    }];
    spans.extend(known.steps.iter().filter_map(|state| step(known, state, &key)));
    let about = [
        ("service.name", "snoozed".to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("host.id", facts.id.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("cloud.region", facts.region.clone().unwrap_or_default()),
    ];
    otlp::write(correlation, &about, &spans)
}

fn outcome_of(known: &Incident) -> Option<Outcome> {
    known.closed.as_ref().map(|closed| closed.outcome)
}

/// A step that was begun.
fn step(known: &Incident, state: &StepState, parent: &str) -> Option<Span> {
    let after = state.started?.saturating_sub(known.opened_at);
    let start = known.opened.checked_add(after).ok()?;
    let outcome = state.outcome()?;
    let took = Duration::from_millis(outcome.milliseconds);
    let is_good = matches!(
        outcome.kind,
        Ending::Done | Ending::NotHandled | Ending::NotNeeded | Ending::Rehearsed
    );
    let text = if outcome.text.is_empty() { outcome.kind.as_str() } else { &outcome.text };
    Some(Span {
        key: format!("{parent}/{}", state.step.id),
        parent: Some(parent.to_owned()),
        name: state.step.plugin.to_string(),
        start,
        end: start.checked_add(took).ok()?,
        attributes: vec![
            ("cloudsnooze.step", state.step.id.to_string()),
            ("cloudsnooze.outcome", outcome.kind.as_str().to_owned()),
            ("cloudsnooze.attempts", state.attempts.to_string()),
        ],
        error: (!is_good).then(|| text.to_owned()),
    })
}
