//! Traces, as the OpenTelemetry protocol writes them in JSON (OTLP 1.9, "JSON Protobuf Encoding",
//! checked 2026-11): what a collector takes at `/v1/traces`.
//!
//! Ids follow from the correlation id and from names alone. So whoever knows the incident knows
//! its trace and the ids of all spans in it, and nobody has to hand anything over.

use jiff::Timestamp;
use serde_json::{Value, json};

/// The key of the span that is the parent of all others, and of which the cloud side tells.
pub const ROOT: &str = "incident";
/// The longest text of an attribute, in characters.
const TEXT: usize = 256;

/// Something that took time.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Names it within its trace.
    pub key: String,
    /// The key of its parent, which may be in another document; `None` for the root.
    pub parent: Option<String>,
    /// What it is.
    pub name: String,
    /// When it began.
    pub start: Timestamp,
    /// When it ended; taken for `start` where it lies before that.
    pub end: Timestamp,
    /// More about it.
    pub attributes: Vec<(&'static str, String)>,
    /// Why it failed; `None` where it did not.
    pub error: Option<String>,
}

/// The document of these spans of one trace; `about` tells of the program that had them, its
/// `service.name` among it.
#[must_use]
pub fn write(correlation: &str, about: &[(&'static str, String)], spans: &[Span]) -> Value {
    let spans: Vec<Value> = spans.iter().map(|span| one(correlation, span)).collect();
    json!({ "resourceSpans": [{
        "resource": { "attributes": attributes(about) },
        "scopeSpans": [{ "scope": { "name": "cloudsnooze" }, "spans": spans }],
    }] })
}

fn one(correlation: &str, span: &Span) -> Value {
    let nanoseconds = |at: Timestamp| at.as_nanosecond().to_string();
    let mut written = json!({
        "traceId": trace_id(correlation),
        "spanId": span_id(correlation, &span.key),
        "name": span.name,
        // Internal: nobody is called.
        "kind": 1,
        "startTimeUnixNano": nanoseconds(span.start),
        "endTimeUnixNano": nanoseconds(span.end.max(span.start)),
        "attributes": attributes(&span.attributes),
        "status": match &span.error {
            Some(text) => json!({ "code": 2, "message": cut(text) }),
            None => json!({ "code": 1 }),
        },
    });
    if let (Some(members), Some(parent)) = (written.as_object_mut(), &span.parent) {
        members.insert("parentSpanId".to_owned(), span_id(correlation, parent).into());
    }
    written
}

fn attributes(attributes: &[(&'static str, String)]) -> Vec<Value> {
    let attribute = |(key, value): &(&'static str, String)| json!({ "key": key, "value": { "stringValue": cut(value) } });
    attributes.iter().map(attribute).collect()
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT).collect()
}

/// The id of the trace of a correlation id: 32 hexadecimal digits.
#[must_use]
pub fn trace_id(correlation: &str) -> String {
    // FNV-1a with 128 bits (RFC 9923): no secret hangs on it, and the same everywhere is all it
    // has to be.
    let hash = correlation.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b)
    });
    // Zero is no id.
    format!("{:032x}", hash.max(1))
}

/// The id of the span of a key in the trace of a correlation id: 16 hexadecimal digits.
#[must_use]
pub fn span_id(correlation: &str, key: &str) -> String {
    let bytes = correlation.bytes().chain([0]).chain(key.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{:016x}", hash.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_published_hash() {
        // The test vectors of RFC 9923 for the empty text and for "a".
        assert_eq!(trace_id(""), "6c62272e07bb014262b821756295c58d");
        assert_eq!(trace_id("a"), "d228cb696f1a8caf78912b704e4a8964");
        assert_eq!(span_id("", "").len(), 16);
        assert_ne!(span_id("a", "b"), span_id("ab", ""));
    }

    #[test]
    fn a_span_is_written_as_a_collector_reads_it() {
        let span = Span {
            key: "x".to_owned(),
            parent: Some(ROOT.to_owned()),
            name: "flush".to_owned(),
            start: "2026-11-21T10:00:01Z".parse().unwrap(),
            end: "2026-11-21T10:00:00Z".parse().unwrap(),
            attributes: vec![("outcome", "failed".to_owned())],
            error: Some("x".repeat(1000)),
        };
        let written = write("i-1/spot", &[("service.name", "snoozed".to_owned())], &[span]);
        let span = &written["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], trace_id("i-1/spot"));
        assert_eq!(span["parentSpanId"], span_id("i-1/spot", ROOT));
        assert_eq!(span["startTimeUnixNano"], "1795255201000000000");
        assert_eq!(span["endTimeUnixNano"], span["startTimeUnixNano"]);
        assert_eq!(span["status"]["message"].as_str().unwrap().len(), TEXT);
        let name = &written["resourceSpans"][0]["resource"]["attributes"][0];
        assert_eq!(*name, json!({ "key": "service.name", "value": { "stringValue": "snoozed" } }));
    }
}
