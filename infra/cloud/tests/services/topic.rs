//! Topics.

use std::time::Duration;

use serde_json::{Value, json};
use snooze_cloud::fake::{Fault, Server};
use snooze_cloud::queue::Queues;
use snooze_cloud::topic::Topic;
use snooze_cloud::{Kind, Role};
use snooze_event::wire::command::{self, Command};

use super::common::{instance, moment, spot};

#[tokio::test]
async fn a_command_is_addressed_by_its_attribute() {
    let (server, topic) = start().await;
    let (one, all) = (to_one(), Command { instance: None, ..to_one() });
    topic.command(&one).await.unwrap();
    topic.command(&all).await.unwrap();
    let [first, second] = server.published().try_into().unwrap();
    assert_eq!(first.attributes["instance_id"], "i-0123456789abcdef0");
    assert_eq!(second.attributes["instance_id"], "*");
    assert_eq!(command::read(&first.message).unwrap(), one);
    assert_eq!(first.topic, server.topic_arn("s-commands"));
}

#[tokio::test]
async fn an_instance_hears_its_own_commands_and_those_to_all() {
    let (server, topic) = start().await;
    server.deliver_with(|mut envelope| {
        envelope["Signature"] = json!("signed");
        envelope
    });
    let url = server.make_queue("s-instance-i-0123456789abcdef0");
    let arn = server.queue_arn("s-instance-i-0123456789abcdef0");
    let subscription = topic.subscribe(&arn, &instance()).await.unwrap();
    assert_eq!(topic.subscribe(&arn, &instance()).await.unwrap(), subscription);
    assert_eq!(server.subscriptions().len(), 1);
    let other = Some("i-00000000000000001".parse().unwrap());
    for (id, to) in [("mine", Some(instance())), ("another's", other), ("all", None)] {
        let command = Command { id: id.to_owned(), instance: to, ..to_one() };
        topic.command(&command).await.unwrap();
    }
    let queues = Queues::new(&server.aws().await);
    let received = queues.receive(&url, Duration::ZERO).await.unwrap();
    let heard: Vec<String> = received
        .iter()
        .map(|message| {
            let envelope: Value = serde_json::from_str(&message.body).unwrap();
            assert_eq!(envelope["Type"], "Notification");
            assert_eq!(envelope["Signature"], "signed");
            assert_eq!(envelope["TopicArn"], server.topic_arn("s-commands"));
            command::read(envelope["Message"].as_str().unwrap()).unwrap().id
        })
        .collect();
    assert_eq!(heard, ["mine", "all"]);
    topic.unsubscribe(&subscription).await.unwrap();
    topic.unsubscribe(&subscription).await.unwrap();
    assert_eq!(server.subscriptions(), [json!(null); 0]);
}

#[tokio::test]
async fn a_publish_that_fails_says_what_can_be_done() {
    let (server, topic) = start().await;
    let table = [
        (400, "InvalidParameter", Kind::Invalid),
        (400, "ValidationError", Kind::Invalid),
        (403, "AuthorizationError", Kind::Denied),
        (403, "AccessDenied", Kind::Denied),
        (400, "KMSDisabled", Kind::Denied),
        (400, "KMSAccessDenied", Kind::Denied),
        (400, "KMSNotFound", Kind::Denied),
        (400, "KMSThrottling", Kind::Later),
        (404, "NotFound", Kind::Missing),
        (400, "Throttled", Kind::Later),
        (429, "TooManyRequests", Kind::Later),
        (500, "InternalError", Kind::Later),
        (503, "ServiceUnavailable", Kind::Later),
        (403, "ExpiredToken", Kind::Later),
        (403, "InvalidClientTokenId", Kind::Denied),
    ];
    for (status, code, kind) in table {
        server.standing("Publish", Fault::error(status, code));
        let error = topic.command(&to_one()).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_str(), error.operation), (kind, code, "Publish"));
        server.lift("Publish");
    }
    assert_eq!(server.published(), []);
}

#[tokio::test]
async fn a_publish_is_tried_three_times_where_that_may_help_and_once_where_not() {
    let (server, topic) = start().await;
    for (fault, tries) in [
        (Fault::error(503, "ServiceUnavailable"), 3),
        (Fault::error(400, "Throttling"), 3),
        (Fault::Refuse, 3),
        (Fault::error(403, "AuthorizationError"), 1),
        (Fault::error(400, "KMSDisabled"), 1),
    ] {
        server.standing("Publish", fault.clone());
        topic.message("subject", "text").await.unwrap_err();
        assert_eq!(server.count("Publish"), tries, "{fault:?}");
        server.lift("Publish");
        server.forget_calls();
    }
}

#[tokio::test]
async fn a_command_that_no_instance_would_read_is_not_published() {
    let (server, topic) = start().await;
    let mut event = spot();
    event.data.insert("text".to_owned(), json!("x".repeat(64 << 10)));
    let large = Command { kind: command::Kind::Handle(Box::new(event)), ..to_one() };
    let error = topic.command(&large).await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (Kind::Invalid, "TooLarge"));
    assert_eq!(server.calls(), []);
}

#[tokio::test]
async fn a_message_to_people_always_fits() {
    let server = Server::start().await.unwrap();
    // So long a text takes its time where nothing is optimised.
    let aws = server.aws_as(Role::Person).await;
    let topic = Topic::new(&aws, &server.topic_arn("s-operators"));
    let subject = format!("\u{1b}[2J Ordner \u{e4}ndern\n{}", "s".repeat(200));
    topic.message(&subject, &"\u{e4}".repeat(200_000)).await.unwrap();
    topic.message("", "text").await.unwrap();
    let [long, bare] = server.published().try_into().unwrap();
    let subject = long.subject.unwrap();
    assert!(subject.starts_with("?[2J Ordner ?ndern?sss") && subject.len() == 100, "{subject}");
    assert_eq!(long.message, "\u{e4}".repeat(125_000));
    assert_eq!(bare.subject, None);
}

async fn start() -> (Server, Topic) {
    let server = Server::start().await.unwrap();
    let topic = Topic::new(&server.aws().await, &server.topic_arn("s-commands"));
    (server, topic)
}

fn to_one() -> Command {
    Command {
        id: "i-0123456789abcdef0/spot/terminate#command".to_owned(),
        kind: command::Kind::Handle(Box::new(spot())),
        instance: Some(instance()),
        issued_at: moment(1),
        expires_at: moment(120),
        policies: Some(3),
        correlation: None,
    }
}
