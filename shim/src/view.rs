//! What the daemon shows of itself over its socket.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};
use snooze_policy::Policy;

use crate::clock::{Now, milliseconds};
use crate::incident::{Incident, Progress, StepState};
use crate::plugins::{Found, Kind, PluginStatus, Refused};
use crate::sandbox::Sandboxes;
use crate::settings;
use crate::watch::Watch;

/// An incident with its steps.
#[must_use]
pub fn incident(known: &Incident, now: Now) -> Value {
    let closed = known.closed.as_ref();
    let left = known.due.map(|due| seconds(due.saturating_sub(now.boot)));
    json!({
        "incident": known.key.as_str(),
        "signals": known.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "event_id": known.event.id.as_str(),
        "event_type": known.event.kind.as_str(),
        "source": known.event.source,
        "cause": known.event.cause.map(snooze_event::Cause::as_str),
        "action": known.event.action.as_ref().map(snooze_event::LossAction::as_str),
        "drill": known.event.drill,
        "opened": known.opened.to_string(),
        "budget_seconds": known.due.map(|due| seconds(due.saturating_sub(known.opened_at))),
        "left_seconds": left.filter(|_| closed.is_none()),
        "closed": closed.map(|closed| closed.at.to_string()),
        "outcome": closed.map(|closed| closed.outcome.as_str()),
        "text": closed.map(|closed| closed.text.as_str()),
        "margin_seconds": closed.and_then(|closed| closed.margin).map(seconds),
        "cancelled": known.cancelled,
        "survived": known.survived,
        "steps": known.steps.iter().map(|state| step(known, state)).collect::<Vec<_>>(),
    })
}

fn step(known: &Incident, state: &StepState) -> Value {
    let (progress, outcome) = match &state.progress {
        Progress::Pending => ("pending", None),
        Progress::Running => ("running", None),
        Progress::Ended(outcome) => ("ended", Some(outcome)),
    };
    let after = state.started.map(|started| started.saturating_sub(known.opened_at));
    json!({
        "step": state.step.id.as_str(),
        "policy": state.step.policy.as_str(),
        "plugin": state.step.plugin.as_str(),
        "priority": state.step.priority,
        "state": progress,
        "attempts": state.attempts,
        "started_after_ms": after.map(milliseconds),
        "outcome": outcome.map(|outcome| outcome.kind.as_str()),
        "text": outcome.map(|outcome| outcome.text.as_str()),
        "milliseconds": outcome.map(|outcome| outcome.milliseconds),
        "verified": outcome.and_then(|outcome| outcome.verified),
        "result": outcome.map(|outcome| &outcome.result),
    })
}

/// All incidents, the newest first.
#[must_use]
pub fn history(watch: &Watch, limit: usize, now: Now) -> Value {
    let mut known: Vec<&Incident> = watch.incidents().collect();
    known.sort_by_key(|incident| std::cmp::Reverse(incident.opened));
    known.iter().take(limit).map(|known| incident(known, now)).collect()
}

/// An incident, and why each policy does or does not belong to it.
#[must_use]
pub fn explain(watch: &Watch, known: &Incident, now: Now) -> Value {
    let document = snooze_policy::document(&known.event, watch.facts());
    let why = |policy: &Policy| {
        json!({
            "policy": policy.name.as_str(),
            "enabled": policy.enabled,
            "matches": policy.pattern.matches_view(&document),
            "pattern": policy.pattern.explain_view(&document).to_string(),
        })
    };
    let mut view = incident(known, now);
    if let Some(members) = view.as_object_mut() {
        members.insert("policies".to_owned(), watch.policies().iter().map(why).collect());
    }
    view
}

/// The policies in force.
#[must_use]
pub fn policies(watch: &Watch) -> Value {
    let handler = |handler: &snooze_policy::Handler| {
        json!({
            "plugin": handler.plugin.as_str(),
            "priority": handler.priority,
            "timeout_seconds": seconds(handler.timeout),
            "repeatable": handler.repeatable,
            "instant": handler.instant,
        })
    };
    let policy = |policy: &Policy| {
        json!({
            "name": policy.name.as_str(),
            "enabled": policy.enabled,
            "reserve_seconds": seconds(policy.reserve),
            "handlers": policy.handlers.iter().map(handler).collect::<Vec<_>>(),
            "undo": policy.undo.iter().map(handler).collect::<Vec<_>>(),
        })
    };
    watch.policies().iter().map(policy).collect()
}

/// What is wanted for the plugins that run and cannot be enforced here, by plugin.
#[must_use]
pub fn not_enforced(running: &[PluginStatus]) -> Value {
    let running = running.iter().filter(|status| !status.gaps.is_empty());
    let gaps = running.map(|status| (status.plugin.to_string(), status.gaps.clone().into()));
    gaps.collect::<Map<_, Value>>().into()
}

/// The plugins there are with their sandboxes, those that were refused, and the processes of the
/// handlers.
#[must_use]
pub fn plugins(
    found: &[Found],
    refused: &[Refused],
    running: &[PluginStatus],
    sandboxes: &Sandboxes,
) -> Value {
    let kind = |kind: &Kind| match kind {
        Kind::Builtin => ("built-in", None),
        Kind::External(path) => ("external", Some(path.display().to_string())),
    };
    let found = found.iter().map(|found| {
        let (kind, path) = kind(&found.kind);
        let sandbox = sandboxes.of(&found.name, found.approved.as_ref());
        let gaps = sandbox.plan(&sandboxes.abilities, Path::new("")).gaps;
        let mut sandbox = settings::sandbox::shown(&sandbox);
        if let Some(members) = sandbox.as_object_mut() {
            members.insert("not_enforced".to_owned(), gaps.into());
        }
        json!({ "name": found.name.as_str(), "kind": kind, "path": path, "sandbox": sandbox })
    });
    let refused = refused.iter().map(
        |refused| json!({ "path": refused.path.display().to_string(), "reason": refused.reason }),
    );
    let running = running.iter().map(|status| {
        json!({
            "id": status.id,
            "plugin": status.plugin.as_str(),
            "kind": status.kind.as_ref().map(|found| kind(found).0),
            "state": status.state.as_str(),
            "pid": status.pid,
            "info": status.info.as_ref().map(snooze_plugin::Info::to_value),
            "supported_events": status.supported,
            "calls": status.stats.calls,
            "failures": status.stats.failures,
            "restarts": status.stats.restarts,
            "last_error": status.stats.last_error,
            "last_seconds": status.stats.last_seconds,
            "total_seconds": status.stats.total_seconds,
            "log": status.stderr_tail.lines().rev().take(20).collect::<Vec<_>>(),
        })
    });
    json!({
        "found": found.collect::<Vec<_>>(),
        "refused": refused.collect::<Vec<_>>(),
        "running": running.collect::<Vec<_>>(),
    })
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
