//! The event bus: CloudEvents out, by PutEvents.

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use snooze_event::wire::cloudevents;
use snooze_event::{Event, IncidentKey};

use crate::batch::batches;
use crate::{Aws, CloudError};

/// The source of what instances tell.
pub const SHIM: &str = "cloudsnooze.shim";
/// The source of what the cloud side tells.
pub const CLOUD: &str = "cloudsnooze.cloud";

/// What one call takes together (EventBridge User Guide, "PutEvents entry size"; 1 MB by now,
/// but targets such as SNS stop here).
const SIZE: usize = 256 << 10;

/// One bus.
#[derive(Debug, Clone)]
pub struct Bus {
    client: aws_sdk_eventbridge::Client,
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
        Self { client: aws_sdk_eventbridge::Client::new(aws), name: name.to_owned() }
    }

    /// Puts entries, ten a call, and answers for each, in their order, whether it was taken. The
    /// SDK does not retry entries: those that failed are put again by whoever asked.
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
        let mut call = self.client.put_events();
        for entry in batch {
            let entry = PutEventsRequestEntry::builder()
                .event_bus_name(&self.name)
                .source(&entry.source)
                .detail_type(&entry.detail_type)
                .detail(&entry.detail);
            call = call.entries(entry.build());
        }
        let answer = call.send().await.map_err(|error| CloudError::of(OPERATION, &error))?;
        if answer.entries().len() != batch.len() {
            return Err(CloudError::bad_answer(OPERATION, "not one answer for each entry"));
        }
        let of = |code: Option<&str>, text: Option<&str>| match code {
            None => Ok(()),
            Some(code) => Err(CloudError::of_code(OPERATION, code, text.unwrap_or_default())),
        };
        let each = answer.entries().iter();
        Ok(each.map(|entry| of(entry.error_code(), entry.error_message())).collect())
    }
}

impl Bus {
    /// Looks whether it is there.
    ///
    /// # Errors
    /// It is not there, or cannot be asked for.
    pub async fn look(&self) -> Result<(), CloudError> {
        let answer = self.client.describe_event_bus().name(&self.name).send().await;
        answer.map(drop).map_err(|error| CloudError::of("DescribeEventBus", &error))
    }
}
