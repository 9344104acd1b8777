//! What patterns mean where the vectors do not say it. The answers are those of the
//! reference matcher, unless a comment says why not.

#![expect(clippy::unwrap_used, reason = "the helpers below are part of the tests")]

use serde_json::{Value, json};
use snooze_pattern::{Pattern, PatternSet, View};

#[test]
fn fields_under_an_array_are_satisfied_by_one_element() {
    check(
        r#"{"e": {"f": ["x"], "g": {"h": [1]}}}"#,
        &[
            (r#"{"e": [{"f": "x", "g": {"h": 2}}, {"f": "x", "g": [{"h": 0}, {"h": 1}]}]}"#, true),
            (r#"{"e": [{"f": "x", "g": {"h": 2}}, {"f": "y", "g": {"h": 1}}]}"#, false),
            (r#"{"e": [[[{"f": "x", "g": {"h": 1}}]], 5, []]}"#, true),
        ],
    );
}

#[test]
fn absence_is_asked_of_all_elements_until_one_is_settled() {
    check(
        r#"{"e": {"a": [{"exists": false}], "b": ["x"]}}"#,
        &[(r#"{"e": [{"a": 1, "b": "y"}, {"b": "x"}]}"#, false), (r#"{"e": [{"b": "x"}]}"#, true)],
    );
    check(
        r#"{"e": {"c": [{"exists": false}], "b": ["x"]}}"#,
        &[(r#"{"e": [{"c": 1, "b": "y"}, {"b": "x"}]}"#, true)],
    );
    check(
        r#"{"e": {"a": [{"exists": false}]}}"#,
        &[(r#"{"e": [{"a": 1}, {"b": 1}]}"#, false), (r#"{"e": [{"b": 1}, {"a": []}]}"#, true)],
    );
}

#[test]
fn one_branch_of_or_is_enough_next_to_the_fields_beside_it() {
    check(
        r#"{"a": [1], "d": {"$or": [{"b": [2]}, {"c": [3], "$or": [{"b": [4]}, {"b": [5]}]}]}}"#,
        &[
            (r#"{"a": 1, "d": {"b": 2}}"#, true),
            (r#"{"a": 1, "d": {"b": 5, "c": 3}}"#, true),
            (r#"{"a": 1, "d": {"b": 5}}"#, false),
            (r#"{"a": 2, "d": {"b": 2}}"#, false),
        ],
    );
}

#[test]
fn branches_of_or_under_an_array_stay_in_the_element_of_their_siblings() {
    check(
        r#"{"e": {"n": ["x"], "$or": [{"b": [1]}, {"c": [2]}]}}"#,
        &[
            (r#"{"e": [{"n": "x", "c": 2}]}"#, true),
            (r#"{"e": [{"n": "x", "c": 3}, {"n": "y", "c": 2}]}"#, false),
        ],
    );
}

#[test]
fn of_a_field_given_twice_the_last_counts_also_through_or_and_dots() {
    check(
        r#"{"a": ["x"], "$or": [{"a": ["y"]}, {"b": ["z"]}]}"#,
        &[(r#"{"a": "y"}"#, true), (r#"{"a": "x"}"#, false), (r#"{"a": "x", "b": "z"}"#, true)],
    );
    check(
        r#"{"d": {"s": ["x"], "t": [1]}, "d.s": ["y"]}"#,
        &[(r#"{"d": {"s": "y", "t": 1}}"#, true), (r#"{"d": {"s": "x", "t": 1}}"#, false)],
    );
}

#[test]
fn of_a_key_given_twice_in_an_event_the_last_counts() {
    // The reference takes both when it is given a text and the last when it is given a tree; text
    // and value are to get one answer here.
    check(r#"{"a": [1]}"#, &[(r#"{"a": 1, "a": 2}"#, false), (r#"{"a": 2, "a": 1}"#, true)]);
}

#[test]
fn dotted_keys_of_events_join_the_nested_paths() {
    check(
        r#"{"d": {"s": ["x"], "t": {"u": [1]}}}"#,
        &[
            (r#"{"d": {"s": "x"}, "d.t.u": 1}"#, true),
            (r#"{"d.s": "x", "d.t": {"u": [0, 1]}}"#, true),
            (r#"{"d": {"s": "y", "t.u": 1}, "d.s": "x"}"#, true),
            (r#"{"d": {"t.u": 1}, "d.s": {"x": 1}}"#, false),
        ],
    );
    check(r#"{"d": {"x": {"y": [{"exists": false}]}}}"#, &[(r#"{"d": {"x.y": 1}}"#, false)]);
    // The reference drops empty names at the start of a path.
    check(r#"{"": {"": ["x"]}}"#, &[(r#"{".": "x"}"#, true), (r#"{"": "x"}"#, false)]);
}

#[test]
fn exact_texts_that_look_like_addresses_are_addresses() {
    check(
        r#"{"a": ["10.0.0.01", "2001:db8::1"]}"#,
        &[
            (r#"{"a": "10.0.0.1"}"#, true),
            (r#"{"a": "::ffff:a00:1"}"#, true),
            (r#"{"a": "2001:0db8:0:0::0001"}"#, true),
            (r#"{"a": "10.0.0.10"}"#, false),
        ],
    );
    check(r#"{"a": ["10.0.0"]}"#, &[(r#"{"a": "10.0.0"}"#, true), (r#"{"a": "10.0.0.0"}"#, false)]);
    check(r#"{"a": [{"anything-but": "10.0.0.1"}]}"#, &[(r#"{"a": "10.0.0.01"}"#, true)]);
    check(r#"{"a": [{"exactly": "10.0.0.1"}]}"#, &[(r#"{"a": "10.0.0.01"}"#, false)]);
}

#[test]
fn networks_of_both_versions_hold_their_addresses() {
    // The reference takes `a00::` for an address in 10.0.0.0/8, whose hexadecimal digits it begins with.
    check(
        r#"{"a": [{"cidr": "10.0.0.0/8"}, {"cidr": "fd00::/8"}]}"#,
        &[
            (r#"{"a": "10.255.255.255"}"#, true),
            (r#"{"a": "11.0.0.0"}"#, false),
            (r#"{"a": "fdff::"}"#, true),
            (r#"{"a": "a00::"}"#, false),
            (r#"{"a": 10}"#, false),
        ],
    );
}

#[test]
fn anything_but_in_all_its_forms_is_true_of_what_it_does_not_name() {
    let others = r#"[{"a": "other"}, {"a": 7}, {"a": null}, {"a": false}, {"a": ["named", "o"]}]"#;
    let others: Vec<Value> = serde_json::from_str(others).unwrap();
    for form in [
        json!("named"),
        json!(["b", "named"]),
        json!({"prefix": "nam"}),
        json!({"prefix": ["b", "nam"]}),
        json!({"suffix": "med"}),
        json!({"suffix": ["b", "med"]}),
        json!({"equals-ignore-case": "NAMED"}),
        json!({"equals-ignore-case": ["b", "NAMED"]}),
        json!({"wildcard": "n*d"}),
        json!({"wildcard": ["b", "n*d"]}),
    ] {
        let pattern = Pattern::compile_value(&json!({"a": [{"anything-but": form}]})).unwrap();
        assert!(others.iter().all(|event| pattern.matches(event)), "{form}");
        for event in [json!({"a": "named"}), json!({}), json!({"a": []}), json!({"a": {"b": "o"}})]
        {
            assert!(!pattern.matches(&event), "{form} {event}");
        }
    }
}

#[test]
fn only_objects_are_events() {
    let pattern = Pattern::compile(r#"{"a": [{"exists": false}]}"#).unwrap();
    assert!(pattern.matches(&json!({})));
    assert!(
        ![json!([]), json!([{}]), json!(null), json!("a")].iter().any(|it| pattern.matches(it))
    );
    assert!(pattern.matches_text("[]").is_err());
}

#[test]
fn c10_numbers_in_text_keep_every_digit_and_numbers_in_values_are_the_nearest() {
    for number in ["7e62", "1e400", "-1e-400", "9223372036854775808", "18446744073709551615"] {
        let pattern = Pattern::compile(&format!(r#"{{"a": [{number}]}}"#)).unwrap();
        let event = format!(r#"{{"a": {number}}}"#);
        assert!(pattern.matches_text(&event).unwrap(), "{number}");
        // serde_json itself refuses what no `f64` is near to.
        if let Ok(event) = serde_json::from_str(&event) {
            assert!(pattern.matches(&event), "{number} as a value");
        }
    }
    let long = Pattern::compile(r#"{"a": [123456789012345678901]}"#).unwrap();
    assert!(!long.matches_text(r#"{"a": 123456789012345678902}"#).unwrap());
    assert!(long.matches(&serde_json::from_str(r#"{"a": 123456789012345678902}"#).unwrap()));
}

#[test]
fn the_strings_that_a_field_is_limited_to_are_known() {
    let of = |pattern: &str, path: &str| {
        let pattern = Pattern::compile(pattern).unwrap();
        pattern
            .exact_strings(path)
            .map(|strings| strings.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(of(r#"{"a": {"b": ["x", "y"]}}"#, "a.b").unwrap(), ["x", "y"]);
    assert_eq!(of(r#"{"$or": [{"a": ["x"]}, {"a": ["y", "x"]}]}"#, "a").unwrap(), ["x", "y"]);
    assert_eq!(of(r#"{"$or": [{"a": ["x"]}, {"b": ["y"]}]}"#, "a"), None);
    assert_eq!(of(r#"{"a": ["x", {"prefix": "y"}]}"#, "a"), None);
    assert_eq!(of(r#"{"a": ["x"]}"#, "b"), None);
}

#[test]
fn a_set_names_the_patterns_that_match_in_order() {
    let pattern = |text| Pattern::compile(text).unwrap();
    let set: PatternSet<&str> = [
        ("one", pattern(r#"{"a": [1]}"#)),
        ("two", pattern(r#"{"a": [2]}"#)),
        ("any", pattern(r#"{"a": [{"exists": true}]}"#)),
    ]
    .into_iter()
    .collect();
    assert_eq!(set.matches(&json!({"a": [2, 3]})).collect::<Vec<_>>(), [&"two", &"any"]);
    assert_eq!(set.matches(&json!({})).count(), 0);
}

#[test]
fn a_view_is_what_its_parts_are() {
    let tags = json!({"a.b": "x", "c": [1, -1, 0.5, null]});
    let view = View::object([
        ("z", View::from("last")),
        ("tags", View::of(&tags)),
        ("number", View::from(7_u64)),
        ("flag", View::from(true)),
        ("z", View::from("z".to_owned())),
    ]);
    let value = json!({"tags": tags, "number": 7, "flag": true, "z": "z"});
    assert_eq!(serde_json::to_value(&view).unwrap(), value);
    for (pattern, matches) in [
        (r#"{"z": ["z"], "number": [7], "flag": [true], "tags": {"c": [0.5]}}"#, true),
        (r#"{"z": ["last"]}"#, false),
        (r#"{"tags": {"a": {"b": ["x"]}}}"#, true),
        (r#"{"tags": {"a": {"b": [{"exists": false}]}}}"#, false),
    ] {
        let pattern = Pattern::compile(pattern).unwrap();
        assert_eq!(pattern.matches_view(&view), matches, "{pattern:?}");
        assert_eq!(pattern.matches(&value), matches, "{pattern:?}");
        assert_eq!(pattern.explain_view(&view), pattern.explain(&value));
    }
}

/// Matches each event as text and as a value.
fn check(pattern: &str, events: &[(&str, bool)]) {
    let compiled = Pattern::compile(pattern).unwrap();
    for &(event, matches) in events {
        assert_eq!(compiled.matches_text(event).unwrap(), matches, "{pattern} {event}");
        let value: Value = serde_json::from_str(event).unwrap();
        assert_eq!(compiled.matches(&value), matches, "{pattern} {event} as a value");
        assert_eq!(compiled.explain(&value).matched, matches, "{pattern} {event} explained");
        let set: PatternSet<()> = [((), compiled.clone())].into_iter().collect();
        assert_eq!(set.matches(&value).next().is_some(), matches, "{pattern} {event} in a set");
    }
}
