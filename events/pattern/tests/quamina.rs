//! The same answers as `quamina`, another matcher of such patterns, where both speak of the same.
//!
//! Left out, since the two differ there by what they document:
//! - numbers, `$or`, `cidr`, lists of operators inside `anything-but`: one of them lacks the form;
//! - `exists` beside other values of a field: quamina wants it alone;
//! - `equals-ignore-case` beside other values of a field: quamina then ignores the case of those;
//! - events without any of the fields that the pattern names: quamina finds no more than one absence
//!   in them. So each pattern names `z`, and each event has it.

use proptest::prelude::*;
use quamina::Quamina;
use serde_json::{Map, Value, json};
use snooze_pattern::Pattern;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_matchers_agree(pattern in pattern(), events in prop::collection::vec(event(), 8)) {
        let ours = Pattern::compile_value(&pattern).unwrap();
        let mut theirs = Quamina::new();
        theirs.add_pattern((), &pattern.to_string()).unwrap();
        for event in events {
            let matched = theirs.has_matches(event.to_string().as_bytes()).unwrap();
            prop_assert_eq!(ours.matches(&event), matched, "{} {}", pattern, event);
        }
    }
}

fn pattern() -> impl Strategy<Value = Value> {
    let field = prop_oneof![
        3 => prop::collection::vec(wanted(), 1..3).prop_map(Value::from),
        1 => any::<bool>().prop_map(|wanted| json!([{"exists": wanted}])),
        1 => text().prop_map(|text| json!([{"equals-ignore-case": text}])),
    ];
    object(field, 1).prop_map(with_z(json!(["z"])))
}

fn with_z(value: Value) -> impl Fn(Value) -> Value {
    move |mut object| {
        if let Some(members) = object.as_object_mut() {
            members.insert("z".to_owned(), value.clone());
        }
        object
    }
}

fn wanted() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(Value::from),
        prop_oneof![Just(json!(true)), Just(json!(false)), Just(json!(null))],
        (prop::sample::select(vec!["prefix", "suffix"]), text())
            .prop_map(|(name, text)| json!({name: text})),
        r"(\*?[ab]){1,3}\*?".prop_map(|text| json!({"wildcard": text})),
        prop::collection::vec(text(), 1..3).prop_map(|texts| json!({"anything-but": texts})),
    ]
}

fn event() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        4 => text().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => (0..9).prop_map(Value::from),
    ];
    let value = prop_oneof![
        2 => scalar.clone(),
        1 => prop::collection::vec(scalar, 0..3).prop_map(Value::from),
    ];
    object(value, 0).prop_map(with_z(json!("z")))
}

/// Objects of objects, up to two levels.
fn object(
    leaf: impl Strategy<Value = Value> + Clone + 'static,
    fewest: usize,
) -> impl Strategy<Value = Value> {
    let members = move |value: BoxedStrategy<Value>| {
        let keys = prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned);
        prop::collection::btree_map(keys, value, fewest..4)
            .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>()))
    };
    let inner = members(leaf.clone().boxed());
    members(prop_oneof![2 => leaf, 1 => inner].boxed())
}

fn text() -> impl Strategy<Value = String> {
    "[abA]{0,3}"
}
