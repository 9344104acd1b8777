//! DynamoDB: tables whose keys follow from how their names end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use serde_json::{Map, Value, json};

use super::condition::{Item, Operand, Test, Words};
use super::door::{Outcome, Played, Refusal, not_played};
use super::update;

/// The most bytes of items in a page.
const PAGE: usize = 1 << 20;
/// The largest item.
const LARGEST: usize = 400 << 10;

#[derive(Debug, Default)]
pub(super) struct Tables {
    tables: HashMap<String, Table>,
    /// Transactions by their tokens.
    tokens: HashMap<String, String>,
    pub(super) forgets_tokens: bool,
}

#[derive(Debug, Default)]
struct Table {
    items: BTreeMap<Key, Item>,
    /// The items of each index, by its name and its hash key, in the order of its range key.
    indexed: HashMap<(&'static str, String), BTreeSet<(String, Key)>>,
}

type Key = (String, String);

/// The names of a table's keys and of its indexes' keys.
struct Schema {
    hash: &'static str,
    range: Option<&'static str>,
    indexes: &'static [Index],
}

struct Index {
    name: &'static str,
    hash: &'static str,
    range: &'static str,
    /// The type of the range key.
    kind: &'static str,
    keys_only: bool,
}

const INDEXES: [Index; 2] = [
    Index {
        name: "by-instance",
        hash: "instance_id",
        range: "opened_at",
        kind: "S",
        keys_only: false,
    },
    Index { name: "open-due", hash: "open", range: "due", kind: "N", keys_only: true },
];

fn schema(table: &str) -> Result<Schema, Refusal> {
    let of = |hash, range, indexes| Ok(Schema { hash, range, indexes });
    match table {
        table if table.ends_with("policies") => of("event_type", Some("policy"), &[]),
        table if table.ends_with("instances") => of("instance_id", None, &[]),
        table if table.ends_with("incidents") => of("incident", None, &INDEXES),
        _ => {
            let text = "Requested resource not found: no such table";
            Err(Refusal::new("ResourceNotFoundException", text))
        }
    }
}

impl Tables {
    pub(super) fn items(&self, table: &str) -> Vec<Item> {
        let items = self.tables.get(table).into_iter().flat_map(|table| table.items.values());
        items.cloned().collect()
    }

    /// Puts an item that a test made; one without its keys is left out.
    pub(super) fn insert(&mut self, table: &str, item: Item) {
        if let Ok(schema) = schema(table)
            && let Ok(key) = key(&schema, &item)
        {
            self.tables.entry(table.to_owned()).or_default().set(&schema, key, Some(item));
        }
    }

    fn find(&self, table: &str, key: &Key) -> Option<&Item> {
        self.tables.get(table)?.items.get(key)
    }
}

impl Table {
    fn set(&mut self, schema: &Schema, key: Key, item: Option<Item>) {
        let place = |item: &Item, index: &Index| {
            let range = item.get(index.range)?.get(index.kind)?.as_str()?;
            // Numbers sort as text when they are of one width: none here is below zero.
            let range = if index.kind == "N" { format!("{range:0>38}") } else { range.to_owned() };
            Some(((index.name, text(item, index.hash)?.to_owned()), range))
        };
        if let Some(old) = self.items.get(&key) {
            for (at, range) in schema.indexes.iter().filter_map(|index| place(old, index)) {
                if let Some(keys) = self.indexed.get_mut(&at) {
                    keys.remove(&(range, key.clone()));
                }
            }
        }
        let Some(item) = item else {
            self.items.remove(&key);
            return;
        };
        for (at, range) in schema.indexes.iter().filter_map(|index| place(&item, index)) {
            self.indexed.entry(at).or_default().insert((range, key.clone()));
        }
        self.items.insert(key, item);
    }
}

pub(super) fn play(tables: &mut Tables, operation: &str, body: &Value) -> Outcome {
    let answer = match operation {
        "GetItem" => get(tables, body)?,
        "PutItem" | "UpdateItem" | "DeleteItem" => write(tables, operation, body)?,
        "Query" => query(tables, body)?,
        "Scan" => scan(tables, body)?,
        "TransactWriteItems" => transact(tables, body)?,
        other => return Err(not_played(other)),
    };
    Ok(Played::Json(answer))
}

fn get(tables: &Tables, body: &Value) -> Result<Value, Refusal> {
    only(body, &["TableName", "Key", "ConsistentRead"])?;
    let table = table_of(body);
    let key = key(&schema(table)?, object(body, "Key")?)?;
    Ok(match tables.find(table, &key) {
        Some(item) => json!({ "Item": item }),
        None => json!({}),
    })
}

/// One write, decided and not yet done.
struct Write {
    table: String,
    key: Key,
    item: Option<Item>,
}

/// Why a write is refused: its condition, with the item that was there, or the request.
enum Refused {
    Condition(Option<Item>),
    Request(Refusal),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Request(refusal)
    }
}

fn write(tables: &mut Tables, operation: &str, body: &Value) -> Result<Value, Refusal> {
    let decided = decide(tables, operation, body).map_err(|refused| match refused {
        Refused::Request(refusal) => refusal,
        Refused::Condition(present) => {
            let text = "The conditional request failed";
            let mut refusal = Refusal::new("ConditionalCheckFailedException", text);
            refusal.more.extend(present.map(|item| ("Item".to_owned(), Value::Object(item))));
            refusal
        }
    })?;
    let answer = match body.get("ReturnValues").and_then(Value::as_str) {
        None | Some("NONE") => json!({}),
        Some("ALL_NEW") if operation == "UpdateItem" => json!({ "Attributes": decided.item }),
        Some(other) => return Err(Refusal::invalid(&format!("`{other}` is not played"))),
    };
    make(tables, decided)?;
    Ok(answer)
}

fn make(tables: &mut Tables, write: Write) -> Result<(), Refusal> {
    let schema = schema(&write.table)?;
    tables.tables.entry(write.table).or_default().set(&schema, write.key, write.item);
    Ok(())
}

/// What a `Put`, `Update`, `Delete` or check would do.
fn decide(tables: &Tables, operation: &str, body: &Value) -> Result<Write, Refused> {
    let expressions = [
        "TableName",
        "ConditionExpression",
        "ExpressionAttributeNames",
        "ExpressionAttributeValues",
        "ReturnValuesOnConditionCheckFailure",
        "ReturnValues",
    ];
    let of = |own: &[&'static str]| [expressions.as_slice(), own].concat();
    let table = table_of(body).to_owned();
    let schema = schema(&table)?;
    let words = Words::of(body);
    let test = words.test(body, "ConditionExpression")?;
    let key = match operation {
        "PutItem" | "Put" => key(&schema, object(body, "Item")?)?,
        _ => key(&schema, object(body, "Key")?)?,
    };
    let old = tables.find(&table, &key);
    let item = match operation {
        "PutItem" | "Put" => {
            only(body, &of(&["Item"]))?;
            Some(object(body, "Item")?.clone())
        }
        "UpdateItem" | "Update" => {
            only(body, &of(&["Key", "UpdateExpression"]))?;
            let text = body.get("UpdateExpression").and_then(Value::as_str).unwrap_or_default();
            let item = match old {
                Some(old) => old.clone(),
                None => object(body, "Key")?.clone(),
            };
            // What the condition forbids is not tried out on an item that lacks its attributes.
            if test.as_ref().is_some_and(|test| !test.holds(old)) {
                None
            } else {
                Some(update::apply(&words, text, old, item)?)
            }
        }
        "DeleteItem" | "Delete" => {
            only(body, &of(&["Key"]))?;
            None
        }
        other => return Err(not_played(other).into()),
    };
    if test.is_some_and(|test| !test.holds(old)) {
        let all = body.get("ReturnValuesOnConditionCheckFailure").and_then(Value::as_str);
        return Err(Refused::Condition(old.filter(|_| all == Some("ALL_OLD")).cloned()));
    }
    words.all_used()?;
    if let Some(item) = &item {
        usable(&schema, item)?;
    }
    Ok(Write { table, key, item })
}

/// Refuses an item that the table would not take.
fn usable(schema: &Schema, item: &Item) -> Result<(), Refusal> {
    let size = size(item);
    if size > LARGEST {
        return Err(Refusal::invalid(&format!("Item size has exceeded the maximum: {size}")));
    }
    for index in schema.indexes {
        for (name, kind) in [(index.hash, "S"), (index.range, index.kind)] {
            let Some(value) = item.get(name) else { continue };
            let text = value.get(kind).and_then(Value::as_str);
            if text.is_none_or(str::is_empty) {
                let text = format!("Type mismatch for Index Key {name}: expected {kind}");
                return Err(Refusal::invalid(&text));
            }
        }
    }
    Ok(())
}

fn transact(tables: &mut Tables, body: &Value) -> Result<Value, Refusal> {
    only(body, &["TransactItems", "ClientRequestToken"])?;
    let token = body.get("ClientRequestToken").and_then(Value::as_str).unwrap_or_default();
    let parts = body.get("TransactItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let content = Value::Array(parts.to_vec()).to_string();
    match tables.tokens.get(token) {
        Some(known) if !token.is_empty() && !tables.forgets_tokens && *known == content => {
            return Ok(json!({}));
        }
        Some(_) if !token.is_empty() && !tables.forgets_tokens => {
            let text = "the token was used with other parameters";
            return Err(Refusal::new("IdempotentParameterMismatchException", text));
        }
        Some(_) | None => {}
    }
    if parts.is_empty() || parts.len() > 100 {
        return Err(Refusal::invalid("1 to 100 items are taken in a transaction"));
    }
    let (mut writes, mut reasons) = (Vec::new(), Vec::new());
    for part in parts {
        let Some((kind, request)) = part.as_object().and_then(|part| part.iter().next()) else {
            return Err(Refusal::invalid("a part of the transaction is empty"));
        };
        match decide(tables, kind, request) {
            Ok(write) => {
                writes.push(write);
                reasons.push(json!({ "Code": "None" }));
            }
            Err(Refused::Request(refusal)) => return Err(refusal),
            Err(Refused::Condition(present)) => {
                let text = "The conditional request failed";
                let mut reason = json!({ "Code": "ConditionalCheckFailed", "Message": text });
                if let (Some(members), Some(item)) = (reason.as_object_mut(), present) {
                    members.insert("Item".to_owned(), Value::Object(item));
                }
                reasons.push(reason);
            }
        }
    }
    if writes.len() < parts.len() {
        let text = "Transaction cancelled, please refer cancellation reasons for specific reasons";
        let mut refusal = Refusal::new("TransactionCanceledException", text);
        refusal.more.insert("CancellationReasons".to_owned(), Value::Array(reasons));
        return Err(refusal);
    }
    let places: BTreeSet<_> = writes.iter().map(|write| (&write.table, &write.key)).collect();
    if places.len() < writes.len() {
        let text = "Transaction request cannot include multiple operations on one item";
        return Err(Refusal::invalid(text));
    }
    for write in writes {
        make(tables, write)?;
    }
    tables.tokens.insert(token.to_owned(), content);
    Ok(json!({}))
}

fn query(tables: &Tables, body: &Value) -> Result<Value, Refusal> {
    only(
        body,
        &[
            "TableName",
            "IndexName",
            "KeyConditionExpression",
            "ExpressionAttributeNames",
            "ExpressionAttributeValues",
            "Limit",
            "ScanIndexForward",
            "ConsistentRead",
            "ExclusiveStartKey",
        ],
    )?;
    let schema = schema(table_of(body))?;
    let words = Words::of(body);
    let test = words.test(body, "KeyConditionExpression")?;
    let Some(test) = test else { return Err(Refusal::invalid("a query needs a key")) };
    words.all_used()?;
    let index = body.get("IndexName").and_then(Value::as_str);
    let index = match index {
        None => None,
        Some(name) => match schema.indexes.iter().find(|index| index.name == name) {
            Some(index) => Some(index),
            None => return Err(Refusal::invalid("The table does not have the specified index")),
        },
    };
    let consistent = body.get("ConsistentRead").and_then(Value::as_bool) == Some(true);
    if index.is_some() && consistent {
        let text = "Consistent reads are not supported on global secondary indexes";
        return Err(Refusal::invalid(text));
    }
    let (hash, range) = match index {
        Some(index) => (index.hash, Some(index.range)),
        None => (schema.hash, schema.range),
    };
    let wanted = hash_of(&test, hash, range)?;
    let empty = Table::default();
    let table = tables.tables.get(table_of(body)).unwrap_or(&empty);
    let all: Box<dyn DoubleEndedIterator<Item = &Item>> = match index {
        Some(index) => {
            let keys = table.indexed.get(&(index.name, wanted)).into_iter().flatten();
            Box::new(keys.filter_map(|(_, key)| table.items.get(key)))
        }
        None => {
            let from = (wanted.clone(), String::new());
            // What sorts right after it.
            let to = (format!("{wanted}\0"), String::new());
            Box::new(table.items.range(from..to).map(|(_, item)| item))
        }
    };
    let forward = body.get("ScanIndexForward").and_then(Value::as_bool) != Some(false);
    let all = if forward { all } else { Box::new(all.rev()) };
    let mut found = all.filter(|item| test.holds(Some(item)));
    let names: Vec<&str> = [Some(schema.hash), schema.range, index.map(|it| it.hash)]
        .into_iter()
        .chain([index.map(|it| it.range)])
        .flatten()
        .collect();
    if let Some(start) = body.get("ExclusiveStartKey").and_then(Value::as_object) {
        let _before = found.by_ref().find(|item| named(item, &names) == *start);
    }
    let limit = body.get("Limit").and_then(Value::as_u64);
    let keys_only = index.is_some_and(|index| index.keys_only);
    Ok(page(found, limit, &names, |item| {
        Some(if keys_only { named(item, &names) } else { item.clone() })
    }))
}

/// The value that a key condition wants the hash key to equal.
fn hash_of(test: &Test, hash: &str, range: Option<&str>) -> Result<String, Refusal> {
    let single = [test.clone()];
    let tests = if let Test::And(tests) = test { tests.as_slice() } else { &single };
    let mut wanted = None;
    for test in tests {
        if let Test::Compare(Operand::Name(name), sign, Operand::Value(value)) = test
            && name == hash
            && sign == "="
        {
            wanted = value.get("S").and_then(Value::as_str).map(str::to_owned);
            continue;
        }
        let is_of_range = matches!(
            test,
            Test::Compare(Operand::Name(name), ..) | Test::Begins(Operand::Name(name), _)
                if Some(name.as_str()) == range
        );
        if !is_of_range {
            return Err(Refusal::invalid("Query key condition not supported"));
        }
    }
    wanted.ok_or_else(|| Refusal::invalid("Query condition missed key schema element"))
}

fn scan(tables: &Tables, body: &Value) -> Result<Value, Refusal> {
    only(
        body,
        &[
            "TableName",
            "FilterExpression",
            "ExpressionAttributeNames",
            "ExpressionAttributeValues",
            "Limit",
            "ConsistentRead",
            "ExclusiveStartKey",
        ],
    )?;
    let schema = schema(table_of(body))?;
    let words = Words::of(body);
    let test = words.test(body, "FilterExpression")?;
    words.all_used()?;
    let start = match body.get("ExclusiveStartKey").and_then(Value::as_object) {
        Some(start) => Bound::Excluded(key(&schema, start)?),
        None => Bound::Unbounded,
    };
    let empty = Table::default();
    let table = tables.tables.get(table_of(body)).unwrap_or(&empty);
    let items = table.items.range((start, Bound::Unbounded)).map(|(_, item)| item);
    let names: Vec<&str> = [Some(schema.hash), schema.range].into_iter().flatten().collect();
    let limit = body.get("Limit").and_then(Value::as_u64);
    Ok(page(items, limit, &names, |item| {
        test.as_ref().is_none_or(|test| test.holds(Some(item))).then(|| item.clone())
    }))
}

/// As many items as a page holds, and where the next begins.
fn page<'a>(
    mut items: impl Iterator<Item = &'a Item>,
    limit: Option<u64>,
    names: &[&str],
    show: impl Fn(&Item) -> Option<Item>,
) -> Value {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let (mut shown, mut seen, mut sum, mut last) = (Vec::new(), 0_usize, 0_usize, None);
    let mut next = None;
    for item in items.by_ref() {
        let size = size(item);
        if seen == limit || (seen > 0 && sum + size > PAGE) {
            next = last;
            break;
        }
        (seen, sum, last) = (seen + 1, sum + size, Some(item));
        shown.extend(show(item).map(Value::Object));
    }
    let mut page = json!({ "Count": shown.len(), "ScannedCount": seen, "Items": shown });
    if let (Some(members), Some(next)) = (page.as_object_mut(), next) {
        members.insert("LastEvaluatedKey".to_owned(), Value::Object(named(next, names)));
    }
    page
}

/// The size of an item: names and values, in bytes.
fn size(item: &Item) -> usize {
    fn of(value: &Value) -> usize {
        match value {
            Value::String(text) => text.len(),
            Value::Array(list) => list.iter().map(of).sum(),
            Value::Object(members) => members.iter().map(|(name, it)| name.len() + of(it)).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        }
    }
    // The letter of a type is no part of an item.
    let value = |value: &Value| of(value).saturating_sub(1);
    item.iter().map(|(name, it)| name.len() + value(it)).sum()
}

fn key(schema: &Schema, item: &Map<String, Value>) -> Result<Key, Refusal> {
    let of = |name: &str| match text(item, name) {
        Some(text) if !text.is_empty() && text.len() <= 1024 => Ok(text.to_owned()),
        Some(_) | None => {
            Err(Refusal::invalid(&format!("The provided key element `{name}` is not a key")))
        }
    };
    Ok((of(schema.hash)?, schema.range.map(of).transpose()?.unwrap_or_default()))
}

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.get("S")?.as_str()
}

fn named(item: &Item, names: &[&str]) -> Item {
    let of = |name: &&str| Some(((*name).to_owned(), item.get(*name)?.clone()));
    names.iter().filter_map(of).collect()
}

fn table_of(body: &Value) -> &str {
    body.get("TableName").and_then(Value::as_str).unwrap_or_default()
}

fn object<'a>(body: &'a Value, name: &str) -> Result<&'a Item, Refusal> {
    let missing = || Refusal::invalid(&format!("`{name}` is missing"));
    body.get(name).and_then(Value::as_object).ok_or_else(missing)
}

/// Refuses what is not played, rather than answering as if it had not been asked.
fn only(body: &Value, known: &[&str]) -> Result<(), Refusal> {
    let mut members = body.as_object().into_iter().flat_map(Map::keys);
    match members.find(|member| !known.contains(&member.as_str())) {
        None => Ok(()),
        Some(member) => Err(Refusal::invalid(&format!("`{member}` is not played"))),
    }
}
