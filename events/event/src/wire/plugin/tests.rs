use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::Severity;

#[test]
fn s1_37_s1_38_s1_39_d_5_an_event_is_told_with_lower_case_keys_and_a_deadline() {
    let told = told(&spot(), 118.5);
    expect![[r#"
        {
          "data": {
            "action": "terminate",
            "attempt": 2,
            "cause": "spot",
            "drill": false,
            "incident": "i-0a1b2c3d4e5f60718/boot/spot/terminate",
            "instanceID": "i-0a1b2c3d4e5f60718",
            "instanceType": "m6i.large",
            "time": "2026-03-14T09:28:53Z",
            "timeRemaining": 118.5
          },
          "deadline": "2026-03-14T09:28:53Z",
          "id": "event-1",
          "severity": 2,
          "source": "aws.ec2.metadata-service",
          "timestamp": "2026-03-14T09:26:53Z",
          "type": "cloud.spot.interrupt"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&told).unwrap());
}

#[test]
fn s0_54_the_five_keys_of_a_loss_are_there_though_nothing_is_known() {
    let mut event = spot();
    (event.instance, event.deadline) = (None, None);
    let told = write(&event, Duration::ZERO, None, None, &IncidentKey::stored("k"), 1);
    for (key, expected) in [
        ("action", json!("terminate")),
        ("time", json!(null)),
        ("timeRemaining", json!(0.0)),
        ("instanceID", json!("")),
        ("instanceType", json!("")),
    ] {
        assert_eq!(told["data"].get(key), Some(&expected), "{key}");
    }
}

#[test]
fn an_event_that_leaves_the_instance_there_tells_of_no_time_without_a_deadline() {
    let mut event = Event::new(EventType::SpotRebalance, "", now(), "event-1".parse().unwrap());
    let told = |event: &Event| {
        let key = IncidentKey::stored("k");
        write(event, Duration::from_secs(60), None, Some("m6i.large"), &key, 1)["data"].to_string()
    };
    expect![[r#"{"attempt":1,"drill":false,"incident":"k","instanceType":"m6i.large"}"#]]
        .assert_eq(&told(&event));
    event.data.insert("timeRemaining".to_owned(), json!(90));
    event.instance = spot().instance;
    assert!(!told(&event).contains("timeRemaining"));
    event.deadline = spot().deadline;
    expect![[r#"{"attempt":1,"drill":false,"incident":"k","instanceID":"i-0a1b2c3d4e5f60718","instanceType":"m6i.large","timeRemaining":60.0}"#]]
        .assert_eq(&told(&event));
}

#[test]
fn what_was_written_is_read_back() {
    let event = read(&told(&spot(), 118.5)).unwrap();
    let mut expected = spot();
    expected.data.clone_from(&event.data);
    assert_eq!(event, expected);
}

#[test]
fn an_event_is_read_when_only_its_type_is_sound() {
    let event = read(&json!({
        "type": "cloud.spot.interrupt", "timestamp": 7, "id": [], "severity": 9, "data": null,
        "deadline": "soon", "source": {},
    }))
    .unwrap();
    assert_eq!((event.severity, event.cause), (Severity::Urgent, Some(Cause::Spot)));
    assert_eq!(time_remaining(&event), 120.0);
    for value in [json!(null), json!([]), json!({}), json!({ "type": 7 }), json!({ "type": "a b" })]
    {
        assert!(read(&value).is_err(), "{value}");
    }
}

#[test]
fn d_2_the_time_remaining_is_any_number_and_120_only_when_nothing_is_known() {
    for (said, expected) in [
        (json!(90), 90.0),
        (json!(90.25), 90.25),
        (json!("90.5"), 90.5),
        (json!(-3), 0.0),
        (json!(null), 120.0),
        (json!("NaN"), 120.0),
        (json!([]), 120.0),
    ] {
        let mut event = spot();
        event.data.insert("timeRemaining".to_owned(), said);
        assert_eq!(time_remaining(&event), expected);
    }
    assert_eq!(time_remaining(&spot()), 120.0);
}

#[test]
fn s1_36_a_person_gives_a_custom_event_with_nothing_but_a_type() {
    let event = custom(json!({ "type": "custom.deploy" })).unwrap();
    assert_eq!(event.kind, EventType::Custom("custom.deploy".to_owned()));
    assert_eq!((event.source.as_str(), event.id.as_str()), (CUSTOM_SOURCE, "made-up"));
    assert_eq!((event.time, event.severity, event.deadline), (now(), Severity::Info, None));
}

#[test]
fn a_person_gives_everything() {
    let event = custom(json!({
        "type": "custom", "source": "runbook", "id": "7", "data": { "a": 1 }, "severity": "critical",
        "deadline_seconds": 90, "drill": true,
    }))
    .unwrap();
    assert_eq!((event.source.as_str(), event.id.as_str(), event.drill), ("runbook", "7", true));
    assert_eq!(event.severity, Severity::Critical);
    assert_eq!(event.deadline.unwrap().to_string(), "2026-03-14T09:28:23Z");
    assert_eq!(event.data["a"], 1);
}

#[test]
fn a_simulated_interruption_is_a_loss_with_two_minutes() {
    let stop = custom(json!({ "type": "cloud.spot.interrupt", "data": { "action": "stop" } }));
    let stop = stop.unwrap();
    assert_eq!((stop.cause, stop.action), (Some(Cause::Spot), Some(LossAction::Stop)));
    assert_eq!(stop.deadline.unwrap().to_string(), "2026-03-14T09:28:53Z");
    let bare = custom(json!({ "type": "cloud.spot.interrupt" })).unwrap();
    assert_eq!(bare.action, Some(LossAction::Terminate));
    let frozen = json!({ "type": "cloud.spot.interrupt", "data": { "action": "hibernate" } });
    assert_eq!(custom(frozen).unwrap().deadline, Some(now()));
    let ended = custom(json!({ "type": "cloud.instance.termination" })).unwrap();
    assert_eq!(ended.cause, Some(Cause::StateChange));
}

#[test]
fn c6_c7_what_a_person_cannot_mean_is_refused_at_its_place() {
    for (value, at) in [
        (json!([]), "$"),
        (json!({}), "type"),
        (json!({ "type": "cloud.spot.interupt" }), "type"),
        (json!({ "type": "two words" }), "type"),
        (json!({ "type": "custom", "sevrity": 1 }), "sevrity"),
        (json!({ "type": "custom", "severity": 4 }), "severity"),
        (json!({ "type": "custom", "source": "aws.ec2" }), "source"),
        (json!({ "type": "custom", "source": "a\nb" }), "source"),
        (json!({ "type": "custom", "id": "a b" }), "id"),
        (json!({ "type": "custom", "data": [] }), "data"),
        (json!({ "type": "custom", "data": { "instanceID": "../x" } }), "instanceID"),
        (json!({ "type": "custom", "deadline": "soon" }), "deadline"),
        (json!({ "type": "custom", "deadline_seconds": -1 }), "deadline_seconds"),
        (json!({ "type": "custom", "deadline_seconds": 1e300 }), "deadline_seconds"),
        (
            json!({ "type": "custom", "deadline": "2026-03-14T09:28:53Z", "deadline_seconds": 1 }),
            "deadline_seconds",
        ),
        (json!({ "type": "custom", "drill": "yes" }), "drill"),
    ] {
        assert_eq!(custom(value.clone()).unwrap_err().at(), Some(at), "{value}");
    }
}

#[test]
fn c11_what_an_error_shows_is_escaped() {
    let fault = custom(json!({ "type": "\u{1b}[2J\nforged" })).unwrap_err().to_string();
    assert!(!fault.contains(['\u{1b}', '\n']), "{fault}");
}

proptest! {
    #[test]
    fn no_json_makes_a_reader_panic(text in r#"\{"(type|data|severity|deadline|deadline_seconds)":.{0,40}\}"#) {
        if let Ok(value) = crate::wire::parse(&text) {
            drop(read(&value));
            drop(custom(value));
        }
    }

    #[test]
    fn the_time_remaining_is_never_negative(left in any::<f64>()) {
        let mut event = spot();
        event.data.insert("timeRemaining".to_owned(), json!(left));
        prop_assert!(time_remaining(&event) >= 0.0);
    }
}

fn told(event: &Event, left: f64) -> Value {
    let incident = IncidentKey::stored("i-0a1b2c3d4e5f60718/boot/spot/terminate");
    let left = Duration::from_secs_f64(left);
    write(event, left, event.deadline, Some("m6i.large"), &incident, 2)
}

fn custom(value: Value) -> Result<Event, ReadError> {
    read_custom(&value, now(), "made-up".parse().unwrap())
}

fn spot() -> Event {
    let id = "event-1".parse().unwrap();
    let mut event = Event::new(EventType::SpotInterrupt, "aws.ec2.metadata-service", now(), id);
    event.instance = Some("i-0a1b2c3d4e5f60718".parse().unwrap());
    event.deadline = Some("2026-03-14T09:28:53Z".parse().unwrap());
    (event.cause, event.action) = (Some(Cause::Spot), Some(LossAction::Terminate));
    event
}

fn now() -> Timestamp {
    "2026-03-14T09:26:53Z".parse().unwrap()
}
