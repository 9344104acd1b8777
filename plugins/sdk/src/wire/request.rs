//! What the host asks.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::{MAX_REQUEST, too_deep};

/// What a plugin can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Who are you? The first request of all.
    Info,
    /// Take this configuration; may come again while the plugin runs.
    Configure,
    /// Get ready; once, after the first `Configure`.
    Initialize,
    /// Is the instance idle as far as you know?
    CheckIdle,
    /// Do your step.
    HandleEvent,
    /// Which events do you handle?
    GetSupportedEvents,
    /// Are you still well?
    Health,
    /// Clean up and exit.
    Shutdown,
}

impl Method {
    /// All of them, in the order of a plugin's life.
    pub const ALL: [Self; 8] = [
        Self::Info,
        Self::Configure,
        Self::Initialize,
        Self::GetSupportedEvents,
        Self::Health,
        Self::CheckIdle,
        Self::HandleEvent,
        Self::Shutdown,
    ];

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "Info",
            Self::Configure => "Configure",
            Self::Initialize => "Initialize",
            Self::CheckIdle => "CheckIdle",
            Self::HandleEvent => "HandleEvent",
            Self::GetSupportedEvents => "GetSupportedEvents",
            Self::Health => "Health",
            Self::Shutdown => "Shutdown",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no method.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no method of the plugin protocol")]
pub struct NotAMethod(pub String);

impl FromStr for Method {
    type Err = NotAMethod;

    fn from_str(text: &str) -> Result<Self, NotAMethod> {
        let found = Self::ALL.into_iter().find(|method| method.as_str() == text);
        found.ok_or_else(|| NotAMethod(text.chars().take(64).collect()))
    }
}

/// The line of a request, its line feed included.
///
/// `jsonrpc` adds the member `"jsonrpc":"2.0"`, for a plugin whose `Info` asks for it; the
/// protocol itself has none.
#[must_use]
pub fn request_line(method: Method, params: Map<String, Value>, id: u64, jsonrpc: bool) -> String {
    let version = if jsonrpc { "\"jsonrpc\":\"2.0\"," } else { "" };
    let params = Value::Object(params);
    format!("{{{version}\"method\":\"{method}\",\"params\":{params},\"id\":{id}}}\n")
}

/// A request as a plugin reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The method as written; see [`Method::from_str`].
    pub method: String,
    /// Its parameters; absent or null ones are empty.
    pub params: Map<String, Value>,
    /// The id to answer with, whatever kind of JSON value it is.
    pub id: Value,
}

/// The line is no request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotARequest {
    /// Longer than [`MAX_REQUEST`].
    #[error("request line longer than {MAX_REQUEST} bytes")]
    TooLong,
    /// Nested deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    #[error("request nested too deep")]
    TooDeep,
    /// No JSON, or no UTF-8.
    #[error("request is not JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// JSON without a `method` that is a text.
    #[error("request has no method")]
    NoMethod,
}

/// Reads the line of a request, as a plugin must.
///
/// # Errors
/// [`NotARequest`] when there is nothing to answer but that.
pub fn read_request(line: &[u8]) -> Result<Request, NotARequest> {
    if line.len() > MAX_REQUEST {
        return Err(NotARequest::TooLong);
    }
    if too_deep(&String::from_utf8_lossy(line)) {
        return Err(NotARequest::TooDeep);
    }
    let mut value: Value = serde_json::from_slice(line).map_err(NotARequest::Json)?;
    let method = value.get("method").and_then(Value::as_str).ok_or(NotARequest::NoMethod)?;
    let method = method.to_owned();
    let mut member = |name: &str| value.get_mut(name).map_or(Value::Null, Value::take);
    let id = member("id");
    let params = match member("params") {
        Value::Object(params) => params,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    };
    Ok(Request { method, params, id })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn s1_17_a_request_has_method_params_and_id_and_nothing_else() {
        let metrics = json!({ "metrics": { "cpu_usage": 1.5 } });
        let params = metrics.as_object().unwrap().clone();
        expect![[r#"
            {"method":"CheckIdle","params":{"metrics":{"cpu_usage":1.5}},"id":12345}
        "#]]
        .assert_eq(&request_line(Method::CheckIdle, params, 12345, false));
        expect![[r#"
            {"jsonrpc":"2.0","method":"Health","params":{},"id":1}
        "#]]
        .assert_eq(&request_line(Method::Health, Map::new(), 1, true));
    }

    #[test]
    fn s1_25_a_request_is_one_line_whatever_its_texts_hold() {
        let event = json!({ "data": "a\nb\r\u{2028}\"" });
        let params = event.as_object().unwrap().clone();
        let line = request_line(Method::HandleEvent, params.clone(), 7, false);
        assert_eq!(line.lines().count(), 1);
        let read = read_request(line.trim_end().as_bytes()).unwrap();
        assert_eq!(read, Request { method: "HandleEvent".to_owned(), params, id: json!(7) });
    }

    #[test]
    fn every_method_is_read_by_its_name() {
        for method in Method::ALL {
            assert_eq!(method.as_str().parse(), Ok(method));
        }
        assert!("info".parse::<Method>().is_err());
    }

    #[test]
    fn params_may_be_absent_and_ids_may_be_anything() {
        let read = read_request(br#"{"method":"Info","id":"x"}"#).unwrap();
        assert_eq!((read.params.len(), read.id), (0, json!("x")));
    }
}
