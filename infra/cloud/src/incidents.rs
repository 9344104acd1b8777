//! The table Incidents: one item for each [`Incident`], written on the condition that nobody
//! wrote it meanwhile.
//!
//! | attribute | holds |
//! |---|---|
//! | `incident` | the id; `claim/KEY` for a claim |
//! | `body` | the incident, as JSON |
//! | `revision`, `writer` | how often it was written, and a word that only the last writer knows |
//! | `instance_id`, `opened_at` | the index `by-instance` |
//! | `open`, `due` | the index `open-due`, sparse: the shard, and when the sweep has to look |
//! | `outcome`, `expires_at` | how it ended, and when the table may forget it |
//! | `target`, `claimed_at` | of a claim: its incident, and since when |

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use jiff::Timestamp;
use snooze_event::InstanceId;
use snooze_policy::ledger::{Claim, Incident, SCHEMA};
use tokio::task::JoinSet;
use tracing::warn;
use uuid::Uuid;

use crate::item::{Item, ROUNDS, after, fixed, n, number, pause, s, second, text};
use crate::{Aws, CloudError, Kind};

/// Open incidents are spread over this many keys of the index: one key takes 1,000 writes a
/// second (DynamoDB Developer Guide, "Partitions and data distribution").
const SHARDS: u32 = 16;
const BY_INSTANCE: &str = "by-instance";
const OPEN_DUE: &str = "open-due";

/// The table.
#[derive(Debug, Clone)]
pub struct Incidents {
    client: aws_sdk_dynamodb::Client,
    table: String,
    keep: Duration,
}

/// An incident as it stands in the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The incident.
    pub incident: Incident,
    /// Rises with every write.
    pub revision: u64,
}

/// Who has a claim.
#[derive(Debug, Clone, PartialEq)]
pub enum Claimed {
    /// We: the incident was opened.
    Opened(Stored),
    /// Somebody else, earlier, or we ourselves in an earlier run.
    Known(Stored),
}

/// What came of one try to claim.
enum Tried {
    Opened,
    /// The claim is held, for this incident.
    Held(String),
    /// Another transaction is at it.
    Busy,
}

/// What came of one try to write.
enum Written {
    Done,
    /// Somebody else wrote it; this is there now.
    Other(Box<Stored>),
    Gone,
    Busy,
}

impl Incidents {
    /// The table of this name; incidents are kept for `keep` after they were opened.
    #[must_use]
    pub fn new(aws: &Aws, table: &str, keep: Duration) -> Self {
        Self { client: aws_sdk_dynamodb::Client::new(aws), table: table.to_owned(), keep }
    }

    /// Opens the incident that `open` makes of a fresh id, unless the claim is held. A write of
    /// ours whose answer was lost is recognised, and answers [`Claimed::Opened`].
    ///
    /// # Errors
    /// The table cannot be read or written.
    pub async fn claim(
        &self,
        claim: &Claim,
        open: impl FnOnce(&str) -> Incident,
        now: Timestamp,
    ) -> Result<Claimed, CloudError> {
        const OPERATION: &str = "TransactWriteItems";
        let incident = open(&claim.id(now));
        let writer = writer();
        let item = self.item(OPERATION, &incident, 1, &writer)?;
        let mut over_before = claim.over_before(now);
        for round in 0..ROUNDS {
            match self.try_claim(claim, &item, &writer, (over_before, now)).await? {
                Tried::Opened => return Ok(Claimed::Opened(Stored { incident, revision: 1 })),
                Tried::Held(target) => match self.item_of(&target).await? {
                    Some(item) if text(&item, "writer") == Some(&writer) => {
                        return stored("GetItem", &item).map(Claimed::Opened);
                    }
                    Some(item) => return stored("GetItem", &item).map(Claimed::Known),
                    // Its incident was removed by hand: the claim holds nothing.
                    None => over_before = after(now, Duration::from_secs(1)),
                },
                Tried::Busy => pause(round).await,
            }
        }
        Err(contended(OPERATION))
    }

    /// Reads one incident, consistently.
    ///
    /// # Errors
    /// The table cannot be read, or what it holds is not an incident.
    pub async fn read(&self, id: &str) -> Result<Option<Stored>, CloudError> {
        self.item_of(id).await?.map(|item| stored("GetItem", &item)).transpose()
    }

    /// Changes an incident: reads it, lets `change` have it, writes it, and does so again when
    /// somebody else wrote it meanwhile. `None` when there is none of this id. `change` answers
    /// with whatever it decided; when it changed nothing, nothing is written.
    ///
    /// # Errors
    /// The table cannot be read or written, or others wrote it time and again.
    pub async fn change<T>(
        &self,
        id: &str,
        change: impl Fn(&mut Incident) -> T,
    ) -> Result<Option<(T, Stored)>, CloudError> {
        match self.read(id).await? {
            Some(stored) => self.change_from(stored, change).await,
            None => Ok(None),
        }
    }

    /// As [`Incidents::change`], from a copy at hand, which saves the first read.
    ///
    /// # Errors
    /// As there.
    pub async fn change_from<T>(
        &self,
        mut stored: Stored,
        change: impl Fn(&mut Incident) -> T,
    ) -> Result<Option<(T, Stored)>, CloudError> {
        for round in 0..ROUNDS {
            let mut incident = stored.incident.clone();
            let answer = change(&mut incident);
            if incident == stored.incident {
                return Ok(Some((answer, stored)));
            }
            match self.write(&incident, stored.revision).await? {
                Written::Done => {
                    let revision = stored.revision.saturating_add(1);
                    return Ok(Some((answer, Stored { incident, revision })));
                }
                Written::Other(present) => stored = *present,
                Written::Gone => return Ok(None),
                Written::Busy => {}
            }
            pause(round).await;
        }
        Err(contended("PutItem"))
    }

    /// The incidents of an instance that were opened at or after `since`, the latest first, at
    /// most `limit`. The index may be a moment late. What cannot be read is left out.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn of_instance(
        &self,
        instance: &InstanceId,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<Stored>, CloudError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_INSTANCE)
            .key_condition_expression("#instance = :instance AND #opened >= :since")
            .expression_attribute_names("#instance", "instance_id")
            .expression_attribute_names("#opened", "opened_at")
            .expression_attribute_values(":instance", s(instance.as_str()))
            .expression_attribute_values(":since", fixed(since))
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX).max(1))
            .send()
            .await
            .map_err(|error| CloudError::of("Query", &error))?;
        Ok(readable("Query", answer.items()))
    }

    /// The ids of the open incidents that are to be looked at by `now`, at most `limit`, the
    /// longest due first.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<String>, CloudError> {
        let mut queries = JoinSet::new();
        for shard in 0..SHARDS {
            let query = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(OPEN_DUE)
                .key_condition_expression("#open = :shard AND #due <= :now")
                .expression_attribute_names("#open", "open")
                .expression_attribute_names("#due", "due")
                .expression_attribute_values(":shard", s(shard.to_string()))
                .expression_attribute_values(":now", second(now))
                .limit(i32::try_from(limit).unwrap_or(i32::MAX).max(1));
            queries.spawn(query.send());
        }
        let mut due: Vec<(i64, String)> = Vec::new();
        while let Some(ended) = queries.join_next().await {
            let answer = ended
                .map_err(|error| CloudError::bad_answer("Query", &error.to_string()))?
                .map_err(|error| CloudError::of("Query", &error))?;
            let found = answer.items().iter().filter_map(|item| {
                Some((number(item, "due")?, text(item, "incident")?.to_owned()))
            });
            due.extend(found);
        }
        due.sort();
        due.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(due.into_iter().map(|(_, id)| id).collect())
    }

    /// The incidents opened at or after `since`, the latest first, at most `limit`: a scan, for a
    /// person who asks. What cannot be read is left out.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn list(&self, since: Timestamp, limit: u32) -> Result<Vec<Stored>, CloudError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut latest = BTreeMap::new();
        let mut from = None;
        loop {
            let page = self
                .client
                .scan()
                .table_name(&self.table)
                .filter_expression("attribute_exists(#body) AND #opened >= :since")
                .expression_attribute_names("#body", "body")
                .expression_attribute_names("#opened", "opened_at")
                .expression_attribute_values(":since", fixed(since))
                .set_exclusive_start_key(from.take())
                .send()
                .await
                .map_err(|error| CloudError::of("Scan", &error))?;
            for stored in readable("Scan", page.items()) {
                latest.insert((stored.incident.opened_at, stored.incident.id.clone()), stored);
            }
            while latest.len() > limit {
                latest.pop_first();
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(latest.into_values().rev().collect());
            }
        }
    }

    async fn item_of(&self, id: &str) -> Result<Option<Item>, CloudError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("incident", s(id))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| CloudError::of("GetItem", &error))?;
        Ok(answer.item)
    }

    async fn try_claim(
        &self,
        claim: &Claim,
        item: &Item,
        writer: &str,
        (over_before, now): (Timestamp, Timestamp),
    ) -> Result<Tried, CloudError> {
        const OPERATION: &str = "TransactWriteItems";
        let id = text(item, "incident").unwrap_or_default();
        let held = Put::builder()
            .table_name(&self.table)
            .item("incident", s(format!("claim/{}", claim.key)))
            .item("target", s(id))
            .item("claimed_at", second(now))
            .item("expires_at", second(after(now, self.keep.max(claim.window))))
            .condition_expression("attribute_not_exists(#incident) OR #claimed < :over_before")
            .expression_attribute_names("#incident", "incident")
            .expression_attribute_names("#claimed", "claimed_at")
            .expression_attribute_values(":over_before", second(over_before));
        let opened = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item.clone()))
            .condition_expression("attribute_not_exists(#incident)")
            .expression_attribute_names("#incident", "incident");
        let mut transaction = self.client.transact_write_items().client_request_token(writer);
        for put in [held, opened] {
            let put = put
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                )
                .build()
                .map_err(|error| {
                    CloudError::new(OPERATION, Kind::Invalid, "NotSent", &error.to_string())
                })?;
            transaction = transaction.transact_items(TransactWriteItem::builder().put(put).build());
        }
        match transaction.send().await {
            Ok(_) => Ok(Tried::Opened),
            Err(error) => match reasons(&error) {
                [held, opened] => {
                    if failed(held) {
                        let target = held.item().and_then(|item| text(item, "target"));
                        return Ok(Tried::Held(target.unwrap_or_default().to_owned()));
                    }
                    if failed(opened) {
                        return Ok(Tried::Held(id.to_owned()));
                    }
                    let code = |reason: &CancellationReason| reason.code.clone();
                    match [code(held), code(opened)].into_iter().flatten().find(|it| it != "None") {
                        Some(code) if code == "TransactionConflict" => Ok(Tried::Busy),
                        Some(code) => Err(CloudError::of_code(OPERATION, &code, "")),
                        None => Err(CloudError::of(OPERATION, &error)),
                    }
                }
                _ => Err(CloudError::of(OPERATION, &error)),
            },
        }
    }

    /// Writes an incident in place of the one with this revision.
    async fn write(&self, incident: &Incident, seen: u64) -> Result<Written, CloudError> {
        const OPERATION: &str = "PutItem";
        let writer = writer();
        let item = self.item(OPERATION, incident, seen.saturating_add(1), &writer)?;
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("#revision = :seen")
            .expression_attribute_names("#revision", "revision")
            .expression_attribute_values(":seen", n(seen))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = answer else { return Ok(Written::Done) };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(failed)) => match failed.item() {
                None => Ok(Written::Gone),
                // The SDK asked twice, since the first answer was lost.
                Some(item) if text(item, "writer") == Some(&writer) => Ok(Written::Done),
                Some(item) => Ok(Written::Other(Box::new(stored(OPERATION, item)?))),
            },
            Some(PutItemError::TransactionConflictException(_)) => Ok(Written::Busy),
            _ => Err(CloudError::of(OPERATION, &error)),
        }
    }

    fn item(
        &self,
        operation: &'static str,
        incident: &Incident,
        revision: u64,
        writer: &str,
    ) -> Result<Item, CloudError> {
        let body = serde_json::to_string(incident).map_err(|error| {
            CloudError::new(operation, Kind::Invalid, "NotAnIncident", &error.to_string())
        })?;
        let mut item = Item::from([
            ("incident".to_owned(), s(&incident.id)),
            ("opened_at".to_owned(), fixed(incident.opened_at)),
            ("expires_at".to_owned(), second(after(incident.opened_at, self.keep))),
            ("revision".to_owned(), n(revision)),
            ("writer".to_owned(), s(writer)),
            ("body".to_owned(), s(body)),
        ]);
        if let Some(instance) = &incident.instance {
            item.insert("instance_id".to_owned(), s(instance));
        }
        if let Some(ended) = &incident.ended {
            item.insert("outcome".to_owned(), s(&ended.outcome));
        }
        if let Some(due) = incident.look_at() {
            item.insert("open".to_owned(), s(shard(&incident.id).to_string()));
            item.insert("due".to_owned(), second(due));
        }
        Ok(item)
    }
}

/// A word that no other write has.
fn writer() -> String {
    Uuid::new_v4().to_string()
}

/// The shard of an incident: FNV-1a of its id.
fn shard(id: &str) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    id.bytes().fold(0x811c_9dc5, step) % SHARDS
}

fn stored(operation: &'static str, item: &Item) -> Result<Stored, CloudError> {
    let bad = |why: &str| {
        let id = text(item, "incident").unwrap_or_default();
        CloudError::new(operation, Kind::Invalid, "NotAnIncident", &format!("`{id}`: {why}"))
    };
    let body = text(item, "body").ok_or_else(|| bad("it has no `body`"))?;
    let incident: Incident = serde_json::from_str(body).map_err(|error| bad(&error.to_string()))?;
    if incident.schema > SCHEMA {
        // Read as ours it would be written back without what we do not know.
        return Err(bad(&format!("it is of form {}: expected at most {SCHEMA}", incident.schema)));
    }
    let revision = number(item, "revision").ok_or_else(|| bad("it has no `revision`"))?;
    Ok(Stored { incident, revision })
}

fn readable(operation: &'static str, items: &[Item]) -> Vec<Stored> {
    let read = |item: &Item| stored(operation, item).inspect_err(|error| warn!(%error, "left out"));
    items.iter().filter_map(|item| read(item).ok()).collect()
}

fn reasons(error: &SdkError<TransactWriteItemsError>) -> &[CancellationReason] {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            cancelled.cancellation_reasons()
        }
        _ => &[],
    }
}

/// Whether the condition of this part did not hold.
fn failed(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

fn contended(operation: &'static str) -> CloudError {
    CloudError::new(operation, Kind::Later, "Contended", "others wrote it time and again")
}
