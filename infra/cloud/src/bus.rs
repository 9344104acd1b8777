//! The event bus: CloudEvents out, by PutEvents.

use serde_json::{Value, json};
use snooze_event::wire::cloudevents;
use snooze_event::{Event, IncidentKey};

use crate::batch::batches;
use crate::signed::{Client, JSON_1_1, Service};
use crate::{Aws, CloudError};

/// The source of what instances tell.
pub const SHIM: &str = "cloudsnooze.shim";
/// The source of what the cloud side tells.
pub const CLOUD: &str = "cloudsnooze.cloud";

/// What one call takes together (EventBridge User Guide, "PutEvents entry size"; 1 MB by now,
/// but targets such as SNS stop here).
const SIZE: usize = 256 << 10;

static EVENTS: Service =
    Service { name: "EventBridge", host: "events", target: "AWSEvents", content: JSON_1_1 };

/// One bus.
#[derive(Debug, Clone)]
pub struct Bus {
    client: Client,
    name: String,
}

/// One entry, ready to be put.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The EventBridge source.
    pub source: String,
    /// The EventBridge detail-type.
    pub detail_type: String,
    /// The detail, as JSON text.
    pub detail: String,
}

impl Entry {
    /// The entry of one of our own events; its `source` is that of the event.
    #[must_use]
    pub fn of(event: &Event, correlation: Option<&IncidentKey>) -> Self {
        Self {
            source: event.source.clone(),
            detail_type: event.kind.as_str().to_owned(),
            detail: cloudevents::write(event, correlation).to_string(),
        }
    }

    /// What it counts for.
    fn size(&self) -> usize {
        self.source.len() + self.detail_type.len() + self.detail.len()
    }
}

impl Bus {
    /// The bus of this name.
    #[must_use]
    pub fn new(aws: &Aws, name: &str) -> Self {
        Self { client: Client::new(aws, &EVENTS), name: name.to_owned() }
    }

    /// Puts entries, ten a call, and answers for each, in their order, whether it was taken.
    /// Entries are not retried: those that failed are put again by whoever asked.
    ///
    /// # Errors
    /// The first call that failed as a whole; what earlier calls took is lost from the answer,
    /// and may come twice.
    pub async fn put(&self, entries: &[Entry]) -> Result<Vec<Result<(), CloudError>>, CloudError> {
        let mut answers = Vec::with_capacity(entries.len());
        for batch in batches(entries, SIZE, Entry::size) {
            answers.extend(self.put_batch(batch).await?);
        }
        Ok(answers)
    }

    async fn put_batch(&self, batch: &[Entry]) -> Result<Vec<Result<(), CloudError>>, CloudError> {
        const OPERATION: &str = "PutEvents";
        let entry = |entry: &Entry| {
            json!({
                "EventBusName": self.name,
                "Source": entry.source,
                "DetailType": entry.detail_type,
                "Detail": entry.detail,
            })
        };
        let entries: Vec<Value> = batch.iter().map(entry).collect();
        let answer = self.client.call(OPERATION, &json!({ "Entries": entries })).await?;
        let answers = answer.get("Entries").and_then(Value::as_array);
        let Some(answers) = answers.filter(|answers| answers.len() == batch.len()) else {
            return Err(CloudError::bad_answer(OPERATION, "not one answer for each entry"));
        };
        let of = |answer: &Value| {
            let text = |name| answer.get(name).and_then(Value::as_str);
            let Some(code) = text("ErrorCode") else { return Ok(()) };
            Err(CloudError::of_code(OPERATION, code, text("ErrorMessage").unwrap_or_default()))
        };
        Ok(answers.iter().map(of).collect())
    }
}

impl Bus {
    /// Looks whether it is there.
    ///
    /// # Errors
    /// It is not there, or cannot be asked for.
    pub async fn look(&self) -> Result<(), CloudError> {
        self.client.call("DescribeEventBus", &json!({ "Name": self.name })).await.map(drop)
    }
}
