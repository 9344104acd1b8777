//! Queues.

use std::time::{Duration, Instant};

use serde_json::Value;
use snooze_cloud::Kind;
use snooze_cloud::fake::{Fault, Server};
use snooze_cloud::queue::Queues;

use super::common::instance;

const NOW: Duration = Duration::ZERO;

#[tokio::test]
async fn a_message_comes_until_it_is_deleted() {
    let (server, queues) = start().await;
    let url = server.make_queue("s-actions");
    send(&queues, &url, &["a"]).await;
    let [message] = queues.receive(&url, NOW).await.unwrap().try_into().unwrap();
    assert_eq!((message.body.as_str(), message.receives), ("a", 1));
    assert_eq!(queues.receive(&url, NOW).await.unwrap(), [], "it is being read");
    server.elapse(Duration::from_secs(30));
    let [message] = queues.receive(&url, NOW).await.unwrap().try_into().unwrap();
    assert_eq!(message.receives, 2);
    queues.delete(&url, &message.handle).await.unwrap();
    server.elapse(Duration::from_secs(30));
    assert_eq!(queues.receive(&url, NOW).await.unwrap(), []);
}

#[tokio::test]
async fn a_poll_waits_longer_than_other_calls_may_take() {
    let (server, queues) = start().await;
    let url = server.make_queue("s-actions");
    let begin = Instant::now();
    let wait = Duration::from_secs(20);
    let (received, ()) = tokio::join!(queues.receive(&url, wait), async {
        let late = begin + Duration::from_millis(2200);
        tokio::time::sleep_until(late.into()).await;
        server.put_message("s-actions", "late");
    });
    assert_eq!(received.unwrap()[0].body, "late");
    assert!(begin.elapsed() < wait, "the message ends the wait");
    assert_eq!(server.count("ReceiveMessage"), 1);
}

#[tokio::test]
async fn a_message_is_not_there_before_its_delay_is_over() {
    let (server, queues) = start().await;
    let url = server.make_queue("s-actions");
    let long = Duration::from_secs(5000);
    let sent = [("late".to_owned(), Duration::from_secs(60)), ("latest".to_owned(), long)];
    assert!(queues.send(&url, &sent).await.unwrap().iter().all(Result::is_ok));
    assert_eq!(queues.receive(&url, NOW).await.unwrap(), []);
    server.elapse(Duration::from_secs(60));
    assert_eq!(queues.receive(&url, NOW).await.unwrap()[0].body, "late");
    server.elapse(Duration::from_secs(840));
    let bodies: Vec<_> = queues.receive(&url, NOW).await.unwrap();
    assert!(bodies.iter().any(|it| it.body == "latest"), "no delay is longer than 15 minutes");
}

#[tokio::test]
async fn of_a_batch_exactly_the_messages_that_failed_are_told() {
    let (server, queues) = start().await;
    let url = server.make_queue("s-actions");
    let bodies: Vec<String> = (0..23).map(|number| format!("m{number}")).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    // Masks over the ten places of a batch, spread by a multiplier.
    for round in 1..=40_usize {
        let mask = round.wrapping_mul(389) % 1024;
        let at: Vec<usize> = (0..10).filter(|place| mask >> place & 1 == 1).collect();
        let code = "InternalError".to_owned();
        server.fault("SendMessageBatch", Fault::Entries { at: at.clone(), code });
        let answers = send(&queues, &url, &bodies).await;
        let failed: Vec<usize> = (0..23).filter(|place| answers[*place].is_err()).collect();
        assert_eq!(failed, at, "round {round}");
        assert!(answers.iter().filter_map(|it| it.as_ref().err()).all(|it| it.again()));
        let again: Vec<&str> = failed.iter().map(|place| bodies[*place]).collect();
        assert!(send(&queues, &url, &again).await.iter().all(Result::is_ok));
        let mut there = server.messages("s-actions");
        there.sort();
        there.dedup();
        assert_eq!(server.messages("s-actions").len(), 23 * round);
        assert_eq!(there.len(), 23);
    }
}

#[tokio::test]
async fn a_message_that_is_too_long_fails_alone() {
    let (server, queues) = start().await;
    let url = server.make_queue("s-actions");
    let long = "x".repeat((256 << 10) + 1);
    let answers = send(&queues, &url, &["a", &long, "b"]).await;
    let kinds: Vec<_> = answers.iter().map(|it| it.as_ref().err().map(|it| it.kind)).collect();
    assert_eq!(kinds, [None, Some(Kind::Invalid), None]);
    assert_eq!(server.messages("s-actions"), ["a", "b"]);
}

#[tokio::test]
async fn the_queue_of_an_instance_is_made_once_and_guarded() {
    let (server, queues) = start().await;
    let (name, topic) = ("s-instance-i-0123456789abcdef0", server.topic_arn("s-commands"));
    assert_eq!(queues.find(name).await.unwrap(), None);
    let made = queues.make(name, &instance(), &topic).await.unwrap();
    assert_eq!(made.1, server.queue_arn(name));
    assert_eq!(queues.make(name, &instance(), &topic).await.unwrap(), made);
    assert_eq!(queues.find(name).await.unwrap(), Some(made.0.clone()));
    let attributes = server.queue_attributes(name);
    let of = |name: &str| attributes[name].as_str().unwrap();
    assert_eq!(of("SqsManagedSseEnabled"), "true");
    assert_eq!((of("MessageRetentionPeriod"), of("VisibilityTimeout")), ("3600", "30"));
    let policy: Value = serde_json::from_str(of("Policy")).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    assert!(statements.iter().all(|it| it["Resource"] == made.1.as_str()));
    let condition = |at: usize| statements[at]["Condition"].to_string();
    assert_eq!(condition(0), format!(r#"{{"ArnEquals":{{"aws:SourceArn":"{topic}"}}}}"#));
    assert_eq!(condition(1), r#"{"StringNotLike":{"aws:userid":"*:i-0123456789abcdef0"}}"#);
    assert_eq!(condition(2), r#"{"Bool":{"aws:SecureTransport":"false"}}"#);
    let effects: Vec<_> = statements.iter().map(|it| it["Effect"].as_str().unwrap()).collect();
    assert_eq!(effects, ["Allow", "Deny", "Deny"]);
}

#[tokio::test]
async fn a_queue_that_was_made_with_other_attributes_gets_the_new_ones() {
    let (server, queues) = start().await;
    let name = "s-instance-i-0123456789abcdef0";
    let (one, other) = (server.topic_arn("one"), server.topic_arn("other"));
    let made = queues.make(name, &instance(), &one).await.unwrap();
    assert_eq!(queues.make(name, &instance(), &other).await.unwrap(), made);
    let policy = server.queue_attributes(name)["Policy"].as_str().unwrap().to_owned();
    assert!(policy.contains(&other) && !policy.contains(&one));
}

#[tokio::test]
async fn a_topic_that_is_none_is_refused() {
    let (server, queues) = start().await;
    let error = queues.make("q", &instance(), "commands").await.unwrap_err();
    assert_eq!(error.kind, Kind::Invalid);
    assert_eq!(server.calls(), []);
}

#[tokio::test]
async fn queues_are_listed_by_prefix_in_pages_and_removed() {
    let (server, queues) = start().await;
    for number in 0..1500 {
        server.make_queue(&format!("s-instance-{number:04}"));
    }
    server.make_queue("s-actions");
    let all = queues.list("s-instance-").await.unwrap();
    assert_eq!(all.len(), 1500);
    assert_eq!(all[7].0, "s-instance-0007");
    assert_eq!(server.count("ListQueues"), 2);
    queues.remove(&all[7].1).await.unwrap();
    queues.remove(&all[7].1).await.unwrap();
    assert_eq!(server.queues().len(), 1500);
    let gone = queues.receive(&all[7].1, NOW).await.unwrap_err();
    assert_eq!(gone.kind, Kind::Missing);
}

#[tokio::test]
async fn what_is_received_too_often_goes_to_the_dead() {
    let (server, queues) = start().await;
    server.redrive("s-actions", "s-actions-dead", 2);
    let url = server.make_queue("s-actions");
    server.put_message("s-actions", "poison");
    for receives in [1, 2] {
        assert_eq!(queues.receive(&url, NOW).await.unwrap()[0].receives, receives);
        server.elapse(Duration::from_secs(30));
    }
    assert_eq!(queues.receive(&url, NOW).await.unwrap(), []);
    assert_eq!(server.messages("s-actions-dead"), ["poison"]);
}

async fn start() -> (Server, Queues) {
    let server = Server::start().await.unwrap();
    let queues = Queues::new(&server.aws().await);
    (server, queues)
}

async fn send(
    queues: &Queues,
    url: &str,
    bodies: &[&str],
) -> Vec<Result<(), snooze_cloud::CloudError>> {
    let messages: Vec<_> = bodies.iter().map(|body| ((*body).to_owned(), NOW)).collect();
    queues.send(url, &messages).await.unwrap()
}
