//! Events made of parts that lie elsewhere.

use std::borrow::Cow;
use std::cell::OnceCell;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::json::{Json, VALUE_DEPTH, in_order};
use crate::number::Number;
use crate::pattern::Pattern;
use crate::search::{self, Dotted};

/// Objects up to this size are made with one allocation.
const MEMBERS: usize = 16;

/// A JSON value that borrows its texts, so that an event that is put together for patterns alone
/// need not be copied.
///
/// ```
/// use serde_json::json;
/// use snooze_pattern::{Pattern, View};
///
/// let detail = json!({ "state": "stopping" });
/// let event = View::object([("source", View::from("aws.ec2")), ("detail", View::of(&detail))]);
/// let pattern = Pattern::compile(r#"{ "detail": { "state": ["stopping"] } }"#)?;
/// assert!(pattern.matches_view(&event));
/// # Ok::<(), snooze_pattern::CompileError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct View<'a> {
    json: Json<'a>,
    /// The same without dots in keys, made when a pattern comes across one.
    tidy: OnceCell<Json<'a>>,
}

impl<'a> View<'a> {
    /// An object; of a key given twice the last one counts.
    pub fn object(members: impl IntoIterator<Item = (&'a str, View<'a>)>) -> View<'a> {
        let members = members.into_iter();
        // Most are arrays of which a few members are left out.
        let mut parts = Vec::with_capacity(members.size_hint().1.unwrap_or_default().min(MEMBERS));
        parts.extend(members.map(|(key, value)| (Cow::Borrowed(key), value.json)));
        Json::Object(in_order(parts)).into()
    }

    /// A value, looked into at most 128 levels deep.
    #[must_use]
    pub fn of(value: &'a Value) -> View<'a> {
        Json::of(value, VALUE_DEPTH).into()
    }

    /// The same of the members of an object.
    #[must_use]
    pub fn of_members(members: &'a Map<String, Value>) -> View<'a> {
        View::object(members.iter().map(|(key, value)| (key.as_str(), View::of(value))))
    }

    pub(crate) fn json(&self) -> &Json<'a> {
        &self.json
    }

    pub(crate) fn is_matched_by(&self, pattern: &Pattern) -> bool {
        let tidy = || self.tidy.get_or_init(|| self.json.clone().tidy());
        let matches = search::matches(pattern, &self.json);
        matches.or_else(|Dotted| search::matches(pattern, tidy())).unwrap_or(false)
    }
}

impl<'a> From<Json<'a>> for View<'a> {
    fn from(json: Json<'a>) -> View<'a> {
        View { json, tidy: OnceCell::new() }
    }
}

impl<'a> From<&'a str> for View<'a> {
    fn from(text: &'a str) -> View<'a> {
        Json::Text(Cow::Borrowed(text)).into()
    }
}

impl From<String> for View<'_> {
    fn from(text: String) -> Self {
        Json::Text(Cow::Owned(text)).into()
    }
}

impl From<bool> for View<'_> {
    fn from(flag: bool) -> Self {
        Json::Bool(flag).into()
    }
}

impl From<u64> for View<'_> {
    fn from(integer: u64) -> Self {
        Json::Number(Number::Unsigned(integer)).into()
    }
}

impl Serialize for View<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(flag) => serializer.serialize_bool(*flag),
            Json::Number(number) => number.serialize(serializer),
            Json::Text(text) => serializer.serialize_str(text),
            Json::List(values) => serializer.collect_seq(values),
            Json::Object(members) => serializer.collect_map(members.iter().map(|(k, v)| (k, v))),
        }
    }
}

impl Serialize for Number<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            // A view is made of values; where it is not, the digits are told as they are.
            Number::Written(text) => serializer.serialize_str(text),
            Number::Signed(integer) => serializer.serialize_i64(*integer),
            Number::Unsigned(integer) => serializer.serialize_u64(*integer),
            Number::Float(float) => serializer.serialize_f64(*float),
        }
    }
}
