use std::time::Duration;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::wire::samples;

#[test]
fn the_notices_of_the_samples_are_read() {
    let read = |name: &str| {
        let notice = spot_instance_action(&samples::text(name)).unwrap();
        format!("{} {}", notice.action.as_str(), notice.time.unwrap())
    };
    assert_eq!(read("imds-spot-instance-action-terminate.json"), "terminate 2026-03-14T09:28:53Z");
    assert_eq!(read("imds-spot-instance-action-stop.json"), "stop 2026-03-14T09:28:53Z");
    assert_eq!(read("imds-spot-instance-action-hibernate.json"), "hibernate 2026-03-14T09:28:53Z");
}

#[test]
fn a4_what_is_no_notice_is_an_error_and_never_no_notice() {
    for body in [
        "",
        " ",
        "<html><body>busy</body></html>",
        r#"{"action":"termin"#,
        "[]",
        "null",
        "{}",
        r#"{"action":null,"time":"2026-03-14T09:28:53Z"}"#,
        r#"{"action":7}"#,
        r#"{"action":" "}"#,
        r#""terminate""#,
    ] {
        assert!(spot_instance_action(body).is_err(), "{body:?}");
    }
}

#[test]
fn a10_an_odd_time_never_hides_a_notice() {
    for (time, expected) in [
        (r#""2026-03-14T09:28:53""#, Some("2026-03-14T09:28:53Z")),
        (r#""2026-03-14T09:28:53.5Z""#, Some("2026-03-14T09:28:53.5Z")),
        (r#""2016-12-31T23:59:60Z""#, Some("2016-12-31T23:59:59Z")),
        (r#""soon""#, None),
        (r#""""#, None),
        ("1773480533", None),
        ("null", None),
        ("[]", None),
    ] {
        let notice = spot_instance_action(&format!(r#"{{"action":"stop","time":{time}}}"#));
        let notice = notice.unwrap();
        assert_eq!(notice.time.map(|time| time.to_string()).as_deref(), expected, "{time}");
        assert_eq!(notice.action, LossAction::Stop);
    }
    assert_eq!(spot_instance_action(r#"{"action":"stop"}"#).unwrap().time, None);
}

#[test]
fn s0_53_s0_54_a_spot_notice_becomes_an_event_with_all_keys() {
    // S1-30, D-4
    check_event(
        &spot("terminate", Some(NOTICED)),
        expect![[r#"
            cloud.spot.interrupt urgent from aws.ec2.metadata-service at 2026-03-14T09:27:00Z
            i-0a1b2c3d4e5f60718 in us-east-1 of 123456789012
            loses by spot terminate until 2026-03-14T09:28:53Z
            {"action":"terminate","instanceID":"i-0a1b2c3d4e5f60718","instanceType":"m6i.large","time":"2026-03-14T09:28:53Z","timeRemaining":113.0}
        "#]],
    );
}

#[test]
fn a10_a_notice_without_a_time_has_two_minutes_from_first_sight() {
    let event = spot("stop", None);
    assert_eq!(event.deadline.unwrap().to_string(), "2026-03-14T09:29:00Z");
    assert_eq!(event.data["timeRemaining"], 120.0);
}

#[test]
fn a11_each_action_word_has_its_time() {
    for (word, left) in
        [("terminate", 113.0), ("stop", 113.0), ("hibernate", 0.0), ("melt-down", 113.0)]
    {
        let event = spot(word, Some(NOTICED));
        assert_eq!(event.data["timeRemaining"], left, "{word}");
        assert_eq!(event.action.unwrap().as_str(), word);
    }
    assert_eq!(spot("hibernate", None).deadline, Some(now()));
}

#[test]
fn an_action_word_in_capitals_is_the_same_word() {
    let notice = spot_instance_action(r#"{"action":" Terminate "}"#).unwrap();
    assert_eq!(notice.action, LossAction::Terminate);
}

#[test]
fn a_rebalance_recommendation_is_a_warning_and_no_loss() {
    let notice = rebalance(&samples::text("imds-rebalance.json")).unwrap();
    check_event(
        &rebalance_event(&notice, &identity_sample(), now(), id()),
        expect![[r#"
            cloud.spot.rebalance warning from aws.ec2.metadata-service at 2026-03-14T09:27:00Z
            i-0a1b2c3d4e5f60718 in us-east-1 of 123456789012
            {"noticeTime":"2026-03-14T09:20:00Z"}
        "#]],
    );
    assert_eq!(rebalance(r#"{"noticeTime":"soon"}"#).unwrap().time, None);
    assert!(rebalance("{}").is_err());
    assert!(rebalance("").is_err());
}

#[test]
fn s1_52_each_target_lifecycle_state_has_its_event() {
    let told = |word: &str| {
        let state = target_lifecycle_state(word).unwrap();
        assert_eq!(state.as_str(), word.trim());
        lifecycle_event(&state, &identity_sample(), now(), id()).map_or_else(
            || "nothing".to_owned(),
            |event| {
                let action = event.action.as_ref().map_or("-", LossAction::as_str);
                let cause = event.cause.map_or("-", Cause::as_str);
                format!("{} {cause} {action} {}", event.kind, event.severity.as_str())
            },
        )
    };
    for (word, expected) in [
        ("InService", "nothing"),
        ("Terminated", "cloud.instance.termination lifecycle terminate urgent"),
        ("Terminated\n", "cloud.instance.termination lifecycle terminate urgent"),
        ("Warmed:Terminated", "cloud.instance.termination lifecycle terminate urgent"),
        ("Warmed:Stopped", "cloud.instance.termination lifecycle stop urgent"),
        ("Warmed:Hibernated", "cloud.instance.termination lifecycle hibernate urgent"),
        ("Warmed:Running", "cloud.autoscaling.scale - - info"),
        ("Standby", "cloud.autoscaling.scale - - info"),
        ("Detached", "cloud.autoscaling.scale - - info"),
        ("Brand:New", "cloud.autoscaling.scale - - info"),
    ] {
        assert_eq!(told(word), expected, "{word}");
    }
    for body in ["", "<html>", "Terminated InService", &"x".repeat(65)] {
        assert!(target_lifecycle_state(body).is_err(), "{body:?}");
    }
}

#[test]
fn s1_31_scheduled_maintenance_is_a_termination_with_a_deadline() {
    let entries = maintenance(&samples::text("imds-maintenance-scheduled.json")).unwrap();
    check_event(
        &maintenance_event(&entries[0], &identity_sample(), now(), id()),
        expect![[r#"
            cloud.instance.termination warning from aws.ec2.metadata-service at 2026-03-14T09:27:00Z
            i-0a1b2c3d4e5f60718 in us-east-1 of 123456789012
            loses by maintenance reboot until 2026-01-21T09:00:43Z
            {"action":"reboot","code":"system-reboot","description":"scheduled reboot","eventId":"instance-event-0d59937288b749b32","instanceID":"i-0a1b2c3d4e5f60718","instanceType":"m6i.large","notAfter":"2026-01-21T09:17:23Z","notBefore":"2026-01-21T09:00:43Z","state":"active","time":"2026-01-21T09:00:43Z","timeRemaining":30.0}
        "#]],
    );
}

#[test]
fn each_maintenance_code_has_its_action() {
    for (code, action) in [
        ("instance-stop", "stop"),
        ("instance-retirement", "terminate"),
        ("instance-reboot", "reboot"),
        ("system-reboot", "reboot"),
        ("system-maintenance", "reboot"),
        ("instance-teleport", "instance-teleport"),
    ] {
        assert_eq!(maintenance_action(code).as_str(), action);
    }
}

#[test]
fn a_cancelled_or_completed_maintenance_is_off() {
    let history = maintenance(&samples::text("imds-maintenance-history.json")).unwrap();
    assert!(history.iter().all(|entry| entry.cancelled));
    let marked = r#"[{"Code":"system-reboot","Description":"[Canceled] reboot"}]"#;
    let marked = maintenance(marked).unwrap();
    assert!(maintenance_event(&marked[0], &identity_sample(), now(), id()).cancelled);
}

#[test]
fn c7_an_unreadable_maintenance_does_not_hide_the_others() {
    let body = r#"[7, {"Code":null}, {"Code":"system-reboot","NotBefore":"soon"}, null]"#;
    let read = maintenance(body).unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].not_before, None);
    assert_eq!(maintenance("[]").unwrap(), []);
    for body in ["", "{}", "[7]", "<html>"] {
        assert!(maintenance(body).is_err(), "{body:?}");
    }
}

#[test]
fn the_identity_document_says_who_we_are() {
    let identity = identity_sample();
    assert_eq!(identity.instance.as_str(), "i-0a1b2c3d4e5f60718");
    assert_eq!(identity.instance_type.as_deref(), Some("m6i.large"));
    assert_eq!(identity.region.as_deref(), Some("us-east-1"));
    assert_eq!(identity.zone.as_deref(), Some("us-east-1b"));
    assert_eq!(identity.account.as_deref(), Some("123456789012"));
    assert_eq!(identity.architecture.as_deref(), Some("x86_64"));
}

#[test]
fn c11_only_the_instance_id_must_be_sound_in_an_identity() {
    let odd = r#"{"instanceId":"i-0a1b2c3d","accountId":"12","region":"../etc","instanceType":7}"#;
    let odd = identity(odd).unwrap();
    assert_eq!((odd.account, odd.region, odd.instance_type), (None, None, None));
    for id in ["", "i-", "i-0A1B2C3D", "i-0a1b2c3d/../..", "i-0a1b2c3d\u{1b}[2J"] {
        let body = serde_json::json!({ "instanceId": id }).to_string();
        assert_eq!(identity(&body).unwrap_err().at(), Some("instanceId"), "{id:?}");
    }
}

#[test]
fn c7_no_spoiled_sample_makes_a_reader_panic() {
    for name in samples::names("imds-") {
        samples::mutations(&samples::text(&name)).iter().for_each(|body| read_all(body));
    }
}

proptest! {
    #[test]
    fn no_body_makes_a_reader_panic(body in ".{0,200}") {
        read_all(&body);
    }

    #[test]
    fn a10_the_budget_of_a_notice_is_within_two_minutes(
        word in "terminate|stop|hibernate|[a-z]{1,9}",
        time in proptest::option::of(-4_000_000_000_i64..200_000_000_000),
    ) {
        let time = time.map(|second| Timestamp::from_second(second).unwrap());
        let notice = SpotNotice { action: LossAction::of(&word), time };
        let event = spot_event(&notice, &identity_sample(), now(), id());
        let left = budget(Cause::Spot, &notice.action, event.deadline, now());
        prop_assert!(left <= Duration::from_secs(120));
        prop_assert_eq!(left.is_zero(), notice.action == LossAction::Hibernate);
    }
}

const NOTICED: &str = "2026-03-14T09:28:53Z";

fn check_event(event: &Event, expected: Expect) {
    expected.assert_eq(&samples::printed(event));
}

fn spot(action: &str, time: Option<&str>) -> Event {
    let time = time.map(|time| time.parse().unwrap());
    let notice = SpotNotice { action: LossAction::of(action), time };
    spot_event(&notice, &identity_sample(), now(), id())
}

fn read_all(body: &str) {
    drop(spot_instance_action(body));
    drop(rebalance(body));
    drop(target_lifecycle_state(body));
    drop(maintenance(body));
    drop(identity(body));
}

fn identity_sample() -> Identity {
    identity(&samples::text("imds-instance-identity-document.json")).unwrap()
}

fn now() -> Timestamp {
    "2026-03-14T09:27:00Z".parse().unwrap()
}

fn id() -> EventId {
    "00000000-0000-4000-8000-000000000001".parse().unwrap()
}
