//! Which policies an event selects.

use std::collections::BTreeMap;

use snooze_event::{Event, InstanceId};
use snooze_pattern::View;

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
pub fn document<'a>(event: &'a Event, facts: &'a Facts) -> View<'a> {
    part(event, facts, |_| true)
}

/// The document; of the members that cost most only those that are named.
pub(crate) fn part<'a>(
    event: &'a Event,
    facts: &'a Facts,
    is_named: impl Fn(&str) -> bool,
) -> View<'a> {
    let id = facts.id.as_ref().or(event.instance.as_ref());
    let subject = event.instance.as_ref().or(id).map(InstanceId::as_str);
    let deadline = event.deadline.filter(|_| is_named("deadline"));
    // In the order of their names, which spares sorting them.
    let members = [
        ("data", is_named("data").then(|| View::of_members(&event.data))),
        ("deadline", deadline.map(|deadline| View::from(deadline.to_string()))),
        ("drill", Some(View::from(event.drill))),
        ("id", Some(View::from(event.id.as_str()))),
        ("instance", Some(instance(event, facts, id))),
        ("severity", Some(View::from(u64::from(event.severity.number())))),
        ("source", Some(View::from(event.source.as_str()))),
        ("specversion", Some(View::from("1.0"))),
        ("subject", subject.map(View::from)),
        ("time", is_named("time").then(|| View::from(event.time.to_string()))),
        ("type", Some(View::from(event.kind.as_str()))),
    ];
    View::object(members.into_iter().filter_map(|(key, value)| Some((key, value?))))
}

fn instance<'a>(event: &'a Event, facts: &'a Facts, id: Option<&'a InstanceId>) -> View<'a> {
    let account = facts.account.as_deref().or(event.account.as_deref());
    let region = facts.region.as_deref().or(event.region.as_deref());
    view(facts, id, account, region)
}

/// What is known of an instance, without any event: what scopes are applied to.
pub(crate) fn known(facts: &Facts) -> View<'_> {
    view(facts, facts.id.as_ref(), facts.account.as_deref(), facts.region.as_deref())
}

fn view<'a>(
    facts: &'a Facts,
    id: Option<&'a InstanceId>,
    account: Option<&'a str>,
    region: Option<&'a str>,
) -> View<'a> {
    let tags = facts.tags.iter().map(|(key, tag)| (key.as_str(), View::from(tag.as_str())));
    let text = |text: Option<&'a str>| text.map(View::from);
    let members = [
        ("account", text(account)),
        ("asg", text(facts.asg.as_deref())),
        ("id", text(id.map(InstanceId::as_str))),
        ("lifecycle", text(facts.lifecycle.as_deref())),
        ("region", text(region)),
        ("tags", Some(View::object(tags))),
        ("type", text(facts.kind.as_deref())),
        ("zone", text(facts.zone.as_deref())),
    ];
    View::object(members.into_iter().filter_map(|(key, value)| Some((key, value?))))
}

/// The policies that are switched on and match, ordered by name, so that the order does not
/// depend on where they were stored.
#[must_use]
pub fn select<'a>(policies: &'a [Policy], document: &View<'_>) -> Vec<&'a Policy> {
    among(policies.iter(), document)
}

/// The same of those that could match.
pub(crate) fn among<'a>(
    policies: impl Iterator<Item = &'a Policy>,
    document: &View<'_>,
) -> Vec<&'a Policy> {
    let matching = |policy: &&Policy| policy.enabled && policy.pattern.matches_view(document);
    let mut selected: Vec<&Policy> = policies.filter(matching).collect();
    selected.sort_by(|one, other| one.name.cmp(&other.name));
    selected
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::Value;
    use snooze_event::EventType;

    use super::*;
    use crate::samples::{ORDERS_DB, policy, spot};

    #[test]
    fn the_document_holds_the_event_and_the_instance() {
        let (event, facts) = (spot(), facts());
        let document = document(&event, &facts);
        expect![[r#"
            {
              "data": {
                "action": "terminate",
                "instanceID": "i-0123456789abcdef0"
              },
              "deadline": "2026-03-01T10:02:00Z",
              "drill": false,
              "id": "e-1",
              "instance": {
                "account": "123456789012",
                "asg": "orders",
                "id": "i-0123456789abcdef0",
                "lifecycle": "spot",
                "region": "eu-west-1",
                "tags": {
                  "role": "orders-db"
                },
                "type": "m7g.large",
                "zone": "eu-west-1a"
              },
              "severity": 3,
              "source": "aws.ec2.metadata-service",
              "specversion": "1.0",
              "subject": "i-0123456789abcdef0",
              "time": "2026-03-01T10:00:00Z",
              "type": "cloud.spot.interrupt"
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&document).unwrap());
    }

    #[test]
    fn what_is_not_known_is_not_there() {
        let event = Event { deadline: None, instance: None, account: None, ..spot() };
        let facts = Facts::default();
        let document = serde_json::to_value(document(&event, &facts)).unwrap();
        assert_eq!(document.get("deadline"), None);
        assert_eq!(document.get("subject"), None);
        let instance = serde_json::json!({ "region": "eu-west-1", "tags": {} });
        assert_eq!(document["instance"], instance);
    }

    #[test]
    fn every_member_that_a_pattern_may_name_is_there() {
        let (event, facts) = (spot(), facts());
        let document = serde_json::to_value(document(&event, &facts)).unwrap();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let mut members = MEMBERS;
        members.sort_unstable();
        assert_eq!(keys(&document), members);
        let mut members = INSTANCE_MEMBERS;
        members.sort_unstable();
        assert_eq!(keys(&document["instance"]), members);
    }

    // S1-43, S0-42
    #[test]
    fn a_policy_is_selected_by_event_and_instance() {
        let policies = [policy(ORDERS_DB)];
        let selects =
            |event: &Event, facts: &Facts| select(&policies, &document(event, facts)).len();
        assert_eq!(selects(&spot(), &facts()), 1);
        assert_eq!(selects(&Event { kind: EventType::DiskLow, ..spot() }, &facts()), 0);
        assert_eq!(selects(&spot(), &Facts { region: Some("us-east-1".to_owned()), ..facts() }), 0);
        assert_eq!(selects(&spot(), &Facts { tags: BTreeMap::new(), ..facts() }), 0);
    }

    #[test]
    fn a_policy_that_is_switched_off_is_not_selected() {
        let off = ORDERS_DB.replace(r#""enabled": true"#, r#""enabled": false"#);
        assert!(select(&[policy(&off)], &document(&spot(), &facts())).is_empty());
    }

    #[test]
    fn the_order_does_not_depend_on_where_policies_were_stored() {
        let named =
            |name: &str| policy(&ORDERS_DB.replace("\"orders-db\",", &format!("\"{name}\",")));
        let policies = ["b", "c", "a"].map(named);
        let (event, facts) = (spot(), facts());
        let document = document(&event, &facts);
        let names = select(&policies, &document).into_iter().map(|policy| policy.name.as_str());
        assert_eq!(names.collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    fn facts() -> Facts {
        let text = |text: &str| Some(text.to_owned());
        Facts {
            id: None,
            kind: text("m7g.large"),
            zone: text("eu-west-1a"),
            region: None,
            account: None,
            lifecycle: text("spot"),
            asg: text("orders"),
            tags: BTreeMap::from([("role".to_owned(), "orders-db".to_owned())]),
        }
    }
}
