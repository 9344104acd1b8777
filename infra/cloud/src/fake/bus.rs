//! EventBridge: what was put.

use serde_json::{Value, json};

use super::Put;
use super::door::{Outcome, Played, Refusal, not_played};

pub(super) fn play(
    put: &mut Vec<Put>,
    operation: &str,
    body: &Value,
    failing: Option<(&[usize], &str)>,
) -> Outcome {
    if operation != "PutEvents" {
        return Err(not_played(operation));
    }
    let entries = body.get("Entries").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if entries.is_empty() || entries.len() > 10 {
        return Err(Refusal::invalid("1 to 10 entries are taken"));
    }
    let mut answers = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let of = |name| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let one = Put {
            bus: of("EventBusName"),
            source: of("Source"),
            detail_type: of("DetailType"),
            detail: of("Detail"),
        };
        let is_object = serde_json::from_str::<Value>(&one.detail).is_ok_and(|it| it.is_object());
        let code = match failing {
            Some((at, code)) if at.contains(&index) => Some(code),
            _ if one.source.starts_with("aws.") => Some("NotAuthorizedForSourceException"),
            _ if one.source.is_empty() || one.detail_type.is_empty() => Some("InvalidArgument"),
            _ if !is_object => Some("MalformedDetail"),
            _ => None,
        };
        answers.push(match code {
            Some(code) => json!({ "ErrorCode": code, "ErrorMessage": "refused" }),
            None => {
                put.push(one);
                json!({ "EventId": format!("event-{}", put.len()) })
            }
        });
    }
    let failed = answers.iter().filter(|answer| answer.get("ErrorCode").is_some()).count();
    Ok(Played::Json(json!({ "FailedEntryCount": failed, "Entries": answers })))
}
