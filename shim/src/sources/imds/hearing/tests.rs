//! What an answer means, with time as a number.

use proptest::prelude::*;

use super::*;

const NOTICE: &str = r#"{"action":"terminate","time":"2026-03-14T09:28:53Z"}"#;
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a3_no_news_says_nothing_a_hundred_thousand_times() {
    let mut hearing = Hearing::new(SECOND);
    tick(&mut hearing, &Ok(Answer::Absent));
    for _ in 0..25_000 {
        assert_eq!(tick(&mut hearing, &Ok(Answer::Absent)), []);
    }
    assert_eq!((hearing.paths.len(), hearing.wait()), (4, SECOND));
}

#[test]
fn a4_what_cannot_be_read_is_a_miss_and_never_the_end_of_a_notice() {
    let broken = ["", " ", "<html><body>404</body></html>", "[null]", "{", "[]x", "\"\"", "{}"];
    for path in SignalPath::ALL {
        let mut hearing = Hearing::new(SECOND);
        assert!(hearing.on(path, found(good(path))).is_some());
        for body in broken {
            assert_eq!(hearing.on(path, found(body)), None, "{path} {body:?}");
        }
        for fault in [Fault::Status(500), Fault::Body, Fault::TooLarge, Fault::Broken] {
            assert_eq!(hearing.on(path, Err(fault)), None, "{path}");
        }
        assert!(matches!(hearing.judge(), Some(Heard::Health { ok: false, .. })), "{path}");
        assert_eq!(hearing.on(path, Ok(Answer::Absent)), Some(News::Gone), "{path}");
    }
}

proptest! {
    #[test]
    fn a4_no_body_makes_a_spot_notice_but_an_object_with_an_action(body in "\\PC{0,200}|<[a-z]{1,9}>.{0,99}|\\{.{0,99}\\}") {
        let news = Hearing::new(SECOND).on(SignalPath::SpotInstanceAction, found(&body));
        let action = serde_json::from_str::<serde_json::Value>(&body)
            .is_ok_and(|value| value.get("action").is_some_and(serde_json::Value::is_string));
        prop_assert!(news.is_none() || action, "{body:?}");
        prop_assert_ne!(news, Some(News::Gone));
    }
}

#[test]
fn a6_a_notice_that_flaps_is_told_gone_and_told_again() {
    let mut hearing = Hearing::new(SECOND);
    let path = SignalPath::SpotInstanceAction;
    let news = |told: Option<News>| match told {
        Some(News::Spot(_)) => "notice",
        Some(News::Gone) => "gone",
        Some(_) => "other",
        None => "-",
    };
    let answers = [Ok(Answer::Absent), found(NOTICE), Ok(Answer::Absent), Ok(Answer::Absent)];
    let more = [found(NOTICE), Err(Fault::Status(503)), Ok(Answer::Absent)];
    let told: Vec<_> =
        answers.into_iter().chain(more).map(|answer| news(hearing.on(path, answer))).collect();
    assert_eq!(told, ["-", "notice", "gone", "-", "notice", "-", "gone"]);
}

#[test]
fn in_service_and_an_empty_list_are_no_news() {
    let mut hearing = Hearing::new(SECOND);
    assert_eq!(hearing.on(SignalPath::TargetLifecycleState, found("InService\n")), None);
    assert_eq!(hearing.on(SignalPath::MaintenanceScheduled, found("[]")), None);
    assert!(hearing.on(SignalPath::TargetLifecycleState, found("Terminated")).is_some());
    let back = hearing.on(SignalPath::TargetLifecycleState, found("InService"));
    assert_eq!(back, Some(News::Gone));
}

#[test]
fn a2_a_metadata_outage_of_ten_minutes_ends_nothing() {
    let faults = [Fault::Off, Fault::Status(500), Fault::TimedOut(SECOND), Fault::Refused];
    for fault in faults {
        let mut hearing = Hearing::new(SECOND);
        let mut told = tick(&mut hearing, &Ok(Answer::Absent));
        let (mut now, mut ticks) = (Duration::ZERO, 0);
        while now < Duration::from_secs(600) {
            told.extend(tick(&mut hearing, &Err(fault.clone())));
            now += hearing.wait();
            ticks += 1;
        }
        // At 0, 1, 2, 4 and 8 s, then every five.
        assert_eq!(ticks, 5 + 118, "{fault}");
        told.extend(tick(&mut hearing, &Ok(Answer::Absent)));
        let detail = format!("spot/instance-action: {fault}");
        assert_eq!(told, [health(true, ""), health(false, &detail), health(true, "")]);
        assert_eq!(hearing.wait(), SECOND);
    }
}

#[test]
fn a7_only_three_misses_in_a_row_stretch_the_interval_and_one_answer_ends_it() {
    let mut hearing = Hearing::new(SECOND);
    let mut waits = Vec::new();
    for _ in 0..8 {
        tick(&mut hearing, &Err(Fault::Status(429)));
        waits.push(hearing.wait().as_secs());
    }
    tick(&mut hearing, &found("?"));
    waits.push(hearing.wait().as_secs());
    tick(&mut hearing, &Ok(Answer::Absent));
    waits.push(hearing.wait().as_secs());
    assert_eq!(waits, [1, 1, 2, 4, 5, 5, 5, 5, 5, 1]);
}

#[test]
fn a7_an_interval_over_five_seconds_is_never_stretched_and_a_short_one_to_five_at_most() {
    for (interval, longest) in [(200, 5_000), (5_000, 5_000), (60_000, 60_000)] {
        let mut hearing = Hearing::new(Duration::from_millis(interval));
        for _ in 0..1_000 {
            tick(&mut hearing, &Err(Fault::Body));
        }
        assert_eq!(hearing.wait(), Duration::from_millis(longest));
    }
}

#[test]
fn trouble_with_another_path_is_told_but_does_not_stretch_the_watch_for_the_notice() {
    let mut hearing = Hearing::new(SECOND);
    for _ in 0..5 {
        hearing.on(SignalPath::SpotInstanceAction, Ok(Answer::Absent));
        hearing.on(SignalPath::Rebalance, Err(Fault::Status(500)));
    }
    let detail = "events/recommendations/rebalance: status 500";
    assert_eq!(hearing.judge(), Some(health(false, detail)));
    assert_eq!(hearing.wait(), SECOND);
}

#[test]
fn a9_metadata_that_was_off_from_the_start_is_told_after_three_ticks() {
    let mut hearing = Hearing::new(SECOND);
    let told: Vec<_> = (0..4).map(|_| tick(&mut hearing, &Err(Fault::Off)).len()).collect();
    assert_eq!(told, [0, 0, 1, 0]);
}

/// One tick in which every path answers the same; what is told, news left out.
fn tick(hearing: &mut Hearing, answer: &Result<Answer, Fault>) -> Vec<Heard> {
    for path in SignalPath::ALL {
        assert_eq!(hearing.on(path, answer.clone()), None);
    }
    hearing.judge().into_iter().collect()
}

fn health(ok: bool, detail: &str) -> Heard {
    Heard::Health { source: SOURCE, ok, detail: detail.to_owned() }
}

fn good(path: SignalPath) -> &'static str {
    match path {
        SignalPath::SpotInstanceAction => NOTICE,
        SignalPath::Rebalance => r#"{"noticeTime":"2026-03-14T09:20:00Z"}"#,
        SignalPath::TargetLifecycleState => "Terminated",
        SignalPath::MaintenanceScheduled => r#"[{"Code":"system-reboot"}]"#,
    }
}

fn found(body: &str) -> Result<Answer, Fault> {
    Ok(Answer::Found(body.to_owned()))
}
