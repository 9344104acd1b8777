//! The event bus.

use serde_json::{Value, json};
use snooze_cloud::Kind;
use snooze_cloud::bus::{Bus, Entry, SHIM};
use snooze_cloud::fake::{Fault, Server};
use snooze_event::{Event, IncidentKey, wire};

use super::common::{moment, spot};

#[tokio::test]
async fn an_event_is_put_as_a_cloud_event() {
    let (server, bus) = start().await;
    let event = Event { source: SHIM.to_owned(), ..spot() };
    let key = IncidentKey::stored("i-0/boot/spot/terminate");
    assert_eq!(bus.put(&[Entry::of(&event, Some(&key))]).await.unwrap(), [Ok(())]);
    let [put] = server.entries().try_into().unwrap();
    assert_eq!((put.bus.as_str(), put.source.as_str()), ("cloudsnooze", SHIM));
    assert_eq!(put.detail_type, "cloud.spot.interrupt");
    let detail: Value = serde_json::from_str(&put.detail).unwrap();
    assert_eq!(detail["correlationid"], json!(key.as_str()));
    assert_eq!(wire::cloudevents::read(&detail, moment(9)).unwrap(), event);
}

#[tokio::test]
async fn entries_go_ten_a_call_and_none_is_lost() {
    let (server, bus) = start().await;
    let entries = entries(25);
    assert!(bus.put(&entries).await.unwrap().iter().all(Result::is_ok));
    assert_eq!(server.count("PutEvents"), 3);
    let put: Vec<String> = server.entries().into_iter().map(|put| put.detail).collect();
    assert_eq!(put, entries.iter().map(|entry| entry.detail.clone()).collect::<Vec<_>>());
    assert_eq!(bus.put(&[]).await.unwrap(), []);
    assert_eq!(server.count("PutEvents"), 3);
}

#[tokio::test]
async fn only_the_entries_that_failed_are_put_again() {
    let (server, bus) = start().await;
    let entries = entries(13);
    let fault =
        |at: &[usize], code: &str| Fault::Entries { at: at.to_vec(), code: code.to_owned() };
    server.fault("PutEvents", fault(&[0, 3, 9], "ThrottlingException"));
    server.fault("PutEvents", fault(&[2], "InternalFailure"));
    let answers = bus.put(&entries).await.unwrap();
    let left = |answers: &[Result<(), snooze_cloud::CloudError>]| -> Vec<usize> {
        answers.iter().enumerate().filter(|(_, it)| it.is_err()).map(|(at, _)| at).collect()
    };
    assert_eq!(left(&answers), [0, 3, 9, 12]);
    assert!(answers.iter().flat_map(|it| it.as_ref().err()).all(|it| it.kind == Kind::Later));
    let again: Vec<Entry> = left(&answers).into_iter().map(|at| entries[at].clone()).collect();
    assert!(bus.put(&again).await.unwrap().iter().all(Result::is_ok));
    let mut put: Vec<String> = server.entries().into_iter().map(|put| put.detail).collect();
    put.sort();
    let mut all: Vec<String> = entries.into_iter().map(|entry| entry.detail).collect();
    all.sort();
    assert_eq!(put, all, "each once");
}

#[tokio::test]
async fn an_entry_that_is_wrong_is_said_to_be() {
    let (_server, bus) = start().await;
    let entry = |source: &str, detail: &str| Entry {
        source: source.to_owned(),
        detail_type: "t".to_owned(),
        detail: detail.to_owned(),
    };
    let entries = [entry("aws.ec2", "{}"), entry("a", "[]"), entry("a", "{}")];
    let answers = bus.put(&entries).await.unwrap();
    let kinds: Vec<_> = answers.iter().map(|it| it.as_ref().err().map(|it| it.kind)).collect();
    assert_eq!(kinds, [Some(Kind::Denied), Some(Kind::Invalid), None]);
}

#[tokio::test]
async fn a_call_that_fails_as_a_whole_is_an_error() {
    let (server, bus) = start().await;
    server.standing("PutEvents", Fault::error(400, "AccessDeniedException"));
    assert_eq!(bus.put(&entries(1)).await.unwrap_err().kind, Kind::Denied);
}

#[tokio::test]
async fn large_entries_do_not_share_a_call() {
    let (server, bus) = start().await;
    let detail = json!({ "text": "x".repeat(200 << 10) }).to_string();
    let large = Entry { detail, ..entries(1)[0].clone() };
    let entries = [large.clone(), large, entries(1)[0].clone()];
    assert!(bus.put(&entries).await.unwrap().iter().all(Result::is_ok));
    assert_eq!(server.count("PutEvents"), 2);
}

async fn start() -> (Server, Bus) {
    let server = Server::start().await.unwrap();
    let bus = Bus::new(&server.aws().await, "cloudsnooze");
    (server, bus)
}

fn entries(count: usize) -> Vec<Entry> {
    let entry = |number| Entry {
        source: SHIM.to_owned(),
        detail_type: "instance.updated".to_owned(),
        detail: json!({ "number": number }).to_string(),
    };
    (0..count).map(entry).collect()
}
