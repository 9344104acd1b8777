//! The patterns of the rules, once in `infra/rules` and once in the template, against all events
//! that we know.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use snooze_pattern::Pattern;
use snooze_tests::place;

use super::document::Template;

/// The account of all samples.
const ACCOUNT: &str = "123456789012";
/// Stands in a pattern for the account that the stack is in.
const PLACE: &str = "${AWS::AccountId}";

/// Which samples each rule is for, by their names.
const SAMPLES: [(&str, &[&str]); 13] = [
    ("capacity-reservation", &["event-capacity-reservation-interruption"]),
    ("custom", &["custom", "custom.orders"]),
    (
        "drill",
        &[
            "drill of event-asg-launch-lifecycle-action",
            "drill of event-asg-launch-lifecycle-action-from-warm-pool",
            "drill of event-asg-launch-lifecycle-action-into-warm-pool",
            "drill of event-asg-launch-lifecycle-action-replace-root-volume",
            "drill of event-asg-terminate-lifecycle-action",
            "drill of event-asg-terminate-lifecycle-action-minimal",
            "drill of event-asg-terminate-lifecycle-action-replace-root-volume",
            "drill of event-asg-terminate-lifecycle-action-to-warm-pool",
            "drill of event-capacity-reservation-interruption",
            "drill of event-health-ec2-scheduled-change",
            "drill of event-rebalance-recommendation",
            "drill of event-spot-interruption-az-arn",
            "drill of event-spot-interruption-hibernate",
            "drill of event-spot-interruption-stop",
            "drill of event-spot-interruption-terminate",
            "drill of event-state-change-pending",
            "drill of event-state-change-running",
            "drill of event-state-change-shutting-down",
            "drill of event-state-change-stopped",
            "drill of event-state-change-stopping",
            "drill of event-state-change-terminated",
            "event-drill-spot-interruption-terminate",
        ],
    ),
    ("health", &["event-health-ec2-scheduled-change"]),
    ("idle", &["event-own-instance-idle", "instance.idle"]),
    (
        "launch-hook",
        &[
            "event-asg-launch-lifecycle-action",
            "event-asg-launch-lifecycle-action-from-warm-pool",
            "event-asg-launch-lifecycle-action-into-warm-pool",
            "event-asg-launch-lifecycle-action-replace-root-volume",
        ],
    ),
    ("rebalance", &["event-rebalance-recommendation"]),
    (
        "reports",
        &[
            "event-own-instance-active",
            "event-own-instance-idle",
            "health.changed",
            "incident.outcome",
            "incident.phase",
            "instance.active",
            "instance.deleted",
            "instance.idle",
            "instance.registered",
            "instance.updated",
        ],
    ),
    (
        "spot-interruption",
        &[
            "event-spot-interruption-az-arn",
            "event-spot-interruption-hibernate",
            "event-spot-interruption-stop",
            "event-spot-interruption-terminate",
        ],
    ),
    (
        "state-change",
        &[
            "event-state-change-running",
            "event-state-change-shutting-down",
            "event-state-change-stopped",
            "event-state-change-stopping",
            "event-state-change-terminated",
        ],
    ),
    (
        "terminate-hook",
        &[
            "event-asg-terminate-lifecycle-action",
            "event-asg-terminate-lifecycle-action-minimal",
            "event-asg-terminate-lifecycle-action-replace-root-volume",
            "event-asg-terminate-lifecycle-action-to-warm-pool",
        ],
    ),
    ("terminated", &["event-state-change-terminated"]),
    (
        "triggers",
        &[
            "event-trigger-start",
            "io.roost-keeper.trigger.scale",
            "io.roost-keeper.trigger.teardown",
            "io.roost-keeper.trigger.update",
            "trigger.scale",
            "trigger.start",
            "trigger.teardown",
            "trigger.update",
        ],
    ),
];

#[test]
fn every_rule_matches_its_own_samples_and_no_others() {
    let samples = samples();
    let patterns = patterns();
    assert_eq!(patterns.keys().collect::<Vec<_>>(), SAMPLES.map(|(rule, _)| rule).each_ref());
    for (rule, own) in SAMPLES {
        let pattern = Pattern::compile_value(&patterns[rule]).unwrap();
        let matched = samples.iter().filter(|(_, event)| pattern.matches(event));
        let matched: Vec<&str> = matched.map(|(name, _)| name.as_str()).collect();
        assert_eq!(matched, own, "infra/rules/{rule}.json");
    }
}

#[test]
fn no_rule_hears_a_replay_another_account_or_a_forged_source() {
    for (rule, own) in SAMPLES {
        let pattern = Pattern::compile_value(&patterns()[rule]).unwrap();
        let sample = &samples()[*own.first().unwrap()];
        let changed = |key: &str, value: &str| {
            let mut event = sample.clone();
            event[key] = value.into();
            pattern.matches(&event)
        };
        assert!(pattern.matches(sample), "{rule}");
        assert!(!changed("replay-name", "yesterday"), "{rule}: a replay");
        assert!(!changed("account", "210987654321"), "{rule}: another account");
        let open = ["triggers", "custom"].contains(&rule);
        assert_eq!(changed("source", "com.example.shop"), open, "{rule}: a source of operators");
        let forged = ["aws.ec2", "cloudsnooze.shim", "cloudsnooze.cloud", "cloudsnooze.drill"];
        let real = sample["source"].as_str().unwrap();
        for source in forged.into_iter().filter(|source| *source != real) {
            assert!(!changed("source", source), "{rule}: {source}");
        }
    }
}

#[test]
fn the_template_has_the_patterns_of_the_files_and_no_others() {
    let template = Template::read();
    let mut found = BTreeMap::new();
    for (id, rule) in template.of_type("AWS::Events::Rule") {
        let properties = &rule["Properties"];
        if properties["EventPattern"].is_null() {
            continue;
        }
        let name = super::document::text(&properties["Name"]);
        let name = name.strip_prefix("${AWS::StackName}-").unwrap_or_else(|| panic!("{id}"));
        let mut pattern = properties["EventPattern"].clone();
        if pattern["account"] == json!([{ "Ref": "AWS::AccountId" }]) {
            pattern["account"] = json!([PLACE]);
        }
        found.insert(name.to_owned(), pattern);
    }
    let written: BTreeMap<String, Value> = files()
        .into_iter()
        .map(|(name, text)| (name, serde_json::from_str(&text).unwrap()))
        .collect();
    assert_eq!(found, written);
}

#[test]
fn rules_stand_where_their_events_come_in_and_call_who_is_for_them() {
    let template = Template::read();
    for (id, rule) in template.of_type("AWS::Events::Rule") {
        let properties = &rule["Properties"];
        let name = super::document::text(&properties["Name"]);
        let name = name.rsplit_once("}-").unwrap().1;
        let own_bus = ["custom", "drill", "idle", "reports", "triggers"].contains(&name);
        assert_eq!(!properties["EventBusName"].is_null(), own_bus, "{id}");
        let called = match name {
            "reports" | "terminated" => "${Record.Arn}",
            "sweep" => "${Sweep.Arn}",
            _ => "${Dispatch.Arn}",
        };
        assert_eq!(super::document::text(&properties["Targets"][0]["Arn"]), called, "{id}");
        assert_eq!(properties["Condition"], Value::Null);
        // AWS: a pattern is at most 2,048 characters long unless a larger quota was asked for.
        assert!(properties["EventPattern"].to_string().len() < 2048, "{id}");
    }
    assert_eq!(template.resource("DrillRule")["Condition"], "AllowsDrills");
}

/// The patterns, for the account of the samples.
fn patterns() -> BTreeMap<String, Value> {
    let ours = |text: String| serde_json::from_str(&text.replace(PLACE, ACCOUNT)).unwrap();
    files().into_iter().map(|(name, text)| (name, ours(text))).collect()
}

fn files() -> BTreeMap<String, String> {
    read("infra/rules", "")
}

/// The files of a folder whose names begin so, without `.json`.
fn read(folder: &str, start: &str) -> BTreeMap<String, String> {
    let entries = fs::read_dir(place::root().join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let files = paths.filter_map(|path| {
        let name = path.file_name()?.to_str()?.strip_suffix(".json")?.to_owned();
        name.starts_with(start).then(|| (name, fs::read_to_string(&path).unwrap()))
    });
    files.collect()
}

/// All events: those that were captured, each of AWS as a drill, and our own by their types.
fn samples() -> BTreeMap<String, Value> {
    // The file of pattern tests begins with the same word.
    let mut samples: BTreeMap<String, Value> = read("events/samples", "event-")
        .into_iter()
        .map(|(name, text)| (name, serde_json::from_str(&text).unwrap()))
        .collect();
    let drills: Vec<_> = samples
        .iter()
        .filter(|(_, event)| is_of_aws(event))
        .map(|(name, event)| {
            let mut drill = event.clone();
            drill["source"] = "cloudsnooze.drill".into();
            (format!("drill of {name}"), drill)
        })
        .collect();
    samples.extend(drills);
    let from = |source: &'static str| move |kind: &&str| ((*kind).to_owned(), event(source, kind));
    let reports = [
        "cloud.spot.interrupt",
        "health.changed",
        "incident.outcome",
        "incident.phase",
        "instance.active",
        "instance.deleted",
        "instance.idle",
        "instance.registered",
        "instance.updated",
    ];
    samples.extend(reports.iter().map(from("cloudsnooze.shim")));
    let triggers = [
        "custom",
        "custom.orders",
        "customer",
        "io.roost-keeper.trigger.scale",
        "io.roost-keeper.trigger.teardown",
        "io.roost-keeper.trigger.update",
        "trigger.other",
        "trigger.scale",
        "trigger.start",
        "trigger.teardown",
        "trigger.update",
    ];
    samples.extend(triggers.iter().map(from("com.example.shop")));
    samples
}

fn is_of_aws(event: &Value) -> bool {
    event["source"].as_str().is_some_and(|source| source.starts_with("aws."))
}

fn event(source: &str, kind: &str) -> Value {
    json!({
        "version": "0",
        "id": "00000000-0000-4000-8000-000000000001",
        "source": source,
        "detail-type": kind,
        "account": ACCOUNT,
        "time": "2026-03-14T09:26:53Z",
        "region": "us-east-1",
        "resources": [],
        "detail": { "specversion": "1.0" },
    })
}
