//! What instances tell, read and bounded: pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};
use snooze_cloud::instances::Instance;
use snooze_event::{Cause, Event, InstanceId, LossAction};
use snooze_policy::Facts;
use snooze_policy::ledger::{Claim, Incident, Report, of_loss};

use super::TOGETHER;
use crate::trace;

/// EC2 allows 50 tags on a resource (EC2 User Guide, "Tag restrictions", checked 2026-11).
const TAGS: usize = 50;
/// The longest text that is kept, in characters: that of a tag's value.
const TEXT: usize = 256;
/// The most faults that are kept.
const FAULTS: usize = 20;
/// The most steps of a report that are kept.
const STEPS: usize = 200;
/// The longest answer of a plugin that is kept, in bytes. An item of the ledger holds 400 KB.
const RESULT: usize = 1024;
/// How the outcomes of steps are named that failed.
const FAILED: [&str; 10] = [
    "failed",
    "degraded",
    "timed-out",
    "unkillable",
    "cannot-start",
    "broken-reply",
    "too-much-output",
    "died",
    "untrusted",
    "unknown",
];

/// What `instance.registered` and `instance.updated` tell.
#[must_use]
pub fn instance(id: &InstanceId, event: &Event) -> Instance {
    let data = &event.data;
    let text = |key: &str| data.get(key).and_then(Value::as_str).map(cut).filter(|t| !t.is_empty());
    let faults = data.get("faults").and_then(Value::as_array).into_iter().flatten();
    Instance {
        facts: Facts {
            id: Some(id.clone()),
            kind: text("type"),
            zone: text("zone"),
            region: text("region").or_else(|| event.region.clone()),
            account: text("account").or_else(|| event.account.clone()),
            lifecycle: text("lifecycle"),
            asg: text("asg"),
            tags: tags(data),
        },
        version: text("version"),
        boot: text("boot"),
        policies: data.get("policies").and_then(Value::as_u64),
        faults: faults.filter_map(Value::as_str).map(cut).take(FAULTS).collect(),
        last_seen: Some(event.time),
        ..Instance::default()
    }
}

/// The boot in which the instance tells that it is idle, or active.
#[must_use]
pub fn boot(event: &Event) -> Option<String> {
    let boot = event.data.get("boot_id").and_then(Value::as_str)?;
    Some(cut(boot)).filter(|boot| !boot.is_empty())
}

fn tags(data: &Map<String, Value>) -> BTreeMap<String, String> {
    let tags = data.get("tags").and_then(Value::as_object).into_iter().flatten();
    tags.filter_map(|(key, tag)| Some((cut(key), cut(tag.as_str()?)))).take(TAGS).collect()
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT).collect()
}

/// The report that an event carries, held to what the ledger keeps.
///
/// # Errors
/// The data is no report.
pub fn report(event: &Event) -> Result<Report, serde_json::Error> {
    let mut report: Report = serde_json::from_value(Value::Object(event.data.clone()))?;
    report.text = cut(&report.text);
    report.steps.truncate(STEPS);
    for step in &mut report.steps {
        (step.step, step.text) = (cut(&step.step), cut(&step.text));
        let size = serde_json::to_string(&step.result).map_or(0, |text| text.len());
        if size > RESULT {
            step.result = Value::Null;
        }
    }
    report.told_by.truncate(STEPS);
    report.outcome = report.outcome.as_deref().map(cut);
    Ok(report)
}

/// The loss that a report is about.
#[must_use]
pub fn loss(report: &Report) -> Option<(Cause, LossAction)> {
    let cause = report.cause.as_deref().and_then(Cause::of)?;
    Some((cause, LossAction::of(report.action.as_deref().unwrap_or("terminate"))))
}

/// Whether a report is about an incident.
///
/// The instance says which commands it acted on; a loss that it heard of by itself is known by
/// cause and action. A drill is known by its id alone, and what an instance says of the incidents
/// of others counts for nothing.
#[must_use]
pub fn is_about(incident: &Incident, event: &Event, report: &Report) -> bool {
    if !is_own(incident, event) {
        return false;
    }
    if report.told_by.contains(&incident.id) {
        return true;
    }
    if incident.drill || event.drill {
        return false;
    }
    if incident.signals.iter().any(|signal| signal.id == report.incident) {
        return true;
    }
    let Some((cause, action)) = loss(report) else { return false };
    let word = |key: &str| incident.event.get(key).and_then(Value::as_str);
    let noticed = report.hops.values().min().copied().unwrap_or(event.time);
    let apart = incident.opened_at.duration_since(noticed).unsigned_abs();
    word("cause") == Some(cause.as_str())
        && word("action") == Some(action.as_str())
        && (apart <= TOGETHER || is_open_until(incident, noticed))
}

/// Whether the lifecycle hook of an incident waits for this word: the instance goes, whatever it
/// heard that from. A maintenance that is days ahead is no answer.
#[must_use]
pub fn is_awaited(incident: &Incident, event: &Event, report: &Report) -> bool {
    let waits = incident.hook.is_some() && !incident.is_completed() && incident.word().is_none();
    let goes = loss(report).is_some_and(|(cause, _)| cause != Cause::Maintenance);
    waits && goes && is_own(incident, event) && !incident.drill && !event.drill
}

fn is_own(incident: &Incident, event: &Event) -> bool {
    incident.instance.as_deref() == event.instance.as_ref().map(InstanceId::as_str)
}

/// A loss that takes longer than signals are apart, as a maintenance does.
fn is_open_until(incident: &Incident, moment: Timestamp) -> bool {
    incident.ended.is_none() && incident.opened_at <= moment
}

/// The event of an incident that nobody told of but its instance.
#[must_use]
pub fn unseen(event: &Event, report: &Report) -> Event {
    let kind = report.event.parse().unwrap_or_else(|_| event.kind.clone());
    let id = report.incident.parse().unwrap_or_else(|_| event.id.clone());
    let time = report.hops.get("received").copied().unwrap_or(event.time);
    let loss = loss(report);
    Event {
        cause: loss.as_ref().map(|(cause, _)| *cause),
        action: loss.map(|(_, action)| action),
        instance: event.instance.clone(),
        account: event.account.clone(),
        region: event.region.clone(),
        deadline: report.deadline,
        ..Event::new(kind, &event.source, time, id)
    }
}

/// The claim of such an incident: the one that an event about the same loss will ask for.
#[must_use]
pub fn claim(instance: &InstanceId, report: &Report) -> Claim {
    match loss(report) {
        Some((cause, action)) => of_loss(instance, cause, &action),
        None => Claim { key: format!("shim/{}", report.incident), window: super::KNOWN },
    }
}

/// The traces of the incidents that ended with a report: each in its own, as the instance has it
/// that was told of them, the others in that of the instance.
pub(super) fn traces<'a>(
    ended: impl Iterator<Item = &'a Incident>,
    report: &Report,
    stack: &str,
) -> Vec<Value> {
    let mut traces: BTreeMap<&str, Value> = BTreeMap::new();
    for incident in ended {
        let is_told = report.told_by.contains(&incident.id);
        let correlation = if is_told { &incident.id } else { &report.incident };
        if let Some(document) = trace::document(incident, correlation, stack) {
            traces.entry(correlation).or_insert(document);
        }
    }
    traces.into_values().collect()
}

/// How many steps of a report ended, and how many of them failed.
#[must_use]
pub fn handlers(report: &Report) -> (u64, u64) {
    let ended = report.steps.iter().filter_map(|step| step.outcome.as_deref());
    ended.fold((0, 0), |(all, failed), word| (all + 1, failed + u64::from(FAILED.contains(&word))))
}
