//! SQS: queues with delays, visibility time-outs and redrive.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::{self, Instant};

use super::door::{Outcome, Played, Refusal, not_played};
use super::stage::Stage;
use super::{ACCOUNT, REGION};

#[derive(Debug, Default)]
pub(super) struct Queues {
    queues: BTreeMap<String, Queue>,
    made: u64,
    /// How far the clock of the queues is ahead.
    ahead: Duration,
}

#[derive(Debug, Default)]
struct Queue {
    attributes: Map<String, Value>,
    messages: VecDeque<Message>,
}

#[derive(Debug)]
struct Message {
    id: String,
    body: String,
    visible_at: Instant,
    receives: u32,
}

pub(super) fn url(base: &str, name: &str) -> String {
    format!("{base}/{ACCOUNT}/{name}")
}

pub(super) fn arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

/// The code of the older protocol.
pub(super) fn older(code: &str) -> Option<&'static str> {
    match code {
        "QueueDoesNotExist" => Some("AWS.SimpleQueueService.NonExistentQueue"),
        "QueueNameExists" => Some("QueueAlreadyExists"),
        _ => None,
    }
}

impl Queues {
    pub(super) fn make(&mut self, name: &str, attributes: Map<String, Value>) {
        let new = || Queue { attributes, messages: VecDeque::new() };
        self.queues.entry(name.to_owned()).or_insert_with(new);
    }

    pub(super) fn redrives(&mut self, name: &str, policy: &str) {
        if let Some(queue) = self.queues.get_mut(name) {
            queue.attributes.insert("RedrivePolicy".to_owned(), json!(policy));
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.queues.keys().cloned().collect()
    }

    pub(super) fn attributes(&self, name: &str) -> Map<String, Value> {
        self.queues.get(name).map(|queue| queue.attributes.clone()).unwrap_or_default()
    }

    pub(super) fn bodies(&self, name: &str) -> Vec<String> {
        let messages = self.queues.get(name).into_iter().flat_map(|queue| &queue.messages);
        messages.map(|message| message.body.clone()).collect()
    }

    pub(super) fn elapse(&mut self, time: Duration) {
        self.ahead += time;
    }

    /// Puts a message; into no queue it is lost, as on AWS.
    pub(super) fn put(&mut self, name: &str, body: &str, delay: Duration) -> String {
        self.made += 1;
        let id = format!("m-{}", self.made);
        let visible_at = self.now() + delay;
        let message = Message { id: id.clone(), body: body.to_owned(), visible_at, receives: 0 };
        if let Some(queue) = self.queues.get_mut(name) {
            queue.messages.push_back(message);
        }
        id
    }

    fn now(&self) -> Instant {
        Instant::now() + self.ahead
    }

    fn named(&mut self, name: &str) -> Result<&mut Queue, Refusal> {
        let missing = || Refusal::new("QueueDoesNotExist", "The specified queue does not exist.");
        self.queues.get_mut(name).ok_or_else(missing)
    }

    /// Takes what is visible; none: when the next is.
    fn take(&mut self, name: &str, most: usize, hide: Option<u64>) -> Result<Vec<Value>, Refusal> {
        let now = self.now();
        self.redrive(name, now)?;
        let queue = self.named(name)?;
        let own = queue.attributes.get("VisibilityTimeout").and_then(Value::as_str);
        let own = own.and_then(|text| text.parse().ok()).unwrap_or(30);
        let hide = Duration::from_secs(hide.unwrap_or(own));
        let visible = queue.messages.iter_mut().filter(|message| message.visible_at <= now);
        Ok(visible
            .take(most)
            .map(|message| {
                message.receives += 1;
                message.visible_at = now + hide;
                json!({
                    "MessageId": message.id,
                    "ReceiptHandle": format!("{}#{}", message.id, message.receives),
                    "Body": message.body,
                    "Attributes": { "ApproximateReceiveCount": message.receives.to_string() },
                })
            })
            .collect())
    }

    /// Moves what was received too often to the dead-letter queue.
    fn redrive(&mut self, name: &str, now: Instant) -> Result<(), Refusal> {
        let queue = self.named(name)?;
        let policy = queue.attributes.get("RedrivePolicy").and_then(Value::as_str);
        let policy: Value =
            policy.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let most = policy.get("maxReceiveCount");
        let most = most.and_then(|it| it.as_u64().or_else(|| it.as_str()?.parse().ok()));
        let (Some(most), Some(target)) = (most, policy.get("deadLetterTargetArn")) else {
            return Ok(());
        };
        let target = target.as_str().and_then(|arn| arn.rsplit(':').next()).unwrap_or_default();
        let is_dead = |it: &Message| it.visible_at <= now && u64::from(it.receives) >= most;
        let (dead, alive) = std::mem::take(&mut queue.messages).into_iter().partition(is_dead);
        queue.messages = alive;
        let dead: VecDeque<Message> = dead;
        for message in dead {
            self.put(target, &message.body, Duration::ZERO);
        }
        Ok(())
    }
}

pub(super) async fn receive(stage: &Stage, body: &Value) -> Outcome {
    let number = |name| body.get(name).and_then(Value::as_u64);
    let name = name(body);
    let most = number("MaxNumberOfMessages").unwrap_or(1).min(10);
    let most = usize::try_from(most).unwrap_or(10);
    let end = Instant::now() + Duration::from_secs(number("WaitTimeSeconds").unwrap_or(0).min(20));
    loop {
        let news = stage.news().notified();
        let messages = stage.state().queues.take(&name, most, number("VisibilityTimeout"))?;
        if !messages.is_empty() {
            return Ok(Played::Json(json!({ "Messages": messages })));
        }
        if Instant::now() >= end || stage.is_closed() {
            return Ok(Played::Json(json!({})));
        }
        // A message may become visible without news.
        let look = end.min(Instant::now() + Duration::from_millis(50));
        let _either = time::timeout_at(look, news).await;
    }
}

pub(super) fn play(
    queues: &mut Queues,
    base: &str,
    operation: &str,
    body: &Value,
    failing: Option<(&[usize], &str)>,
) -> Outcome {
    let own = text(body, "QueueName");
    let name = name(body);
    let attributes = || body.get("Attributes").and_then(Value::as_object).cloned();
    let answer = match operation {
        "CreateQueue" => {
            let attributes = attributes().unwrap_or_default();
            match queues.queues.get(own) {
                Some(known) if known.attributes != attributes => {
                    let text = "A queue already exists with the same name and other attributes";
                    return Err(Refusal::new("QueueNameExists", text));
                }
                _ => queues.make(own, attributes),
            }
            json!({ "QueueUrl": url(base, own) })
        }
        "GetQueueUrl" => {
            queues.named(own)?;
            json!({ "QueueUrl": url(base, own) })
        }
        "DeleteQueue" => {
            queues.named(&name)?;
            queues.queues.remove(&name);
            json!({})
        }
        "ListQueues" => list(queues, base, body),
        "GetQueueAttributes" => {
            let queue = queues.named(&name)?;
            let mut attributes = queue.attributes.clone();
            attributes.insert("QueueArn".to_owned(), json!(arn(&name)));
            let count = json!(queue.messages.len().to_string());
            attributes.insert("ApproximateNumberOfMessages".to_owned(), count);
            json!({ "Attributes": attributes })
        }
        "SetQueueAttributes" => {
            queues.named(&name)?.attributes.extend(attributes().unwrap_or_default());
            json!({})
        }
        "SendMessage" => {
            queues.named(&name)?;
            let id = queues.put(&name, text(body, "MessageBody"), delay(body));
            json!({ "MessageId": id, "MD5OfMessageBody": "" })
        }
        "SendMessageBatch" => {
            queues.named(&name)?;
            send_batch(queues, &name, body, failing)?
        }
        "DeleteMessage" => {
            let id = handle(body);
            queues.named(&name)?.messages.retain(|message| message.id != id);
            json!({})
        }
        "ChangeMessageVisibility" => {
            let now = queues.now();
            let hide = body.get("VisibilityTimeout").and_then(Value::as_u64).unwrap_or(0);
            let id = handle(body);
            let messages = &mut queues.named(&name)?.messages;
            for message in messages.iter_mut().filter(|message| message.id == id) {
                message.visible_at = now + Duration::from_secs(hide);
            }
            json!({})
        }
        other => return Err(not_played(other)),
    };
    Ok(Played::Json(answer))
}

fn list(queues: &Queues, base: &str, body: &Value) -> Value {
    let prefix = text(body, "QueueNamePrefix");
    let after = text(body, "NextToken");
    let most = body.get("MaxResults").and_then(Value::as_u64).unwrap_or(1000);
    let fits = |name: &&String| name.starts_with(prefix) && name.as_str() > after;
    let most = usize::try_from(most).unwrap_or(1000);
    let names: Vec<&String> = queues.queues.keys().filter(fits).take(most + 1).collect();
    let urls: Vec<String> = names.iter().take(most).map(|name| url(base, name)).collect();
    let next = (names.len() > most).then(|| names.get(most - 1)).flatten();
    json!({ "QueueUrls": urls, "NextToken": next })
}

fn send_batch(
    queues: &mut Queues,
    name: &str,
    body: &Value,
    failing: Option<(&[usize], &str)>,
) -> Result<Value, Refusal> {
    let entries = body.get("Entries").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if entries.is_empty() || entries.len() > 10 {
        return Err(Refusal::new("TooManyEntriesInBatchRequest", "1 to 10 entries are taken"));
    }
    let (mut taken, mut failed) = (Vec::new(), Vec::new());
    for (index, entry) in entries.iter().enumerate() {
        let id = text(entry, "Id");
        match failing {
            Some((at, code)) if at.contains(&index) => {
                failed.push(json!({ "Id": id, "SenderFault": false, "Code": code }));
            }
            _ => {
                let message = queues.put(name, text(entry, "MessageBody"), delay(entry));
                taken.push(json!({ "Id": id, "MessageId": message, "MD5OfMessageBody": "" }));
            }
        }
    }
    // Answers need not come in the order of the entries.
    taken.reverse();
    Ok(json!({ "Successful": taken, "Failed": failed }))
}

fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The name of the queue with the address in the body.
fn name(body: &Value) -> String {
    text(body, "QueueUrl").rsplit('/').next().unwrap_or_default().to_owned()
}

fn handle(body: &Value) -> String {
    text(body, "ReceiptHandle").split('#').next().unwrap_or_default().to_owned()
}

fn delay(body: &Value) -> Duration {
    Duration::from_secs(body.get("DelaySeconds").and_then(Value::as_u64).unwrap_or(0))
}
