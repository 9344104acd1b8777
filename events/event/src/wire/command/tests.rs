use proptest::prelude::*;
use serde_json::from_str;

use super::*;
use crate::wire::samples;

const SAMPLES: [&str; 3] =
    ["command-handle.json", "command-drill.json", "command-policies-changed.json"];

#[test]
fn the_samples_are_read_and_written_as_they_are() {
    assert_eq!(samples::names("command-").len(), SAMPLES.len());
    for name in SAMPLES {
        let text = samples::text(name);
        let command = read(&text).unwrap();
        let sample: Value = from_str(&text).unwrap();
        assert_eq!(write(&command), sample, "{name}");
    }
}

#[test]
fn a_sample_says_what_it_should() {
    let command = read(&samples::text("command-handle.json")).unwrap();
    let Kind::Handle(event) = &command.kind else { panic!("{:?}", command.kind) };
    assert_eq!(command.instance, event.instance);
    assert_eq!((command.policies, event.drill), (Some(12), false));
    let key = command.correlation.unwrap();
    assert_eq!(command.id, format!("{}#command", key.as_str()));
    let all = read(&samples::text("command-policies-changed.json")).unwrap();
    assert_eq!((all.instance, all.kind, all.correlation), (None, Kind::PoliciesChanged, None));
}

#[test]
fn a_member_that_is_missing_is_named() {
    let sample: Value = from_str(&samples::text("command-handle.json")).unwrap();
    for name in ["version", "id", "kind", "instance", "issued_at", "expires_at", "event"] {
        let mut copy = sample.clone();
        copy.as_object_mut().unwrap().remove(name);
        let error = read(&copy.to_string()).unwrap_err().to_string();
        assert!(error.contains(&format!("`{name}`")), "{name}: {error}");
    }
    for name in ["policies", "correlationid"] {
        let mut copy = sample.clone();
        copy.as_object_mut().unwrap().remove(name);
        assert!(read(&copy.to_string()).is_ok(), "{name} may be missing");
    }
}

#[test]
fn c12_a_version_or_a_kind_that_is_not_known_is_refused() {
    let sample = samples::text("command-handle.json");
    let spoiled = |pointer: &str, value: Value| {
        let mut copy: Value = from_str(&sample).unwrap();
        *copy.pointer_mut(pointer).unwrap() = value;
        read(&copy.to_string()).map(drop).map_err(|error| error.to_string())
    };
    for value in [json!(0), json!(2), json!("1"), json!(1.5), json!(-1), json!(null), json!([1])] {
        assert!(spoiled("/version", value.clone()).is_err(), "version {value}");
    }
    for value in [json!("Handle"), json!("stop"), json!(""), json!(null), json!(["handle"])] {
        assert!(spoiled("/kind", value.clone()).is_err(), "kind {value}");
    }
    for value in [json!(""), json!("i-1; rm"), json!("**"), json!(null), json!(["*"])] {
        assert!(spoiled("/instance", value.clone()).is_err(), "instance {value}");
    }
    for value in [json!(""), json!("a\nb"), json!("x".repeat(513)), json!(7)] {
        assert!(spoiled("/id", value.clone()).is_err(), "id {value}");
    }
    for value in [json!("soon"), json!(1_773_480_000), json!("2026-03-14")] {
        assert!(spoiled("/expires_at", value.clone()).is_err(), "expires_at {value}");
    }
}

#[test]
fn whatever_is_spoiled_is_refused_or_read_without_harm() {
    for name in SAMPLES {
        for text in samples::mutations(&samples::text(name)) {
            match read(&text) {
                Ok(command) => assert_eq!(read(&write(&command).to_string()).unwrap(), command),
                Err(error) => assert!(error.to_string().len() < 1000, "{error}"),
            }
        }
    }
}

#[test]
fn a_command_that_is_too_long_is_not_looked_at() {
    let text = format!("{}{}", samples::text("command-handle.json"), " ".repeat(MAX_COMMAND));
    let error = read(&text).unwrap_err();
    assert!(matches!(error, ReadError::Size { limit: MAX_COMMAND, .. }), "{error}");
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_it_was(
        id in "[ -~]{1,512}",
        kind in 0..3,
        is_to_all: bool,
        (issued, lasts) in (0_i64..4_000_000_000, 0_i64..100_000),
        policies: Option<u64>,
        correlation in proptest::option::of("[!-~]{1,512}"),
        drill: bool,
    ) {
        let moment = |seconds| Timestamp::from_second(seconds).unwrap();
        let sample = read(&samples::text("command-drill.json")).unwrap();
        let Kind::Drill(mut event) = sample.kind else { panic!("{:?}", sample.kind) };
        event.drill = drill;
        let command = Command {
            id,
            kind: match kind {
                0 => Kind::Handle(event),
                1 => Kind::Drill(event),
                _ => Kind::PoliciesChanged,
            },
            instance: if is_to_all { None } else { sample.instance },
            issued_at: moment(issued),
            expires_at: moment(issued + lasts),
            policies,
            correlation: correlation.as_deref().map(IncidentKey::stored),
        };
        let text = write(&command).to_string();
        prop_assert_eq!(read(&text).unwrap(), command);
    }

    #[test]
    fn c9_no_text_makes_the_reader_fall(text in ".{0,300}") {
        let _ = read(&text);
        let _ = read(&format!(r#"{{"version":1,"id":"x","kind":"handle","event":{text}}}"#));
    }
}
