//! Texts made to harm: each is refused or answered at once.

#![expect(clippy::unwrap_used, reason = "the helpers below are part of the tests")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use snooze_pattern::{Pattern, PatternSet};

/// The bar is 50 ms for an optimised build on a quiet machine; a test has neither.
const AT_ONCE: Duration = Duration::from_secs(5);

#[test]
fn c9_deep_nesting_is_refused() {
    let deep = |open: &str, close: &str| {
        format!(r#"{{"a": {}1{}}}"#, open.repeat(10_000), close.repeat(10_000))
    };
    for text in [deep("[", "]"), deep(r#"{"a":"#, "}"), deep(r#"{"$or":["#, "]}")] {
        refused(&text, "at most 32 levels of nesting");
    }
    refused(&format!("{{\"a\": {}", "[".repeat(10_000)), "at most 32 levels of nesting");
}

#[test]
fn c9_depth_of_32_is_still_taken() {
    let text = format!(r#"{}[1]{}"#, r#"{"a":"#.repeat(31), "}".repeat(31));
    assert!(Pattern::compile(&text).unwrap().matches_text(&text).unwrap());
    refused(&format!(r#"{{"a":{text}}}"#), "at most 32 levels of nesting");
    let path = vec!["a"; 33].join(".");
    let fault = Pattern::compile(&format!(r#"{{"{path}": [1]}}"#)).unwrap_err();
    assert_eq!(fault.expected(), "a path of at most 32 segments");
}

#[test]
fn c9_values_made_deep_in_memory_are_answered() {
    let list = (0..1_000).fold(json!("x"), |value, _| Value::Array(vec![value]));
    let member = |key: &str, value| Value::Object([(key.to_owned(), value)].into_iter().collect());
    let object = (0..1_000).fold(json!("x"), |value, _| member("a", value));
    let mut lists = member("a", list);
    lists["b.c"] = json!(1);
    let pattern = Pattern::compile(r#"{"a": ["x"], "b": {"c": [1]}}"#).unwrap();
    at_once(|| assert!(!pattern.matches(&lists)));
    at_once(|| assert!(!pattern.explain(&lists).matched));
    assert!(Pattern::compile_value(&object).is_err());
}

#[test]
fn c9_a_value_told_often_does_not_multiply_with_the_patterns_that_name_it() {
    let pattern = Pattern::compile(r#"{"a": ["x"]}"#).unwrap();
    let set: PatternSet<usize> = (0..20_000).map(|key| (key, pattern.clone())).collect();
    let event = json!({"a": vec!["x"; 100_000]});
    at_once(|| assert_eq!(set.matches(&event).count(), 20_000));
}

#[test]
fn c9_long_texts_are_refused_or_answered() {
    let long = "x".repeat((1 << 20) - 100);
    let event = format!(r#"{{"a": "{long}"}}"#);
    for operator in [
        r#"{"wildcard": "*x*x*x*x*x*x*x*x*y"}"#,
        r#"{"equals-ignore-case": "X"}"#,
        r#"{"suffix": {"equals-ignore-case": "XY"}}"#,
        r#"{"anything-but": {"prefix": "xx"}}"#,
        r#"{"cidr": "10.0.0.0/8"}"#,
        r#""10.0.0.1""#,
    ] {
        let pattern = Pattern::compile(&format!(r#"{{"a": [{operator}]}}"#)).unwrap();
        at_once(|| assert!(!pattern.matches_text(&event).unwrap(), "{operator}"));
    }
    refused(&format!(r#"{{"a": "{long}{long}"}}"#), "at most 1 MiB");
    let fault = Pattern::compile(&format!(r#"{{"a": ["{long}"]}}"#)).unwrap_err();
    assert_eq!(fault.expected(), "at most 64 KiB");
}

#[test]
fn c9_long_numbers_are_refused_or_answered() {
    let pattern = Pattern::compile(r#"{"a": [{"numeric": [">", 0, "<", 1e9]}]}"#).unwrap();
    refused(&format!(r#"{{"a": {}}}"#, "9".repeat(10_000_000)), "at most 1 MiB");
    let zeros = "0".repeat(1_000_000);
    for (number, matches) in [
        (format!("1{zeros}"), false),
        (format!("1{zeros}e-1000000"), true),
        (format!("0.{zeros}1"), true),
        (format!("1e{zeros}9"), false),
        (format!("1e8{}", "9".repeat(1_000_000)), false),
        (format!("-0.{zeros}e9"), false),
    ] {
        let event = format!(r#"{{"a": {number}}}"#);
        at_once(|| assert_eq!(pattern.matches_text(&event).unwrap(), matches));
    }
}

#[test]
fn c9_many_members_are_answered() {
    let pattern =
        Pattern::compile(r#"{"resources": [{"suffix": "/99999"}], "b": {"c": [1]}}"#).unwrap();
    let arns: Vec<String> = (0..100_000).map(|number| format!(r#""r/{number}""#)).collect();
    let event = format!(r#"{{"resources": [{}], "b.c": 1}}"#, arns.join(","));
    at_once(|| assert!(pattern.matches_text(&event).unwrap()));
    let twice = format!(r#"{{{}"b": {{"c": 1}}}}"#, r#""b": 1, "#.repeat(50_000));
    let pattern = Pattern::compile(r#"{"b": {"c": [1]}}"#).unwrap();
    at_once(|| assert!(pattern.matches_text(&twice).unwrap()));
    let dots = format!(r#"{{"{}": 1, "b.c": 1}}"#, ".".repeat(1_000_000));
    at_once(|| assert!(pattern.matches_text(&dots).unwrap()));
}

#[test]
fn c9_alternatives_and_their_fields_are_bounded() {
    let or: Vec<String> = (0..3)
        .map(|_| {
            let choices: Vec<String> = (0..9).map(|n| format!(r#"{{"f{n}": [1]}}"#)).collect();
            format!(r#""$or": [{}]"#, choices.join(","))
        })
        .collect();
    let fields: Vec<String> = (0..2_000).map(|n| format!(r#""k{n}": [1]"#)).collect();
    let text = format!("{{{}, {}}}", or.join(","), fields.join(","));
    at_once(|| {
        let fault = Pattern::compile(&text).unwrap_err();
        assert_eq!(fault.expected(), "at most 100000 fields in all alternatives together");
    });
}

#[test]
fn c9_odd_characters_are_refused_or_kept() {
    refused("\u{feff}{}", "a JSON value");
    for surrogate in [r"\ud800", r"\udc00", r"\ud800\ud800", r"\ud800x", r"\udc00\ud800"] {
        refused(&format!(r#"{{"a": "{surrogate}"}}"#), "a surrogate only as half of a pair");
    }
    refused(r#"{"a": "\u12"}"#, "four hexadecimal digits after `\\u`");
    refused(r#"{"a": "\u+123"}"#, "four hexadecimal digits after `\\u`");
    refused("{\"a\": \"\0\"}", "a character other than a control character");
    let pattern = Pattern::compile(r#"{"a": ["\u0000", "\ud83d\ude00"]}"#).unwrap();
    assert!(pattern.matches(&json!({"a": "\0"})));
    assert!(pattern.matches_text(r#"{"a": "😀"}"#).unwrap());
}

fn refused(event: &str, expected: &str) {
    let pattern = Pattern::compile(r#"{"a": [1]}"#).unwrap();
    at_once(|| {
        let fault = pattern.matches_text(event).unwrap_err().to_string();
        assert!(fault.contains(expected), "{fault}");
    });
    at_once(|| assert!(Pattern::compile(event).is_err()));
}

fn at_once(work: impl FnOnce()) {
    let start = Instant::now();
    work();
    assert!(start.elapsed() < AT_ONCE, "took {:?}", start.elapsed());
}
