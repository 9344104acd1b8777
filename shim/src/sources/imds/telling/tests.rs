//! Ids that stay, and events that always come.

use std::time::Duration;

use snooze_event::EventType;

use super::*;

#[test]
fn a_notice_whose_time_slides_keeps_its_id() {
    let mut telling = Telling::default();
    let first = one(&mut telling, &spot("terminate", Some("2026-03-14T09:28:53Z")));
    let slid = one(&mut telling, &spot("terminate", Some("2026-03-14T09:28:55Z")));
    assert_eq!(first.id, slid.id);
    assert_eq!(first.id.as_str(), "imds-i-0a1b2c3d4e5f60718-spot-terminate-2026-03-14T09:28:53Z");
    assert_ne!(first.deadline, slid.deadline);
    let other = one(&mut telling, &spot("stop", Some("2026-03-14T09:28:53Z")));
    assert_ne!(first.id, other.id);
}

#[test]
fn a6_the_same_notice_that_comes_again_has_the_same_id_also_after_a_restart() {
    let notice = spot("stop", Some("2026-03-14T09:28:53Z"));
    let mut telling = Telling::default();
    let first = one(&mut telling, &notice);
    let gone = telling.tell(SignalPath::SpotInstanceAction, &News::Gone, Some(&identity()), now());
    assert_eq!(gone, [Heard::Gone(SignalPath::SpotInstanceAction)]);
    assert_eq!(one(&mut telling, &notice).id, first.id);
    assert_eq!(one(&mut Telling::default(), &notice).id, first.id);
}

#[test]
fn a_state_that_stands_is_one_event_and_one_that_comes_back_is_another() {
    let mut telling = Telling::default();
    let standby = News::Lifecycle(LifecycleState::Standby);
    let first = one(&mut telling, &standby);
    assert_eq!(first.kind, EventType::AutoscalingScale);
    assert_eq!(one(&mut telling, &standby).id, first.id);
    telling.tell(SignalPath::TargetLifecycleState, &News::Gone, Some(&identity()), now());
    assert_ne!(one(&mut telling, &standby).id, first.id);
}

#[test]
fn rebalance_and_maintenance_have_the_id_of_what_they_say() {
    let mut telling = Telling::default();
    let rebalance = imds::rebalance(r#"{"noticeTime":"2026-03-14T09:20:00Z"}"#).unwrap();
    let event = one(&mut telling, &News::Rebalance(rebalance));
    assert_eq!(event.id.as_str(), "imds-i-0a1b2c3d4e5f60718-rebalance-2026-03-14T09:20:00Z");
    let sample = include_str!("../../../../../events/samples/imds-maintenance-scheduled.json");
    let maintenance = News::Maintenance(imds::maintenance(sample).unwrap());
    let event = one(&mut telling, &maintenance);
    assert!(event.id.as_str().ends_with("instance-event-0d59937288b749b32-active"), "{}", event.id);
}

#[test]
fn no_text_from_outside_breaks_an_id() {
    for text in ["", "ä b\n\u{0}", &"x".repeat(5_000)] {
        let body = serde_json::json!([{ "Code": "c", "EventId": text, "State": text }]);
        let maintenance = News::Maintenance(imds::maintenance(&body.to_string()).unwrap());
        let event = one(&mut Telling::default(), &maintenance);
        assert!(event.id.as_str().len() <= LONGEST_ID);
    }
}

#[test]
fn a_notice_is_told_also_where_nobody_knows_who_we_are() {
    let notice = spot("terminate", None);
    let told = Telling::default().tell(SignalPath::SpotInstanceAction, &notice, None, now());
    let [Heard::Event(event)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((event.kind.clone(), &event.instance), (EventType::SpotInterrupt, &None));
    assert_eq!(event.data.get("instanceID"), Some(&Value::String(String::new())));
    assert_eq!(event.deadline, Some(now() + Duration::from_secs(120)));
    assert_eq!(event.id.as_str(), "imds-unknown-spot-terminate-untimed");
}

fn one(telling: &mut Telling, news: &News) -> Event {
    let path = match news {
        News::Spot(_) | News::Gone => SignalPath::SpotInstanceAction,
        News::Rebalance(_) => SignalPath::Rebalance,
        News::Lifecycle(_) => SignalPath::TargetLifecycleState,
        News::Maintenance(_) => SignalPath::MaintenanceScheduled,
    };
    match telling.tell(path, news, Some(&identity()), now()).as_slice() {
        [Heard::Event(event)] => (**event).clone(),
        told => panic!("{told:?}"),
    }
}

fn spot(action: &str, time: Option<&str>) -> News {
    let time = time.map(|text| text.parse().unwrap());
    News::Spot(SpotNotice { action: LossAction::of(action), time })
}

fn identity() -> Identity {
    let sample = include_str!("../../../../../events/samples/imds-instance-identity-document.json");
    imds::identity(sample).unwrap()
}

fn now() -> Timestamp {
    "2026-03-14T09:26:53Z".parse().unwrap()
}
