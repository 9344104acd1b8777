//! What people read about a match.

#![expect(clippy::unwrap_used, reason = "the helpers below are part of the tests")]

use expect_test::{Expect, expect};
use serde_json::{Value, json};
use snooze_pattern::Pattern;

#[test]
fn each_field_says_what_it_expected_and_what_it_found() {
    check(
        r#"{
            "source": ["aws.ec2", {"prefix": "custom."}],
            "detail": {
                "state": [{"anything-but": ["running", "pending"]}],
                "cores": [{"numeric": [">", 2, "<=", 8]}, {"exists": false}],
                "ip": [{"cidr": "10.0.0.0/8"}],
                "name": [{"wildcard": "*-db"}, {"suffix": {"equals-ignore-case": ".png"}}, null],
                "tags": [{"exists": true}],
                "spot": [true]
            },
            "replay-name": [{"exists": false}]
        }"#,
        &json!({
            "source": "aws.ec2",
            "detail": {
                "state": "running",
                "cores": [1, 2.5, 9, 10, 11],
                "ip": [],
                "name": "front",
                "tags": {"team": "a"},
            },
        }),
        expect![[r#"
            does not match
              ok   detail.cores: expected > 2 and <= 8 or absent, found 1, 2.5, 9 and 2 more
              fail detail.ip: expected an address in 10.0.0.0/8, found an array without values
              fail detail.name: expected wildcard "*-db", suffix ".png" in any case or null, found "front"
              fail detail.spot: expected true, found nothing
              fail detail.state: expected anything but "running" or "pending", found "running"
              fail detail.tags: expected present, found an object
              ok   replay-name: expected absent, found nothing
              ok   source: expected "aws.ec2" or prefix "custom.", found "aws.ec2"
        "#]],
    );
}

#[test]
fn alternatives_are_told_apart() {
    check(
        r#"{"a": [1], "$or": [{"b": ["x"]}, {"c": ["y"]}]}"#,
        &json!({"a": 1, "c": "y"}),
        expect![[r#"
            matches
            alternative 1 of 2: does not match
              ok   a: expected 1, found 1
              fail b: expected "x", found nothing
            alternative 2 of 2: matches
              ok   a: expected 1, found 1
              ok   c: expected "y", found "y"
        "#]],
    );
}

#[test]
fn fields_that_only_pass_apart_are_named_as_such() {
    check(
        r#"{"e": {"f": ["Anna"], "l": ["Jones"]}}"#,
        &json!({"e": [{"f": "Anna", "l": "Smith"}, {"f": "Peter", "l": "Jones"}]}),
        expect![[r#"
            does not match
              ok   e.f: expected "Anna", found "Anna", "Peter"
              ok   e.l: expected "Jones", found "Smith", "Jones"
              each passes alone, but not in the same element of an array
        "#]],
    );
}

#[test]
fn long_values_are_cut_short() {
    check(
        r#"{"a": ["x"]}"#,
        &json!({"a": "é".repeat(1000)}),
        expect![[r#"
        does not match
          fail a: expected "x", found "éééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé…"
    "#]],
    );
}

fn check(pattern: &str, event: &Value, explanation: Expect) {
    let pattern = Pattern::compile(pattern).unwrap();
    explanation.assert_eq(&pattern.explain(event).to_string());
}
