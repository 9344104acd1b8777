//! What `doctor` finds, made of what it asked: pure, so that each finding has its test.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use snooze_cloud::CloudError;
use snooze_cloud::breakers::Breaker;
use snooze_cloud::groups::EndHook;
use snooze_cloud::instances::Instance;
use snooze_cloud::queue::Standing;
use snooze_event::{EventType, SPOT_NOTICE};
use snooze_policy::{ActionName, Handler, Policy};

use super::{instances, refusal, timing};
use crate::text::{self, cell, list, word};

/// A drill older than this proves nothing of today.
const DRILL: Duration = Duration::from_secs(30 * 24 * 3600);
/// Orders that wait this many are not being done.
const WAITING: u64 = 100;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Data may be lost, or `doctor` could not look.
    Error,
    /// It works, and not as it should.
    Warning,
    /// Good to know.
    Note,
    /// All is well.
    Fine,
}

impl Severity {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
            Self::Fine => "ok",
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// What it is about.
    pub(crate) part: String,
    /// What it means.
    pub(crate) what: String,
    /// What to do about it; empty where nothing is to be done.
    pub(crate) mend: String,
}

impl Finding {
    pub(crate) fn new(
        severity: Severity,
        part: &str,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { severity, part: part.to_owned(), what: what.into(), mend: mend.into() }
    }

    pub(super) fn fine(part: &str, what: impl Into<String>) -> Self {
        Self::new(Severity::Fine, part, what, "")
    }

    pub(super) fn note(part: &str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(Severity::Note, part, what, mend)
    }

    pub(super) fn warning(part: &str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(Severity::Warning, part, what, mend)
    }

    pub(super) fn error(part: &str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(Severity::Error, part, what, mend)
    }

    /// What could not be looked at.
    pub(super) fn refused(part: &str, error: &CloudError) -> Self {
        Self::error(part, error.to_string(), refusal::mend(error, part))
    }
}

/// The daemon of this instance.
pub(super) fn of_status(status: &Value) -> Vec<Finding> {
    let what = format!("snoozed {} on {}", cell(status, "version"), cell(status, "instance_id"));
    let mut found = vec![Finding::fine("daemon", what)];
    found.push(match cell(status, "metadata").as_str() {
        "on" => Finding::fine("metadata", "the metadata service answers"),
        "disabled" => Finding::note(
            "metadata",
            "notices of EC2 are not watched: `sources.imds.enabled` is off",
            "switch it on, on an EC2 instance",
        ),
        "waiting" => Finding::note("metadata", "the metadata service has not answered yet", ""),
        _ => Finding::error(
            "metadata",
            "the metadata service does not answer: a notice would not be heard",
            "`aws ec2 modify-instance-metadata-options --http-endpoint enabled --http-tokens \
             required --http-put-response-hop-limit 2`; the hop limit of 1 shuts containers out",
        ),
    });
    if status.get("durable").and_then(Value::as_bool) == Some(false) {
        found.push(Finding::error(
            "journal",
            "the journal cannot be written: after a restart nothing is known of what ran",
            "look at the space and the owner of the state directory",
        ));
    }
    for fault in list(status, "faults").iter().filter(|fault| cell(fault, "source") != "metadata") {
        let part = cell(fault, "source");
        let mend = match part.as_str() {
            "policies" => "`snooze config check` tells more",
            _ => "`snooze plugin list` and `journalctl -u snoozed` tell more",
        };
        found.push(Finding::error(&part, cell(fault, "detail"), mend));
    }
    found.extend(cloud_parts(status));
    found
}

/// The cloud parts of the daemon: a list of `{part, state, detail}`, or an object by part, whose
/// members are such objects or plain states.
fn cloud_parts(status: &Value) -> Vec<Finding> {
    let Some(cloud) = status.get("cloud") else { return Vec::new() };
    let parts: Vec<(String, Value)> = match (cloud.get("parts").unwrap_or(cloud), cloud) {
        (Value::Array(parts), _) => {
            parts.iter().map(|part| (cell(part, "part"), part.clone())).collect()
        }
        (Value::Object(parts), _) => {
            parts.iter().map(|(part, value)| (part.clone(), value.clone())).collect()
        }
        (Value::String(state), _) => vec![("all".to_owned(), Value::from(state.as_str()))],
        (Value::Null | Value::Bool(_) | Value::Number(_), _) => Vec::new(),
    };
    let finding = |(part, value): (String, Value)| {
        let part = format!("cloud: {}", text::shown(&part));
        let state = match value.as_str() {
            Some(state) => word(state),
            None => cell(&value, "state"),
        };
        let detail = match cell(&value, "detail").as_str() {
            "-" => state.clone(),
            detail => format!("{state}: {detail}"),
        };
        Some(match state.as_str() {
            "-" => return None,
            "on" | "ok" | "ready" | "connected" | "working" => Finding::fine(&part, detail),
            "off" | "disabled" => Finding::note(&part, detail, ""),
            "starting" | "waiting" | "connecting" => Finding::warning(&part, detail, ""),
            _ => Finding::error(
                &part,
                detail,
                "notices are handled all the same; `snooze iam-policy instance` prints what the \
                 role of the instance needs",
            ),
        })
    };
    parts.into_iter().filter_map(finding).collect()
}

/// The stored policies.
pub(super) fn of_policies(version: u64, policies: &[Policy], faults: &[String]) -> Vec<Finding> {
    let part = "policies";
    let mut found: Vec<Finding> = faults
        .iter()
        .map(|fault| {
            Finding::error(part, text::shown(fault), "mend it and `snooze policy put` it again")
        })
        .collect();
    if policies.iter().all(|policy| !policy.enabled) {
        let mend = "`snooze policy put` stores one";
        found.push(Finding::error(part, "none is in force: nothing would be saved", mend));
        return found;
    }
    let count = policies.len();
    found.push(Finding::fine(part, format!("version {version}, {count} usable")));
    found.extend(policies.iter().filter(|policy| policy.enabled).filter_map(of_budget));
    found
}

/// A policy that does not fit into a Spot notice when every handler takes all of its time.
fn of_budget(policy: &Policy) -> Option<Finding> {
    let needed = longest(&policy.handlers).saturating_add(policy.reserve);
    (needed > SPOT_NOTICE).then(|| {
        let what = format!(
            "`{}` needs up to {} and a notice leaves {}: its last handlers may be dropped",
            policy.name,
            text::took(needed),
            text::took(SPOT_NOTICE)
        );
        let mend = "shorten `timeout_seconds`, or give handlers the same `priority`, so that they \
                    run side by side";
        Finding::warning("budget", what, mend)
    })
}

/// The worst case: handlers of one priority run side by side, the others one after the other.
pub(super) fn longest(handlers: &[Handler]) -> Duration {
    let mut ordered: Vec<&Handler> = handlers.iter().collect();
    ordered.sort_by_key(|handler| std::cmp::Reverse(handler.priority));
    let groups = ordered.chunk_by(|one, other| one.priority == other.priority);
    let longest = |group: &[&Handler]| group.iter().map(|handler| handler.timeout).max();
    groups.filter_map(longest).fold(Duration::ZERO, Duration::saturating_add)
}

/// The hooks at the end of a group's instances, against the policies that a termination may need.
pub(super) fn of_hooks(group: &str, hooks: &[EndHook], policies: &[Policy]) -> Vec<Finding> {
    let group = word(group);
    if hooks.is_empty() {
        let what = format!("`{group}` has no hook at the end: its instances end without notice");
        let mend = "`aws autoscaling put-lifecycle-hook --lifecycle-transition \
                    autoscaling:EC2_INSTANCE_TERMINATING` gives it one";
        return vec![Finding::warning("hooks", what, mend)];
    }
    let mut found = Vec::new();
    for hook in hooks {
        for policy in policies.iter().filter(|policy| policy.enabled && ends_alone(policy)) {
            let needed = longest(&policy.handlers).saturating_add(policy.reserve);
            if needed > hook.timeout {
                let what = format!(
                    "`{}` of `{group}` waits {}, and `{}` needs up to {}",
                    word(&hook.name),
                    text::took(hook.timeout),
                    policy.name,
                    text::took(needed)
                );
                let mend = "raise its time-out, or give the policy the action `complete-lifecycle`, \
                            which sends heartbeats until the instance is ready";
                found.push(Finding::warning("hooks", what, mend));
            }
        }
    }
    if found.is_empty() {
        let what = format!("`{group}`: {}", text::counted(hooks.len(), "hook"));
        found.push(Finding::fine("hooks", what));
    }
    found
}

/// Whether a policy may run at a termination, and nothing keeps the hook waiting for it.
fn ends_alone(policy: &Policy) -> bool {
    let types = policy.pattern.exact_strings("type");
    let is_meant =
        types.is_none_or(|types| types.contains(&EventType::InstanceTermination.as_str()));
    let answers = policy.actions.iter().any(|one| one.name == ActionName::CompleteLifecycle);
    is_meant && !answers
}

/// The instances of the fleet, and the queues there are for them.
pub(super) fn of_instances(
    known: &[Instance],
    queues: Option<&[String]>,
    prefix: &str,
    version: Option<u64>,
    now: Timestamp,
) -> Vec<Finding> {
    if known.is_empty() {
        let mend = "switch the cloud side on in the settings of their daemons";
        return vec![Finding::warning("instances", "none said hello yet", mend)];
    }
    let mut found = vec![Finding::fine("instances", text::counted(known.len(), "instance"))];
    for one in known {
        let id = instances::id(one);
        if instances::is_stale(one, now) {
            let what = format!("last heard of: {}", timing::ago(one.last_seen, now));
            let mend = "look whether it still runs; one that is gone is forgotten by itself";
            found.push(Finding::warning(&id, what, mend));
            continue;
        }
        for fault in &one.faults {
            let mend = "`snooze doctor` on the instance tells more";
            found.push(Finding::error(&id, text::shown(fault), mend));
        }
        let has_queue = |names: &[String]| names.contains(&format!("{prefix}{id}"));
        if one.queue_url.is_none() || queues.is_some_and(|names| !has_queue(names)) {
            let what = "it has no queue: no command reaches it, it only hears the metadata service";
            let mend =
                "restart its daemon, which says hello anew; then look at the log of `record`";
            found.push(Finding::error(&id, what, mend));
        } else if one.subscription.is_none() {
            let what = "its queue is not subscribed: no command reaches it";
            let mend =
                "restart its daemon, which says hello anew; then look at the log of `record`";
            found.push(Finding::error(&id, what, mend));
        }
        if let (Some(own), Some(version)) = (one.policies, version)
            && own < version
        {
            let what = format!("it acts on version {own} of the policies, {version} is stored");
            let mend = "it reads them every 5 minutes; look at its faults if that lasts";
            found.push(Finding::warning(&id, what, mend));
        }
        if one.drilled_at.is_none_or(|drilled| drilled < timing::before(now, DRILL)) {
            let what = format!("last drill: {}", timing::ago(one.drilled_at, now));
            let mend = format!("`snooze drill {id} --cause spot`");
            found.push(Finding::warning(&id, what, mend));
        }
    }
    found
}

/// A queue that holds what could not be done.
pub(super) fn of_dead_letters(name: &str, standing: &Standing) -> Finding {
    match standing.messages {
        0 => Finding::fine(name, "empty"),
        count => Finding::error(
            name,
            format!("{count} messages could not be done"),
            "look at the errors of the function that took them; what is too old for an action is \
             not done when it is sent again, so a redrive is safe",
        ),
    }
}

/// The queue of actions.
pub(super) fn of_actions(name: &str, standing: &Standing) -> Finding {
    match standing.messages {
        count if count > WAITING => Finding::warning(
            name,
            format!("{count} orders wait"),
            "look whether `perform` is throttled or fails",
        ),
        count => Finding::fine(name, format!("{count} orders wait")),
    }
}

/// A topic.
pub(super) fn of_topic(name: &str, attributes: &snooze_cloud::topic::Attributes) -> Vec<Finding> {
    let mut found = Vec::new();
    if attributes.signature_version != "2" {
        found.push(Finding::error(
            name,
            "it signs with version 1, which instances refuse",
            format!(
                "`aws sns set-topic-attributes --attribute-name SignatureVersion \
                     --attribute-value 2` for `{name}`, or deploy the template again"
            ),
        ));
    }
    if attributes.key.as_deref().is_some_and(|key| key.ends_with("alias/aws/sns")) {
        found.push(Finding::error(
            name,
            "it is encrypted with the key of AWS: alarms and rules cannot publish to it",
            "use a key of your own, whose policy lets the services publish",
        ));
    }
    if found.is_empty() {
        found.push(Finding::fine(name, "there, signs with version 2"));
    }
    found
}

/// Circuit breakers.
pub(super) fn of_breakers(known: &[Breaker]) -> Vec<Finding> {
    let open = known.iter().filter(|one| one.is_open());
    let finding = |one: &Breaker| {
        let destination = word(&one.destination);
        let what = format!("{destination} failed {} times: calls are held back", one.failures);
        let mend = format!("mend it; then `snooze breaker reset {destination}`");
        Finding::warning("breaker", what, mend)
    };
    open.map(finding).collect()
}

/// Incidents that the sweep should have looked at.
pub(super) fn of_overdue(ids: &[String]) -> Finding {
    match ids {
        [] => Finding::fine("sweep", "no incident is overdue"),
        [first, ..] => Finding::error(
            "sweep",
            format!("{} overdue, {} among them", text::counted(ids.len(), "incident"), word(first)),
            "look at the log of the function `sweep` and at its schedule",
        ),
    }
}

#[cfg(test)]
mod tests;
