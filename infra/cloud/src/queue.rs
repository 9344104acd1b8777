//! Queues: orders for `perform`, and the queue of commands of each instance.

use std::time::Duration;

use serde_json::{Value, json};
use snooze_event::InstanceId;

use crate::batch::batches;
use crate::signed::{Client, JSON_1_0, Service};
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
/// The attribute of a message that says how often it was received.
const RECEIVES: &str = "ApproximateReceiveCount";

static SQS: Service = Service { name: "SQS", host: "sqs", target: "AmazonSQS", content: JSON_1_0 };

/// All queues.
#[derive(Debug, Clone)]
pub struct Queues {
    client: Client,
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
        Self { client: Client::new(aws, &SQS) }
    }

    /// The address of a queue; `None` when there is none of the name.
    ///
    /// # Errors
    /// It cannot be asked for.
    pub async fn find(&self, name: &str) -> Result<Option<String>, CloudError> {
        match self.client.call("GetQueueUrl", &json!({ "QueueName": name })).await {
            Ok(answer) => Ok(text(&answer, "QueueUrl")),
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
        let body = json!({
            "QueueUrl": url,
            "MaxNumberOfMessages": 10,
            "WaitTimeSeconds": wait.as_secs(),
            "MessageSystemAttributeNames": [RECEIVES],
        });
        let limit = wait + POLL_GRACE;
        let answer = self.client.call_within(limit, "ReceiveMessage", &body).await?;
        let read = |message: &Value| {
            let receives = message.get("Attributes").and_then(|all| text(all, RECEIVES));
            let receives = receives.and_then(|count| count.parse().ok()).unwrap_or(1);
            let (body, handle) = (text(message, "Body")?, text(message, "ReceiptHandle")?);
            Some(Message { body, handle, receives })
        };
        Ok(list(&answer, "Messages").iter().filter_map(read).collect())
    }

    /// Deletes a message that was taken.
    ///
    /// # Errors
    /// The queue cannot be written.
    pub async fn delete(&self, url: &str, handle: &str) -> Result<(), CloudError> {
        let body = json!({ "QueueUrl": url, "ReceiptHandle": handle });
        self.client.call("DeleteMessage", &body).await.map(drop)
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
        let attributes = json!({
            "SqsManagedSseEnabled": "true",
            "MessageRetentionPeriod": RETENTION.as_secs().to_string(),
            "VisibilityTimeout": VISIBILITY.as_secs().to_string(),
            "Policy": policy(&arn, instance, topic),
        });
        let body = json!({ "QueueName": name, "Attributes": attributes });
        match self.client.call(OPERATION, &body).await {
            Ok(answer) => {
                let url = text(&answer, "QueueUrl");
                let url = url.ok_or_else(|| CloudError::bad_answer(OPERATION, "no address"))?;
                Ok((url, arn))
            }
            // It was made with other attributes, by another version of us.
            Err(error) if error.kind == Kind::Conflict => {
                let Some(url) = self.find(name).await? else { return Err(error) };
                let body = json!({ "QueueUrl": url, "Attributes": attributes });
                self.client.call("SetQueueAttributes", &body).await?;
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
        match self.client.call("DeleteQueue", &json!({ "QueueUrl": url })).await {
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
            // Without a size the list is cut at a thousand, and does not say so.
            let mut body = json!({ "QueueNamePrefix": prefix, "MaxResults": 1000 });
            if let (Some(from), Some(members)) = (from.take(), body.as_object_mut()) {
                members.insert("NextToken".to_owned(), Value::String(from));
            }
            let page = self.client.call("ListQueues", &body).await?;
            let urls = list(&page, "QueueUrls").iter().filter_map(Value::as_str);
            let named = |url: &str| Some((url.rsplit('/').next()?.to_owned(), url.to_owned()));
            queues.extend(urls.filter_map(named));
            from = text(&page, "NextToken");
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
        let entry = |(index, (body, delay)): (usize, &(String, Duration))| {
            json!({
                "Id": index.to_string(),
                "MessageBody": body,
                "DelaySeconds": (*delay).min(LONGEST_DELAY).as_secs(),
            })
        };
        let entries: Vec<Value> = batch.iter().enumerate().map(entry).collect();
        let body = json!({ "QueueUrl": url, "Entries": entries });
        let answer = self.client.call(OPERATION, &body).await?;
        let find = |name, id: &str| {
            let mut entries = list(&answer, name).iter();
            entries.find(|entry| entry.get("Id").and_then(Value::as_str) == Some(id))
        };
        let of = |index: usize| {
            let id = index.to_string();
            match find("Failed", &id) {
                _ if find("Successful", &id).is_some() => Ok(()),
                Some(entry) => {
                    let of = |name| text(entry, name).unwrap_or_default();
                    let mut error = CloudError::of_code(OPERATION, &of("Code"), &of("Message"));
                    let is_ours = entry.get("SenderFault").and_then(Value::as_bool);
                    if is_ours != Some(true) && error.kind == Kind::Invalid {
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
        const COUNT: &str = "ApproximateNumberOfMessages";
        let body = json!({ "QueueUrl": url, "AttributeNames": [COUNT] });
        let answer = self.client.call(OPERATION, &body).await?;
        let count = answer.get("Attributes").and_then(|all| text(all, COUNT));
        let messages = count.and_then(|count| count.parse().ok());
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

/// The text of a member.
fn text(answer: &Value, name: &str) -> Option<String> {
    answer.get(name)?.as_str().map(str::to_owned)
}

/// The list of a member; none where there is none: empty lists are left out of answers.
fn list<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn too_long(body: &str) -> CloudError {
    let text = format!("{} bytes: at most {SIZE} are taken", body.len());
    CloudError::new("SendMessageBatch", Kind::Invalid, "MessageTooLong", &text)
}
