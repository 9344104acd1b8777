//! `sns-notifier` against SNS: what a subscriber gets.

use serde_json::{Value, json};
use snooze_tests::cloud::{Cloud, emulator};
use snooze_tests::wait;

use super::plugin::{Plugin, notice};

// S0-15
#[test]
fn a_subscriber_reads_what_happens_and_may_filter_by_it() {
    let Some(cloud) = emulator() else { return };
    let (topic, queue) = topic(cloud, "news-plain", &json!({}));
    let mut plugin = notifier(cloud, json!({ "topic_arn": topic }));
    let handled = plugin.handle(notice("i-1", 118));
    assert_eq!(handled.status.as_deref(), Some("sns_sent"), "{handled:?}");
    assert_eq!(handled.verified, Some(true));
    let envelope = received(cloud, &queue);
    assert_eq!(envelope["MessageId"], handled.more["message_id"]);
    assert_eq!(envelope["Subject"], "EC2 will terminate i-1 in 118 s");
    let text = envelope["Message"].as_str().unwrap();
    assert!(text.contains("snooze explain i-1/b/spot/terminate"), "{text}");
    let attributes = &envelope["MessageAttributes"];
    assert_eq!(attributes["type"]["Value"], "cloud.spot.interrupt");
    assert_eq!(attributes["instance"]["Value"], "i-1");
    assert_eq!(attributes["severity"]["Value"], "urgent");
}

#[test]
fn a_program_gets_the_event_as_json() {
    let Some(cloud) = emulator() else { return };
    let (topic, queue) = topic(cloud, "news-json", &json!({}));
    let mut plugin = notifier(cloud, json!({ "topic_arn": topic, "message_format": "json" }));
    assert!(plugin.handle(notice("i-1", 118)).handled);
    let envelope = received(cloud, &queue);
    let event: Value = serde_json::from_str(envelope["Message"].as_str().unwrap()).unwrap();
    assert_eq!(event, notice("i-1", 118));
}

#[test]
fn an_ordered_topic_gets_a_loss_once_however_often_it_is_told() {
    let Some(cloud) = emulator() else { return };
    let fifo = json!({ "FifoTopic": "true" });
    let (topic, queue) = topic(cloud, "news.fifo", &fifo);
    let mut plugin = notifier(cloud, json!({ "topic_arn": topic }));
    for (instance, id) in [("i-1", "e-1"), ("i-1", "e-2"), ("i-2", "e-3")] {
        let mut event = notice(instance, 118);
        event["id"] = json!(id);
        let handled = plugin.handle(event);
        assert!(handled.handled, "{handled:?}");
    }
    for instance in ["i-1", "i-2"] {
        let subject = received(cloud, &queue)["Subject"].clone();
        assert_eq!(subject, format!("EC2 will terminate {instance} in 118 s"));
    }
}

#[test]
fn a_dry_run_publishes_nothing_and_a_topic_that_is_not_there_is_told() {
    let Some(cloud) = emulator() else { return };
    let (topic, queue) = topic(cloud, "news-dry", &json!({}));
    let mut plugin = notifier(cloud, json!({ "topic_arn": topic, "dry_run": true }));
    let handled = plugin.handle(notice("i-1", 118));
    assert_eq!(handled.status.as_deref(), Some("sns_would_be_sent"), "{handled:?}");
    // What comes after it is the first that comes.
    let mut plugin = notifier(cloud, json!({ "topic_arn": topic, "subject": "second" }));
    assert!(plugin.handle(notice("i-1", 118)).handled);
    assert_eq!(received(cloud, &queue)["Subject"], "second");
    let mut plugin = notifier(cloud, json!({ "topic_arn": format!("{topic}-not") }));
    let error = plugin.handle(notice("i-1", 118)).error.unwrap();
    assert!(error.contains("NotFound") && error.contains("check `topic_arn`"), "{error}");
}

fn notifier(cloud: &Cloud, config: Value) -> Plugin {
    Plugin::start(cloud, "sns-notifier", &cloud.url(), &config)
}

/// A topic and a queue that gets what it gets.
fn topic(cloud: &Cloud, name: &str, attributes: &Value) -> (String, String) {
    let args = json!({ "Name": name, "Attributes": attributes });
    let topic = cloud.aws.call("sns", "create_topic", args)["TopicArn"].clone();
    let fifo = if name.ends_with(".fifo") { json!({ "FifoQueue": "true" }) } else { json!({}) };
    let args = json!({ "QueueName": name, "Attributes": fifo });
    let queue = cloud.aws.call("sqs", "create_queue", args)["QueueUrl"].clone();
    let args = json!({ "QueueUrl": queue, "AttributeNames": ["QueueArn"] });
    let arn = cloud.aws.call("sqs", "get_queue_attributes", args)["Attributes"]["QueueArn"].clone();
    let statement = json!({ "Effect": "Allow", "Principal": { "Service": "sns.amazonaws.com" },
        "Action": "sqs:SendMessage", "Resource": arn });
    let policy = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
    let args = json!({ "QueueUrl": queue, "Attributes": { "Policy": policy } });
    let _set = cloud.aws.call("sqs", "set_queue_attributes", args);
    let args = json!({ "TopicArn": topic, "Protocol": "sqs", "Endpoint": arn });
    let _subscribed = cloud.aws.call("sns", "subscribe", args);
    (topic.as_str().unwrap().to_owned(), queue.as_str().unwrap().to_owned())
}

/// The next message of a queue, which is removed from it.
fn received(cloud: &Cloud, queue: &str) -> Value {
    wait::until("news", || {
        let args = json!({ "QueueUrl": queue, "MaxNumberOfMessages": 1 });
        let answer = cloud.aws.call("sqs", "receive_message", args);
        let message = answer["Messages"].get(0)?;
        let args = json!({ "QueueUrl": queue, "ReceiptHandle": message["ReceiptHandle"] });
        let _gone = cloud.aws.call("sqs", "delete_message", args);
        serde_json::from_str(message["Body"].as_str()?).ok()
    })
}
