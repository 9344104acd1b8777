//! What holds of all patterns and events.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use snooze_pattern::{CompileError, Index, Pattern, PatternSet, View};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(pattern in any::<String>(), event in any::<String>()) {
        if let Ok(pattern) = Pattern::compile(&pattern) {
            let _ = pattern.matches_text(&event);
        }
        let _ = Pattern::compile(r#"{"a": [1]}"#).unwrap().matches_text(&event);
    }

    #[test]
    fn no_text_that_looks_like_a_pattern_makes_it_panic(
        pattern in crumbs(), event in crumbs(),
    ) {
        if let Ok(pattern) = Pattern::compile(&pattern) {
            let _ = pattern.matches_text(&event);
        }
        let _ = Pattern::compile(r#"{"a": [1]}"#).unwrap().matches_text(&event);
    }

    #[test]
    fn no_value_makes_it_panic_and_all_ways_in_agree(pattern in rough_pattern(), event in event()) {
        let compiled = Pattern::compile_value(&pattern);
        let text = Pattern::compile(&pattern.to_string());
        // What was found is told in the spelling of each.
        let place = |fault: &CompileError| fault.path().map(str::to_owned);
        prop_assert_eq!(compiled.as_ref().map_err(place), text.as_ref().map_err(place));
        if let Ok(pattern) = compiled {
            let matched = pattern.matches(&event);
            prop_assert_eq!(pattern.matches_text(&event.to_string()).unwrap(), matched);
            prop_assert_eq!(pattern.explain(&event).matched, matched);
        }
    }

    #[test]
    fn a_set_answers_as_its_patterns_do_one_by_one(
        patterns in prop::collection::vec(rough_pattern(), 0..24),
        own in event(), others in prop::collection::vec(event(), 8),
    ) {
        let own_pattern = own_pattern(&own);
        let all = patterns.iter().chain(&own_pattern);
        let patterns: Vec<Pattern> = all.filter_map(|it| Pattern::compile_value(it).ok()).collect();
        let set: PatternSet<usize> = patterns.iter().cloned().enumerate().collect();
        for event in others.iter().chain([&own]) {
            let numbers = 0..patterns.len();
            let expected: Vec<usize> = numbers.filter(|&it| patterns[it].matches(event)).collect();
            let found: Vec<usize> = set.matches(event).copied().collect();
            prop_assert_eq!(&found, &expected, "{}", event);
            let view = View::of(event);
            let mut numbers = Index::new(&patterns).candidates_in_view(&view);
            numbers.retain(|&number| patterns[number].matches_view(&view));
            prop_assert_eq!(&numbers, &expected, "{}", event);
        }
        prop_assert_eq!(Index::new(&patterns), Index::new(&patterns));
    }

    #[test]
    fn a_pattern_of_the_leaves_of_an_event_matches_it(event in event()) {
        if let Some(pattern) = own_pattern(&event) {
            let compiled = Pattern::compile_value(&pattern).unwrap();
            prop_assert!(compiled.matches(&event), "{}", pattern);
            prop_assert!(compiled.explain(&event).branches[0].leaves.iter().all(|leaf| leaf.passed));
        }
    }

    #[test]
    fn what_is_present_is_not_absent(event in event()) {
        let of = |wanted| Pattern::compile_value(&json!({"a": {"b": [{"exists": wanted}]}})).unwrap();
        prop_assert_ne!(of(true).matches(&event), of(false).matches(&event));
    }

    #[test]
    fn anything_but_is_the_opposite_of_exact_for_a_scalar(
        literal in prop_oneof![plain_text().prop_map(Value::from), number()],
        found in scalar(),
    ) {
        let exact = Pattern::compile_value(&json!({"a": [&literal]})).unwrap();
        let but = Pattern::compile_value(&json!({"a": [{"anything-but": &literal}]})).unwrap();
        let event = json!({"a": found});
        prop_assert_ne!(exact.matches(&event), but.matches(&event));
    }

    #[test]
    fn numbers_spelled_otherwise_are_the_same_number(
        digits in -999_999_999_999_999_i64..=999_999_999_999_999, places in 0_usize..12,
        zeros in 1_usize..12,
    ) {
        // The point is moved to the left by some places, and the exponent makes up for it.
        let spelled = {
            let sign = if digits < 0 { "-" } else { "" };
            let padded = format!("{:0>13}", digits.unsigned_abs());
            let (whole, fraction) = padded.split_at(padded.len() - places);
            let whole = whole.trim_start_matches('0');
            let whole = if whole.is_empty() { "0" } else { whole };
            let fraction = format!("{fraction}{}", "0".repeat(zeros));
            format!("{sign}{whole}.{fraction}e{places}")
        };
        let lower = Pattern::compile(&format!(r#"{{"a": [{{"numeric": ["<", {spelled}]}}]}}"#)).unwrap();
        let equal = Pattern::compile(&format!(r#"{{"a": [{spelled}]}}"#)).unwrap();
        for (event, order) in [(digits, 0), (digits - 1, -1), (digits + 1, 1)] {
            let texts = [format!(r#"{{"a": {event}}}"#), format!(r#"{{"a": {event}.0}}"#)];
            for text in texts {
                prop_assert_eq!(equal.matches_text(&text).unwrap(), order == 0, "{} {}", spelled, text);
                prop_assert_eq!(lower.matches_text(&text).unwrap(), order < 0, "{} {}", spelled, text);
                let value: Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(equal.matches(&value), order == 0, "{} {}", spelled, text);
                prop_assert_eq!(lower.matches(&value), order < 0, "{} {}", spelled, text);
            }
        }
    }

    #[test]
    fn c10_every_float_equals_itself_as_text_and_as_value(float in proptest::num::f64::NORMAL) {
        let value = json!({"a": float});
        let pattern = Pattern::compile(&json!({"a": [float]}).to_string()).unwrap();
        prop_assert!(pattern.matches(&value));
        prop_assert!(pattern.matches_text(&value.to_string()).unwrap());
        prop_assert!(pattern.matches(&serde_json::from_str(&value.to_string()).unwrap()));
    }
}

/// Text made of what patterns are made of.
fn crumbs() -> impl Strategy<Value = String> {
    let crumb = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"a\"",
        "\"$or\"",
        "\"prefix\"",
        "\"anything-but\"",
        "\"\"",
        "\"wildcard\"",
        "\"numeric\"",
        "\">\"",
        "\"exists\"",
        "\"cidr\"",
        "1",
        "-",
        "0.",
        "e9",
        "null",
        "true",
        "\\u",
        "\"\\ud800",
        "\"a.b\"",
        " ",
        "\u{feff}",
        "é",
        "\0",
        "\"*\"",
        "\"10.0.0.0/8\"",
        "{\"a\":",
        "[{\"",
        "{\"$or\":[{\"a\":[",
        "]},{\"b\":[",
    ]);
    prop::collection::vec(crumb, 0..40).prop_map(|crumbs| crumbs.concat())
}

/// A pattern, or nearly.
fn rough_pattern() -> impl Strategy<Value = Value> {
    let texts = || {
        prop_oneof![
            text().prop_map(Value::from),
            prop::collection::vec(text(), 0..3).prop_map(Value::from),
        ]
    };
    let operator = prop_oneof![
        (
            prop::sample::select(vec![
                "prefix",
                "suffix",
                "equals-ignore-case",
                "wildcard",
                "cidr",
                "?"
            ]),
            text()
        )
            .prop_map(|(name, text)| json!({name: text})),
        (prop::sample::select(vec!["prefix", "suffix"]), text())
            .prop_map(|(name, text)| json!({name: {"equals-ignore-case": text}})),
        prop_oneof![texts(), number(), Just(Value::Null)]
            .prop_map(|it| json!({"anything-but": it})),
        (prop::sample::select(vec!["prefix", "suffix", "equals-ignore-case", "wildcard"]), texts())
            .prop_map(|(name, texts)| json!({"anything-but": {name: texts}})),
        (prop::sample::select(vec!["<", "<=", "=", ">", ">="]), number())
            .prop_map(|(sign, number)| json!({"numeric": [sign, number]})),
        (number(), number()).prop_map(|(low, high)| json!({"numeric": [">", low, "<=", high]})),
        any::<bool>().prop_map(|wanted| json!({"exists": wanted})),
    ];
    let field = prop::collection::vec(prop_oneof![scalar(), operator], 1..3).prop_map(Value::from);
    field
        .prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                prop::collection::btree_map(key(), inner.clone(), 1..3)
                    .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
                prop::collection::vec((key(), inner), 2..4).prop_map(|choices| {
                    let choices = choices.into_iter().map(|(key, field)| json!({key: field}));
                    json!({"$or": choices.collect::<Vec<_>>()})
                }),
            ]
        })
        .prop_map(|pattern| if pattern.is_array() { json!({"a": pattern}) } else { pattern })
}

fn event() -> impl Strategy<Value = Value> {
    let value = scalar().prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key(), inner, 0..4)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
        ]
    });
    prop::collection::btree_map(key(), value, 0..4)
        .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>()))
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "a", "b", "c", "a.b", ""]).prop_map(str::to_owned)
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(Value::from),
        number(),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ]
}

/// At most 15 digits, so that a value holds what the text says.
fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-2_i64..3).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-300_i32..300).prop_map(|hundredths| Value::from(f64::from(hundredths) / 100.0)),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        plain_text(),
        "[abAé*\\\\.]{0,4}",
        prop::sample::select(vec!["10.0.0.1", "10.0.0.01", "::1", "10.0.0.0/8"])
            .prop_map(str::to_owned),
    ]
}

/// Text that is no address.
fn plain_text() -> impl Strategy<Value = String> {
    "[abAé]{0,3}"
}

/// A pattern that wants each scalar of the event at its place. Fields under arrays are left out
/// when the array holds several elements, of which a pattern could name only one; and so are dotted
/// keys, which could lead to where an array is.
fn own_pattern(value: &Value) -> Option<Value> {
    let members = value.as_object()?;
    let plain = members.iter().filter(|(key, _)| !key.contains('.'));
    let wanted = plain.filter_map(|(key, value)| {
        let wanted = if let Some(elements) = value.as_array() {
            if let [only @ Value::Object(_)] = elements.as_slice() {
                own_pattern(only)?
            } else {
                json!([elements
                    .iter()
                    .find(|element| !element.is_object() && !element.is_array())?])
            }
        } else if value.is_object() {
            own_pattern(value)?
        } else {
            json!([value])
        };
        Some((key.clone(), wanted))
    });
    let wanted: Map<String, Value> = wanted.collect();
    (!wanted.is_empty()).then(|| Value::from(wanted))
}
