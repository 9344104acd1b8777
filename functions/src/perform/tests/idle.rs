//! Idle instances: who is stopped, who is left alone, how many in an hour; and how they are woken.

use std::collections::BTreeMap;

use super::*;
use crate::fan;

const STOP: &str = "p/stop-instance";

/// An instance by its id, with its state and tags.
type Described<'a> = (String, &'a str, Vec<(&'a str, &'a str)>);

#[tokio::test]
async fn an_idle_instance_is_stopped_with_tags_of_what_it_told() {
    let world = World::idle(&json!([{ "action": "stop-instance" }])).await;
    world.order(STOP, 60).await;
    assert_eq!(world.told(STOP).await, "done: stops");
    let tags = world.tags();
    expect_test::expect![[r#"
        CloudSnooze:CPUPercent=0.4
        CloudSnooze:InstanceType=m7g.large
        CloudSnooze:NaptimeMinutes=30
        CloudSnooze:Region=eu-central-1
        CloudSnooze:RestartAllowed=true
        CloudSnooze:Status=Stopped
        CloudSnooze:StopReason=nothing happened
        CloudSnooze:StopTimestamp=2026-11-21T10:01:00Z
        reason=nothing happened
        stopped_at=2026-11-21T10:01:00Z"#]]
    .assert_eq(&tags.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("\n"));
    // What decides last is asked last.
    let calls: Vec<_> = world.server.calls().into_iter().map(|call| call.operation).collect();
    let end: Vec<_> = calls.iter().map(String::as_str).filter(|name| *name != "PutItem").collect();
    let end = &end[end.iter().rposition(|name| *name == "StopInstances").unwrap() - 3..];
    assert_eq!(end[1..4], ["GetItem", "CreateTags", "StopInstances"], "{calls:?}");
    assert_eq!(world.perform.meter.total(Metric::Stops), 1);
}

#[tokio::test]
async fn a_session_that_begins_in_the_last_moment_keeps_the_instance() {
    let world = World::idle(&json!([{ "action": "hibernate-instance" }])).await;
    let instances = &world.perform.instances;
    instances.idle(&instance(), None, Some("b1"), moment(59)).await.unwrap();
    world.order("p/hibernate-instance", 60).await;
    let expected = "skipped: it is active again since 2026-11-21T10:00:59Z";
    assert_eq!(world.told("p/hibernate-instance").await, expected);
    assert_eq!((world.server.count("StopInstances"), world.server.count("CreateTags")), (0, 0));
    // Nothing was counted either.
    assert!(world.server.items("cloudsnooze-incidents").iter().all(|item| !is_limit(item)));
}

#[tokio::test]
async fn another_boot_or_a_later_spell_is_not_what_the_report_was_about() {
    for (boot, since, expected) in [
        ("b2", 0, "skipped: it was started anew meanwhile"),
        ("b1", 30, "skipped: it was active meanwhile"),
    ] {
        let world = World::idle(&json!([{ "action": "stop-instance" }])).await;
        let instances = &world.perform.instances;
        instances.idle(&instance(), Some(moment(since)), Some(boot), moment(40)).await.unwrap();
        world.order(STOP, 60).await;
        assert_eq!(world.told(STOP).await, expected);
        assert_eq!(world.server.count("StopInstances"), 0);
    }
}

#[tokio::test]
async fn a_report_that_is_not_written_down_yet_is_waited_for() {
    let world = World::new().await;
    world.open(ID, &idle(&instance()), &json!([{ "action": "stop-instance" }])).await;
    world.describe(&[(instance().to_string(), "running", vec![])]);
    world.order(STOP, 2).await;
    let told = world.told(STOP).await;
    assert_eq!(told, "again: NotRecorded: its report is not written down yet");
    assert!(world.sent()[0].1 >= 2);
    world.rest(&instance()).await;
    world.order(STOP, 5).await;
    assert_eq!(world.told(STOP).await, "done: stops");
}

#[tokio::test]
async fn tags_of_ec2_protect_whatever_the_instance_told() {
    for (key, value) in
        [("CloudSnooze:Protected", "true"), ("CloudSnooze:KeepAwake", "2026-11-21T11:00:00Z")]
    {
        for action in ["stop-instance", "hibernate-instance", "terminate-in-group"] {
            let world = World::idle(&json!([{ "action": action }])).await;
            world.describe(&[(instance().to_string(), "running", vec![(key, value)])]);
            if action == "terminate-in-group" {
                world.server.answer("DescribeAutoScalingInstances", 200, &member("InService"));
            }
            let task = format!("p/{action}");
            world.order(&task, 60).await;
            assert!(world.told(&task).await.starts_with("skipped: it"), "{action}");
            let ended = world.server.count("TerminateInstanceInAutoScalingGroup");
            assert_eq!((world.server.count("StopInstances"), ended), (0, 0));
        }
    }
}

#[tokio::test]
async fn a_stop_that_was_cut_short_is_not_taken_for_one_of_others() {
    let stopped = vec![("CloudSnooze:Status", "Stopped")];
    let world = World::idle(&json!([{ "action": "stop-instance" }])).await;
    // The first attempt is killed after the stop and before it is written down.
    let taken = world.incidents.change(ID, |incident| incident.take(STOP, "killed", moment(60)));
    taken.await.unwrap();
    world.describe(&[(instance().to_string(), "stopping", stopped)]);
    world.order(STOP, 60 + LEASE).await;
    assert_eq!(world.told(STOP).await, "done: stops");
    let world = World::idle(&json!([{ "action": "stop-instance" }])).await;
    world.describe(&[(instance().to_string(), "stopped", vec![])]);
    world.order(STOP, 60).await;
    assert_eq!(world.told(STOP).await, "skipped: it is stopped already");
    assert_eq!(world.incident().await.stopped_at(), None);
}

#[tokio::test]
async fn a_member_of_a_group_is_ended_through_it_and_counts() {
    let actions = json!([{ "action": "terminate-in-group", "config": { "per_hour": 1 } },
                         { "action": "stop-instance" }]);
    let world = World::idle(&actions).await;
    world.server.answer("DescribeAutoScalingInstances", 200, &member("InService"));
    world.order(STOP, 60).await;
    assert!(world.told(STOP).await.contains("which would replace it"));
    world.order("p/terminate-in-group", 61).await;
    let told = world.told("p/terminate-in-group").await;
    assert_eq!(told, "done: `g` ends it, nothing replaces it");
    assert_eq!(world.server.count("StopInstances"), 0);
    let limits = world.server.items("cloudsnooze-incidents").into_iter().filter(is_limit);
    assert_eq!(limits.count(), 2, "of the policy and of the stack");
}

#[tokio::test]
async fn of_200_idle_instances_20_are_stopped_in_an_hour() {
    let (world, ids) = World::fleet(200, &json!({ "per_hour": 20 })).await;
    world.all(&ids).await;
    assert_eq!(world.stopped().len(), 20);
    let words = world.words(&ids).await;
    let refused = "skipped: the limit of 20 stops an hour of the policy `p` is reached";
    assert_eq!(words, BTreeMap::from([("done: stops".to_owned(), 20), (refused.to_owned(), 180)]));
    assert!(world.perform.meter.total(Metric::StopsRefused) >= 180);
    // The operators are told once.
    let told = world.server.published();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].message.contains("the limit of 20 stops an hour of the policy `p`"));
}

#[tokio::test]
async fn the_limit_of_the_stack_holds_for_all_policies_together() {
    let (world, ids) = World::fleet(40, &json!({ "per_hour": 35 })).await;
    world.all(&ids).await;
    assert_eq!(world.stopped().len(), 30);
    let words = world.words(&ids).await;
    assert!(words.contains_key("skipped: the limit of 30 stops an hour of the stack is reached"));
    let refused = words.iter().filter(|(word, _)| word.ends_with("is reached"));
    assert_eq!(refused.map(|(_, count)| count).sum::<usize>(), 10, "{words:?}");
    // What the stack refuses does not count for the policy.
    let passed = |item: &serde_json::Map<String, Value>| {
        item.get("passed").map_or(0, |set| set["SS"].as_array().unwrap().len())
    };
    let items = world.server.items("cloudsnooze-incidents").into_iter();
    let counts: BTreeMap<String, usize> = items
        .filter(is_limit)
        .map(|item| (item["incident"]["S"].as_str().unwrap().to_owned(), passed(&item)))
        .collect();
    let expected = [("limit/policy/p/2026-11-21T10", 30), ("limit/stack/2026-11-21T10", 30)];
    assert_eq!(counts, expected.map(|(key, count)| (key.to_owned(), count)).into());
}

#[tokio::test]
async fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let (world, ids) = World::fleet(200, &json!({ "per_hour": 20, "dry_run": true })).await;
    world.all(&ids).await;
    let words = world.words(&ids).await;
    assert_eq!(words, [("skipped: dry run: it would be stopped".to_owned(), 200)].into());
    for call in ["StopInstances", "CreateTags", "TerminateInstanceInAutoScalingGroup"] {
        assert_eq!(world.server.count(call), 0, "{call}");
    }
    assert!(!world.server.items("cloudsnooze-incidents").iter().any(is_limit));
}

#[tokio::test]
async fn a_limit_that_cannot_be_asked_for_stops_nothing() {
    let world = World::idle(&json!([{ "action": "stop-instance" }])).await;
    world.server.standing("UpdateItem", Fault::error(500, "InternalServerError"));
    world.order(STOP, 60).await;
    assert!(world.told(STOP).await.starts_with("again: "), "{}", world.told(STOP).await);
    assert_eq!(world.server.count("StopInstances"), 0);
}

#[tokio::test]
async fn operators_are_told_what_is_idle_and_what_follows() {
    let config = json!([{ "action": "stop-instance", "config": { "dry_run": true } },
                        { "action": "notify" }]);
    let world = World::idle(&config).await;
    world.order(STOP, 60).await;
    world.order("p/notify", 61).await;
    let published = world.server.published();
    assert_eq!(published[0].subject.as_deref(), Some("i-0123456789abcdef0 is idle"));
    let text = &published[0].message;
    for part in [
        "is idle since 2026-11-21T10:00:00Z: nothing happened.",
        "cpu_percent 0.4",
        "redis-monitor: idle (no clients)",
        "p/stop-instance: dry run: it would be stopped",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn what_we_stopped_is_started_by_an_event() {
    let stopped = vec![("CloudSnooze:Status", "Stopped"), ("CloudSnooze:RestartAllowed", "true")];
    let event =
        Event { kind: EventType::TriggerStart, source: "portal".to_owned(), ..idle(&instance()) };
    let world = World::new().await;
    world.open(ID, &event, &json!([{ "action": "start-instance" }])).await;
    let task = "p/start-instance";
    world.describe(&[(instance().to_string(), "stopping", stopped.clone())]);
    world.order(task, 2).await;
    assert_eq!(world.told(task).await, "again: WrongState: it is still stopping");
    assert!(world.sent()[0].1 >= 15);
    world.describe(&[(instance().to_string(), "stopped", stopped)]);
    world.order(task, 20).await;
    assert_eq!(world.told(task).await, "done: starts");
    assert_eq!(world.server.count("StartInstances"), 1);
    let tags = world.tags();
    assert_eq!(tags["CloudSnooze:Status"], "Running");
    assert_eq!(tags["CloudSnooze:RestartedBy"], "portal");
}

#[tokio::test]
async fn what_somebody_else_started_is_said_to_run_unless_it_was_stopped_again() {
    let stopped = |at| vec![("CloudSnooze:Status", "Stopped"), ("CloudSnooze:StopTimestamp", at)];
    let before = "2026-11-21T10:01:00Z";
    let other = "skipped: its tags are of another stop, or of none";
    for (state, tags, expected) in [
        ("running", stopped(before), "done: its tags say that it runs"),
        ("running", stopped("2026-11-21T12:00:01Z"), other),
        ("stopping", stopped(before), other),
        ("running", vec![("CloudSnooze:Status", "Running")], other),
        ("running", vec![], other),
        ("terminated", stopped(before), "done: the instance is gone"),
    ] {
        let world = World::idle(&json!([{ "action": "stop-instance" }])).await;
        world.order(STOP, 60).await;
        world.server.forget_calls();
        let greeted = world.incidents.change(ID, |incident| {
            incident.back(moment(7200));
            incident.greeted();
        });
        greeted.await.unwrap();
        world.describe(&[(instance().to_string(), state, tags)]);
        let order = fan::order(&world.incident().await, RUNNING, moment(7200)).write();
        world.batch(&[("m", &order)], 7201).await;
        assert_eq!(world.told(RUNNING).await, expected);
        if expected.starts_with("done: its") {
            let tags = world.tags();
            assert_eq!(tags["CloudSnooze:Status"], "Running");
            assert_eq!(tags["CloudSnooze:RestartTimestamp"], "2026-11-21T12:00:00Z");
        } else {
            assert_eq!(world.server.count("CreateTags"), 0, "{expected}");
        }
    }
}

#[tokio::test]
async fn what_others_stopped_or_what_must_not_be_started_stays() {
    for (state, tags, expected) in [
        ("stopped", vec![], "skipped: it was not stopped by us"),
        (
            "stopped",
            vec![("CloudSnooze:Status", "Stopped"), ("CloudSnooze:RestartAllowed", "false")],
            "skipped: its tag `CloudSnooze:RestartAllowed` forbids it",
        ),
        ("terminated", vec![("CloudSnooze:Status", "Stopped")], "skipped: the instance is gone"),
    ] {
        let event = Event { kind: EventType::TriggerStart, ..idle(&instance()) };
        let world = World::new().await;
        world.open(ID, &event, &json!([{ "action": "start-instance" }])).await;
        world.describe(&[(instance().to_string(), state, tags)]);
        world.order("p/start-instance", 2).await;
        assert_eq!(world.told("p/start-instance").await, expected);
        assert_eq!(world.server.count("StartInstances"), 0);
    }
}

impl World {
    /// A world in which the instance is idle, since the start.
    async fn idle(actions: &Value) -> Self {
        let world = Self::new().await;
        world.open(ID, &idle(&instance()), actions).await;
        world.describe(&[(instance().to_string(), "running", vec![])]);
        world.rest(&instance()).await;
        world.server.forget_calls();
        world
    }

    /// A world with so many idle instances, each with an incident of the same id, and a policy
    /// that stops them.
    async fn fleet(count: usize, config: &Value) -> (Self, Vec<String>) {
        let world = Self::new().await;
        let ids: Vec<String> = (0..count).map(|number| format!("i-{number:017x}")).collect();
        let actions = json!([{ "action": "stop-instance", "config": config }]);
        for id in &ids {
            let id: InstanceId = id.parse().unwrap();
            world.open(id.as_str(), &idle(&id), &actions).await;
            world.rest(&id).await;
        }
        let all: Vec<_> = ids.iter().map(|id| (id.clone(), "running", vec![])).collect();
        world.describe(&all);
        world.server.forget_calls();
        (world, ids)
    }

    /// Gives out the orders to stop all, in batches as the queue does, and again to those that a
    /// busy machine did not serve in time.
    async fn all(&self, ids: &[String]) {
        for round in 0..12 {
            let mut left = Vec::new();
            for id in ids {
                let incident = self.incidents.read(id).await.unwrap().unwrap().incident;
                if !incident.task(STOP).unwrap().state.is_over() {
                    left.push((id, order(id, STOP)));
                }
            }
            for chunk in left.chunks(10) {
                let messages: Vec<(&str, &str)> =
                    chunk.iter().map(|(id, body)| (id.as_str(), body.as_str())).collect();
                // Leases are over by then, and breakers closed.
                self.batch(&messages, 60 + 40 * round).await;
            }
            if left.is_empty() {
                return;
            }
        }
    }

    /// The instances that EC2 was told to stop.
    fn stopped(&self) -> BTreeSet<String> {
        let calls = self.server.calls().into_iter();
        let stops = calls.filter(|call| call.operation == "StopInstances");
        stops.filter_map(|call| call.param("InstanceId.1")).collect()
    }

    /// How the stops of all stand, and how often each.
    async fn words(&self, ids: &[String]) -> BTreeMap<String, usize> {
        let mut words = BTreeMap::new();
        for id in ids {
            let incident = self.incidents.read(id).await.unwrap().unwrap().incident;
            let state = &incident.task(STOP).unwrap().state;
            let word = if let TaskState::Done { text, .. } = state {
                format!("done: {text}")
            } else if let TaskState::Skipped { text } = state {
                format!("skipped: {text}")
            } else {
                format!("{state:?}")
            };
            *words.entry(word).or_default() += 1;
        }
        words
    }

    /// An instance told that it is idle since the start, and that is written down.
    async fn rest(&self, id: &InstanceId) {
        let instances = &self.perform.instances;
        instances.idle(id, Some(moment(0)), Some("b1"), moment(0)).await.unwrap();
    }

    /// What EC2 knows of instances.
    fn describe(&self, all: &[Described<'_>]) {
        let tag = |(key, value): &(&str, &str)| {
            format!("<item><key>{key}</key><value>{value}</value></item>")
        };
        let one = |(id, state, tags): &Described<'_>| {
            let tags: String = tags.iter().map(tag).collect();
            format!(
                "<item><instanceId>{id}</instanceId><instanceType>m7g.large</instanceType>\
                 <instanceState><name>{state}</name></instanceState><tagSet>{tags}</tagSet></item>"
            )
        };
        let all: String = all.iter().map(one).collect();
        let text = format!(
            "<DescribeInstancesResponse><reservationSet><item><instancesSet>{all}</instancesSet>\
             </item></reservationSet></DescribeInstancesResponse>"
        );
        self.server.answer("DescribeInstances", 200, &text);
    }

    /// The tags that were written last.
    fn tags(&self) -> BTreeMap<String, String> {
        let calls = self.server.calls();
        let call = calls.iter().rfind(|call| call.operation == "CreateTags").unwrap().params();
        let key = |name: &String| name.starts_with("Tag.") && name.ends_with(".Key");
        let keys = call.iter().filter(|(name, _)| key(name));
        keys.map(|(name, key)| (key.clone(), call[&name.replace("Key", "Value")].clone())).collect()
    }
}

/// An instance that told that it is idle, at the start.
fn idle(id: &InstanceId) -> Event {
    let data = json!({
        "since": moment(0).to_string(), "naptime_minutes": 30, "boot_id": "b1",
        "reason": "nothing happened", "metrics": { "cpu_percent": 0.4 },
        "votes": [{ "plugin": "redis-monitor", "vote": "idle", "reason": "no clients" }],
    });
    Event {
        instance: Some(id.clone()),
        region: Some("eu-central-1".to_owned()),
        data: data.as_object().cloned().unwrap(),
        ..Event::new(EventType::InstanceIdle, "cloudsnooze.shim", moment(0), "e-1".parse().unwrap())
    }
}

fn is_limit(item: &serde_json::Map<String, Value>) -> bool {
    item["incident"]["S"].as_str().unwrap().starts_with("limit/")
}
