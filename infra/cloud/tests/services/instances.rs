//! The table Instances.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use snooze_cloud::Kind;
use snooze_cloud::fake::Server;
use snooze_cloud::instances::{Instance, Instances};
use snooze_policy::Facts;

use super::common::instance;

const TABLE: &str = "cloudsnooze-instances";
const KEEP: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn what_an_instance_told_is_read_again() {
    let (_server, instances) = start().await;
    assert_eq!(instances.read(&instance()).await.unwrap(), None);
    instances.update(&whole()).await.unwrap();
    assert_eq!(instances.read(&instance()).await.unwrap(), Some(whole()));
    assert_eq!(instances.list().await.unwrap(), [whole()]);
    instances.remove(&instance()).await.unwrap();
    instances.remove(&instance()).await.unwrap();
    assert_eq!(instances.list().await.unwrap(), []);
}

#[tokio::test]
async fn what_is_not_told_stays_as_it_was() {
    let (_server, instances) = start().await;
    instances.update(&whole()).await.unwrap();
    let queue_url = Some("http://other".to_owned());
    instances.update(&Instance { queue_url: queue_url.clone(), ..bare() }).await.unwrap();
    let expected = Instance { queue_url, ..whole() };
    assert_eq!(instances.read(&instance()).await.unwrap(), Some(expected));
}

#[tokio::test]
async fn faults_are_gone_when_the_instance_tells_none() {
    let (_server, instances) = start().await;
    instances.update(&whole()).await.unwrap();
    instances.update(&Instance { version: whole().version, ..bare() }).await.unwrap();
    let known = instances.read(&instance()).await.unwrap().unwrap();
    assert_eq!(known, Instance { faults: Vec::new(), ..whole() });
}

#[tokio::test]
async fn older_news_change_nothing() {
    let (_server, instances) = start().await;
    instances.update(&whole()).await.unwrap();
    for (age, boot) in [(1, "b-1"), (0, "b-2"), (-1, "b-3")] {
        let last_seen = Some(now() - Duration::from_secs(10) + seconds(-age));
        let news = Instance { boot: Some(boot.to_owned()), last_seen, ..bare() };
        instances.update(&news).await.unwrap();
        let known = instances.read(&instance()).await.unwrap().unwrap();
        let expected = if age == 1 { "b-0" } else { boot };
        assert_eq!(known.boot.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn an_instance_is_idle_until_it_is_active() {
    let (_server, instances) = start().await;
    instances.update(&whole()).await.unwrap();
    // A hello of a moment later was faster.
    let since = Some(now() - seconds(60));
    instances.idle(&instance(), since, Some("b-0"), now() - seconds(20)).await.unwrap();
    let known = instances.read(&instance()).await.unwrap().unwrap();
    assert_eq!((known.idle_since, known.idle_told), (since, Some(now() - seconds(20))));
    assert_eq!(known.last_seen, whole().last_seen);
    instances.idle(&instance(), None, None, now() - seconds(30)).await.unwrap();
    assert!(instances.read(&instance()).await.unwrap().unwrap().idle_since.is_some(), "older");
    instances.idle(&instance(), None, Some("b-0"), now()).await.unwrap();
    assert_eq!(instances.read(&instance()).await.unwrap().unwrap().idle_since, None);
}

#[tokio::test]
async fn the_idleness_of_an_earlier_boot_is_over() {
    let (_server, instances) = start().await;
    instances.idle(&instance(), Some(now()), Some("b-0"), now()).await.unwrap();
    instances.update(&whole()).await.unwrap();
    assert!(instances.read(&instance()).await.unwrap().unwrap().idle_since.is_some());
    let later = Instance { boot: Some("b-1".to_owned()), last_seen: Some(now()), ..whole() };
    instances.update(&later).await.unwrap();
    assert_eq!(instances.read(&instance()).await.unwrap().unwrap().idle_since, None);
}

#[tokio::test]
async fn who_is_not_heard_of_for_long_is_not_there() {
    let (server, instances) = start().await;
    let last_seen = Some(now() - KEEP);
    instances.update(&Instance { last_seen, ..whole() }).await.unwrap();
    assert_eq!(server.items(TABLE).len(), 1, "the table takes its time");
    assert_eq!(instances.read(&instance()).await.unwrap(), None);
    assert_eq!(instances.list().await.unwrap(), []);
}

#[tokio::test]
async fn all_pages_of_a_list_are_read_and_what_is_no_instance_is_left_out() {
    let (server, instances) = start().await;
    let mut ids = Vec::new();
    for number in 0..400 {
        let id = format!("i-{number:017x}");
        let item =
            json!({ "instance_id": { "S": id }, "faults": { "L": [{ "S": "x".repeat(6000) }] } });
        server.put_item(TABLE, item.as_object().cloned().unwrap());
        ids.push(id);
    }
    let item = json!({ "instance_id": { "S": "nobody" } });
    server.put_item(TABLE, item.as_object().cloned().unwrap());
    let all = instances.list().await.unwrap();
    let found: Vec<String> =
        all.iter().map(|it| it.facts.id.as_ref().unwrap().to_string()).collect();
    assert_eq!(found, ids);
    assert_eq!(server.count("Scan"), 3);
}

#[tokio::test]
async fn an_instance_without_an_id_is_not_written() {
    let (server, instances) = start().await;
    let error = instances.update(&Instance::default()).await.unwrap_err();
    assert_eq!(error.kind, Kind::Invalid);
    assert_eq!(server.calls(), []);
}

async fn start() -> (Server, Instances) {
    let server = Server::start().await.unwrap();
    let instances = Instances::new(&server.aws().await, TABLE, KEEP);
    (server, instances)
}

/// The start of the minute of the first look: what has passed its time is judged by the real clock.
fn now() -> Timestamp {
    static NOW: LazyLock<Timestamp> =
        LazyLock::new(|| Timestamp::from_second(Timestamp::now().as_second() / 60 * 60).unwrap());
    *NOW
}

fn seconds(count: i64) -> jiff::SignedDuration {
    jiff::SignedDuration::from_secs(count)
}

fn bare() -> Instance {
    Instance { facts: Facts { id: Some(instance()), ..Facts::default() }, ..Instance::default() }
}

fn whole() -> Instance {
    let text = |text: &str| Some(text.to_owned());
    Instance {
        facts: Facts {
            id: Some(instance()),
            kind: text("m7g.large"),
            zone: text("eu-central-1a"),
            region: text("eu-central-1"),
            account: text("123456789012"),
            lifecycle: text("spot"),
            asg: text("orders"),
            tags: BTreeMap::from([
                ("role".to_owned(), "orders-db".to_owned()),
                ("empty".to_owned(), String::new()),
            ]),
        },
        queue_url: text("http://queue"),
        subscription: text("arn:subscription"),
        version: text("0.1.0"),
        boot: text("b-0"),
        policies: Some(7),
        faults: vec!["queue: denied".to_owned()],
        last_seen: Some(now() - Duration::from_secs(10)),
        idle_since: None,
        idle_told: None,
        idle_boot: None,
        drilled_at: Some(now() - Duration::from_secs(3600)),
    }
}
