//! The table Policies: documents as operators wrote them, one item for each event type that a
//! policy names, and the item `#version` that changes with every write.
//!
//! | attribute | holds |
//! |---|---|
//! | `event_type`, `policy` | the key; `*` for a pattern that names no type exactly |
//! | `text`, `sha256` | the document as received, and its sum |
//! | `version` | the version of the table that brought it |
//! | `enabled`, `types`, `by`, `at` | whether it is on, all its types, who wrote it, when |
//! | `signature` | the document's signature by minisign, where it has one |
//! | `types` of `#version` | the types in use: `count` of policies, `bytes` of their items |

mod index;
mod item;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use jiff::Timestamp;
use snooze_policy::ledger::Shelf;
use snooze_policy::{Fault, Policy, PolicyName, check, read_all};

use self::index::Index;
use self::item::{document, key, sum};
use crate::item::{Item, ROUNDS, n, pause, s};
use crate::{Aws, CloudError, Kind};

/// The key of policies whose pattern names no event type exactly.
pub const ANY: &str = "*";
/// The key of the item that holds the version and the event types in use.
pub const VERSION: &str = "#version";
/// The most pages of one event type that are read; what is beyond is a fault, not a wait.
pub const PAGES: usize = 2;

/// The most bytes under one event type that [`PAGES`] are sure to hold: a page ends before the
/// item that would pass 1 MB (DynamoDB API reference, "Query").
pub const ROOM: usize = 1_900_000;
/// The most items of a transaction (DynamoDB API reference, "TransactWriteItems").
const TRANSACTION: usize = 100;

/// The table.
#[derive(Debug, Clone)]
pub struct Policies {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

/// One policy as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name.
    pub name: PolicyName,
    /// Its text, as received.
    pub text: String,
    /// The version of the table that brought it.
    pub version: u64,
    /// Whether it is on.
    pub enabled: bool,
    /// The sum of the text, in hexadecimal digits.
    pub sha256: String,
    /// The event types it stands under.
    pub types: Vec<String>,
    /// Who wrote it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Its signature as received; verified by the instances, not here.
    pub signature: Option<String>,
}

/// The table as it was at one version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Its version; 0 for a table that was never written.
    pub version: u64,
    /// What it holds, ordered by name, each policy once.
    pub documents: Vec<Document>,
    /// What could not be read.
    pub faults: Vec<String>,
}

impl Contents {
    /// The policies that can be used, and what is wrong with the others.
    #[must_use]
    pub fn shelf(&self) -> Shelf {
        let mut faults: Vec<Fault> =
            self.faults.iter().map(|text| Fault::new("table", text.as_str())).collect();
        let mut policies = Vec::new();
        for document in &self.documents {
            let name = &document.name;
            let (read, bad) = read_all([(name.as_str(), document.text.as_str())]);
            let named = |fault: Fault| Fault::new(&format!("{name}: {}", fault.path), fault.text);
            faults.extend(bad.into_iter().map(|(_, fault)| named(fault)));
            for policy in read {
                if policy.name == *name {
                    policies.push(policy);
                } else {
                    let text = format!("the document stored under this name names {}", policy.name);
                    faults.push(named(Fault::new("$.name", text)));
                }
            }
        }
        Shelf { version: Some(self.version), policies: policies.into(), faults }
    }
}

impl Policies {
    /// The table of this name.
    #[must_use]
    pub fn new(aws: &Aws, table: &str) -> Self {
        Self { client: aws_sdk_dynamodb::Client::new(aws), table: table.to_owned() }
    }

    /// The version of the table, read consistently; 0 when it was never written.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn version(&self) -> Result<u64, CloudError> {
        Ok(self.index().await?.version)
    }

    /// The policies that may match an event of this type: those under the type and under
    /// [`ANY`]. Read consistently: version item, then a query for each, all at once; what is
    /// written meanwhile may be there already.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn of_type(&self, event_type: &str) -> Result<Contents, CloudError> {
        let (index, own, any) = tokio::try_join!(
            self.index(),
            Box::pin(self.under(event_type)),
            Box::pin(self.under(ANY)),
        )?;
        Ok(contents(index.version, [own, any]))
    }

    /// All of the table, read consistently: the version item names the types, then one query for
    /// each. Read again when the version changed meanwhile.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn all(&self) -> Result<Contents, CloudError> {
        let mut index = self.index().await?;
        let mut round = 0;
        loop {
            let mut parts = Vec::new();
            for event_type in index.types.keys() {
                parts.push(self.under(event_type).await?);
            }
            let after = self.index().await?;
            let mut contents = contents(index.version, parts);
            if after.version == index.version {
                return Ok(contents);
            }
            round += 1;
            if round == ROUNDS {
                contents.faults.push("the table changed while it was read".to_owned());
                return Ok(contents);
            }
            index = after;
            pause(round).await;
        }
    }

    /// Stores a policy without a signature, in one transaction, and answers with the new version.
    ///
    /// # Errors
    /// The table cannot be written, or [`Kind::Invalid`]: the text is not a policy, or more
    /// policies would stand under one event type than are read at notice time.
    pub async fn put(&self, text: &str, by: &str, now: Timestamp) -> Result<u64, CloudError> {
        self.put_signed(text, None, by, now).await
    }

    /// The same with the signature of the text.
    ///
    /// # Errors
    /// As those of [`Policies::put`].
    pub async fn put_signed(
        &self,
        text: &str,
        signature: Option<&str>,
        by: &str,
        now: Timestamp,
    ) -> Result<u64, CloudError> {
        let policy = check(text).map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            CloudError::new(OPERATION, Kind::Invalid, "NotAPolicy", &faults.join("; "))
        })?;
        let types = types(&policy);
        for round in 0..ROUNDS {
            let mut index = self.index().await?;
            let before = self.stored(&index, &policy.name).await?;
            let seen = index.version;
            index.version = seen.saturating_add(1);
            let document = Document {
                name: policy.name.clone(),
                text: text.to_owned(),
                version: index.version,
                enabled: policy.enabled,
                sha256: sum(text),
                types: types.clone(),
                by: by.to_owned(),
                at: now,
                signature: signature.map(str::to_owned),
            };
            let items: Vec<Item> = types.iter().map(|it| item::write(it, &document)).collect();
            for item in &before {
                index.take_out(item);
            }
            for item in &items {
                index.put_in(item);
            }
            if let Some((full, used)) = index.types.iter().find(|(_, used)| used.bytes > ROOM) {
                let text = format!(
                    "`{full}` would hold {} bytes of policies: at most {ROOM} are read when an \
                     event comes",
                    used.bytes
                );
                return Err(CloudError::new(OPERATION, Kind::Invalid, "NoRoom", &text));
            }
            let is_left = |item: &&Item| !types.iter().any(|kind| item::is_under(item, kind));
            let left: Vec<&Item> = before.iter().filter(is_left).collect();
            if self.write(&index, seen, &items, &left).await? {
                return Ok(index.version);
            }
            pause(round).await;
        }
        Err(contended())
    }

    /// Removes a policy, and answers with the new version; `None` when there is none of the name.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn remove(&self, name: &PolicyName) -> Result<Option<u64>, CloudError> {
        for round in 0..ROUNDS {
            let mut index = self.index().await?;
            let before = self.stored(&index, name).await?;
            if before.is_empty() {
                return Ok(None);
            }
            let seen = index.version;
            index.version = seen.saturating_add(1);
            for item in &before {
                index.take_out(item);
            }
            if self.write(&index, seen, &[], &before.iter().collect::<Vec<_>>()).await? {
                return Ok(Some(index.version));
            }
            pause(round).await;
        }
        Err(contended())
    }

    async fn index(&self) -> Result<Index, CloudError> {
        let item = self.get(VERSION, VERSION).await?;
        Ok(item.as_ref().map(Index::read).unwrap_or_default())
    }

    async fn get(&self, event_type: &str, policy: &str) -> Result<Option<Item>, CloudError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(event_type, policy)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| CloudError::of("GetItem", &error))?;
        Ok(answer.item)
    }

    /// All items of a policy.
    async fn stored(&self, index: &Index, name: &PolicyName) -> Result<Vec<Item>, CloudError> {
        let mut items = Vec::new();
        for event_type in index.types.keys() {
            items.extend(self.get(event_type, name.as_str()).await?);
        }
        Ok(items)
    }

    /// What stands under one event type: its first [`PAGES`].
    async fn under(&self, event_type: &str) -> Result<(Vec<Item>, Option<String>), CloudError> {
        let mut items = Vec::new();
        let mut from = None;
        for _ in 0..PAGES {
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("#type = :type")
                .expression_attribute_names("#type", "event_type")
                .expression_attribute_values(":type", s(event_type))
                .consistent_read(true)
                .set_exclusive_start_key(from.take())
                .send()
                .await
                .map_err(|error| CloudError::of("Query", &error))?;
            items.extend(page.items.unwrap_or_default());
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok((items, None));
            }
        }
        let fault = format!(
            "`{event_type}`: more than {PAGES} pages of policies: only the first {} are read",
            items.len()
        );
        Ok((items, Some(fault)))
    }

    /// Writes one version after the other; false when somebody else was first.
    async fn write(
        &self,
        index: &Index,
        seen: u64,
        put: &[Item],
        left: &[&Item],
    ) -> Result<bool, CloudError> {
        if put.len() + left.len() >= TRANSACTION {
            let text = "a policy names too many event types for one transaction";
            return Err(CloudError::new(OPERATION, Kind::Invalid, "NoRoom", text));
        }
        let unsent = |error: aws_sdk_dynamodb::error::BuildError| {
            CloudError::new(OPERATION, Kind::Invalid, "NotSent", &error.to_string())
        };
        let version = Put::builder().table_name(&self.table).set_item(Some(index.write()));
        let version = match seen {
            0 => version
                .condition_expression("attribute_not_exists(#version)")
                .expression_attribute_names("#version", "version"),
            seen => version
                .condition_expression("#version = :seen")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":seen", n(seen)),
        };
        let version = version.build().map_err(unsent)?;
        let mut items = vec![TransactWriteItem::builder().put(version).build()];
        for item in put {
            let put = Put::builder().table_name(&self.table).set_item(Some(item.clone()));
            let put = put.build().map_err(unsent)?;
            items.push(TransactWriteItem::builder().put(put).build());
        }
        for item in left {
            let delete = Delete::builder().table_name(&self.table);
            let delete = delete.set_key(Some(item::key_of(item))).build().map_err(unsent)?;
            items.push(TransactWriteItem::builder().delete(delete).build());
        }
        let answer =
            self.client.transact_write_items().set_transact_items(Some(items)).send().await;
        let Err(error) = answer else { return Ok(true) };
        if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
            error.as_service_error()
        {
            let codes = cancelled.cancellation_reasons().iter().filter_map(|it| it.code());
            match codes.filter(|code| *code != "None").max() {
                Some("ConditionalCheckFailed" | "TransactionConflict") => return Ok(false),
                Some(code) => return Err(CloudError::of_code(OPERATION, code, "")),
                None => {}
            }
        }
        Err(CloudError::of(OPERATION, &error))
    }
}

const OPERATION: &str = "TransactWriteItems";

/// The event types a policy stands under.
fn types(policy: &Policy) -> Vec<String> {
    match policy.pattern.exact_strings("type") {
        Some(types) if !types.is_empty() => {
            let mut types: Vec<String> = types.into_iter().map(str::to_owned).collect();
            types.sort();
            types
        }
        Some(_) | None => vec![ANY.to_owned()],
    }
}

/// Each policy once, ordered by name.
fn contents(
    version: u64,
    parts: impl IntoIterator<Item = (Vec<Item>, Option<String>)>,
) -> Contents {
    let mut contents = Contents { version, ..Contents::default() };
    for (items, fault) in parts {
        contents.faults.extend(fault);
        for item in &items {
            match document(item) {
                Ok(document) => contents.documents.push(document),
                Err(fault) => contents.faults.push(fault),
            }
        }
    }
    // Of one policy under two types the newer text holds, should they differ.
    let order = |document: &Document| (document.name.clone(), std::cmp::Reverse(document.version));
    contents.documents.sort_by_key(order);
    contents.documents.dedup_by(|one, other| one.name == other.name);
    contents.faults.sort();
    contents.faults.dedup();
    contents
}

fn contended() -> CloudError {
    CloudError::new(OPERATION, Kind::Later, "Contended", "others wrote it time and again")
}
