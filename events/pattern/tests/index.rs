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
    let ranges = |number: usize| json!({ format!("n{number}"): [{ "numeric": [">", 1] }] });
    let index = Index::new(&compiled((0..100).map(rule).chain((0..100).map(ranges))));
    assert_eq!(index.candidates(&json!({ "f7": 1, "n7": 1, "other": 2 })), [7, 107]);
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
