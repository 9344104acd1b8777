//! Idle instances: from their report to their stop, and back. A helper plays their daemons; those
//! with real ones stand in `asleep.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_tests::cloud::aws::{ACCOUNT, REGION};
use snooze_tests::cloud::stack::STACK;
use snooze_tests::cloud::{Cloud, cloud};
use snooze_tests::wait;

/// A fleet takes its time on a machine that does much else.
const FLEET: Duration = Duration::from_secs(300);

#[test]
fn an_idle_instance_is_stopped_with_its_tags_and_woken_by_an_event() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    policy(cloud, "sleeper", &["stop-instance"], json!({}));
    let wake = json!({
        "match": { "type": ["trigger.start"], "instance": { "tags": { "role": ["sleeper"] } } },
        "handlers": [],
        "actions": [{ "action": "start-instance" }],
    });
    cloud.policy("sleeper-wake", wake);
    let ears = cloud.ears();
    let sleeper = Sleeper::new(cloud, "sleeper", None);
    sleeper.idle();
    let incident = sleeper.settled("sleeper/stop-instance");
    assert_eq!(said(&incident, "sleeper/stop-instance"), "done: stops");
    assert_eq!(incident["machine"]["type"], "m6i.large", "{incident:#}");
    assert_eq!(sleeper.state(), "stopped");
    let tags = sleeper.tags();
    assert_eq!(tags["CloudSnooze:Status"], "Stopped", "{tags:?}");
    assert_eq!(tags["CloudSnooze:StopReason"], "nothing happened");
    assert_eq!(tags["CloudSnooze:CPUPercent"], "0.4");
    assert_eq!(tags["stopped_at"], tags["CloudSnooze:StopTimestamp"]);
    let told = ears.wait_for(&sleeper.id);
    assert!(told.contains("is idle since"), "{told}");

    cloud.put("portal", "trigger.start", &json!({ "instance": sleeper.id, "reason": "morning" }));
    wait::until("the instance to run", || (sleeper.state() == "running").then_some(()));
    wait::until("the tags to say so", || {
        (sleeper.tags()["CloudSnooze:Status"] == "Running").then_some(())
    });
    assert_eq!(sleeper.tags()["CloudSnooze:RestartedBy"], "portal");
    // Its daemon says hello in another boot: now it is known how long it was stopped.
    sleeper.hello("boot-2", None);
    sleeper.incident("back", |incident| incident["fate"]["running"].is_string());
}

#[test]
fn handlers_run_first_and_who_works_again_meanwhile_is_not_stopped() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    let handlers = json!([{ "plugin": "saver", "priority": 50, "timeout_seconds": 20 }]);
    policy(cloud, "saving", &["stop-instance"], json!({ "handlers": handlers }));
    for is_active in [true, false] {
        let sleeper = Sleeper::new(cloud, "saving", None);
        sleeper.idle();
        let waits = |incident: &Value| task(incident, "saving/stop-instance")["is"] == "waiting";
        let incident = sleeper.incident("waiting for its handlers", waits);
        if is_active {
            let data = json!({ "since": sleeper.since, "boot_id": "boot-1", "reason": "a login" });
            is_known_as(cloud, &sleeper.id, "idle");
            sleeper.tell("instance.active", &data);
            is_known_as(cloud, &sleeper.id, "active");
        }
        let outcome = json!({
            "incident": "of-the-daemon", "told_by": [incident["id"]], "event": "instance.idle",
            "outcome": "done", "durable": true, "text": "1 of 1 steps",
        });
        sleeper.tell("incident.outcome", &outcome);
        let incident = sleeper.settled("saving/stop-instance");
        let said = said(&incident, "saving/stop-instance");
        if is_active {
            assert!(said.starts_with("skipped: it is active again since"), "{said}");
            assert_eq!(sleeper.state(), "running");
            assert!(!sleeper.tags().contains_key("CloudSnooze:Status"));
        } else {
            assert_eq!((said.as_str(), sleeper.state().as_str()), ("done: stops", "stopped"));
        }
    }
}

#[test]
fn a_member_of_a_group_and_a_protected_instance_are_left_running() {
    let Some(cloud) = cloud() else { return };
    let _turn = cloud.turn();
    policy(cloud, "stays", &["stop-instance"], json!({}));
    let member = Sleeper::new(cloud, "stays", Some("workers"));
    let protected = Sleeper::new(cloud, "stays", None);
    let tag = json!([{ "Key": "CloudSnooze:KeepAwake", "Value": "true" }]);
    let tagged = json!({ "Resources": [protected.id], "Tags": tag });
    let _tagged = cloud.aws.call("ec2", "create_tags", tagged);
    for (sleeper, expected) in [
        (&member, "which would replace it"),
        (&protected, "`CloudSnooze:KeepAwake` keeps it awake"),
    ] {
        sleeper.idle();
        let said = said(&sleeper.settled("stays/stop-instance"), "stays/stop-instance");
        assert!(said.starts_with("skipped: ") && said.contains(expected), "{said}");
        assert_eq!(sleeper.state(), "running");
        assert!(cloud.functions.about("StopInstances", &sleeper.id).is_empty());
    }
}

#[test]
fn of_200_idle_instances_20_are_stopped_in_an_hour_and_a_dry_run_stops_none() {
    let Some(cloud) = cloud() else { return };
    // 200 instances at once would be felt by others.
    let _turn = cloud.alone();
    policy_with(cloud, "fleet", &json!({ "per_hour": 20 }));
    policy_with(cloud, "dry", &json!({ "dry_run": true }));
    let began = hour();
    for (role, count) in [("fleet", 200), ("dry", 200)] {
        let ids = fleet(cloud, role, count);
        let since = now();
        let name = format!("{role}/stop-instance");
        let mut over: BTreeMap<&String, String> = BTreeMap::new();
        let found = wait::within(FLEET, Duration::from_secs(2), || {
            for id in &ids {
                let incident = (!over.contains_key(id)).then(|| cloud.incidents(id).pop());
                let word = incident.flatten().map(|incident| said(&incident, &name));
                let is_over = |word: &String| word.starts_with("done") || word.starts_with("skip");
                over.extend(word.filter(is_over).map(|word| (id, word)));
            }
            // A report may be lost in the emulator, which calls no function twice. Whoever is idle
            // says so again.
            let left: Vec<&String> = ids.iter().filter(|id| !over.contains_key(id)).collect();
            for ids in left.chunks(10).take(4) {
                put_idle(cloud, ids, &since);
            }
            left.is_empty().then_some(())
        });
        let mut words: BTreeMap<String, usize> = BTreeMap::new();
        for word in over.into_values() {
            *words.entry(word).or_default() += 1;
        }
        assert_eq!(found, Some(()), "{role}: {words:#?}");
        let stopped = ids.iter().filter(|id| state(cloud, id) == "stopped").count();
        if role == "dry" {
            let expected = [("skipped: dry run: it would be stopped".to_owned(), ids.len())];
            assert_eq!((words, stopped), (expected.into(), 0));
            continue;
        }
        // A clock may strike in between.
        let most = if hour() == began { 20 } else { 40 };
        assert!((20..=most).contains(&stopped), "{stopped}: {words:#?}");
        assert_eq!(words["done: stops"], stopped, "{words:#?}");
        let refused = "skipped: the limit of 20 stops an hour of the policy `fleet` is reached";
        assert_eq!(words[refused], ids.len() - stopped, "{words:#?}");
    }
}

/// An instance of the emulator, and what its daemon would tell.
struct Sleeper {
    cloud: &'static Cloud,
    id: String,
    since: String,
}

impl Sleeper {
    /// An instance that runs, with this role, and said hello.
    fn new(cloud: &'static Cloud, role: &str, group: Option<&str>) -> Self {
        let id = run(cloud, role, 1).remove(0);
        let sleeper = Self { cloud, id, since: now() };
        let facts = json!({ "role": role, "asg": group });
        sleeper.hello("boot-1", Some(&facts));
        wait::until("the table to know it", || {
            cloud.item("instances", "instance_id", &sleeper.id).map(|_| ())
        });
        sleeper
    }

    fn hello(&self, boot: &str, facts: Option<&Value>) {
        let facts = facts.cloned().unwrap_or_default();
        let data = json!({
            "type": "m6i.large", "zone": format!("{REGION}a"), "region": REGION,
            "account": ACCOUNT, "lifecycle": "on-demand", "asg": facts["asg"],
            "tags": { "role": facts["role"] }, "boot": boot, "version": "0.1.0", "policies": 1,
            "faults": [],
        });
        self.tell("instance.registered", &data);
    }

    fn idle(&self) {
        self.tell("instance.idle", &idle(&self.since));
    }

    fn tell(&self, kind: &str, data: &Value) {
        self.cloud.put("cloudsnooze.shim", kind, &envelope(&self.id, kind, data));
    }

    fn incident(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let found = || self.cloud.incidents(&self.id);
        let missed = || format!("an incident of {} that is {what}: {:#?}", self.id, found());
        wait::until_or(missed, || found().into_iter().find(|incident| is_so(incident)))
    }

    /// The incident in which a task is over.
    fn settled(&self, name: &str) -> Value {
        let is_over = |word: &Value| ["done", "skipped", "failed"].iter().any(|is| word == is);
        self.incident("settled", |incident| is_over(&task(incident, name)["is"]))
    }

    fn state(&self) -> String {
        state(self.cloud, &self.id)
    }

    fn tags(&self) -> BTreeMap<String, String> {
        tags(self.cloud, &self.id)
    }
}

/// Instances that run, by their ids.
pub(crate) fn run(cloud: &Cloud, role: &str, count: usize) -> Vec<String> {
    let tags = json!([{ "Key": "CloudSnooze", "Value": "managed" },
                      { "Key": "role", "Value": role }]);
    let args = json!({
        "ImageId": "ami-0123456789abcdef0", "InstanceType": "m6i.large", "MinCount": count,
        "MaxCount": count, "TagSpecifications": [{ "ResourceType": "instance", "Tags": tags }],
    });
    let made = cloud.aws.call("ec2", "run_instances", args);
    let made = made["Instances"].as_array().cloned().unwrap();
    made.iter().map(|one| one["InstanceId"].as_str().unwrap().to_owned()).collect()
}

/// Instances that run, as if they had said hello; they need no queues.
fn fleet(cloud: &Cloud, role: &str, count: usize) -> Vec<String> {
    let ids = run(cloud, role, count);
    for id in &ids {
        let item = json!({
            "instance_id": { "S": id }, "type": { "S": "m6i.large" }, "boot": { "S": "boot-1" },
            "tags": { "M": { "role": { "S": role } } }, "last_seen": { "S": now() },
        });
        let args = json!({ "TableName": cloud.name("instances"), "Item": item });
        let _put = cloud.aws.call("dynamodb", "put_item", args);
    }
    ids
}

/// What the daemons of instances put that are idle since the same moment.
fn put_idle(cloud: &Cloud, ids: &[&String], since: &str) {
    let entry = |id: &&String| {
        let detail = envelope(id, "instance.idle", &idle(since)).to_string();
        json!({ "Source": "cloudsnooze.shim", "DetailType": "instance.idle",
                "Detail": detail, "EventBusName": STACK })
    };
    let entries: Vec<Value> = ids.iter().map(entry).collect();
    let put = cloud.aws.call("events", "put_events", json!({ "Entries": entries }));
    assert_eq!(put["FailedEntryCount"], 0, "{put}");
}

/// A policy for idle instances with this role, which also tells the operators.
fn policy(cloud: &Cloud, role: &str, actions: &[&str], more: Value) {
    let actions: Vec<Value> =
        actions.iter().chain(&["notify"]).map(|name| json!({ "action": name })).collect();
    put(cloud, role, &json!(actions), more);
}

fn policy_with(cloud: &Cloud, role: &str, config: &Value) {
    let actions = json!([{ "action": "stop-instance", "config": config }]);
    put(cloud, role, &actions, json!({}));
}

pub(crate) fn put(cloud: &Cloud, role: &str, actions: &Value, more: Value) {
    let mut policy = json!({
        "match": { "type": ["instance.idle"], "instance": { "tags": { "role": [role] } } },
        "handlers": [],
        "actions": actions,
    });
    if let (Some(policy), Value::Object(more)) = (policy.as_object_mut(), more) {
        policy.extend(more);
    }
    cloud.policy(role, policy);
}

fn idle(since: &str) -> Value {
    json!({
        "since": since, "naptime_minutes": 30, "boot_id": "boot-1", "reason": "nothing happened",
        "metrics": { "cpu_percent": 0.4 }, "votes": [],
    })
}

/// An event as a daemon puts it on the bus.
fn envelope(id: &str, kind: &str, data: &Value) -> Value {
    let now = now();
    json!({
        "specversion": "1.0", "id": format!("{id}-{kind}-{now}"), "source": "cloudsnooze.shim",
        "type": kind, "subject": id, "time": now, "datacontenttype": "application/json",
        "schemaversion": "1", "severity": 0, "awsaccount": ACCOUNT, "awsregion": REGION,
        "data": data,
    })
}

fn describe(cloud: &Cloud, id: &str) -> Value {
    let found = cloud.aws.call("ec2", "describe_instances", json!({ "InstanceIds": [id] }));
    found["Reservations"][0]["Instances"][0].clone()
}

/// Waits until the table knows an instance as `idle` or `active`.
pub(crate) fn is_known_as(cloud: &Cloud, id: &str, state: &str) {
    wait::until(&format!("the table to know {id} as {state}"), || {
        let item = cloud.item("instances", "instance_id", id)?;
        (item["idle_since"].is_null() == (state == "active")).then_some(())
    });
}

pub(crate) fn state(cloud: &Cloud, id: &str) -> String {
    describe(cloud, id)["State"]["Name"].as_str().unwrap_or_default().to_owned()
}

pub(crate) fn tags(cloud: &Cloud, id: &str) -> BTreeMap<String, String> {
    let found = describe(cloud, id);
    let tags = found["Tags"].as_array().cloned().unwrap_or_default();
    let text = |tag: &Value, key: &str| tag[key].as_str().unwrap_or_default().to_owned();
    tags.iter().map(|tag| (text(tag, "Key"), text(tag, "Value"))).collect()
}

/// The state of a task, null where there is none.
pub(crate) fn task(incident: &Value, name: &str) -> Value {
    let tasks = incident["tasks"].as_array().into_iter().flatten();
    let mut own = tasks.filter(|task| task["id"] == name);
    own.next().map(|task| task["state"].clone()).unwrap_or_default()
}

pub(crate) fn said(incident: &Value, name: &str) -> String {
    let state = task(incident, name);
    let text = |key: &str| state[key].as_str().unwrap_or_default();
    format!("{}: {}", text("is"), text("text"))
}

fn now() -> String {
    Timestamp::now().to_string()
}

/// The hour that limits are counted in.
fn hour() -> i64 {
    Timestamp::now().as_second() / 3600
}
