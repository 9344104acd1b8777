//! The roles: without one of their statements there is a failure with a name, and nothing else
//! stops.

use serde_json::{Value, json};
use snooze_tests::cloud::events::captured;
use snooze_tests::cloud::instance::{Instance, parts};
use snooze_tests::cloud::{Cloud, cloud};
use snooze_tests::setup::Daemon;
use snooze_tests::wait;

#[test]
fn d16_without_a_permission_of_dispatch_the_instance_acts_and_the_failure_has_a_name() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.alone();
    cloud.policy("denied", json!({ "actions": [{ "action": "notify" }] }));
    for (number, statement) in
        ["ReadPolicies", "ReadInstances", "Ledger", "Command"].into_iter().enumerate()
    {
        let instance = Instance::new(cloud, &format!("i-0e2e00000000004{number}1"), "denied");
        let daemon = instance.start();
        let lack = Lack::of(cloud, "DispatchRole", statement);
        cloud.tell("dispatch", &captured("spot-interruption-terminate", &instance.id));
        let _line = denied(cloud, "dispatch", lack.since);
        drop(lack);
        let closed = daemon.closed();
        assert_eq!(closed["outcome"], "done", "{statement}: {closed:#}");
        assert_eq!(instance.started(), ["saver"], "{statement}");
    }
}

#[test]
fn d16_without_a_permission_of_perform_its_action_fails_by_name_and_the_others_are_done() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.alone();
    let actions = json!([{ "action": "notify" }, { "action": "put-event", "config": { "type": "custom.told" } }]);
    cloud.policy("muted", json!({ "actions": actions }));
    let instance = Instance::new(cloud, "i-0e2e0000000000051", "muted");
    let _daemon = instance.start();
    let lack = Lack::of(cloud, "PerformRole", "TellOperators");
    cloud.tell("dispatch", &captured("spot-interruption-terminate", &instance.id));
    let _line = denied(cloud, "perform", lack.since);
    let is_done = |task: &Value| task["id"] == "muted/put-event" && task["state"]["is"] == "done";
    let incident = instance.incident("half told", |incident| {
        incident["ended"]["by"] == "instance"
            && incident["tasks"].as_array().is_some_and(|tasks| tasks.iter().any(is_done))
    });
    assert_eq!(incident["ended"]["outcome"], "done", "{incident:#}");
}

#[test]
fn d16_without_a_permission_of_record_the_facts_are_kept_and_the_failure_has_a_name() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.alone();
    for (number, statement) in ["MakeQueues", "Subscribe"].into_iter().enumerate() {
        let instance = Instance::new(cloud, &format!("i-0e2e00000000006{number}1"), "unheard");
        let lack = Lack::of(cloud, "RecordRole", statement);
        let _daemon = instance.setup.start();
        let _line = denied(cloud, "record", lack.since);
        wait::until("the facts", || cloud.item("instances", "instance_id", &instance.id));
    }
}

#[test]
fn d16_without_a_permission_the_sweep_fails_by_name() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.alone();
    let lack = Lack::of(cloud, "SweepRole", "LedgerIndexes");
    cloud.tell("sweep", &captured("scheduled-rule", "i-0e2e0000000000071"));
    let _line = denied(cloud, "sweep", lack.since);
}

#[test]
fn d16_without_a_permission_of_the_instance_one_part_fails_and_the_others_go_on() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.alone();
    cloud.policy("lacking", json!({}));
    for (number, (statement, part)) in
        [("Report", "hello"), ("Commands", "commands"), ("ReadPolicies", "policies")]
            .into_iter()
            .enumerate()
    {
        let instance = Instance::new(cloud, &format!("i-0e2e00000000008{number}1"), "lacking");
        // It is known, with its queue, from before.
        instance.start().kill();
        let _lack = Lack::of(cloud, "InstanceRole", statement);
        let daemon = instance.setup.start();
        let parts = parts_once(&daemon, part, "failing");
        assert!(parts[part].to_string().contains("ccess"), "{statement}: {parts:#}");
        // The metadata service is heard, and the policies that were kept are acted on.
        instance.setup.fake.spot(snooze_imds::fake::Notice::ahead(
            "terminate",
            std::time::Duration::from_secs(110),
        ));
        assert_eq!(daemon.closed()["outcome"], "done", "{statement}");
        assert_eq!(instance.started(), ["saver"], "{statement}");
    }
}

/// The parts of the cloud side, once one of them is so and the others work.
fn parts_once(daemon: &Daemon, part: &str, state: &str) -> Value {
    let mut last = Value::Null;
    wait::until_or(
        || format!("{part} to be {state}"),
        || {
            last = parts(daemon);
            // What the role lacked before is granted again, but the emulator may not know yet.
            let is_so = |one: &&str| last[*one]["state"] == if *one == part { state } else { "on" };
            ["hello", "policies", "commands"].iter().all(is_so).then(|| last.clone())
        },
    )
}

/// A role that lacks a statement, until this is dropped.
struct Lack<'a> {
    cloud: &'a Cloud,
    role: String,
    policy: String,
    document: Value,
    /// How many lines about denials each function had logged before.
    since: usize,
}

impl<'a> Lack<'a> {
    fn of(cloud: &'a Cloud, role: &str, statement: &str) -> Self {
        let role = physical(cloud, role);
        let names = cloud.aws.call("iam", "list_role_policies", json!({ "RoleName": role }));
        for policy in names["PolicyNames"].as_array().unwrap() {
            let policy = policy.as_str().unwrap();
            let args = json!({ "RoleName": role, "PolicyName": policy });
            let document = cloud.aws.call("iam", "get_role_policy", args)["PolicyDocument"].clone();
            let statements = document["Statement"].as_array().cloned().unwrap();
            let rest: Vec<&Value> =
                statements.iter().filter(|known| known["Sid"] != statement).collect();
            if rest.len() < statements.len() {
                let lack = Self {
                    cloud,
                    role,
                    policy: policy.to_owned(),
                    document: document.clone(),
                    since: lines(cloud),
                };
                lack.put(&json!({ "Version": "2012-10-17", "Statement": rest }));
                return lack;
            }
        }
        panic!("{role} has no statement {statement}");
    }

    fn put(&self, document: &Value) {
        let args = json!({
            "RoleName": self.role,
            "PolicyName": self.policy,
            "PolicyDocument": document.to_string(),
        });
        let _put = self.cloud.aws.call("iam", "put_role_policy", args);
    }
}

impl Drop for Lack<'_> {
    fn drop(&mut self) {
        self.put(&self.document);
    }
}

/// The real name of a role of the template.
fn physical(cloud: &Cloud, role: &str) -> String {
    let args = json!({ "StackName": "cloudsnooze", "LogicalResourceId": role });
    let found = cloud.aws.call("cloudformation", "describe_stack_resource", args);
    found["StackResourceDetail"]["PhysicalResourceId"].as_str().unwrap().to_owned()
}

const DENIED: &str = "AccessDenied";

fn lines(cloud: &Cloud) -> usize {
    let functions = ["dispatch", "perform", "record", "sweep"];
    functions.iter().map(|function| cloud.logged(&cloud.name(function), DENIED).len()).sum()
}

/// The line in which a function says that it is denied something.
fn denied(cloud: &Cloud, function: &str, before: usize) -> String {
    let missed = || {
        format!("{function} to be denied something: {:#?}", cloud.logged(&cloud.name(function), ""))
    };
    wait::until_or(missed, || {
        (lines(cloud) > before).then(|| cloud.logged(&cloud.name(function), DENIED).pop())?
    })
}
