//! A batch of messages as the queue hands it over, and the answer to it.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::failure::{Failure, Name};

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Names it in the answer.
    pub(super) id: String,
    /// Its body; empty where there was none.
    pub(super) body: String,
}

#[derive(Deserialize)]
struct RawBatch {
    #[serde(rename = "Records")]
    records: Vec<RawRecord>,
}

#[derive(Deserialize)]
struct RawRecord {
    #[serde(rename = "messageId")]
    id: String,
    #[serde(default)]
    body: Value,
}

/// Reads a batch. A message twice in it counts once.
pub(super) fn read(text: &str) -> Result<Vec<Record>, Failure> {
    let unreadable = |text: String| Failure::new(Name::EventUnreadable, text);
    let raw: RawBatch = serde_json::from_str(text)
        .map_err(|error| unreadable(format!("the payload is no batch of a queue: {error}")))?;
    let mut known = BTreeSet::new();
    let fresh = raw.records.into_iter().filter(|record| known.insert(record.id.clone()));
    Ok(fresh
        .map(|raw| Record {
            id: raw.id,
            body: raw.body.as_str().map(str::to_owned).unwrap_or_default(),
        })
        .collect())
}

/// The answer. An id that is empty or not of the batch would fail all of it (Lambda developer
/// guide, "Implementing partial batch responses", checked 2026-11).
pub(super) fn answer(failed: Vec<String>) -> Value {
    let items = failed.into_iter().filter(|id| !id.is_empty());
    let items: Vec<Value> = items.map(|id| json!({ "itemIdentifier": id })).collect();
    json!({ "batchItemFailures": items })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_without_a_body_is_a_message() {
        let text = r#"{"Records":[{"messageId":"a","body":"x"},{"messageId":"b"},
            {"messageId":"c","body":7},{"messageId":"a","body":"x"}]}"#;
        let read: Vec<_> = read(text).unwrap().into_iter().map(|r| (r.id, r.body)).collect();
        let expected = [("a", "x"), ("b", ""), ("c", "")];
        assert_eq!(read, expected.map(|(id, body)| (id.to_owned(), body.to_owned())));
    }

    #[test]
    fn what_is_no_batch_is_a_failure() {
        for text in ["", "{}", "[]", r#"{"Records":[{}]}"#, r#"{"Records":7}"#] {
            assert_eq!(read(text).unwrap_err().name, Name::EventUnreadable, "{text}");
        }
    }

    #[test]
    fn the_answer_names_no_empty_id() {
        let answer = answer(vec!["b".to_owned(), String::new()]);
        assert_eq!(answer, json!({ "batchItemFailures": [{ "itemIdentifier": "b" }] }));
    }
}
