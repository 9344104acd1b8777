//! Tests of the findings.

use expect_test::{Expect, expect};
use serde_json::json;
use snooze_cloud::Kind;
use snooze_cloud::topic::Attributes;

use super::super::instances::samples::instance;
use super::*;

fn check(found: &[Finding], expected: Expect) {
    let line = |finding: &Finding| {
        let Finding { severity, part, what, mend } = finding;
        format!("{} {part}: {what}\n    {mend}", severity.as_str()).trim_end().to_owned() + "\n"
    };
    expected.assert_eq(&found.iter().map(line).collect::<String>());
}

fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

#[test]
fn a_daemon_that_works_has_no_fault() {
    let status = json!({ "version": "0.1.0", "instance_id": "i-1", "metadata": "on",
        "durable": true, "faults": [] });
    check(
        &of_status(&status),
        expect![[r#"
        ok daemon: snoozed 0.1.0 on i-1
        ok metadata: the metadata service answers
    "#]],
    );
}

#[test]
fn the_faults_of_a_daemon_come_with_their_mends() {
    let status = json!({ "metadata": "off", "durable": false, "faults": [
        { "source": "metadata", "detail": "timed out" },
        { "source": "policies", "detail": "none is in force" },
        { "source": "orders/redis-flusher", "detail": "exit \u{1b}1" }
    ] });
    check(
        &of_status(&status),
        expect![[r#"
        ok daemon: snoozed - on -
        error metadata: the metadata service does not answer: a notice would not be heard
            `aws ec2 modify-instance-metadata-options --http-endpoint enabled --http-tokens required --http-put-response-hop-limit 2`; the hop limit of 1 shuts containers out
        error journal: the journal cannot be written: after a restart nothing is known of what ran
            look at the space and the owner of the state directory
        error policies: none is in force
            `snooze config check` tells more
        error orders/redis-flusher: exit \u{1b}1
            `snooze plugin list` and `journalctl -u snoozed` tell more
    "#]],
    );
}

#[test]
fn the_cloud_parts_of_a_daemon_are_read_in_every_form() {
    let parts = |cloud: Value| {
        let status = json!({ "metadata": "on", "cloud": cloud });
        let mut found = of_status(&status);
        found.drain(..2);
        found
    };
    let as_list = json!([
        { "part": "policies", "state": "on", "detail": "version 12" },
        { "part": "commands", "state": "failing", "detail": "`ReceiveMessage` failed" }
    ]);
    let as_object = json!({
        "policies": { "state": "on", "detail": "version 12" },
        "commands": { "state": "failing", "detail": "`ReceiveMessage` failed" }
    });
    let mut found = [parts(as_list.clone()), parts(json!({ "parts": as_list }))].concat();
    assert_eq!(found[..2], found[2..]);
    found.truncate(2);
    let mut same = parts(as_object);
    same.reverse();
    assert_eq!(same, found);
    check(
        &found,
        expect![[r#"
        ok cloud: policies: on: version 12
        error cloud: commands: failing: `ReceiveMessage` failed
            notices are handled all the same; `snooze iam-policy instance` prints what the role of the instance needs
    "#]],
    );
    check(
        &parts(json!("off")),
        expect![[r#"
        note cloud: all: off
    "#]],
    );
}

#[test]
fn a_policy_that_needs_more_than_a_notice_is_told() {
    let policy = |name: &str, seconds: [u64; 3]| {
        let [one, two, three] = seconds;
        let text = json!({ "name": name, "match": { "type": ["cloud.spot.interrupt"] },
            "handlers": [
                { "plugin": "a", "priority": 100, "timeout_seconds": one },
                { "plugin": "b", "priority": 50, "timeout_seconds": two },
                { "plugin": "c", "priority": 50, "timeout_seconds": three }
            ] });
        snooze_policy::check(&text.to_string()).unwrap()
    };
    // Two of one priority run side by side; 5 seconds stay free.
    let policies = [policy("fits", [60, 55, 55]), policy("tight", [60, 56, 1])];
    check(
        &of_policies(12, &policies, &["`old`: not JSON".to_owned()]),
        expect![[r#"
        error policies: `old`: not JSON
            mend it and `snooze policy put` it again
        ok policies: version 12, 2 usable
        warning budget: `tight` needs up to 2 min 1 s and a notice leaves 2 min 0 s: its last handlers may be dropped
            shorten `timeout_seconds`, or give handlers the same `priority`, so that they run side by side
    "#]],
    );
    check(
        &of_policies(0, &[], &[]),
        expect![[r#"
        error policies: none is in force: nothing would be saved
            `snooze policy put` stores one
    "#]],
    );
}

#[test]
fn each_fault_of_an_instance_is_one_finding() {
    let id = "i-0a1b2c3d4e5f60718";
    let queues = [format!("cloudsnooze-instance-{id}")];
    let found = |one: Instance| {
        of_instances(&[one], Some(&queues), "cloudsnooze-instance-", Some(12), now())
    };
    check(
        &found(instance(id)),
        expect![[r#"
        ok instances: 1 instance
    "#]],
    );
    let troubled = Instance {
        faults: vec!["bus: denied".to_owned()],
        policies: Some(11),
        subscription: None,
        drilled_at: None,
        ..instance(id)
    };
    check(
        &found(troubled),
        expect![[r#"
        ok instances: 1 instance
        error i-0a1b2c3d4e5f60718: bus: denied
            `snooze doctor` on the instance tells more
        error i-0a1b2c3d4e5f60718: its queue is not subscribed: no command reaches it
            restart its daemon, which says hello anew; then look at the log of `record`
        warning i-0a1b2c3d4e5f60718: it acts on version 11 of the policies, 12 is stored
            it reads them every 5 minutes; look at its faults if that lasts
        warning i-0a1b2c3d4e5f60718: last drill: never
            `snooze drill i-0a1b2c3d4e5f60718 --cause spot`
    "#]],
    );
    check(
        &found(instance("i-0b1b2c3d4e5f60718")),
        expect![[r#"
        ok instances: 1 instance
        error i-0b1b2c3d4e5f60718: it has no queue: no command reaches it, it only hears the metadata service
            restart its daemon, which says hello anew; then look at the log of `record`
    "#]],
    );
    let gone = Instance { last_seen: None, ..instance(id) };
    check(
        &found(gone),
        expect![[r#"
            ok instances: 1 instance
            warning i-0a1b2c3d4e5f60718: last heard of: never
                look whether it still runs; one that is gone is forgotten by itself
        "#]],
    );
    check(
        &of_instances(&[], None, "", None, now()),
        expect![[r#"
        warning instances: none said hello yet
            switch the cloud side on in the settings of their daemons
    "#]],
    );
}

#[test]
fn a_hook_that_waits_too_short_for_a_policy_is_told() {
    let policy = |name: &str, kind: &str, actions: Value| {
        let text = json!({ "name": name, "match": { "type": [kind] }, "actions": actions,
            "handlers": [{ "plugin": "a", "timeout_seconds": 60 }] });
        snooze_policy::check(&text.to_string()).unwrap()
    };
    let end = "cloud.instance.termination";
    let answers = json!([{ "action": "complete-lifecycle", "when": "outcome" }]);
    let policies = [
        policy("alone", end, json!([])),
        policy("answers", end, answers),
        policy("spot", "cloud.spot.interrupt", json!([])),
    ];
    let hook =
        |seconds| EndHook { name: "drain".to_owned(), timeout: Duration::from_secs(seconds) };
    check(
        &of_hooks("orders", &[hook(64)], &policies),
        expect![[r#"
        warning hooks: `drain` of `orders` waits 1 min 4 s, and `alone` needs up to 1 min 5 s
            raise its time-out, or give the policy the action `complete-lifecycle`, which sends heartbeats until the instance is ready
    "#]],
    );
    check(
        &of_hooks("orders", &[hook(65)], &policies),
        expect![[r#"
        ok hooks: `orders`: 1 hook
    "#]],
    );
    check(
        &of_hooks("orders", &[], &policies),
        expect![[r#"
        warning hooks: `orders` has no hook at the end: its instances end without notice
            `aws autoscaling put-lifecycle-hook --lifecycle-transition autoscaling:EC2_INSTANCE_TERMINATING` gives it one
    "#]],
    );
}

#[test]
fn drills_are_old_after_30_days() {
    let id = "i-0a1b2c3d4e5f60718";
    let drilled = |at: &str| {
        let one = Instance { drilled_at: Some(at.parse().unwrap()), ..instance(id) };
        let found = of_instances(&[one], None, "", None, now());
        found.iter().any(|finding| finding.what.starts_with("last drill"))
    };
    assert!(!drilled("2026-10-22T10:00:00Z"));
    assert!(drilled("2026-10-22T09:59:59Z"));
}

#[test]
fn queues_topics_breakers_and_the_sweep_are_judged() {
    let standing = |messages| Standing { messages };
    let topic = |version: &str, key: Option<&str>| Attributes {
        signature_version: version.to_owned(),
        key: key.map(str::to_owned),
    };
    let breaker =
        |failures| Breaker { destination: "web:example.com".to_owned(), failures, trial_at: now() };
    let found = [
        vec![of_dead_letters("s-actions-dead", &standing(0))],
        vec![of_dead_letters("s-actions-dead", &standing(3))],
        vec![of_actions("s-actions", &standing(100)), of_actions("s-actions", &standing(101))],
        of_topic("s-commands", &topic("2", Some("arn:aws:kms:eu-west-1:1:key/1"))),
        of_topic("s-commands", &topic("1", Some("alias/aws/sns"))),
        of_breakers(&[breaker(4), breaker(5)]),
        vec![of_overdue(&[]), of_overdue(&["i-1/spot".to_owned(), "i-2/spot".to_owned()])],
    ];
    check(
        &found.concat(),
        expect![[r#"
        ok s-actions-dead: empty
        error s-actions-dead: 3 messages could not be done
            look at the errors of the function that took them; what is too old for an action is not done when it is sent again, so a redrive is safe
        ok s-actions: 100 orders wait
        warning s-actions: 101 orders wait
            look whether `perform` is throttled or fails
        ok s-commands: there, signs with version 2
        error s-commands: it signs with version 1, which instances refuse
            `aws sns set-topic-attributes --attribute-name SignatureVersion --attribute-value 2` for `s-commands`, or deploy the template again
        error s-commands: it is encrypted with the key of AWS: alarms and rules cannot publish to it
            use a key of your own, whose policy lets the services publish
        warning breaker: web:example.com failed 5 times: calls are held back
            mend it; then `snooze breaker reset web:example.com`
        ok sweep: no incident is overdue
        error sweep: 2 incidents overdue, i-1/spot among them
            look at the log of the function `sweep` and at its schedule
    "#]],
    );
}

#[test]
fn d16_what_could_not_be_looked_at_names_the_permission() {
    let error = CloudError::new("Scan", Kind::Denied, "AccessDeniedException", "");
    check(
        &[Finding::refused("cloudsnooze-instances", &error)],
        expect![[r#"
        error cloudsnooze-instances: `Scan` failed: AccessDeniedException
            the credentials lack `dynamodb:Scan` on `cloudsnooze-instances`; `snooze iam-policy operator` prints all that an operator needs
    "#]],
    );
}
