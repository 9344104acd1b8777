use expect_test::expect;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::Severity;
use crate::wire::{parse, samples};

#[test]
fn s4_31_an_event_is_written_as_a_cloud_event() {
    let text = samples::text("cloudevent-own-v1.json");
    let value = parse(&text).unwrap();
    let event = read(&value, received()).unwrap();
    expect![[r#"
        cloud.spot.interrupt urgent from aws.ec2.metadata-service at 2026-03-14T09:27:00Z
        i-0a1b2c3d4e5f60718 in us-east-1 of 123456789012
        loses by spot terminate until 2026-03-14T09:28:53Z
        {"action":"terminate","instanceID":"i-0a1b2c3d4e5f60718","instanceType":"m6i.large","time":"2026-03-14T09:28:53Z","timeRemaining":113.0}
    "#]]
    .assert_eq(&samples::printed(&event));
    assert!(event.drill);
    let written = write(&event, correlation(&value).as_ref());
    assert_eq!(serde_json::to_string_pretty(&written).unwrap(), text.trim_end());
}

#[test]
fn c12_s4_61_older_and_newer_minor_versions_are_read_and_newer_major_ones_refused() {
    let read = |name: &str| read(&parse(&samples::text(name)).unwrap(), received());
    let current = read("cloudevent-own-v1.json").unwrap();
    let older = read("cloudevent-own-v0.json").unwrap();
    assert_eq!(older, Event { drill: false, ..current.clone() });
    let newer = read("cloudevent-own-newer-minor.json").unwrap();
    assert_eq!(newer.data["mood"], "calm");
    assert_eq!(newer, Event { data: newer.data.clone(), ..current });
    let refused = read("cloudevent-own-newer-major.json").unwrap_err();
    assert_eq!(
        refused.to_string(),
        r#"`schemaversion` is "2": expected schema version 1, or 1 with a minor number"#
    );
    for (version, fine) in [
        (json!(1), true),
        (json!(1.5), true),
        (json!(null), true),
        (json!("10"), false),
        (json!(2), false),
    ] {
        let mut value = minimal();
        value["schemaversion"] = version.clone();
        assert_eq!(super::read(&value, received()).is_ok(), fine, "{version}");
    }
}

#[test]
fn s4_33_d_15_hyphenated_extensions_are_read() {
    let value = parse(&samples::text("cloudevent-roost-keeper.json")).unwrap();
    let event = read(&value, received()).unwrap();
    let name = "io.roost-keeper.roost.lifecycle.created";
    assert_eq!(event.kind, EventType::Unknown(name.to_owned()));
    assert_eq!((event.source.as_str(), event.instance), ("roost-keeper-operator", None));
    assert_eq!(event.data["roost"]["name"], "my-roost");
    assert_eq!(correlation(&value).unwrap().as_str(), "req-abc123");
}

#[test]
fn d_15_all_names_that_are_written_are_legal_and_short() {
    let mut event = read(&minimal(), received()).unwrap();
    event.deadline = Some(received());
    (event.drill, event.cancelled, event.replay) = (true, true, Some("r".to_owned()));
    (event.account, event.region) = (Some("1".to_owned()), Some("r".to_owned()));
    (event.cause, event.action) = (Some(Cause::Spot), Some(LossAction::Stop));
    let key = IncidentKey::stored("k");
    let written = write(&event, Some(&key));
    let names: Vec<_> = written.as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 18);
    for name in names.into_iter().filter(|name| *name != "data") {
        assert_eq!(check_name(name), Ok(()));
        assert!(name.len() <= 20 && name.starts_with(|c: char| c.is_ascii_lowercase()));
    }
}

#[test]
fn the_name_rule_passes_its_vectors() {
    let vectors = parse(&samples::text("cloudevent-attribute-names.json")).unwrap();
    let valid = vectors["valid"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    let keys = |key: &str| vectors[key].as_object().unwrap().keys().map(String::as_str);
    for name in valid.chain(keys("valid_but_should_not")) {
        assert_eq!(check_name(name), Ok(()), "{name}");
    }
    for name in keys("invalid") {
        assert!(check_name(name).is_err(), "{name}");
    }
}

#[test]
fn foreign_events_are_read() {
    let event = read(&parse(&samples::text("cloudevent-structured.json")).unwrap(), received());
    let event = event.unwrap();
    assert_eq!(event.instance.unwrap().as_str(), "i-0a1b2c3d4e5f60718");
    assert_eq!(event.account.as_deref(), Some("123456789012"));
    let batch = parse(&samples::text("cloudevent-batch.json")).unwrap();
    let bytes = read(&batch[1], received()).unwrap();
    assert_eq!(Value::Object(bytes.data), json!({ "data_base64": "AAEC" }));
}

#[test]
fn data_of_every_form_is_read() {
    for (members, expected) in [
        (json!({}), json!({})),
        (json!({ "data": null }), json!({})),
        (json!({ "data": null, "data_base64": "AAEC" }), json!({ "data_base64": "AAEC" })),
        (json!({ "data": "{\"a\":1}" }), json!({ "data": "{\"a\":1}" })),
        (json!({ "data": [1] }), json!({ "data": [1] })),
        (
            json!({ "datacontenttype": "application/json; charset=utf-8", "data_base64": "eyJhIjoxfQ==" }),
            json!({ "a": 1 }),
        ),
    ] {
        let event = read(&with(members), received()).unwrap();
        assert_eq!(Value::Object(event.data), expected);
    }
    for members in [
        json!({ "data": {}, "data_base64": "AAEC" }),
        json!({ "datacontenttype": "application/json", "data_base64": "!" }),
        json!({ "datacontenttype": "application/json", "data_base64": "AAEC" }),
        json!({ "datacontenttype": "application/json", "data_base64": 7 }),
    ] {
        assert!(read(&with(members.clone()), received()).is_err(), "{members}");
    }
}

#[test]
fn null_attributes_are_unset() {
    let nulls = json!({ "time": null, "subject": null, "deadline": null, "severity": null,
        "drill": null, "replayname": null, "awsaccount": null, "correlationid": null });
    let event = read(&with(nulls.clone()), received()).unwrap();
    assert_eq!(event, read(&minimal(), received()).unwrap());
    assert_eq!((event.time, event.severity), (received(), Severity::Info));
    assert_eq!(correlation(&with(nulls)), None);
}

#[test]
fn c7_c11_what_cannot_be_used_is_refused_at_its_place() {
    for (members, at) in [
        (json!({ "specversion": "0.3" }), "specversion"),
        (json!({ "specversion": 1.0 }), "specversion"),
        (json!({ "id": "" }), "id"),
        (json!({ "id": "a\u{1b}[2J" }), "id"),
        (json!({ "id": null }), "id"),
        (json!({ "source": "" }), "source"),
        (json!({ "source": "a\nb" }), "source"),
        (json!({ "type": "" }), "type"),
        (json!({ "type": "${jndi:x}" }), "type"),
        (json!({ "time": "soon" }), "time"),
        (json!({ "subject": 7 }), "subject"),
        (json!({ "subject": "i-../../etc" }), "subject"),
        (json!({ "awsaccount": "12" }), "awsaccount"),
        (json!({ "awsregion": "../etc" }), "awsregion"),
    ] {
        assert_eq!(read(&with(members), received()).unwrap_err().at(), Some(at));
    }
}

#[test]
fn a_drill_is_one_unless_it_clearly_is_none() {
    for (drill, expected) in
        [(json!(true), true), (json!("yes"), true), (json!(false), false), (json!("false"), false)]
    {
        assert_eq!(read(&with(json!({ "drill": drill })), received()).unwrap().drill, expected);
    }
}

#[test]
fn a_source_that_is_no_uri_reference_is_encoded() {
    let mut event = read(&minimal(), received()).unwrap();
    for (source, expected) in
        [("my laptop", "my%20laptop"), ("", "cloudsnooze"), ("é", "%C3%A9"), ("//a/b", "//a/b")]
    {
        source.clone_into(&mut event.source);
        assert_eq!(write(&event, None)["source"], expected);
    }
}

#[test]
fn c7_no_spoiled_sample_makes_the_reader_panic() {
    for name in samples::names("cloudevent-") {
        for text in samples::mutations(&samples::text(&name)) {
            if let Ok(value) = parse(&text) {
                drop(read(&value, received()));
                drop(correlation(&value));
            }
        }
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read_back(event in any_event(), key in "[ -~]{1,80}") {
        let key = IncidentKey::stored(&key);
        let written = write(&event, Some(&key));
        // Over the text, as it travels.
        let value = parse(&written.to_string()).unwrap();
        prop_assert_eq!(correlation(&value), Some(key));
        prop_assert_eq!(read(&value, received()).unwrap(), event);
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        proptest::sample::select(EventType::names().collect::<Vec<_>>()).prop_map(str::to_owned),
        "custom\\.[a-z]{1,9}",
        "[a-z]{1,9}\\.[a-z-]{1,9}",
    ];
    let second = -60_000_000_000_i64..250_000_000_000;
    let cause = proptest::sample::select(vec!["spot", "lifecycle", "maintenance", "state-change"]);
    (
        (kind, "[!#-;=?-Z_a-z~]{1,40}", second.clone(), "[!-~]{1,256}", 0..=3_u64),
        proptest::option::of("i-[0-9a-f]{8,17}"),
        (proptest::option::of("[0-9]{12}"), proptest::option::of("[a-z]{2}-[a-z]{4}-[1-9]")),
        (proptest::option::of(second), cause, "[a-z]{1,9}"),
        (any::<bool>(), any::<bool>(), proptest::option::of(".{0,20}")),
        proptest::collection::btree_map("[a-zA-Z]{1,9}", any_leaf(), 0..6),
    )
        .prop_map(|(head, instance, place, loss, flags, data)| {
            let (kind, source, second, id, severity) = head;
            let time = Timestamp::from_second(second).unwrap();
            let mut event = Event::new(kind.parse().unwrap(), &source, time, id.parse().unwrap());
            event.severity = Severity::from_number(severity).unwrap();
            event.instance = instance.map(|id| id.parse().unwrap());
            (event.account, event.region) = place;
            event.deadline = loss.0.map(|second| Timestamp::from_second(second).unwrap());
            loss::set(&mut event, Cause::of(loss.1), Some(LossAction::of(&loss.2)));
            (event.drill, event.cancelled, event.replay) = flags;
            event.data = data.into_iter().collect();
            event
        })
}

fn any_leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(Value::Null),
        proptest::collection::vec(any::<i32>(), 0..3).prop_map(Value::from),
    ]
}

fn minimal() -> Value {
    json!({ "specversion": "1.0", "id": "1", "source": "s", "type": "custom" })
}

/// The minimal event with members added or replaced.
fn with(members: Value) -> Value {
    let mut value = minimal();
    value.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    value
}

fn received() -> Timestamp {
    "2026-03-14T09:30:00Z".parse().unwrap()
}
