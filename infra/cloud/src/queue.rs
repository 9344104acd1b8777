//! Queues: orders for `perform`, and the queue of commands of each instance.

use std::time::Duration;

use aws_sdk_sqs::config::Config;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::types::{
    MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};
use serde_json::json;
use snooze_event::InstanceId;

use crate::batch::batches;
use crate::{Aws, CloudError, Kind};

/// What one call takes together, and one message alone (SQS Developer Guide, "Message quotas":
/// 256 KiB, where newer pages say 1 MiB).
const SIZE: usize = 256 << 10;
/// The longest delay (SQS API reference, "DelaySeconds").
const LONGEST_DELAY: Duration = Duration::from_secs(900);
/// The longest poll (SQS API reference, "WaitTimeSeconds").
const LONGEST_POLL: Duration = Duration::from_secs(20);
/// What a poll may take beyond its wait.
const POLL_GRACE: Duration = Duration::from_secs(3);
/// How long a command stays in the queue of an instance: none is worth more.
const RETENTION: Duration = Duration::from_secs(3600);
/// How long an instance has to take a command before it comes again.
const VISIBILITY: Duration = Duration::from_secs(30);

/// All queues.
#[derive(Debug, Clone)]
pub struct Queues {
    client: aws_sdk_sqs::Client,
}

/// A message that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its body.
    pub body: String,
    /// What deletes it.
    pub handle: String,
    /// How often it was received, this time included.
    pub receives: u32,
}

impl Queues {
    /// Queues by these settings.
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        Self { client: aws_sdk_sqs::Client::new(aws) }
    }

    /// The address of a queue; `None` when there is none of the name.
    ///
    /// # Errors
    /// It cannot be asked for.
    pub async fn find(&self, name: &str) -> Result<Option<String>, CloudError> {
        let answer = self.client.get_queue_url().queue_name(name).send().await;
        match answer.map_err(|error| CloudError::of("GetQueueUrl", &error)) {
            Ok(answer) => Ok(answer.queue_url),
            Err(error) if error.kind == Kind::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits up to `wait` (20 s at most) for at most ten messages.
    ///
    /// # Errors
    /// The queue cannot be read.
    pub async fn receive(&self, url: &str, wait: Duration) -> Result<Vec<Message>, CloudError> {
        let wait = wait.min(LONGEST_POLL);
        let limits = TimeoutConfig::builder()
            .operation_attempt_timeout(wait + POLL_GRACE)
            .operation_timeout(wait + POLL_GRACE)
            .build();
        let answer = self
            .client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(10)
            .wait_time_seconds(seconds(wait))
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .customize()
            .config_override(Config::builder().timeout_config(limits))
            .send()
            .await
            .map_err(|error| CloudError::of("ReceiveMessage", &error))?;
        let read = |message: aws_sdk_sqs::types::Message| {
            let count = MessageSystemAttributeName::ApproximateReceiveCount;
            let receives = message.attributes.as_ref().and_then(|all| all.get(&count));
            let receives = receives.and_then(|count| count.parse().ok()).unwrap_or(1);
            Some(Message { body: message.body?, handle: message.receipt_handle?, receives })
        };
        Ok(answer.messages.unwrap_or_default().into_iter().filter_map(read).collect())
    }

    /// Deletes a message that was taken.
    ///
    /// # Errors
    /// The queue cannot be written.
    pub async fn delete(&self, url: &str, handle: &str) -> Result<(), CloudError> {
        let call = self.client.delete_message().queue_url(url).receipt_handle(handle);
        let answer = call.send().await;
        answer.map(drop).map_err(|error| CloudError::of("DeleteMessage", &error))
    }

    /// Sends messages, ten a call, each after its delay (15 minutes at most), and answers for
    /// each, in their order, whether it was taken.
    ///
    /// # Errors
    /// The first call that failed as a whole; what earlier calls took is lost from the answer,
    /// and may come twice.
    pub async fn send(
        &self,
        url: &str,
        messages: &[(String, Duration)],
    ) -> Result<Vec<Result<(), CloudError>>, CloudError> {
        let mut answers = Vec::with_capacity(messages.len());
        for batch in batches(messages, SIZE, |(body, _)| body.len()) {
            match batch {
                [(body, _)] if body.len() > SIZE => answers.push(Err(too_long(body))),
                _ => answers.extend(self.send_batch(url, batch).await?),
            }
        }
        Ok(answers)
    }

    /// Makes the queue of an instance, or finds it, and answers with its address and its ARN:
    /// encrypted (SSE-SQS), one hour of retention, visibility time-out 30 s; its policy lets only
    /// the topic send (`aws:SourceArn`, TLS), and nobody but the instance itself receive and
    /// delete (`aws:userid` ends with its id).
    ///
    /// # Errors
    /// It cannot be made.
    pub async fn make(
        &self,
        name: &str,
        instance: &InstanceId,
        topic: &str,
    ) -> Result<(String, String), CloudError> {
        const OPERATION: &str = "CreateQueue";
        let arn = arn_beside(topic, name).ok_or_else(|| {
            let text = format!("`{topic}` is not the ARN of a topic");
            CloudError::new(OPERATION, Kind::Invalid, "NotSent", &text)
        })?;
        let attributes = [
            (QueueAttributeName::SqsManagedSseEnabled, "true".to_owned()),
            (QueueAttributeName::MessageRetentionPeriod, RETENTION.as_secs().to_string()),
            (QueueAttributeName::VisibilityTimeout, VISIBILITY.as_secs().to_string()),
            (QueueAttributeName::Policy, policy(&arn, instance, topic)),
        ];
        let mut call = self.client.create_queue().queue_name(name);
        for (name, value) in attributes.clone() {
            call = call.attributes(name, value);
        }
        match call.send().await.map_err(|error| CloudError::of(OPERATION, &error)) {
            Ok(answer) => {
                let url = answer.queue_url;
                let url = url.ok_or_else(|| CloudError::bad_answer(OPERATION, "no address"))?;
                Ok((url, arn))
            }
            // It was made with other attributes, by another version of us.
            Err(error) if error.kind == Kind::Conflict => {
                let Some(url) = self.find(name).await? else { return Err(error) };
                let mut call = self.client.set_queue_attributes().queue_url(&url);
                for (name, value) in attributes {
                    call = call.attributes(name, value);
                }
                let answer = call.send().await;
                answer.map_err(|error| CloudError::of("SetQueueAttributes", &error))?;
                Ok((url, arn))
            }
            Err(error) => Err(error),
        }
    }

    /// Removes a queue; one that is gone is fine.
    ///
    /// # Errors
    /// It cannot be removed.
    pub async fn remove(&self, url: &str) -> Result<(), CloudError> {
        let answer = self.client.delete_queue().queue_url(url).send().await;
        match answer.map_err(|error| CloudError::of("DeleteQueue", &error)) {
            Err(error) if error.kind != Kind::Missing => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The names of all queues that begin so, with their addresses.
    ///
    /// # Errors
    /// They cannot be listed.
    pub async fn list(&self, prefix: &str) -> Result<Vec<(String, String)>, CloudError> {
        let mut queues = Vec::new();
        let mut from = None;
        loop {
            let page = self
                .client
                .list_queues()
                .queue_name_prefix(prefix)
                // Without a size the list is cut at a thousand, and does not say so.
                .max_results(1000)
                .set_next_token(from.take())
                .send()
                .await
                .map_err(|error| CloudError::of("ListQueues", &error))?;
            let urls = page.queue_urls.unwrap_or_default().into_iter();
            queues.extend(urls.filter_map(|url| Some((url.rsplit('/').next()?.to_owned(), url))));
            from = page.next_token;
            if from.is_none() {
                return Ok(queues);
            }
        }
    }

    async fn send_batch(
        &self,
        url: &str,
        batch: &[(String, Duration)],
    ) -> Result<Vec<Result<(), CloudError>>, CloudError> {
        const OPERATION: &str = "SendMessageBatch";
        let mut call = self.client.send_message_batch().queue_url(url);
        for (index, (body, delay)) in batch.iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(body)
                .delay_seconds(seconds((*delay).min(LONGEST_DELAY)))
                .build();
            let entry = entry.map_err(|error| {
                CloudError::new(OPERATION, Kind::Invalid, "NotSent", &error.to_string())
            })?;
            call = call.entries(entry);
        }
        let answer = call.send().await.map_err(|error| CloudError::of(OPERATION, &error))?;
        let taken = |id: &str| answer.successful().iter().any(|entry| entry.id() == id);
        let refused = |id: &str| answer.failed().iter().find(|entry| entry.id() == id);
        let of = |index: usize| {
            let id = index.to_string();
            match refused(&id) {
                _ if taken(&id) => Ok(()),
                Some(entry) => {
                    let text = entry.message().unwrap_or_default();
                    let mut error = CloudError::of_code(OPERATION, entry.code(), text);
                    if !entry.sender_fault() && error.kind == Kind::Invalid {
                        error.kind = Kind::Later;
                    }
                    Err(error)
                }
                None => Err(CloudError::bad_answer(OPERATION, "no word about this message")),
            }
        };
        Ok((0..batch.len()).map(of).collect())
    }
}

/// How a queue stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// About how many messages wait.
    pub messages: u64,
}

impl Queues {
    /// How a queue stands.
    ///
    /// # Errors
    /// It cannot be asked for.
    pub async fn standing(&self, url: &str) -> Result<Standing, CloudError> {
        const OPERATION: &str = "GetQueueAttributes";
        let count = QueueAttributeName::ApproximateNumberOfMessages;
        let call = self.client.get_queue_attributes().queue_url(url).attribute_names(count.clone());
        let answer = call.send().await.map_err(|error| CloudError::of(OPERATION, &error))?;
        let messages = answer.attributes().and_then(|all| all.get(&count)?.parse().ok());
        let messages = messages.ok_or_else(|| CloudError::bad_answer(OPERATION, "no number"))?;
        Ok(Standing { messages })
    }
}

/// The ARN of a queue in the account and Region of a topic.
fn arn_beside(topic: &str, name: &str) -> Option<String> {
    let parts: Vec<&str> = topic.split(':').collect();
    let ["arn", partition, "sns", region, account, _] = parts.as_slice() else { return None };
    Some(format!("arn:{partition}:sqs:{region}:{account}:{name}"))
}

fn policy(queue: &str, instance: &InstanceId, topic: &str) -> String {
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "OnlyTheTopicSends",
                "Effect": "Allow",
                "Principal": { "Service": "sns.amazonaws.com" },
                "Action": "sqs:SendMessage",
                "Resource": queue,
                "Condition": { "ArnEquals": { "aws:SourceArn": topic } }
            },
            {
                "Sid": "OnlyTheInstanceReceives",
                "Effect": "Deny",
                "Principal": "*",
                "Action": [
                    "sqs:ReceiveMessage",
                    "sqs:DeleteMessage",
                    "sqs:ChangeMessageVisibility"
                ],
                "Resource": queue,
                "Condition": { "StringNotLike": { "aws:userid": format!("*:{instance}") } }
            },
            {
                "Sid": "OnlyByTls",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "sqs:*",
                "Resource": queue,
                "Condition": { "Bool": { "aws:SecureTransport": "false" } }
            }
        ]
    })
    .to_string()
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

fn too_long(body: &str) -> CloudError {
    let text = format!("{} bytes: at most {SIZE} are taken", body.len());
    CloudError::new("SendMessageBatch", Kind::Invalid, "MessageTooLong", &text)
}
