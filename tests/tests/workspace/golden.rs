//! What version 0.1 wrote, as it wrote it (`tests/golden/v0.1/`): whoever comes later reads it.
//!
//! An upgrade, a rollback or an alias shift in the middle of an incident meets such texts. They are
//! never changed; a version that writes another form gets a folder of its own beside them.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use snooze_cloud::fake::Server;
use snooze_cloud::incidents::Incidents;
use snooze_event::wire::{cloudevents, command};
use snooze_event::{Cause, EventType};
use snooze_functions::order::Order;
use snooze_policy::Facts;
use snooze_policy::ledger::{Report, Take};
use snooze_tests::place;
use snoozed::clock::Now;
use snoozed::journal;
use snoozed::record::{Ending, Entry, Outcome, StepOutcome};
use snoozed::watch::{Effect, Input, Limits, Start, Watch};

const BOOT: &str = "11111111-2222-3333-4444-555555555555";
const ID: &str = "i-0a1b2c3d4e5f60718/spot/terminate/20260314T092653Z";
const KEEP: Duration = Duration::from_secs(36_500 * 24 * 3600);

/// The old daemon was killed while `copy` ran, which may be repeated; `flush` was done, `tell` had
/// not begun.
#[test]
fn g12_a_plan_that_version_0_1_began_is_ended_by_this_one_and_nothing_is_done_twice() {
    let (entries, valid) = journal::decode(&golden_bytes("journal"));
    assert_eq!((entries.len(), valid), (4, golden_bytes("journal").len()));
    let mut watch = watch();
    let mut started = starts(watch.restore(&entries, now(20)));
    started.extend(starts(watch.on(Input::Tick, now(20))));
    let mut ran = Vec::new();
    while let Some(start) = started.pop() {
        ran.push(format!("{} attempt {}", start.step, start.event["data"]["attempt"]));
        let outcome = Box::new(StepOutcome::plain(Ending::Done, ""));
        started.extend(starts(watch.on(Input::Ended { run: start.run, outcome }, now(21))));
    }
    assert_eq!(ran, ["orders/copy attempt 2", "orders/tell attempt 1"]);
    let incident = watch.incidents().next().unwrap();
    assert_eq!(incident.closed.as_ref().map(|closed| closed.outcome), Some(Outcome::Done));
}

#[test]
fn g12_a_journal_with_members_of_a_newer_minor_version_is_read() {
    let text = String::from_utf8(golden_bytes("journal")).unwrap();
    let old = journal::decode(text.as_bytes()).0;
    let mut newer = Vec::new();
    for line in text.lines() {
        let mut entry: Value = serde_json::from_str(&line[9..]).unwrap();
        entry["mood"] = json!("calm");
        let entry: Entry = serde_json::from_value(entry).unwrap();
        newer.push(entry);
    }
    assert_eq!(newer, old);
}

#[tokio::test]
async fn d19_an_incident_that_version_0_1_wrote_is_read_and_its_tasks_go_on() {
    let (_server, incidents) = ledger(golden("incident.json")).await;
    let stored = incidents.read(ID).await.unwrap().unwrap();
    assert_eq!(stored.revision, 2);
    let incident = &stored.incident;
    assert_eq!(incident.instance.as_deref(), Some("i-0a1b2c3d4e5f60718"));
    assert_eq!(incident.first().unwrap().cause, Some(Cause::Spot));
    assert!(incident.is_open() && incident.plan.len() == 4, "{:?}", incident.plan);
    let order = Order::read(&golden("order.json").to_string()).unwrap();
    assert_eq!((order.incident.as_str(), order.task.as_str()), (ID, "orders/notify"));
    let at = now(30).wall;
    let take = incidents.change(ID, |incident| incident.take(&order.task, "x", at)).await;
    assert!(matches!(take.unwrap().unwrap().0, Take::Go), "its task can be taken");
    let report: Report = serde_json::from_value(golden("report.json")["data"].clone()).unwrap();
    let (_, stored) =
        incidents.change(ID, |incident| incident.report(&report, at)).await.unwrap().unwrap();
    assert_eq!(stored.incident.word().map(|ended| ended.outcome.as_str()), Some("done"));
}

#[tokio::test]
async fn d19_an_incident_of_a_newer_minor_version_is_read_and_one_of_a_newer_major_is_left_alone() {
    let changed = |change: fn(&mut Value)| {
        let mut item = golden("incident.json");
        let mut body: Value = serde_json::from_str(item["body"]["S"].as_str().unwrap()).unwrap();
        change(&mut body);
        item["body"]["S"] = json!(body.to_string());
        item["mood"] = json!({ "S": "calm" });
        item
    };
    let minor = changed(|body| {
        body["mood"] = json!("calm");
        body["tasks"][0]["mood"] = json!(["calm"]);
    });
    let (_server, incidents) = ledger(minor).await;
    assert!(incidents.read(ID).await.unwrap().is_some());
    let (server, incidents) = ledger(changed(|body| body["schema"] = json!(2))).await;
    let before = server.items("s-incidents");
    let error = incidents.read(ID).await.unwrap_err();
    assert!(error.to_string().contains("form 2"), "{error}");
    let at = now(30).wall;
    let changed = incidents.change(ID, |incident| incident.take("orders/notify", "x", at)).await;
    assert!(changed.is_err());
    assert_eq!(server.items("s-incidents"), before);
}

#[test]
fn d19_commands_and_words_of_version_0_1_are_read_and_those_of_newer_ones_told_apart() {
    let old = golden("command.json");
    let read = command::read(&old.to_string()).unwrap();
    assert_eq!(command::write(&read), old);
    let mut newer = old.clone();
    newer["mood"] = json!("calm");
    assert_eq!(command::read(&newer.to_string()).unwrap(), read);
    newer["version"] = json!(2);
    assert!(command::read(&newer.to_string()).is_err());

    let old = golden("report.json");
    let word = cloudevents::read(&old, now(0).wall).unwrap();
    assert_eq!(word.kind, EventType::IncidentOutcome);
    let mut newer = old.clone();
    newer["schemaversion"] = json!("1.7");
    newer["mood"] = json!("calm");
    assert_eq!(cloudevents::read(&newer, now(0).wall).unwrap(), word);
    newer["schemaversion"] = json!("2");
    assert!(cloudevents::read(&newer, now(0).wall).is_err());

    let old = golden("order.json");
    let mut newer = old.clone();
    newer["mood"] = json!("calm");
    let read = |text: &Value| Order::read(&text.to_string());
    assert_eq!(read(&newer).unwrap(), read(&old).unwrap());
    newer["version"] = json!(2);
    assert!(read(&newer).is_err());

    let policy = golden("policy.json");
    assert_eq!(snooze_policy::check(&policy.to_string()).unwrap().handlers.len(), 3);
}

/// A table with this one item.
async fn ledger(item: Value) -> (Server, Incidents) {
    let server = Server::start().await.unwrap();
    let incidents = Incidents::new(&server.aws().await, "s-incidents", KEEP);
    server.put_item("s-incidents", item.as_object().unwrap().clone());
    (server, incidents)
}

fn watch() -> Watch {
    let facts = Facts { id: Some("i-0a1b2c3d4e5f60718".parse().unwrap()), ..Facts::default() };
    let mut watch = Watch::new(facts, BOOT.parse().unwrap(), Limits::default());
    let policy = snooze_policy::check(&golden("policy.json").to_string()).unwrap();
    watch.on(Input::Policies(vec![policy]), now(0));
    watch
}

fn starts(effects: Vec<Effect>) -> Vec<Start> {
    let start = |effect| if let Effect::Start(start) = effect { Some(*start) } else { None };
    effects.into_iter().filter_map(start).collect()
}

/// So many seconds after the notice.
fn now(seconds: u64) -> Now {
    let wall: jiff::Timestamp = "2026-03-14T09:26:53Z".parse().unwrap();
    let after = Duration::from_secs(seconds);
    Now { wall: wall + after, boot: Duration::from_secs(1000) + after }
}

fn golden(name: &str) -> Value {
    serde_json::from_slice(&golden_bytes(name)).unwrap()
}

fn golden_bytes(name: &str) -> Vec<u8> {
    fs::read(place::root().join("tests/golden/v0.1").join(name)).unwrap()
}
