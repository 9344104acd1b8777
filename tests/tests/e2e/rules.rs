//! The rules as they are deployed, against captured events.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use snooze_tests::cloud::aws::ACCOUNT;
use snooze_tests::cloud::stack::STACK;
use snooze_tests::cloud::{Cloud, cloud};
use snooze_tests::place;

/// What begins so is matched.
type Begins = &'static [&'static str];

/// A rule, its bus, how the captured events begin that it matches, and those of them that it does
/// not.
const RULES: [(&str, &str, Begins, Begins); 13] = [
    ("spot-interruption", "default", &["spot-interruption-"], &["spot-interruption-replayed"]),
    ("rebalance", "default", &["rebalance-recommendation"], &[]),
    ("capacity-reservation", "default", &["capacity-reservation-interruption"], &[]),
    ("terminate-hook", "default", &["asg-terminate-lifecycle-action"], &[]),
    ("launch-hook", "default", &["asg-launch-lifecycle-action"], &[]),
    ("state-change", "default", &["state-change-"], &["state-change-pending"]),
    ("health", "default", &["health-ec2-scheduled-change"], &[]),
    ("terminated", "default", &["state-change-terminated"], &[]),
    ("drill", STACK, &["drill-"], &[]),
    ("reports", STACK, &["own-instance-"], &[]),
    ("idle", STACK, &["own-instance-idle"], &[]),
    ("triggers", STACK, &["trigger-"], &[]),
    ("custom", STACK, &[], &[]),
];

#[test]
fn each_rule_matches_its_captured_events_and_no_others() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    let mut faults = Vec::new();
    for (rule, bus, begins, but) in RULES {
        let pattern = pattern(cloud, rule, bus);
        let matched: BTreeSet<String> = samples()
            .filter(|(_, event)| is_matched(cloud, &pattern, event))
            .map(|(name, _)| name)
            .collect();
        let wanted: BTreeSet<String> = samples()
            .map(|(name, _)| name)
            .filter(|name| begins.iter().any(|begin| name.starts_with(begin)))
            .filter(|name| !but.iter().any(|but| name.starts_with(but)))
            .collect();
        if matched != wanted {
            faults.push(format!("{rule}: {pattern} matches {matched:?}, not {wanted:?}"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn there_are_no_other_rules_and_each_has_a_target() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    let mut found = BTreeSet::new();
    for bus in ["default", STACK] {
        let rules = cloud.aws.call("events", "list_rules", json!({ "EventBusName": bus }));
        for rule in rules["Rules"].as_array().unwrap() {
            let name = rule["Name"].as_str().unwrap();
            let args = json!({ "Rule": name, "EventBusName": bus });
            let targets = cloud.aws.call("events", "list_targets_by_rule", args);
            let target = &targets["Targets"][0];
            assert!(target["DeadLetterConfig"]["Arn"].is_string(), "{name}: {targets:#}");
            found.insert(name.to_owned());
        }
    }
    let wanted = RULES.iter().map(|(rule, ..)| cloud.name(rule));
    assert_eq!(found, wanted.chain([cloud.name("sweep")]).collect());
}

fn pattern(cloud: &Cloud, rule: &str, bus: &str) -> String {
    let args = json!({ "Name": cloud.name(rule), "EventBusName": bus });
    let described = cloud.aws.call("events", "describe_rule", args);
    assert_eq!(described["State"], "ENABLED", "{described:#}");
    described["EventPattern"].as_str().unwrap().to_owned()
}

fn is_matched(cloud: &Cloud, pattern: &str, event: &Value) -> bool {
    let args = json!({ "EventPattern": pattern, "Event": event.to_string() });
    cloud.aws.call("events", "test_event_pattern", args)["Result"] == true
}

/// The captured events with their names, as if they were of this account.
fn samples() -> impl Iterator<Item = (String, Value)> {
    let files = place::files("json").into_iter().filter_map(|path| {
        let name = path.file_stem()?.to_str()?.strip_prefix("event-")?.to_owned();
        Some((name, std::fs::read_to_string(&path).ok()?))
    });
    files.map(|(name, text)| {
        let mut event: Value = serde_json::from_str(&text).unwrap();
        event["account"] = ACCOUNT.into();
        (name, event)
    })
}
