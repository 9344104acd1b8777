//! Which policies an event selects.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use snooze_event::{Event, InstanceId};

use crate::Policy;

/// The members of a document, for the check of patterns.
pub(crate) const MEMBERS: [&str; 11] = [
    "specversion",
    "id",
    "source",
    "type",
    "time",
    "subject",
    "severity",
    "deadline",
    "drill",
    "data",
    "instance",
];

/// The members of a document's `instance`.
pub(crate) const INSTANCE_MEMBERS: [&str; 8] =
    ["id", "type", "zone", "region", "account", "lifecycle", "asg", "tags"];

/// What is known about the instance that an event is about, beyond the event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its id; the event's where it is not known.
    pub id: Option<InstanceId>,
    /// Its type, for example `m7g.large`.
    pub kind: Option<String>,
    /// Its Availability Zone.
    pub zone: Option<String>,
    /// Its Region; the event's where it is not known.
    pub region: Option<String>,
    /// Its account; the event's where it is not known.
    pub account: Option<String>,
    /// How it is bought, as the metadata service says it: `spot`, `on-demand`.
    pub lifecycle: Option<String>,
    /// The Auto Scaling group it belongs to.
    pub asg: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// The document that `match` is applied to: the CloudEvents members of the event, and what is
/// known about the instance as `instance`. What is not known is not there.
#[must_use]
pub fn document(event: &Event, facts: &Facts) -> Value {
    let id = facts.id.as_ref().or(event.instance.as_ref());
    let mut members = Map::new();
    let mut put = |key: &str, value: Value| members.insert(key.to_owned(), value);
    put("specversion", Value::from("1.0"));
    put("id", Value::from(event.id.as_str()));
    put("source", Value::from(event.source.as_str()));
    put("type", Value::from(event.kind.as_str()));
    put("time", Value::from(event.time.to_string()));
    put("severity", Value::from(event.severity.number()));
    put("drill", Value::from(event.drill));
    put("data", Value::Object(event.data.clone()));
    put("instance", instance(event, facts, id));
    if let Some(id) = event.instance.as_ref().or(id) {
        put("subject", Value::from(id.as_str()));
    }
    if let Some(deadline) = event.deadline {
        put("deadline", Value::from(deadline.to_string()));
    }
    Value::Object(members)
}

fn instance(event: &Event, facts: &Facts, id: Option<&InstanceId>) -> Value {
    let known = [
        ("id", id.map(InstanceId::as_str)),
        ("type", facts.kind.as_deref()),
        ("zone", facts.zone.as_deref()),
        ("region", facts.region.as_deref().or(event.region.as_deref())),
        ("account", facts.account.as_deref().or(event.account.as_deref())),
        ("lifecycle", facts.lifecycle.as_deref()),
        ("asg", facts.asg.as_deref()),
    ];
    let members = known.into_iter().filter_map(|(key, fact)| Some((key, Value::from(fact?))));
    let tags = facts.tags.iter().map(|(key, tag)| (key.clone(), Value::from(tag.as_str())));
    let tags = ("tags", Value::Object(tags.collect()));
    Value::Object(members.chain([tags]).map(|(key, value)| (key.to_owned(), value)).collect())
}

/// The policies that are switched on and match, ordered by name, so that the order does not
/// depend on where they were stored.
#[must_use]
pub fn select<'a>(policies: &'a [Policy], document: &Value) -> Vec<&'a Policy> {
    let matching = |policy: &&Policy| policy.enabled && policy.pattern.matches(document);
    let mut selected: Vec<&Policy> = policies.iter().filter(matching).collect();
    selected.sort_by(|one, other| one.name.cmp(&other.name));
    selected
}
