//! The items of a policy.

use aws_lc_rs::digest;
use aws_sdk_dynamodb::types::AttributeValue;

use super::Document;
use crate::item::{Item, fixed, moment, n, number, s, text, texts};

pub(super) fn key(event_type: &str, policy: &str) -> Item {
    Item::from([("event_type".to_owned(), s(event_type)), ("policy".to_owned(), s(policy))])
}

pub(super) fn key_of(item: &Item) -> Item {
    let of = |name| text(item, name).unwrap_or_default();
    key(of("event_type"), of("policy"))
}

pub(super) fn is_under(item: &Item, event_type: &str) -> bool {
    text(item, "event_type") == Some(event_type)
}

/// The item of a document under one of its types.
pub(super) fn write(event_type: &str, document: &Document) -> Item {
    let mut item = key(event_type, document.name.as_str());
    item.extend([
        ("text".to_owned(), s(&document.text)),
        ("version".to_owned(), n(document.version)),
        ("enabled".to_owned(), AttributeValue::Bool(document.enabled)),
        ("sha256".to_owned(), s(&document.sha256)),
        ("types".to_owned(), AttributeValue::L(document.types.iter().map(s).collect())),
        ("by".to_owned(), s(&document.by)),
        ("at".to_owned(), fixed(document.at)),
    ]);
    item.extend(document.signature.iter().map(|text| ("signature".to_owned(), s(text))));
    item
}

/// The document of an item, or what is wrong with it.
pub(super) fn document(item: &Item) -> Result<Document, String> {
    let key = key_of(item);
    let policy = text(&key, "policy").unwrap_or_default();
    let lacks = |what: &str| format!("the item of {policy:?} has no usable `{what}`");
    let word = |name: &str| text(item, name).ok_or_else(|| lacks(name));
    let document = Document {
        name: policy.parse().map_err(|error| format!("{error}"))?,
        text: word("text")?.to_owned(),
        version: number(item, "version").ok_or_else(|| lacks("version"))?,
        enabled: *item
            .get("enabled")
            .and_then(|value| value.as_bool().ok())
            .ok_or_else(|| lacks("enabled"))?,
        sha256: word("sha256")?.to_owned(),
        types: texts(item, "types"),
        by: word("by")?.to_owned(),
        at: moment(item, "at").ok_or_else(|| lacks("at"))?,
        signature: text(item, "signature").map(str::to_owned),
    };
    if sum(&document.text) != document.sha256 {
        return Err(format!("the text of {policy:?} does not have the sum that is stored with it"));
    }
    Ok(document)
}

/// SHA-256, in hexadecimal digits.
pub(super) fn sum(text: &str) -> String {
    let sum = digest::digest(&digest::SHA256, text.as_bytes());
    sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The size of an item as DynamoDB counts it, nearly: names and values, in bytes (DynamoDB
/// Developer Guide, "Item sizes and formats").
pub(super) fn size(item: &Item) -> usize {
    let texts = |list: &Vec<AttributeValue>| {
        3 + list.iter().map(|text| text.as_s().map_or(1, |text| text.len() + 1)).sum::<usize>()
    };
    let value = |value: &AttributeValue| {
        let text = value.as_s().or_else(|_| value.as_n()).map(String::len);
        text.or_else(|_| value.as_l().map(texts)).unwrap_or(1)
    };
    item.iter().map(|(name, attribute)| name.len() + value(attribute)).sum()
}
