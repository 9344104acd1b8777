//! Topics: commands to instances, and news to operators.

use aws_sdk_sns::error::BuildError;
use aws_sdk_sns::types::MessageAttributeValue;
use serde_json::json;
use snooze_event::InstanceId;
use snooze_event::wire::command::{self, ALL, ATTRIBUTE, Command, MAX_COMMAND};

use crate::{Aws, CloudError, Kind};

/// The longest subject (SNS API reference, "Publish").
const SUBJECT: usize = 100;
/// The longest text to people: SNS takes 256 KiB with all that belongs to it.
const TEXT: usize = 250_000;

/// News for people and programs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// Cut to what SNS takes: 100 characters of printable ASCII.
    pub subject: String,
    /// Cut to 250,000 bytes.
    pub text: String,
    /// What subscriptions may filter by; empty values are left out.
    pub attributes: Vec<(&'static str, String)>,
    /// For a topic that keeps the order: the group, and what is the same news.
    pub order: Option<Order>,
}

/// What a topic that keeps the order wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// News of one group comes in order.
    pub group: String,
    /// News of the same id within five minutes comes once.
    pub once: String,
}

/// One topic.
#[derive(Debug, Clone)]
pub struct Topic {
    client: aws_sdk_sns::Client,
    arn: String,
}

impl Topic {
    /// The topic of this ARN.
    #[must_use]
    pub fn new(aws: &Aws, arn: &str) -> Self {
        Self { client: aws_sdk_sns::Client::new(aws), arn: arn.to_owned() }
    }

    /// Publishes a command, addressed by its message attribute.
    ///
    /// # Errors
    /// It was not taken; larger than an instance reads is [`Kind::Invalid`].
    pub async fn command(&self, command: &Command) -> Result<(), CloudError> {
        const OPERATION: &str = "Publish";
        let text = command::write(command).to_string();
        if text.len() > MAX_COMMAND {
            let text = format!("a command of {} bytes: at most {MAX_COMMAND}", text.len());
            return Err(CloudError::new(OPERATION, Kind::Invalid, "TooLarge", &text));
        }
        let instance = command.instance.as_ref().map_or(ALL, InstanceId::as_str);
        let instance = attribute(OPERATION, instance)?;
        let call = self.client.publish().topic_arn(&self.arn).message(text);
        let answer = call.message_attributes(ATTRIBUTE, instance).send().await;
        answer.map(drop).map_err(|error| CloudError::of(OPERATION, &error))
    }

    /// Publishes a message to people. The subject is cut to what SNS takes: 100 characters of
    /// printable ASCII; the text to 250,000 bytes.
    ///
    /// # Errors
    /// It was not taken.
    pub async fn message(&self, subject: &str, text: &str) -> Result<(), CloudError> {
        let (subject, text) = (subject.to_owned(), text.to_owned());
        self.publish(&News { subject, text, ..News::default() }).await.map(drop)
    }

    /// Publishes news, and answers with the id that SNS gave the message.
    ///
    /// # Errors
    /// It was not taken.
    pub async fn publish(&self, news: &News) -> Result<String, CloudError> {
        const OPERATION: &str = "Publish";
        let mut call = self.client.publish().topic_arn(&self.arn).message(cut(&news.text, TEXT));
        let subject = printable(&news.subject);
        call = call.set_subject(Some(subject).filter(|subject| !subject.is_empty()));
        for (name, value) in news.attributes.iter().filter(|(_, value)| !value.is_empty()) {
            call = call.message_attributes(*name, attribute(OPERATION, value)?);
        }
        if let Some(Order { group, once }) = &news.order {
            call = call.message_group_id(group).message_deduplication_id(once);
        }
        let answer = call.send().await.map_err(|error| CloudError::of(OPERATION, &error))?;
        let id = answer.message_id;
        id.ok_or_else(|| CloudError::bad_answer(OPERATION, "no id of the message"))
    }

    /// Subscribes the queue of an instance, filtered to its own commands and those to all, and
    /// answers with the ARN of the subscription. Doing it twice gives the same one.
    ///
    /// # Errors
    /// It was refused.
    pub async fn subscribe(
        &self,
        queue_arn: &str,
        instance: &InstanceId,
    ) -> Result<String, CloudError> {
        const OPERATION: &str = "Subscribe";
        let filter = json!({ ATTRIBUTE: [instance.as_str(), ALL] });
        let answer = self
            .client
            .subscribe()
            .topic_arn(&self.arn)
            .protocol("sqs")
            .endpoint(queue_arn)
            .attributes("FilterPolicy", filter.to_string())
            .attributes("FilterPolicyScope", "MessageAttributes")
            // The envelope carries the signature, which the instance checks.
            .attributes("RawMessageDelivery", "false")
            .return_subscription_arn(true)
            .send()
            .await
            .map_err(|error| CloudError::of(OPERATION, &error))?;
        let arn = answer.subscription_arn;
        arn.ok_or_else(|| CloudError::bad_answer(OPERATION, "no ARN of the subscription"))
    }

    /// Ends a subscription; one that is gone is fine.
    ///
    /// # Errors
    /// It was refused.
    pub async fn unsubscribe(&self, subscription: &str) -> Result<(), CloudError> {
        let answer = self.client.unsubscribe().subscription_arn(subscription).send().await;
        match answer.map_err(|error| CloudError::of("Unsubscribe", &error)) {
            Err(error) if error.kind != Kind::Missing => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// How a topic is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// The version that it signs with: `1` or `2`.
    pub signature_version: String,
    /// The key that it is encrypted with; `None`: it is not.
    pub key: Option<String>,
}

impl Topic {
    /// How it is set up.
    ///
    /// # Errors
    /// It is not there, or cannot be asked for.
    pub async fn attributes(&self) -> Result<Attributes, CloudError> {
        let answer = self.client.get_topic_attributes().topic_arn(&self.arn).send().await;
        let answer = answer.map_err(|error| CloudError::of("GetTopicAttributes", &error))?;
        let of = |name: &str| {
            let value = answer.attributes().and_then(|all| all.get(name));
            value.filter(|value| !value.is_empty()).cloned()
        };
        // A topic that was never asked to signs with version 1 (SNS API reference,
        // "SetTopicAttributes", checked 2026-11).
        let signature_version = of("SignatureVersion").unwrap_or_else(|| "1".to_owned());
        Ok(Attributes { signature_version, key: of("KmsMasterKeyId") })
    }
}

/// An attribute that is a text.
fn attribute(operation: &'static str, value: &str) -> Result<MessageAttributeValue, CloudError> {
    let attribute = MessageAttributeValue::builder().data_type("String").string_value(value);
    attribute.build().map_err(|error: BuildError| {
        CloudError::new(operation, Kind::Invalid, "NotSent", &error.to_string())
    })
}

/// A subject as SNS takes it: what is not printable ASCII becomes `?`.
fn printable(subject: &str) -> String {
    let fine = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    subject.trim().chars().map(fine).take(SUBJECT).collect()
}

/// The start of a text, at most so many bytes of it.
fn cut(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}
