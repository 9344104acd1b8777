//! SNS: what was published, who is subscribed, and the way into the queues.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::door::{Outcome, Played, Refusal, escaped, not_played};
use super::stage::State;
use super::{ACCOUNT, Published, REGION};

/// The longest message, with its attributes (SNS API reference, "Publish").
const LONGEST: usize = 262_144;

#[derive(Debug, Default)]
pub(super) struct Topics {
    pub(super) published: Vec<Published>,
    pub(super) sign: Option<Sign>,
    subscriptions: Vec<Subscription>,
    made: u64,
}

/// What an envelope goes through before it goes into a queue.
pub(super) struct Sign(pub(super) Box<dyn Fn(Value) -> Value + Send + Sync>);

impl fmt::Debug for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sign")
    }
}

#[derive(Debug)]
struct Subscription {
    arn: String,
    topic: String,
    protocol: String,
    endpoint: String,
    attributes: BTreeMap<String, String>,
}

type Params = BTreeMap<String, String>;

impl Topics {
    pub(super) fn subscriptions(&self) -> Vec<Value> {
        let shown = |it: &Subscription| {
            json!({ "arn": it.arn, "topic": it.topic, "protocol": it.protocol,
                    "endpoint": it.endpoint, "attributes": it.attributes })
        };
        self.subscriptions.iter().map(shown).collect()
    }
}

pub(super) fn play(state: &mut State, operation: &str, params: &Params) -> Outcome {
    match operation {
        "Publish" => publish(state, params),
        "Subscribe" => subscribe(&mut state.topics, params),
        "Unsubscribe" => {
            let arn = params.get("SubscriptionArn");
            let all = &mut state.topics.subscriptions;
            if !all.iter().any(|it| Some(&it.arn) == arn) {
                return Err(not_found("no such subscription"));
            }
            all.retain(|it| Some(&it.arn) != arn);
            Ok(Played::Xml(String::new()))
        }
        other => Err(not_played(other)),
    }
}

fn publish(state: &mut State, params: &Params) -> Outcome {
    let message = params.get("Message").cloned().unwrap_or_default();
    let subject = params.get("Subject").cloned();
    let attributes: BTreeMap<_, _> =
        pairs(params, "MessageAttributes", "Name", "Value.StringValue");
    if message.is_empty() || message.len() > LONGEST {
        return Err(invalid("Invalid parameter: Message too long, or empty"));
    }
    let fine = |subject: &String| {
        (1..=100).contains(&subject.len()) && subject.chars().all(|c| (' '..='~').contains(&c))
    };
    if subject.as_ref().is_some_and(|subject| !fine(subject)) {
        return Err(invalid("Invalid parameter: Subject"));
    }
    let topic = params.get("TopicArn").cloned().unwrap_or_default();
    if !topic.starts_with("arn:") {
        return Err(invalid("Invalid parameter: TopicArn"));
    }
    let published = Published { topic, subject, message, attributes };
    state.topics.made += 1;
    let id = format!("message-{}", state.topics.made);
    deliver(state, &published, &id);
    state.topics.published.push(published);
    Ok(Played::Xml(format!("<MessageId>{id}</MessageId>")))
}

fn deliver(state: &mut State, published: &Published, id: &str) {
    let State { topics, queues, .. } = state;
    let Some(Sign(sign)) = &topics.sign else { return };
    let hears = |it: &&Subscription| it.topic == published.topic && it.lets(published);
    for subscription in topics.subscriptions.iter().filter(hears) {
        let queue = subscription.endpoint.rsplit(':').next().unwrap_or_default();
        let envelope = sign(envelope(published, subscription, id));
        queues.put(queue, &envelope.to_string(), Duration::ZERO);
    }
}

impl Subscription {
    fn lets(&self, published: &Published) -> bool {
        let policy = self.attributes.get("FilterPolicy");
        let policy: Value =
            policy.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let lets = |(name, values): (&String, &Value)| {
            let value = published.attributes.get(name).map(|value| json!(value));
            let values = values.as_array();
            value.zip(values).is_some_and(|(value, values)| values.contains(&value))
        };
        policy.as_object().is_none_or(|policy| policy.iter().all(lets))
    }
}

fn envelope(published: &Published, subscription: &Subscription, id: &str) -> Value {
    let attribute = |(name, value): (&String, &String)| {
        (name.clone(), json!({ "Type": "String", "Value": value }))
    };
    let host = format!("https://sns.{REGION}.amazonaws.com");
    let mut envelope = json!({
        "Type": "Notification",
        "MessageId": id,
        "TopicArn": published.topic,
        "Message": published.message,
        "Timestamp": format!("{:.3}", Timestamp::now()),
        "SignatureVersion": "2",
        "Signature": "",
        "SigningCertURL": format!("{host}/SimpleNotificationService-0123456789abcdef.pem"),
        "UnsubscribeURL": format!("{host}/?Action=Unsubscribe&SubscriptionArn={}", subscription.arn),
        "MessageAttributes":
            published.attributes.iter().map(attribute).collect::<serde_json::Map<_, _>>(),
    });
    if let (Some(subject), Some(members)) = (&published.subject, envelope.as_object_mut()) {
        members.insert("Subject".to_owned(), json!(subject));
    }
    envelope
}

fn subscribe(topics: &mut Topics, params: &Params) -> Outcome {
    let of = |name: &str| params.get(name).cloned().unwrap_or_default();
    let (topic, endpoint) = (of("TopicArn"), of("Endpoint"));
    let attributes = pairs(params, "Attributes", "key", "value");
    let known = topics.subscriptions.iter().find(|it| it.topic == topic && it.endpoint == endpoint);
    let arn = match known {
        Some(known) if known.attributes == attributes => known.arn.clone(),
        Some(_) => {
            return Err(invalid("Subscription already exists with different attributes"));
        }
        None => {
            topics.made += 1;
            let arn = format!("{topic}:subscription-{}", topics.made);
            let protocol = of("Protocol");
            let new = Subscription { arn: arn.clone(), topic, protocol, endpoint, attributes };
            topics.subscriptions.push(new);
            arn
        }
    };
    Ok(Played::Xml(format!("<SubscriptionArn>{}</SubscriptionArn>", escaped(&arn))))
}

/// The entries of a map in the query protocol: `LIST.entry.N.NAME` and `LIST.entry.N.VALUE`.
fn pairs(params: &Params, list: &str, name: &str, value: &str) -> BTreeMap<String, String> {
    let entry = |index: usize| {
        let name = params.get(&format!("{list}.entry.{index}.{name}"))?;
        let value = params.get(&format!("{list}.entry.{index}.{value}"))?;
        Some((name.clone(), value.clone()))
    };
    (1..).map_while(entry).collect()
}

fn invalid(text: &str) -> Refusal {
    Refusal::new("InvalidParameter", text)
}

fn not_found(text: &str) -> Refusal {
    Refusal { status: 404, ..Refusal::new("NotFound", &format!("{text} in {ACCOUNT}")) }
}
