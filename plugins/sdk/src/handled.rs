//! How a plugin did with an event.

use serde_json::{Map, Value};

use crate::printable;

/// What a plugin says of an event that it was given.
///
/// On the wire one flat object: the four names below, and free ones of the plugin beside them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Handled {
    /// It did its step, or what it could of it. `false` without an error: not its business.
    pub handled: bool,
    /// A word for what it did, for example `redis_saved`.
    pub status: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
    /// It read back that the data is safe (`true`) or found that it is not (`false`).
    pub verified: Option<bool>,
    /// The plugin's own keys.
    pub more: Map<String, Value>,
}

const NAMED: [&str; 4] = ["handled", "status", "error", "verified"];

impl Handled {
    /// Done, and this word says what.
    #[must_use]
    pub fn with_status(status: &str) -> Self {
        Self { handled: true, status: Some(status.to_owned()), ..Self::default() }
    }

    /// Not an event for this plugin, which is no error.
    #[must_use]
    pub fn not_mine() -> Self {
        Self::default()
    }

    /// Tried and failed, because.
    #[must_use]
    pub fn failed(error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::default() }
    }

    /// The same with one more key of the plugin's own.
    #[must_use]
    pub fn and(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.more.insert(key.to_owned(), value.into());
        self
    }

    /// The same with what was read back.
    #[must_use]
    pub fn verified(mut self, safe: bool) -> Self {
        self.verified = Some(safe);
        self
    }

    /// Whether the plugin says that something is not as it should be, be it handled or not:
    /// an error, `success: false`, or data that was found not to be safe.
    #[must_use]
    pub fn degraded(&self) -> bool {
        self.error.is_some()
            || self.verified == Some(false)
            || self.more.get("success") == Some(&Value::Bool(false))
    }

    /// Reads the result of `HandleEvent`. A bare `true` or `false` will do, and what is neither
    /// that nor an object is not handled.
    #[must_use]
    pub fn read(value: &Value) -> Self {
        let Some(map) = value.as_object() else {
            return Self { handled: value.as_bool().unwrap_or(false), ..Self::default() };
        };
        let text = |key: &str| match map.get(key)? {
            Value::Null | Value::Bool(false) => None,
            Value::String(text) => Some(printable(text)).filter(|text| !text.is_empty()),
            other @ (Value::Bool(true) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Some(other.to_string())
            }
        };
        let free = map.iter().filter(|(key, _)| !NAMED.contains(&key.as_str()));
        Self {
            handled: map.get("handled").and_then(Value::as_bool).unwrap_or(false),
            status: text("status"),
            error: text("error"),
            verified: map.get("verified").and_then(Value::as_bool),
            more: free.map(|(key, value)| (key.clone(), value.clone())).collect(),
        }
    }

    /// The result of `HandleEvent`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut map = self.more.clone();
        let mut put = |key: &str, value: Option<Value>| {
            value.map(|value| map.insert(key.to_owned(), value));
        };
        put("handled", Some(self.handled.into()));
        put("status", self.status.clone().map(Value::from));
        put("error", self.error.clone().map(Value::from));
        put("verified", self.verified.map(Value::from));
        Value::Object(map)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // S0-62
    #[test]
    fn free_keys_lie_flat_beside_the_named_ones() {
        let wire = json!({ "handled": true, "status": "mysql_flushed", "tables_flushed": true });
        let read = Handled::read(&wire);
        assert_eq!(read, Handled::with_status("mysql_flushed").and("tables_flushed", true));
        assert_eq!(read.to_value(), wire);
        assert!(!read.degraded());
    }

    // S0-60
    #[test]
    fn an_event_of_another_kind_is_not_handled_and_no_error() {
        for wire in [json!({ "handled": false }), json!(false), json!(null), json!([])] {
            assert_eq!(Handled::read(&wire), Handled::not_mine());
        }
        assert!(!Handled::not_mine().degraded());
    }

    // S1-50
    #[test]
    fn handled_without_success_is_degraded() {
        assert!(Handled::with_status("x").and("success", false).degraded());
        assert!(Handled::with_status("x").verified(false).degraded());
        assert!(Handled::read(&json!({ "handled": true, "error": { "code": 1 } })).degraded());
        assert!(!Handled::read(&json!({ "handled": true, "error": null })).degraded());
    }
}
