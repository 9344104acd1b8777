use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

#[test]
fn c9_bombs_are_refused_before_anything_is_built() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let wide = format!("[{}0]", "0,".repeat(500_000));
    let digits = "9".repeat(10_000_000);
    let resources = format!(r#"{{"resources":[{}""]}}"#, r#""arn","#.repeat(100_000));
    for (bomb, expected) in [
        (deep, "nested too deeply: expected at most 32 levels"),
        (wide, "too many values: expected at most 10000"),
        (digits, "10000000 bytes: expected at most 1048576"),
        (resources, "too many values: expected at most 10000"),
        (r#"{"a":"\ud800"}"#.to_owned(), "not JSON"),
        ("\u{feff}{}".to_owned(), "not JSON"),
        ("1e400".to_owned(), "not JSON"),
        (String::new(), "not JSON"),
    ] {
        assert_eq!(parse(&bomb).unwrap_err().to_string(), expected);
    }
}

#[test]
fn c9_the_largest_texts_are_judged_within_50_ms() {
    // An unoptimised build is about ten times slower.
    let bar = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 50 });
    let room = MAX_EVENT - 16;
    for text in [
        format!(r#"{{"a":"{}"}}"#, "x".repeat(room)),
        format!(r#"{{"a":"{}"}}"#, r"\n".repeat(room / 2)),
        "9".repeat(room),
        "[".repeat(room),
        "\"".repeat(room),
    ] {
        // The best of five, since other work may disturb one.
        let took = (0..5).map(|_| {
            let start = Instant::now();
            drop(parse(&text));
            start.elapsed()
        });
        assert!(took.min().unwrap() < bar);
    }
}

#[test]
fn c9_brackets_and_commas_inside_texts_do_not_count() {
    let text = format!(r#"{{"a":"\"{}"}}"#, "[{,".repeat(20_000));
    assert!(parse(&text).is_ok());
}

#[test]
fn c9_bytes_that_are_no_text_are_refused() {
    assert_eq!(text(b"{\xff}").unwrap_err().to_string(), "not UTF-8 text");
    assert!(text(&vec![b' '; MAX_EVENT + 1]).is_err());
}

#[test]
fn c10_integers_keep_their_digits() {
    let text = r#"{"a":9223372036854775808,"b":18446744073709551615,"c":-9223372036854775808}"#;
    assert_eq!(parse(text).unwrap().to_string(), text);
}

#[test]
fn c7_a_field_that_stands_twice_counts_the_second_time() {
    assert_eq!(parse(r#"{"a":1,"a":2}"#).unwrap().to_string(), r#"{"a":2}"#);
}

#[test]
fn c7_trying_again_never_helps() {
    assert_eq!(ReadError::RETRY, Retry::Never);
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,400}") {
        drop(parse(&text));
    }
}

#[test]
fn c11_a_fault_shows_the_key_that_a_person_gave_escaped_and_short() {
    let id: crate::EventId = "e-1".parse().unwrap();
    let now = "2026-03-14T09:27:00Z".parse().unwrap();
    for key in ["a\u{7f}b".to_owned(), "a\u{9b}2Jb".to_owned(), "x".repeat(100_000)] {
        let event = serde_json::json!({ "type": "custom.x", key: 1 });
        let text = super::plugin::read_custom(&event, now, id.clone()).unwrap_err().to_string();
        assert!(!text.contains(char::is_control) && text.len() < 1000, "{} bytes", text.len());
    }
}
