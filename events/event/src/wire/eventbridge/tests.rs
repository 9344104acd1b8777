use std::fmt::Write;

use expect_test::expect_file;
use proptest::prelude::*;

use super::*;
use crate::wire::samples;
use crate::{Foreign, Home};

#[test]
fn s0_26_s1_30_s1_31_s1_32_every_sample_is_read() {
    let mut table = String::new();
    for name in samples::names("event-") {
        for event in read(&samples::text(&name)).unwrap() {
            writeln!(table, "{}\n    {}", name.trim_end_matches(".json"), line(&event)).unwrap();
        }
    }
    expect_file!["samples.txt"].assert_eq(&table);
}

#[test]
fn s0_54_every_loss_has_the_five_keys_and_all_of_its_detail() {
    for name in samples::names("event-") {
        let text = samples::text(&name);
        for event in read(&text).unwrap().into_iter().filter(|event| event.cause.is_some()) {
            for key in ["action", "time", "timeRemaining", "instanceID", "instanceType"] {
                assert!(event.data.contains_key(key), "{name} lacks {key}");
            }
            assert_eq!(event.data["instanceID"], event.instance.unwrap().as_str());
        }
    }
    let hook = one("event-asg-terminate-lifecycle-action.json");
    assert_eq!(hook.data["LifecycleActionToken"], "00000000-0000-4000-8000-000000000023");
    assert_eq!(hook.data["LifecycleHookName"], "drain");
    assert_eq!(hook.data["AutoScalingGroupName"], "spot-workers");
}

#[test]
fn a_member_is_read_however_it_is_spelled() {
    let text = samples::text("event-spot-interruption-terminate.json");
    let plain = read(&text).unwrap();
    let spelled = text
        .replace("\"source\"", "\"\\u0073ource\"")
        .replace("aws.ec2\"", "aws\\u002eec2\"")
        .replace("\"version\": \"0\"", "\"source\": 7, \"detail\": [], \"account\": \"no\"")
        .replace("\"region\"", "\"replay-name\": null, \"region\"");
    let replay = Some("null".to_owned());
    let expected: Vec<Event> =
        plain.iter().map(|event| Event { replay: replay.clone(), ..event.clone() }).collect();
    assert_eq!(read(&spelled).unwrap(), expected);
    let nameless = text.replace("\"us-east-1\"", "null").replace("\"123456789012\"", "null");
    let event = read(&nameless).unwrap().remove(0);
    assert_eq!((event.region, event.account), (None, None));
    for (member, found) in [
        (r#""id": 7"#, "`id` is a number: expected an event id"),
        (r#""id": null"#, "`id` is missing: expected an event id"),
        (r#""id": "a b""#, "`id` is \"a b\": expected an event id"),
        (r#""account": "12""#, "`account` is \"12\": expected 12 digits"),
        (r#""account": 12"#, "`account` is a number: expected 12 digits"),
        (r#""detail": null"#, "`detail` is null: expected an object"),
        (r#""source": "\u0000""#, "`source` is \"\\0\": expected a name"),
    ] {
        let text = text.trim_end().trim_end_matches('}');
        let fault = read(&format!("{text}, {member} }}")).unwrap_err();
        assert_eq!(fault.to_string(), found);
    }
    for text in ["[]", "7", "null"] {
        assert_eq!(read(text).unwrap_err().at(), Some("$"), "{text}");
    }
    assert!(matches!(read("{").unwrap_err(), ReadError::Json(_)));
}

#[test]
fn a_drill_is_the_same_event_and_marked() {
    for name in samples::names("event-").into_iter().filter(|name| !name.contains("own")) {
        let mut envelope = sample(&name);
        let real = read(&envelope.to_string()).unwrap();
        envelope["source"] = json!(DRILL_SOURCE);
        for (real, drill) in real.iter().zip(read(&envelope.to_string()).unwrap()) {
            let is_known = !matches!(real.kind, EventType::Unknown(_));
            let expected = Event { drill: true, source: DRILL_SOURCE.to_owned(), ..real.clone() };
            assert!(!is_known || drill == expected, "{name}");
            assert!(drill.drill);
        }
    }
}

#[test]
fn one_scheduled_change_of_several_instances_is_several_events() {
    let mut envelope = sample("event-health-ec2-scheduled-change.json");
    envelope["detail"]["affectedEntities"] = json!([
        { "entityValue": "i-0a1b2c3d4e5f60718" },
        { "entityValue": "arn:aws:ec2:us-east-1:123456789012:instance/i-0a1b2c3d4e5f60719" },
        { "entityValue": "i-0a1b2c3d4e5f60718" },
        { "entityValue": "vol-0a1b2c3d4e5f60718" },
        7,
    ]);
    envelope["detail"]["eventRegion"] = json!("eu-west-1");
    let events = read(&envelope.to_string()).unwrap();
    let ids: Vec<_> = events.iter().map(|event| event.id.as_str()).collect();
    let id = "00000000-0000-4000-8000-000000000058";
    assert_eq!(ids, [format!("{id}/i-0a1b2c3d4e5f60718"), format!("{id}/i-0a1b2c3d4e5f60719")]);
    assert!(events.iter().all(|event| event.region.as_deref() == Some("eu-west-1")));
}

#[test]
fn a_scheduled_change_that_is_closed_is_off_and_one_of_no_instance_is_unknown() {
    let mut envelope = sample("event-health-ec2-scheduled-change.json");
    envelope["detail"]["statusCode"] = json!("closed");
    assert!(read(&envelope.to_string()).unwrap()[0].cancelled);
    envelope["detail"]["affectedEntities"] = json!([]);
    let none = read(&envelope.to_string()).unwrap();
    assert_eq!(none[0].kind.as_str(), "com.amazonaws.health.aws-health-event");
}

#[test]
fn c9_a_scheduled_change_cannot_grow_without_bound() {
    let mut envelope = sample("event-health-ec2-scheduled-change.json");
    let entity = |n: u32| json!({ "entityValue": format!("i-{n:08x}") });
    envelope["detail"]["affectedEntities"] = (0..4000).map(entity).collect();
    envelope["detail"]["eventDescription"] = json!("x".repeat(800_000));
    let refused = read(&envelope.to_string()).unwrap_err();
    assert!(matches!(refused, ReadError::Size { .. }), "{refused}");
}

#[test]
fn each_code_of_a_scheduled_change_has_its_action() {
    for (code, action) in [
        ("AWS_EC2_INSTANCE_REBOOT_MAINTENANCE_SCHEDULED", "reboot"),
        ("AWS_EC2_INSTANCE_NETWORK_MAINTENANCE_SCHEDULED", "reboot"),
        ("AWS_EC2_PERSISTENT_INSTANCE_RETIREMENT_SCHEDULED", "terminate"),
        ("AWS_EC2_INSTANCE_STOP_SCHEDULED", "stop"),
        ("AWS_EC2_SOMETHING_NEW", "aws-ec2-something-new"),
    ] {
        assert_eq!(health_action(code).as_str(), action);
    }
}

#[test]
fn the_test_message_of_a_hook_is_no_termination() {
    let mut envelope = sample("event-asg-terminate-lifecycle-action.json");
    envelope["detail"] = json!({
        "Event": "autoscaling:TEST_NOTIFICATION", "AutoScalingGroupName": "spot-workers",
    });
    let event = read(&envelope.to_string()).unwrap().remove(0);
    assert_eq!((event.kind, event.instance), (EventType::AutoscalingScale, None));
}

#[test]
fn a11_each_word_of_a_warning_has_its_deadline() {
    for (word, deadline) in [
        ("terminate", "2026-03-14T09:28:53Z"),
        ("stop", "2026-03-14T09:28:53Z"),
        ("hibernate", "2026-03-14T09:26:53Z"),
        ("melt", "2026-03-14T09:28:53Z"),
    ] {
        let mut envelope = sample("event-spot-interruption-terminate.json");
        envelope["detail"]["instance-action"] = json!(word);
        let event = read(&envelope.to_string()).unwrap().remove(0);
        assert_eq!(event.deadline.unwrap().to_string(), deadline, "{word}");
    }
}

#[test]
fn ids_come_from_the_detail_whatever_the_resources_say() {
    let mut envelope = sample("event-spot-interruption-terminate.json");
    for resources in [json!([]), json!(null), json!("i-ffffffffffffffff0"), json!([7])] {
        envelope["resources"] = resources;
        let event = read(&envelope.to_string()).unwrap().remove(0);
        assert_eq!(event.instance.unwrap().as_str(), "i-0a1b2c3d4e5f60718");
    }
}

#[test]
fn c6_what_is_not_ours_is_told_apart() {
    let event = one("event-spot-interruption-terminate.json");
    let own = "i-0a1b2c3d4e5f60718".parse().unwrap();
    let other = "i-0a1b2c3d4e5f60719".parse().unwrap();
    let home = |account, region, instance| Home {
        account: Some(account),
        region: Some(region),
        instance: Some(instance),
    };
    for (home, expected) in [
        (home("123456789012", "us-east-1", &own), None),
        (home("210987654321", "us-east-1", &own), Some(Foreign::Account)),
        (home("123456789012", "us-east-2", &own), Some(Foreign::Region)),
        (home("123456789012", "us-east-1", &other), Some(Foreign::Instance)),
        (Home::default(), None),
    ] {
        assert_eq!(event.foreign(&home), expected);
    }
}

#[test]
fn c6_a_forged_source_does_not_become_a_loss() {
    for source in ["cloudsnooze.fake", "my.app", "aws.ec2fleet", "AWS.EC2"] {
        let mut envelope = sample("event-spot-interruption-terminate.json");
        envelope["source"] = json!(source);
        let event = read(&envelope.to_string()).unwrap().remove(0);
        assert!(matches!(event.kind, EventType::Unknown(_)), "{source}");
        assert_eq!(event.action, None);
    }
    // A detail-type in our own words does not either.
    let mut envelope = sample("event-spot-interruption-terminate.json");
    (envelope["source"], envelope["detail-type"]) =
        (json!("my.app"), json!("cloud.spot.interrupt"));
    let event = read(&envelope.to_string()).unwrap().remove(0);
    assert_eq!(event.kind.as_str(), "bus.my-app.cloud-spot-interrupt");
}

#[test]
fn s4_18_s4_19_s4_20_triggers_come_from_outside_and_never_from_aws() {
    let mut envelope = sample("event-spot-interruption-terminate.json");
    envelope["detail"] = json!({ "instance": "i-0123456789abcdef0", "action": "stop" });
    for name in ["trigger.teardown", "trigger.scale", "trigger.update", "trigger.start"] {
        for prefix in ["", "io.roost-keeper."] {
            envelope["source"] = json!("my.operator");
            envelope["detail-type"] = json!(format!("{prefix}{name}"));
            let event = read(&envelope.to_string()).unwrap().remove(0);
            assert_eq!(event.kind.as_str(), name);
            assert_eq!(event.instance.unwrap().as_str(), "i-0123456789abcdef0");
            envelope["source"] = json!("aws.operator");
            let event = read(&envelope.to_string()).unwrap().remove(0);
            assert!(matches!(event.kind, EventType::Unknown(_)), "{}", event.kind);
        }
    }
}

#[test]
fn one_trigger_starts_many_instances() {
    let mut envelope = sample("event-spot-interruption-terminate.json");
    (envelope["source"], envelope["detail-type"]) = (json!("my.schedule"), json!("trigger.start"));
    let ids = ["i-0123456789abcdef0", "i-0123456789abcdef1"];
    envelope["detail"] = json!({ "instances": ids, "reason": "morning" });
    let events = read(&envelope.to_string()).unwrap();
    let found: Vec<_> = events.iter().map(|it| it.instance.as_ref().unwrap().as_str()).collect();
    assert_eq!(found, ids);
    assert_ne!(events[0].id, events[1].id);
    assert_eq!(events[0].data["reason"], "morning");
    envelope["detail"] = json!({ "instances": ["i-0123456789abcdef0", "all"] });
    assert_eq!(read(&envelope.to_string()).unwrap_err().at(), Some("detail.instances"));
}

#[test]
fn s1_36_custom_events_come_by_the_bus_too() {
    let mut envelope = sample("event-spot-interruption-terminate.json");
    (envelope["source"], envelope["detail-type"]) = (json!("my.app"), json!("custom.deploy"));
    let event = read(&envelope.to_string()).unwrap().remove(0);
    assert_eq!((event.kind.as_str(), event.source.as_str()), ("custom.deploy", "my.app"));
    assert_eq!(event.cause, None);
}

#[test]
fn c7_what_is_known_and_unreadable_is_refused_at_its_place() {
    for (pointer, value, at) in [
        ("/id", json!(null), "id"),
        ("/id", json!("a b"), "id"),
        ("/time", json!("soon"), "time"),
        ("/source", json!(""), "source"),
        ("/detail-type", json!(7), "detail-type"),
        ("/account", json!("12"), "account"),
        ("/region", json!("us east"), "region"),
        ("/detail", json!([]), "detail"),
        ("/detail/instance-id", json!(null), "detail.instance-id"),
        ("/detail/instance-id", json!(["i-0a1b2c3d"]), "detail.instance-id"),
        ("/detail/instance-action", json!(""), "detail.instance-action"),
        ("/detail/instance-action", json!({}), "detail.instance-action"),
    ] {
        let mut envelope = sample("event-spot-interruption-terminate.json");
        *envelope.pointer_mut(pointer).unwrap() = value;
        assert_eq!(read(&envelope.to_string()).unwrap_err().at(), Some(at), "{pointer}");
    }
}

#[test]
fn c7_a_member_that_nobody_needs_may_be_missing_or_new() {
    let mut envelope = sample("event-spot-interruption-terminate.json");
    for key in ["version", "resources", "account", "region"] {
        envelope.as_object_mut().unwrap().remove(key);
    }
    (envelope["later"], envelope["detail"]["later"]) = (json!([1]), json!({ "a": null }));
    let event = read(&envelope.to_string()).unwrap().remove(0);
    assert_eq!(event.data["later"], json!({ "a": null }));
}

#[test]
fn c11_a_hostile_instance_id_is_refused_and_shown_escaped() {
    for id in [
        "i-0a1b2c3d\n4e5f",
        "i-${jndi:ldap://x}",
        "../../etc",
        "\u{1b}[31mi-0a1b2c3d",
        "i-0A1B2C3D",
    ] {
        for (name, key) in [
            ("event-spot-interruption-terminate.json", "instance-id"),
            ("event-state-change-stopped.json", "instance-id"),
            ("event-asg-terminate-lifecycle-action.json", "EC2InstanceId"),
            ("event-asg-launch-successful.json", "EC2InstanceId"),
        ] {
            let mut envelope = sample(name);
            envelope["detail"][key] = json!(id);
            let fault = read(&envelope.to_string()).unwrap_err();
            assert_eq!(fault.at(), Some(format!("detail.{key}").as_str()));
            assert!(!fault.to_string().contains(char::is_control), "{fault}");
        }
    }
}

#[test]
fn c11_names_of_64_kib_are_refused_or_cut() {
    let long = "x".repeat(65_536);
    for (pointer, fine) in [
        ("/id", false),
        ("/source", false),
        ("/detail-type", false),
        ("/detail/instance-id", false),
        ("/detail/instance-action", true),
    ] {
        let mut envelope = sample("event-spot-interruption-terminate.json");
        *envelope.pointer_mut(pointer).unwrap() = json!(long);
        match read(&envelope.to_string()) {
            Ok(events) => assert!(fine && events[0].data["action"].as_str().unwrap().len() == 64),
            Err(fault) => assert!(!fine && fault.to_string().len() < 200, "{fault}"),
        }
    }
}

#[test]
fn a_replay_is_marked_whatever_its_name() {
    for name in [json!("archive-1"), json!(null), json!(7)] {
        let mut envelope = sample("event-spot-interruption-terminate.json");
        envelope["replay-name"] = name;
        assert!(read(&envelope.to_string()).unwrap()[0].replay.is_some());
    }
}

#[test]
fn c7_no_spoiled_sample_makes_the_reader_panic_and_no_hostile_id_comes_through() {
    for name in samples::names("event-") {
        for text in samples::mutations(&samples::text(&name)) {
            for event in read(&text).unwrap_or_default() {
                assert!(event.kind.as_str().len() <= 128);
                let is_loss = event.cause.is_some() && !name.contains("own");
                assert!(!is_loss || event.instance.is_some(), "{text}");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,300}") {
        drop(read(&text));
    }

    #[test]
    fn unknown_kinds_are_values(source in "[a-z.]{1,20}", detail_type in "[!-~é ]{1,256}") {
        prop_assume!(!OWN_SOURCES.contains(&source.as_str()) && detail_type.len() <= 256);
        let mut envelope = sample("event-scheduled-rule.json");
        envelope["source"] = json!(source);
        envelope["detail-type"] = json!(detail_type);
        let event = read(&envelope.to_string()).unwrap().remove(0);
        let name = event.kind.as_str();
        prop_assert!(!name.is_empty() && name.len() <= 128);
        prop_assert!(matches!(event.kind, EventType::Unknown(_) | EventType::Custom(_)));
    }
}

fn line(event: &Event) -> String {
    let text = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mut line = format!(
        "{} {} {} {} {} {}",
        event.kind,
        text(event.instance.as_ref().map(ToString::to_string)),
        event.cause.map_or("-", Cause::as_str),
        event.action.as_ref().map_or("-", LossAction::as_str),
        text(event.deadline.map(|deadline| deadline.to_string())),
        event.severity.as_str(),
    );
    for (mark, set) in [(" drill", event.drill), (" replay", event.replay.is_some())] {
        line.push_str(if set { mark } else { "" });
    }
    line
}

fn one(name: &str) -> Event {
    read(&samples::text(name)).unwrap().remove(0)
}

fn sample(name: &str) -> Value {
    serde_json::from_str(&samples::text(name)).unwrap()
}
