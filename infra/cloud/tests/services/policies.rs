//! The table Policies.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use snooze_cloud::fake::{Fault, Server};
use snooze_cloud::policies::{ANY, Contents, PAGES, Policies, ROOM, VERSION};
use snooze_cloud::{CloudError, Kind, Role};
use tokio::task::JoinSet;

use super::common::moment;

const TABLE: &str = "cloudsnooze-policies";
const SPOT: &str = "cloud.spot.interrupt";
const LOSS: &str = "cloud.instance.termination";

#[tokio::test]
async fn what_is_put_is_there_under_each_of_its_types() {
    let (server, policies) = start().await;
    assert_eq!(policies.version().await.unwrap(), 0);
    assert_eq!(policies.all().await.unwrap(), Contents::default());
    let text = policy("orders", &[SPOT, LOSS]);
    assert_eq!(put(&policies, &text).await, 1);
    let of_type = policies.of_type(SPOT).await.unwrap();
    assert_eq!(of_type, policies.of_type(LOSS).await.unwrap());
    assert_eq!(of_type, policies.all().await.unwrap());
    let [document] = of_type.documents.as_slice() else { panic!("{of_type:?}") };
    assert_eq!((document.name.as_str(), &document.text), ("orders", &text));
    assert_eq!(document.types, [LOSS, SPOT]);
    assert_eq!((document.version, document.enabled), (1, true));
    assert_eq!((document.by.as_str(), document.at), ("a person", moment(0)));
    assert_eq!(document.sha256.len(), 64);
    assert_eq!(policies.of_type("instance.idle").await.unwrap().documents, []);
    assert_eq!(keys(&server), [format!("{VERSION} {VERSION}"), key(LOSS), key(SPOT)]);
}

#[tokio::test]
async fn a_pattern_without_exact_types_stands_under_any() {
    let (_server, policies) = start().await;
    let text = r#"{"name":"orders","match":{"type":[{"prefix":"cloud."}]},
                   "handlers":[{"plugin":"x"}]}"#;
    put(&policies, text).await;
    put(&policies, &policy("spot", &[SPOT])).await;
    let contents = policies.of_type(SPOT).await.unwrap();
    assert_eq!(names(&contents), ["orders", "spot"]);
    assert_eq!(contents.documents[0].types, [ANY]);
    assert_eq!(names(&policies.of_type("custom.x").await.unwrap()), ["orders"]);
    assert_eq!(contents.shelf().policies.len(), 2);
    assert_eq!(contents.shelf().version, Some(2));
}

#[tokio::test]
async fn a_policy_leaves_the_types_it_no_longer_names() {
    let (server, policies) = start().await;
    put(&policies, &policy("orders", &[SPOT, LOSS])).await;
    assert_eq!(put(&policies, &policy("orders", &[SPOT, "instance.idle"])).await, 2);
    assert_eq!(keys(&server), [format!("{VERSION} {VERSION}"), key(SPOT), key("instance.idle")]);
    assert_eq!(names(&policies.all().await.unwrap()), ["orders"]);
    assert_eq!(policies.remove(&"orders".parse().unwrap()).await.unwrap(), Some(3));
    assert_eq!(keys(&server), [format!("{VERSION} {VERSION}")]);
    let item = &server.items(TABLE)[0];
    assert_eq!(item["types"], json!({ "M": {} }));
    assert_eq!(policies.remove(&"orders".parse().unwrap()).await.unwrap(), None);
    assert_eq!(policies.version().await.unwrap(), 3);
}

#[tokio::test]
async fn policies_put_at_once_are_all_there_and_each_has_a_version() {
    let (_server, policies) = start().await;
    let mut writers = JoinSet::new();
    for number in 0..6 {
        let policies = policies.clone();
        writers.spawn(async move { put(&policies, &policy(&format!("p{number}"), &[SPOT])).await });
    }
    let versions: BTreeSet<u64> = writers.join_all().await.into_iter().collect();
    assert_eq!(versions, (1..=6).collect());
    let contents = policies.all().await.unwrap();
    assert_eq!((contents.version, contents.documents.len()), (6, 6));
}

#[tokio::test]
async fn a_table_that_changes_while_it_is_read_is_read_again() {
    let (server, policies) = start().await;
    put(&policies, &policy("a", &[SPOT])).await;
    // The query takes so long that the put beside it comes in between.
    server.fault("Query", Fault::Slow(std::time::Duration::from_millis(1200)));
    let beside = async {
        while server.count("Query") == 0 {
            tokio::task::yield_now().await;
        }
        put(&policies, &policy("b", &[LOSS])).await
    };
    let (contents, version) = tokio::join!(policies.all(), beside);
    let contents = contents.unwrap();
    assert_eq!((contents.version, names(&contents)), (version, vec!["a", "b"]));
}

#[tokio::test]
async fn d10_a_bad_policy_is_refused_when_it_is_put() {
    let (server, policies) = start().await;
    for (what, text) in corpus() {
        let error = policies.put(&text, "a person", moment(0)).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (Kind::Invalid, "NotAPolicy"), "{what}");
    }
    assert_eq!(server.calls(), [], "nothing is asked for what is no policy");
}

#[tokio::test]
async fn d10_a_bad_policy_in_the_table_is_a_fault_and_the_others_are_used() {
    for (what, text) in corpus() {
        let (server, policies) = start().await;
        put(&policies, &policy("good", &[SPOT])).await;
        server.put_item(TABLE, raw("bad", &text));
        for contents in [policies.of_type(SPOT).await.unwrap(), policies.all().await.unwrap()] {
            let shelf = contents.shelf();
            let used: Vec<_> = shelf.policies.iter().map(|policy| policy.name.as_str()).collect();
            assert_eq!(used, ["good"], "{what}");
            assert!(!shelf.faults.is_empty(), "{what}");
            let faults: Vec<_> = shelf.faults.iter().map(ToString::to_string).collect();
            assert!(faults.iter().all(|fault| fault.starts_with("bad: ")), "{what}: {faults:?}");
        }
    }
}

#[tokio::test]
async fn d10_an_item_that_is_none_of_ours_is_a_fault_and_the_others_are_used() {
    let text = policy("bad", &[SPOT]);
    let without = |name: &str| {
        let mut item = raw("bad", &text);
        item.remove(name);
        item
    };
    let with = |name: &str, value: Value| {
        let mut item = raw("bad", &text);
        item.insert(name.to_owned(), value);
        item
    };
    for item in [
        without("text"),
        without("version"),
        without("sha256"),
        without("at"),
        with("text", json!({ "N": "1" })),
        with("version", json!({ "N": "-1" })),
        with("enabled", json!({ "S": "yes" })),
        with("at", json!({ "S": "yesterday" })),
        with("sha256", json!({ "S": "0000" })),
        with("policy", json!({ "S": "no name at all" })),
        with("policy", json!({ "S": "another" })),
    ] {
        let (server, policies) = start().await;
        put(&policies, &policy("good", &[SPOT])).await;
        server.put_item(TABLE, item.clone());
        let shelf = policies.of_type(SPOT).await.unwrap().shelf();
        assert_eq!(shelf.policies.len(), 1, "{item:?}");
        assert_eq!(shelf.faults.len(), 1, "{item:?}");
    }
}

#[tokio::test]
async fn of_ten_thousand_policies_under_one_type_two_pages_are_read() {
    let server = Server::start().await.unwrap();
    // Pages of a megabyte take their time where nothing is optimised.
    let policies = Policies::new(&server.aws_as(Role::Person).await, TABLE);
    for number in 0..10_000 {
        let name = format!("p{number}");
        server.put_item(TABLE, raw(&name, &policy(&name, &[SPOT])));
    }
    let contents = policies.of_type(SPOT).await.unwrap();
    assert_eq!(server.count("Query"), PAGES + 1, "and one for any type");
    assert!((2_000..10_000).contains(&contents.documents.len()), "{}", contents.documents.len());
    let [fault] = contents.faults.as_slice() else { panic!("{:?}", contents.faults) };
    let read = contents.documents.len();
    let expected =
        format!("`{SPOT}`: more than 2 pages of policies: only the first {read} are read");
    assert_eq!(*fault, expected);
    assert_eq!(contents.shelf().policies.len(), read);
}

#[tokio::test]
async fn a_policy_that_would_not_be_read_is_refused_when_it_is_put() {
    let (_server, policies) = start().await;
    let big = |name: &str| {
        let padding = "x".repeat(60_000);
        policy(name, &[SPOT])
            .replace("\"plugin\"", &format!("\"config\":{{\"a\":\"{padding}\"}},\"plugin\""))
    };
    let mut taken = 0;
    let error = loop {
        match policies.put(&big(&format!("p{taken}")), "a person", moment(0)).await {
            Err(error) => break error,
            Ok(_) => taken += 1,
        }
    };
    assert_eq!(taken, ROOM / (big("p0").len() + 300));
    assert_eq!((error.kind, error.code.as_str()), (Kind::Invalid, "NoRoom"), "{error}");
    let contents = policies.of_type(SPOT).await.unwrap();
    assert_eq!(contents.faults, [""; 0], "all that was taken is read");
    assert_eq!(contents.documents.len(), taken);
    put(&policies, &policy("elsewhere", &[LOSS])).await;
    policies.remove(&"p0".parse().unwrap()).await.unwrap();
    put(&policies, &big("instead")).await;
}

#[tokio::test]
async fn a_policy_with_more_types_than_a_transaction_takes_is_refused() {
    let (_server, policies) = start().await;
    let types: Vec<String> = (0..100).map(|number| format!("custom.t{number}")).collect();
    let types: Vec<&str> = types.iter().map(String::as_str).collect();
    let error = policies.put(&policy("wide", &types), "a person", moment(0)).await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (Kind::Invalid, "NoRoom"));
    put(&policies, &policy("wide", &types[..99])).await;
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_is_one_put() {
    let (server, policies) = start().await;
    server.fault("TransactWriteItems", Fault::DropAfter);
    assert_eq!(put(&policies, &policy("orders", &[SPOT])).await, 1);
    assert_eq!(policies.version().await.unwrap(), 1);
    assert_eq!(server.count("TransactWriteItems"), 2);
}

#[tokio::test]
async fn who_may_not_write_is_told_so() {
    let (server, policies) = start().await;
    server.standing("TransactWriteItems", Fault::error(400, "AccessDeniedException"));
    let answer = policies.put(&policy("orders", &[SPOT]), "a person", moment(0)).await;
    let expected = Err((Kind::Denied, "TransactWriteItems"));
    assert_eq!(answer.map_err(|error: CloudError| (error.kind, error.operation)), expected);
}

async fn start() -> (Server, Policies) {
    let server = Server::start().await.unwrap();
    let policies = Policies::new(&server.aws().await, TABLE);
    (server, policies)
}

async fn put(policies: &Policies, text: &str) -> u64 {
    policies.put(text, "a person", moment(0)).await.unwrap()
}

fn policy(name: &str, types: &[&str]) -> String {
    let document = json!({ "name": name, "match": { "type": types },
                           "handlers": [{ "plugin": "flusher" }] });
    document.to_string()
}

/// Texts that are no policy, each in its way.
fn corpus() -> Vec<(&'static str, String)> {
    let good = policy("bad", &[SPOT]);
    let replaced = |from: &str, to: &str| good.replace(from, to);
    vec![
        ("empty", String::new()),
        ("no JSON", "{".to_owned()),
        ("cut", good[..good.len() - 3].to_owned()),
        ("a list", "[]".to_owned()),
        ("null", "null".to_owned()),
        ("nothing in it", "{}".to_owned()),
        ("too long", format!("{good}{}", " ".repeat(70_000))),
        ("too deep", replaced("\"flusher\"", &("[".repeat(50) + &"]".repeat(50)))),
        ("a key twice", replaced("\"name\":\"bad\"", "\"name\":\"bad\",\"name\":\"worse\"")),
        ("an unknown key", replaced("\"name\"", "\"nom\":1,\"name\"")),
        ("a pattern that is none", replaced("[\"cloud.spot.interrupt\"]", "{}")),
        ("no such type", replaced(SPOT, "cloud.spot.interupt")),
        ("nothing to do", replaced("[{\"plugin\":\"flusher\"}]", "[]")),
        ("a command line", replaced("\"flusher\"", "\"/bin/sh -c reboot\"")),
        ("another format", replaced("\"name\"", "\"version\":\"2.0\",\"name\"")),
        (
            "longer than its time-out",
            replaced("\"plugin\"", "\"minimum_seconds\":9,\"timeout_seconds\":1,\"plugin\""),
        ),
        (
            "a time beyond all bounds",
            replaced("\"plugin\"", "\"timeout_seconds\":1e400,\"plugin\""),
        ),
    ]
}

/// An item as `put` would write it, of a text that `put` would refuse.
fn raw(name: &str, text: &str) -> Map<String, Value> {
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let sum: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let item = json!({
        "event_type": { "S": SPOT }, "policy": { "S": name }, "text": { "S": text },
        "version": { "N": "1" }, "enabled": { "BOOL": true }, "sha256": { "S": sum },
        "types": { "L": [{ "S": SPOT }] }, "by": { "S": "somebody" },
        "at": { "S": "2026-11-18T13:46:40.000Z" },
    });
    item.as_object().cloned().unwrap()
}

fn names(contents: &Contents) -> Vec<&str> {
    contents.documents.iter().map(|document| document.name.as_str()).collect()
}

fn key(event_type: &str) -> String {
    format!("{event_type} orders")
}

fn keys(server: &Server) -> Vec<String> {
    let text = |value: &Value| value["S"].as_str().unwrap().to_owned();
    let key = |item: &Map<String, Value>| {
        format!("{} {}", text(&item["event_type"]), text(&item["policy"]))
    };
    server.items(TABLE).iter().map(key).collect()
}
