//! Policies that are asked about many events.

use std::ops::Deref;

use snooze_event::Event;
use snooze_pattern::{Index, View};

use crate::select::{among, part};
use crate::{Facts, Policy};

/// Policies, with an index over their patterns, made once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicySet {
    policies: Vec<Policy>,
    index: Index,
    /// The members of documents that patterns name, among those that cost most to make.
    named: Vec<&'static str>,
}

/// What is made only for patterns that name it.
const COSTLY: [&str; 3] = ["data", "deadline", "time"];

impl PolicySet {
    /// A set of these policies.
    #[must_use]
    pub fn new(policies: Vec<Policy>) -> Self {
        let index = Index::new(policies.iter().map(|policy| &policy.pattern));
        let is_named = |member: &&str| policies.iter().any(|policy| policy.pattern.names(member));
        let named = COSTLY.into_iter().filter(is_named).collect();
        Self { policies, index, named }
    }

    /// The policies that are switched on and match the [`document`](crate::document) of an event,
    /// ordered by name, as [`select`](crate::select) finds them, without a look at each.
    #[must_use]
    pub fn select(&self, event: &Event, facts: &Facts) -> Vec<&Policy> {
        let document = self.document(event, facts);
        among(self.candidates(&document), &document)
    }

    /// The policies that are looked at: all that match, and few that do not.
    fn candidates(&self, document: &View<'_>) -> impl Iterator<Item = &Policy> {
        let numbers = self.index.candidates_in_view(document).into_iter();
        numbers.filter_map(|number| self.policies.get(number))
    }

    fn document<'a>(&self, event: &'a Event, facts: &'a Facts) -> View<'a> {
        part(event, facts, |member| self.named.contains(&member))
    }

    /// The policies alone, in the order in which they were given.
    #[must_use]
    pub fn into_policies(self) -> Vec<Policy> {
        self.policies
    }
}

impl From<Vec<Policy>> for PolicySet {
    fn from(policies: Vec<Policy>) -> Self {
        Self::new(policies)
    }
}

impl FromIterator<Policy> for PolicySet {
    fn from_iter<I: IntoIterator<Item = Policy>>(policies: I) -> Self {
        Self::new(policies.into_iter().collect())
    }
}

impl Deref for PolicySet {
    type Target = [Policy];

    fn deref(&self) -> &[Policy] {
        &self.policies
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use snooze_pattern::Pattern;

    use super::*;
    use crate::samples::{ORDERS_DB, policy, spot};
    use crate::{document, select};

    const MANY: usize = 10_000;

    // A count, since a time would tell of the machine. The instructions are a row of `xtask bench`.
    #[test]
    fn d11_of_ten_thousand_policies_of_one_event_type_a_handful_is_looked_at() {
        let any_type = json!(["cloud.spot.interrupt", "cloud.instance.termination"]);
        let shapes: [fn(usize) -> Value; 4] = [
            |n| json!({ "tags": { "role": [format!("role-{n}")] } }),
            |n| json!({ "asg": [{ "prefix": format!("{n:05}-") }], "zone": ["eu-west-1a"] }),
            |n| json!({ "$or": [{ "id": [format!("i-{n:017x}")] }, { "tags": { "Name": [n] } }] }),
            |n| json!({ "tags": { format!("owner-{n}"): [{ "exists": true }] } }),
        ];
        for shape in shapes {
            let of = |n| json!({ "type": any_type, "instance": shape(n) });
            let one = policy(ORDERS_DB);
            let set: PolicySet = (0..MANY).map(|n| with_pattern(&one, n, &of(n))).collect();
            let (event, facts) = (spot(), facts(17));
            let document = document(&event, &facts);
            let selected = set.select(&event, &facts);
            assert_eq!(names(&selected), ["p-17"], "{}", of(17));
            assert_eq!(selected, select(&set, &document));
            assert!(set.candidates(&document).count() <= 2, "{}", of(17));
        }
    }

    #[test]
    fn a_set_selects_what_is_selected_one_by_one() {
        let off = ORDERS_DB.replace(r#""enabled": true"#, r#""enabled": false"#);
        let named =
            |name: &str| policy(&ORDERS_DB.replace("\"orders-db\",", &format!("\"{name}\",")));
        let set = PolicySet::new(vec![named("b"), policy(&off), named("a")]);
        let facts = Facts {
            tags: [("role".to_owned(), "orders-db".to_owned())].into(),
            ..Facts::default()
        };
        let event = spot();
        let selected = set.select(&event, &facts);
        assert_eq!(names(&selected), ["a", "b"]);
        assert_eq!(selected, select(&set, &document(&event, &facts)));
    }

    #[test]
    fn what_only_some_patterns_name_is_there_for_them() {
        let (event, facts) = (spot(), Facts::default());
        let one = policy(ORDERS_DB);
        for (pattern, matches) in [
            (json!({ "data": { "action": ["terminate"] } }), true),
            (json!({ "data": { "action": [{ "exists": false }] } }), false),
            (json!({ "time": [{ "prefix": "2026-03-01T10:00" }] }), true),
            (
                json!({ "$or": [{ "type": ["custom"] }, { "deadline": [{ "exists": true }] }] }),
                true,
            ),
            (json!({ "deadline": [{ "exists": false }], "drill": [false] }), false),
            (json!({ "drill": [false] }), true),
        ] {
            let set = PolicySet::new(vec![with_pattern(&one, 1, &pattern)]);
            assert_eq!(set.select(&event, &facts).len(), usize::from(matches), "{pattern}");
        }
    }

    fn with_pattern(one: &Policy, n: usize, pattern: &Value) -> Policy {
        let name = format!("p-{n}").parse().unwrap();
        let pattern = Pattern::compile_value(pattern).unwrap();
        Policy { name, pattern, ..one.clone() }
    }

    /// What an instance is that the policy with this number is for, in every shape.
    fn facts(n: usize) -> Facts {
        let tags =
            [("role".to_owned(), format!("role-{n}")), (format!("owner-{n}"), String::new())];
        Facts {
            id: format!("i-{n:017x}").parse().ok(),
            asg: Some(format!("{n:05}-web")),
            zone: Some("eu-west-1a".to_owned()),
            tags: tags.into(),
            ..Facts::default()
        }
    }

    fn names<'a>(policies: &[&'a Policy]) -> Vec<&'a str> {
        policies.iter().map(|policy| policy.name.as_str()).collect()
    }
}
