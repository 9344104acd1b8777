//! What the index rules out, and what it must not.

#![expect(clippy::unwrap_used, reason = "the helpers below are part of the tests")]

use serde_json::{Value, json};
use snooze_pattern::{Index, Pattern};

#[test]
fn a_value_of_one_rule_among_many_names_that_rule_alone() {
    let rule = |number: usize| {
        json!({
            "source": ["aws.ec2"],
            "detail-type": ["EC2 Instance State-change Notification"],
            "detail": { "state": ["stopping", "stopped"], "instance-id": [format!("i-{number}")] },
        })
    };
    let index = Index::new(&compiled((0..1000).map(rule)));
    let event = |instance: &str| {
        json!({
            "source": "aws.ec2",
            "detail-type": "EC2 Instance State-change Notification",
            "detail": { "state": "stopping", "instance-id": instance },
        })
    };
    assert_eq!(index.candidates(&event("i-17")), [17]);
    assert_eq!(index.candidates(&event("i-1000")), [0_usize; 0]);
}

#[test]
fn each_form_is_looked_up_where_values_tell_rules_apart() {
    for operator in ["prefix", "suffix", "wildcard", "equals-ignore-case"] {
        let rule = |number: usize| {
            let text = match operator {
                "prefix" => format!("{number:04}-web"),
                "wildcard" => format!("{number:04}*-*"),
                _ => format!("web-{number:04}"),
            };
            json!({ "source": ["aws.ec2"], "name": [{ operator: text }] })
        };
        let index = Index::new(&compiled((0..1000).map(rule)));
        let name = match operator {
            "prefix" | "wildcard" => "0017-web-a",
            "suffix" => "my-web-0017",
            _ => "WEB-0017",
        };
        let candidates = index.candidates(&json!({ "source": "aws.ec2", "name": name }));
        assert_eq!(candidates, [17], "{operator}");
    }
}

#[test]
fn rules_that_only_ask_whether_a_field_is_there_are_found_by_the_field() {
    let rule = |number: usize| json!({ format!("f{number}"): [{ "exists": true }] });
    let above = |number: usize| json!({ format!("n{number}"): [{ "numeric": [">", 1] }] });
    let index = Index::new(&compiled((0..100).map(rule).chain((0..100).map(above))));
    assert_eq!(index.candidates(&json!({ "f7": 1, "n7": 1, "other": 2 })), [7, 107]);
}

#[test]
fn ranges_are_found_by_stretches_of_the_numbers() {
    let from = |number: usize| json!({ "a": [{ "numeric": [">=", number, "<", number + 3] }] });
    let index = Index::new(&compiled((0..10_000).map(from)));
    for number in [2, 100, 4095, 9_999] {
        let candidates = index.candidates(&json!({ "a": number }));
        assert!((number - 2..=number).all(|own| candidates.contains(&own)), "{number}");
        assert!(candidates.len() < 20, "{number}: {candidates:?}");
    }
    // The floats from 0 to 3 are most of all floats.
    assert!(index.candidates(&json!({ "a": 20_000 })).len() <= 3);
    let range = |low: f64, high: f64| json!({ "a": [{ "numeric": [">", low, "<=", high] }] });
    let around = [range(-1e300, -5.0), range(-0.25, 0.0), range(-2.5, 1e-300), range(1e9, 1e300)];
    let index = Index::new(&compiled(around.into_iter()));
    for (number, found) in [(-1e299, 0), (-0.0, 1), (-2.0, 2), (1e299, 3)] {
        assert!(index.candidates(&json!({ "a": number })).contains(&found), "{number}");
    }
}

#[test]
fn every_spelling_of_what_is_equal_is_found() {
    for (pattern, found) in [
        (r#"[0]"#, r#"-0.0"#),
        (r#"[3.0e2]"#, r#"300"#),
        (r#"[9007199254740993]"#, r#"9007199254740993"#),
        (r#"[18446744073709551615]"#, r#"18446744073709551615"#),
        (r#"["10.0.0.01"]"#, r#""10.0.0.1""#),
        (r#"["::ffff:a00:1"]"#, r#""10.0.0.1""#),
        (r#"[{"equals-ignore-case": "straße"}]"#, r#""STRASSE""#),
        (r#"[{"equals-ignore-case": "k"}]"#, r#""K""#),
        (r#"[{"prefix": ""}]"#, r#""""#),
        (r#"[{"prefix": "é"}]"#, r#""éa""#),
        (r#"[{"suffix": "é"}]"#, r#""aé""#),
        (r#"[{"wildcard": "*"}]"#, r#""""#),
        (r#"[{"wildcard": "a\\*"}]"#, r#""a*""#),
        (r#"[null]"#, r#"[[[1, null]]]"#),
    ] {
        let pattern = Pattern::compile(&format!(r#"{{"a": {{"b": {pattern}}}}}"#)).unwrap();
        let index = Index::new([&pattern]);
        let value: Value = serde_json::from_str(found).unwrap();
        for event in [
            json!({ "a": { "b": value } }),
            json!({ "a": [[{ "c": 1 }], { "b": [value] }] }),
            json!({ "a.b": value }),
            json!({ "a": 1, "a.b": value }),
        ] {
            assert!(pattern.matches(&event), "{found} {event}");
            assert_eq!(index.candidates(&event), [0], "{found} {event}");
        }
    }
}

fn compiled(rules: impl Iterator<Item = Value>) -> Vec<Pattern> {
    rules.map(|rule| Pattern::compile_value(&rule).unwrap()).collect()
}
