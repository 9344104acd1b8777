//! Verbs that need no daemon.

use crate::snooze::{Place, snooze};
use expect_test::expect;
use serde_json::json;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/samples");

const POLICY: &str = r#"{
    "name": "orders-db",
    "match": { "type": ["cloud.spot.interrupt"], "instance": { "tags": { "role": ["db"] } } },
    "handlers": [
        { "plugin": "redis-flusher", "priority": 100, "timeout_seconds": 30 },
        { "plugin": "slack-notifier", "priority": 10 }
    ]
}"#;

#[test]
fn pattern_test_says_by_its_exit_code_whether_an_event_matches() {
    let place = Place::new();
    let event = format!("{SAMPLES}/event-spot-interruption-stop.json");
    let stop = place.file("stop.json", r#"{"detail": {"instance-action": ["stop"]}}"#);
    let other = place.file("other.json", r#"{"detail": {"instance-action": ["terminate"]}}"#);
    let matching = snooze(["pattern", "test", "--pattern", &stop, "--event", &event]);
    assert_eq!((matching.code, matching.out.as_str()), (0, "matches\n"));
    let explained =
        snooze(["pattern", "test", "--pattern", &other, "--event", &event, "--explain"]);
    assert_eq!(explained.code, 1);
    expect![[r#"
        does not match
          fail detail.instance-action: expected "terminate", found "stop"
    "#]]
    .assert_eq(&explained.out);
    let data = snooze(["--json", "pattern", "test", "--pattern", &stop, "--event", &event]);
    assert_eq!(data.json(), json!({ "matches": true }));
}

#[test]
fn a_bad_pattern_is_a_fault_with_its_place() {
    let place = Place::new();
    let pattern = place.file("pattern.json", r#"{"detail": {"state": ["x", {"prefix": 1}]}}"#);
    let event = format!("{SAMPLES}/event-spot-interruption-stop.json");
    let failed = snooze(["pattern", "test", "--pattern", &pattern, "--event", &event]);
    assert_eq!(failed.code, 3);
    assert!(failed.err.contains("`detail.state[1].prefix`: expected a string"), "{}", failed.err);
    let missing = snooze(["pattern", "test", "--pattern", "/no/pattern", "--event", &event]);
    assert_eq!(missing.code, 3);
    assert!(missing.err.contains("/no/pattern"), "{}", missing.err);
}

#[test]
fn the_answers_of_the_reference_matcher_are_ours() {
    let suite = format!("{SAMPLES}/eventbridge-pattern-conformance.json");
    let run = snooze(["pattern", "test", "--suite", &suite]);
    assert_eq!((run.code, run.out.as_str()), (0, "59 passed, 0 failed\n"));
}

#[test]
fn a_suite_names_each_disagreement() {
    let place = Place::new();
    let suite = place.file(
        "suite.json",
        r#"{ "cases": [
            { "name": "right", "pattern": "{\"a\": [1]}", "valid": true,
              "events": [{ "event": "{\"a\": 1}", "match": true }] },
            { "name": "wrong", "pattern": "{\"a\": [1]}", "valid": true,
              "events": [{ "event": "{\"a\": 2}", "match": true }] }
        ] }"#,
    );
    let run = snooze(["pattern", "test", "--suite", &suite]);
    assert_eq!(run.code, 1);
    expect![[r#"
        wrong: `{"a": [1]}` does not match `{"a": 2}`
        1 passed, 1 failed
    "#]]
    .assert_eq(&run.out);
    assert_eq!(snooze(["pattern", "test", "--suite", "/no/suite"]).code, 3);
}

#[test]
fn rehearse_prints_the_plan_and_why_a_policy_does_not_match() {
    let place = Place::new();
    let policy = place.file("policy.json", POLICY);
    let facts = place.file("facts.json", r#"{"tags": {"role": "db"}}"#);
    let event = format!("{SAMPLES}/event-spot-interruption-terminate.json");
    let plan = snooze(["rehearse", &event, "--policies", &policy, "--instance", &facts]);
    assert_eq!(plan.code, 0);
    expect![[r#"
        event cloud.spot.interrupt terminate, from aws.ec2, at 2026-03-14T09:26:53Z
        policy orders-db matches
        120s left
        run  orders-db/redis-flusher (high 100) within 30s
        run  orders-db/slack-notifier (low 10) within 10s, after 30s at the latest
    "#]]
    .assert_eq(&plan.out);
    let nothing = snooze(["rehearse", &event, "--policies", &policy]);
    assert_eq!(nothing.code, 1);
    expect![[r#"
        event cloud.spot.interrupt terminate, from aws.ec2, at 2026-03-14T09:26:53Z
        policy orders-db does not match
          fail instance.tags.role: expected "db", found nothing
        nothing would run
    "#]]
    .assert_eq(&nothing.out);
}

#[test]
fn rehearse_takes_every_form_of_an_event() {
    let place = Place::new();
    let policies = place.directory("policies", &[("orders.json", POLICY)]);
    let facts = place.file("facts.json", r#"{"tags": {"role": "db"}}"#);
    let own = place.file("own.json", r#"{"type": "cloud.spot.interrupt", "deadline_seconds": 40}"#);
    let cloud = format!("{SAMPLES}/cloudevent-own-v1.json");
    for event in ["cloud.spot.interrupt", &own, &cloud] {
        let plan =
            snooze(["--json", "rehearse", event, "--policies", &policies, "--instance", &facts]);
        assert_eq!(plan.code, 0, "{event}: {} {}", plan.out, plan.err);
        assert_eq!(plan.json()[0]["steps"][0]["step"], "orders-db/redis-flusher");
    }
    let short =
        ["rehearse", &own, "--policies", &policies, "--instance", &facts, "--left", "9", "--json"];
    let plan = snooze(short).json();
    assert_eq!(plan[0]["left_seconds"], 9.0);
    assert_eq!(plan[0]["dropped"][0]["step"], "orders-db/slack-notifier");
}

#[test]
fn rehearse_refuses_what_it_cannot_use() {
    let place = Place::new();
    let policy = place.file("policy.json", POLICY);
    let bad = place.file("bad.json", &POLICY.replace("handlers", "handler"));
    let facts = place.file("facts.json", r#"{"tag": {}}"#);
    let spot = "cloud.spot.interrupt";
    let codes = [
        snooze(["rehearse", spot, "--policies", &bad]).code,
        snooze(["rehearse", spot, "--policies", &policy, "--instance", &facts]).code,
        snooze(["rehearse", "/no/event.json", "--policies", &policy]).code,
        snooze(["rehearse", "cloud.spot.interupt", "--policies", &policy]).code,
        snooze(["rehearse", spot, "--policies", &policy, "--left", "-1"]).code,
    ];
    assert_eq!(codes, [3, 3, 3, 2, 2]);
}

#[test]
fn policy_check_tells_all_faults_at_once() {
    let place = Place::new();
    let good = place.file("good.json", POLICY);
    assert_eq!(snooze(["policy", "check", &good]).out, "no fault; policies: 1\n");
    let bad = POLICY.replace("priority\": 100", "priorit\": 100").replace("spot.i", "spott.i");
    let bad = place.file("bad.json", &bad);
    let checked = snooze(["--json", "policy", "check", &good, &bad]);
    assert_eq!(checked.code, 1);
    assert_eq!(checked.json()["faults"].as_array().unwrap().len(), 2, "{}", checked.out);
    let twice = snooze(["policy", "check", &good, &place.file("same.json", POLICY)]);
    assert!(twice.out.contains("another file has a policy `orders-db` too"), "{}", twice.out);
}

// S4-11
#[test]
fn config_check_tells_all_faults_at_once() {
    let place = Place::new();
    let text = r#"{"polling_interval_second": 1, "event_handlers": {"cloud.spot": {}}}"#;
    let file = place.file("snoozed.json", text);
    let checked = snooze(["config", "check", &file]);
    assert_eq!(checked.code, 1);
    let lines: Vec<&str> = checked.out.lines().collect();
    assert!(lines[0].contains("did you mean `polling_interval_seconds`?"), "{}", checked.out);
    assert!(lines[1].contains("did you mean `cloud.spot.interrupt`?"), "{}", checked.out);
    assert_eq!(lines[2], format!("2 faults in {file}"));
    let fine = place.file("fine.json", r#"{"polling_interval_seconds": 1}"#);
    assert_eq!(snooze(["config", "check", &fine]).code, 0);
    assert_eq!(snooze(["config", "check", "/no/settings"]).code, 3);
}

#[test]
fn a_recorded_day_says_when_the_machine_would_have_been_idle() {
    let place = Place::new();
    let trace = "tests/traces/notebook-left-open.jsonl";
    let none = place.file("none.json", "{}");
    let run = snooze(["idle", "simulate", trace, "--settings", &none]);
    assert_eq!(run.code, 0, "{run:?}");
    let whats: Vec<&str> =
        run.out.lines().map(|line| line.split("  ").nth(1).unwrap_or(line)).collect();
    assert_eq!(whats, ["warned", "called off", "warned", "idle", "at the end: idle"], "{run:?}");
    let longer = place.file("longer.json", r#"{ "naptime_minutes": 600 }"#);
    let never = snooze(["--json", "idle", "simulate", trace, "--settings", &longer]);
    assert_eq!((never.code, &never.json()["happened"]), (1, &json!([])), "{never:?}");
    assert_eq!(never.json()["end"]["phase"], "napping");
    let bad = place.file("bad.json", r#"{ "idle": { "monitor": [] } }"#);
    let run = snooze(["idle", "simulate", trace, "--settings", &bad]);
    assert!(run.code == 3 && run.err.contains("did you mean `monitors`?"), "{run:?}");
    let run = snooze(["idle", "simulate", &bad, "--settings", &none]);
    assert!(run.code == 3 && run.err.contains("line 1"), "{run:?}");
}

#[test]
fn an_event_without_an_action_is_told_without_one() {
    let place = Place::new();
    let policies = place.file("p.json", POLICY);
    let run = snooze(["rehearse", "custom.deploy", "--policies", &policies]);
    assert!(run.out.starts_with("event custom.deploy, from "), "{}", run.out);
}

#[test]
fn wrong_usage_ends_with_2_and_help_with_0() {
    let bare = snooze(["pattern", "test"]);
    assert_eq!(bare.code, 2);
    assert!(bare.err.contains("--event") && bare.err.contains("--suite"), "{}", bare.err);
    assert_eq!(snooze(["history", "--limit", "0"]).code, 2);
    assert_eq!(snooze(["no-such-verb"]).code, 2);
    assert_eq!(snooze(["--help"]).code, 0);
    for shell in ["bash", "zsh", "fish"] {
        assert!(snooze(["completions", shell]).out.contains("snooze"));
    }
}

#[test]
fn every_verb_shows_an_example_in_its_help() {
    for verb in [
        &["status"][..],
        &["plugin", "list"],
        &["plugin", "info"],
        &["plugin", "new"],
        &["plugin", "test"],
        &["plugin", "doctor"],
        &["plugin", "enable"],
        &["plugin", "disable"],
        &["event", "send"],
        &["simulate"],
        &["history"],
        &["explain"],
        &["idle", "explain"],
        &["idle", "simulate"],
        &["wake"],
        &["rehearse"],
        &["pattern", "test"],
        &["policy", "check"],
        &["policy", "put"],
        &["policy", "get"],
        &["policy", "list"],
        &["policy", "rm"],
        &["policy", "diff"],
        &["policy", "test"],
        &["instances"],
        &["incidents"],
        &["incidents", "show"],
        &["incidents", "explain"],
        &["savings"],
        &["replay"],
        &["drill"],
        &["doctor"],
        &["iam-policy"],
        &["breaker", "list"],
        &["breaker", "reset"],
        &["config", "check"],
        &["config", "list"],
        &["config", "get"],
        &["config", "set"],
        &["config", "import"],
        &["config", "export"],
        &["config", "migrate"],
        &["demo"],
        &["completions"],
    ] {
        let help = snooze(verb.iter().copied().chain(["--help"]));
        assert!(help.out.contains("Example"), "{verb:?}: {}", help.out);
    }
}
