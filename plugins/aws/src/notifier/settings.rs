//! What can be set.

use std::time::Duration;

use serde_json::{Map, Value};
use snooze_plugin::{Config, PluginError, Setting};

use super::news::PLACES;
use crate::template::Template;

/// News that takes longer than this is late anyway.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Words for people.
    Text,
    /// The event for programs.
    Json,
}

/// A topic, by its ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicArn {
    pub(crate) arn: String,
    pub(crate) region: String,
    /// It keeps the order of messages.
    pub(crate) ordered: bool,
}

/// The checked configuration.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) topic: TopicArn,
    pub(crate) subject: Option<Template>,
    pub(crate) message: Option<Template>,
    pub(crate) format: Format,
    pub(crate) timeout: Duration,
    pub(crate) dry_run: bool,
}

/// All settings.
pub(crate) fn all() -> Vec<Setting> {
    let places = "with places such as `{instance}`; what a person has to know if absent";
    vec![
        Setting::text("topic_arn", "the topic").required(),
        Setting::text("subject", &format!("the subject of emails, {places}")),
        Setting::text("message", &format!("the message, {places}")),
        Setting::choice("message_format", &["text", "json"], "words, or the event as JSON")
            .default("text"),
        Setting::number("timeout_seconds", 0.1..=600.0, "how long SNS may take")
            .default(DEFAULT_TIMEOUT.as_secs()),
        Setting::dry_run(),
    ]
}

impl Settings {
    pub(crate) fn read(given: &Map<String, Value>) -> Result<Self, PluginError> {
        let known = all();
        let mut config = Config::new(&known, given);
        let arn = config.text("topic_arn");
        let topic = arn.as_deref().and_then(TopicArn::read);
        if arn.is_some() && topic.is_none() {
            config.fault("topic_arn", "expected `arn:aws:sns:REGION:ACCOUNT:NAME`");
        }
        let subject = template(&mut config, "subject");
        let message = template(&mut config, "message");
        let format = match config.text("message_format").as_deref() {
            Some("json") => Format::Json,
            Some(_) | None => Format::Text,
        };
        if format == Format::Json && message.is_some() {
            config.fault("message", "expected none with `message_format` `json`");
        }
        let timeout = config.seconds("timeout_seconds").unwrap_or(DEFAULT_TIMEOUT);
        let dry_run = config.flag("dry_run");
        config.finish()?;
        // Where nothing is wrong there is a topic.
        let topic = topic.ok_or_else(|| PluginError::new("no usable `topic_arn`"))?;
        Ok(Self { topic, subject, message, format, timeout, dry_run })
    }
}

impl TopicArn {
    fn read(arn: &str) -> Option<Self> {
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", partition, "sns", region, account, name] = parts.as_slice() else {
            return None;
        };
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        let is_whole = partition.starts_with("aws") && !region.is_empty() && !name.is_empty();
        let ordered = name.ends_with(".fifo");
        let (arn, region) = (arn.to_owned(), (*region).to_owned());
        (is_account && is_whole).then_some(Self { arn, region, ordered })
    }
}

fn template(config: &mut Config<'_>, name: &str) -> Option<Template> {
    let text = config.text(name)?;
    match Template::read(&text, &PLACES) {
        Ok(template) => Some(template),
        Err(expected) => {
            config.fault(name, expected);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_region_is_that_of_the_topic() {
        let given = json!({ "topic_arn": "arn:aws-cn:sns:cn-north-1:123456789012:news.fifo" });
        let topic = Settings::read(given.as_object().unwrap()).unwrap().topic;
        assert_eq!((topic.region.as_str(), topic.ordered), ("cn-north-1", true));
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let given = json!({ "topic_arn": "arn:aws:sqs:us-east-1:123456789012:x",
            "subject": "{who}", "message": "x", "message_format": "json" });
        let error = Settings::read(given.as_object().unwrap()).unwrap_err();
        expect!["`topic_arn`: expected `arn:aws:sns:REGION:ACCOUNT:NAME`; `subject`: expected no other braces than `{type}`, `{instance}`, `{instance_type}`, `{action}`, `{seconds}`, `{deadline}`, `{incident}`, `{drill}`; `message`: expected none with `message_format` `json`"].assert_eq(&error.to_string());
    }
}
