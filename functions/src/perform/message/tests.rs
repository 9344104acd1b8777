use std::time::Duration;

use expect_test::{Expect, expect};
use serde_json::json;
use snooze_event::{Cause, EventType, LossAction};
use snooze_policy::ledger::{Opening, Report, Shelf};
use snooze_policy::{Facts, check};

use super::*;

#[test]
fn a_loss_says_what_goes_where_when_and_what_is_saved() {
    shown(
        &opened(&spot()),
        &facts(),
        &json!({ "subject": "orders database", "text": "Runbook: https://wiki.example.com/orders" }),
        expect![[r#"
            orders database: i-0123456789abcdef0 goes at 10:02:00 UTC (spot terminate)
            --
            Runbook: https://wiki.example.com/orders

            i-0123456789abcdef0 (`orders-1`, m7g.large, eu-west-1a, account 123456789012, Auto Scaling group `orders`) is taken away: spot terminate.
            Deadline: 2026-11-21T10:02:00Z, in 110 seconds.

            What is saved on it:
              - 119s left
              - run  p/postgres-flusher (high 100) within 30s
              - run  p/slack-notifier (low 10) within 10s, after 30s at the latest

            What to do:
              - Nothing now: the outcome follows. Without one three minutes after the deadline, take the data of this instance as not saved.
              - To see all of it: snooze incidents show 'i-0123456789abcdef0/spot/terminate/20261121T100001Z'

            Incident i-0123456789abcdef0/spot/terminate/20261121T100001Z"#]],
    );
}

#[test]
fn an_outcome_says_which_steps_failed_and_what_to_do() {
    let mut incident = opened(&spot());
    incident.report(&partial(), moment(90));
    incident.take("p/notify", "a", moment(90));
    let denied = "the role of this function needs `sns:Publish` (AuthorizationError)".to_owned();
    let finish =
        snooze_policy::ledger::Finish::Failed { error: "AccessDenied".to_owned(), text: denied };
    incident.finish("p/notify", "a", finish, moment(91));
    shown(
        &incident,
        &facts(),
        &json!({}),
        expect![[r#"
            i-0123456789abcdef0 ended: partial (spot terminate)
            --
            i-0123456789abcdef0 (`orders-1`, m7g.large, eu-west-1a, account 123456789012, Auto Scaling group `orders`) is taken away: spot terminate.
            Deadline: 2026-11-21T10:02:00Z, in 110 seconds.

            Outcome: partial, told by the instance at 2026-11-21T10:01:30Z: one of two steps failed.
              - failed p/postgres-flusher after 12100 ms: connection refused
              - done p/slack-notifier after 90 ms

            What failed in the cloud:
              - p/notify: the role of this function needs `sns:Publish` (AuthorizationError)

            What to do:
              - What the steps above were to save is not known to be safe: restore from the last copy before this incident, and mend what the texts name.
              - To see all of it: snooze incidents show 'i-0123456789abcdef0/spot/terminate/20261121T100001Z'

            Incident i-0123456789abcdef0/spot/terminate/20261121T100001Z"#]],
    );
}

#[test]
fn an_instance_that_nobody_knows_is_said_to_be_unprotected() {
    shown(
        &opened(&spot()),
        &Known::Nothing,
        &json!({}),
        expect![[r#"
            i-0123456789abcdef0 goes at 10:02:00 UTC (spot terminate)
            --
            i-0123456789abcdef0 (eu-west-1, account 123456789012) is taken away: spot terminate.
            Deadline: 2026-11-21T10:02:00Z, in 110 seconds.

            What is saved on it:
              - 119s left
              - run  p/postgres-flusher (high 100) within 30s
              - run  p/slack-notifier (low 10) within 10s, after 30s at the latest

            What to do:
              - This instance never said hello, so nothing is saved on it: save by hand what you need before the deadline, and install the daemon on instances of its kind.
              - To see all of it: snooze incidents show 'i-0123456789abcdef0/spot/terminate/20261121T100001Z'

            Incident i-0123456789abcdef0/spot/terminate/20261121T100001Z"#]],
    );
}

#[test]
fn a_drill_is_marked_in_subject_and_text() {
    let drill = Event { drill: true, ..spot() };
    let incident = opened(&drill);
    let config = Map::new();
    let known = Known::Unread;
    let now = moment(10);
    let news = News { incident: &incident, event: &drill, known: &known, config: &config, now };
    assert!(news.subject().starts_with("[DRILL] i-0123456789abcdef0"), "{}", news.subject());
    assert!(news.text().starts_with("THIS IS A DRILL"), "{}", news.text());
    assert_eq!(news.value()["drill"], true);
}

#[test]
fn other_events_are_told_by_their_type() {
    let mut event = Event::new(EventType::InstanceIdle, "cloudsnooze.shim", moment(0), id());
    event.instance = Some("i-0123456789abcdef0".parse().unwrap());
    shown(
        &opened(&event),
        &Known::Unread,
        &json!({}),
        expect![[r#"
            i-0123456789abcdef0 is idle
            --
            i-0123456789abcdef0 is idle since 2026-11-21T10:00:00Z: instance.idle.

            Outcome: done, found by dispatch at 2026-11-21T10:00:01Z: nothing runs on an instance for it.

            What to do:
              - Nothing.
              - To see all of it: snooze incidents show 'i-0123456789abcdef0/spot/terminate/20261121T100001Z'

            Incident i-0123456789abcdef0/spot/terminate/20261121T100001Z"#]],
    );
}

#[test]
fn a_subject_is_one_line_of_100_ascii_characters() {
    let (event, known) = (spot(), Known::Unread);
    let incident = opened(&event);
    for own in ["ä\r\nBcc: x@y", &"x".repeat(500), "", "\u{1b}[31m"] {
        let config = json!({ "subject": own }).as_object().cloned().unwrap();
        let now = moment(10);
        let news = News { incident: &incident, event: &event, known: &known, config: &config, now };
        let subject = news.subject();
        let plain = subject.bytes().all(|c| c.is_ascii_graphic() || c == b' ');
        assert!(plain && (1..=SUBJECT).contains(&subject.len()), "{subject}");
    }
}

#[test]
fn a_long_list_is_cut_and_keeps_what_failed() {
    let mut incident = opened(&spot());
    let mut report = partial();
    let fine = report.steps.pop().unwrap();
    let bad = report.steps.pop().unwrap();
    report.steps = vec![fine; 50];
    report.steps.push(bad);
    incident.report(&report, moment(90));
    let config = Map::new();
    let event = spot();
    let now = moment(100);
    let known = Known::Unread;
    let news = News { incident: &incident, event: &event, known: &known, config: &config, now };
    let text = news.text();
    assert!(text.contains("connection refused") && text.contains("and 31 more"), "{text}");
}

fn shown(incident: &Incident, known: &Known, config: &Value, expected: Expect) {
    let event = incident.told().unwrap();
    let config = config.as_object().unwrap();
    let news = News { incident, event: &event, known, config, now: moment(10) };
    expected.assert_eq(&format!("{}\n--\n{}", news.subject(), news.text()));
}

fn partial() -> Report {
    serde_json::from_value(json!({
        "incident": "k", "event": "cloud.spot.interrupt", "outcome": "partial",
        "text": "one of two steps failed",
        "steps": [
            { "step": "p/postgres-flusher", "outcome": "failed", "text": "connection refused",
              "milliseconds": 12_100 },
            { "step": "p/slack-notifier", "outcome": "done", "milliseconds": 90 },
        ],
    }))
    .unwrap()
}

fn opened(event: &Event) -> Incident {
    let policy = check(
        r#"{"name":"p","match":{"type":["cloud.spot.interrupt"]},
            "handlers":[{"plugin":"postgres-flusher","priority":100,"timeout_seconds":30},
                        {"plugin":"slack-notifier","priority":10}],
            "actions":[{"action":"notify"}]}"#,
    )
    .unwrap();
    let shelf = Shelf { version: Some(3), policies: vec![policy].into(), faults: Vec::new() };
    let known = facts();
    let lifecycle_budget = Duration::from_secs(120);
    let facts = known.facts();
    let opening = Opening { event, facts, shelf: &shelf, hook_timeout: None, lifecycle_budget };
    Incident::open("i-0123456789abcdef0/spot/terminate/20261121T100001Z", opening, moment(1))
}

fn facts() -> Known {
    Known::Facts(Box::new(Facts {
        kind: Some("m7g.large".to_owned()),
        zone: Some("eu-west-1a".to_owned()),
        asg: Some("orders".to_owned()),
        tags: [("Name".to_owned(), "orders-1".to_owned())].into(),
        ..Facts::default()
    }))
}

fn spot() -> Event {
    Event {
        instance: Some("i-0123456789abcdef0".parse().unwrap()),
        account: Some("123456789012".to_owned()),
        region: Some("eu-west-1".to_owned()),
        deadline: Some(moment(120)),
        cause: Some(Cause::Spot),
        action: Some(LossAction::Terminate),
        ..Event::new(EventType::SpotInterrupt, "aws.ec2", moment(0), id())
    }
}

fn id() -> snooze_event::EventId {
    "e-1".parse().unwrap()
}

/// So many seconds after ten o'clock.
fn moment(seconds: i64) -> Timestamp {
    let ten: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    ten.checked_add(Duration::from_secs(seconds.unsigned_abs())).unwrap()
}
