//! Members of objects from outside.

use std::borrow::Cow;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::ReadError;
use crate::{InstanceId, Severity};

/// How much of a text from outside an error shows, in characters.
const SHOWN: usize = 64;

/// How much of a path an error shows, in characters.
const LONGEST_PLACE: usize = 200;

/// A member that is not there.
pub(super) fn missing(at: &str, expected: &'static str) -> ReadError {
    ReadError::Missing { at: at.to_owned(), expected }
}

/// A member that holds something else.
pub(super) fn wrong(at: &str, found: &Value, expected: &'static str) -> ReadError {
    ReadError::Field { at: place(at), found: shown(found), expected }
}

/// A path as it may be shown: a key that a person gives stands in it, and may hold anything.
fn place(at: &str) -> String {
    let mut shown = String::new();
    for character in at.chars().take(LONGEST_PLACE) {
        if character.is_control() {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A text that must be there. `at` is its whole path, which ends with `key`.
pub(super) fn text<'a>(
    members: &'a Map<String, Value>,
    key: &str,
    at: &str,
    expected: &'static str,
) -> Result<&'a str, ReadError> {
    match members.get(key) {
        None | Some(Value::Null) => Err(missing(at, expected)),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(wrong(at, other, expected)),
    }
}

/// The same of a member that is not read yet.
pub(super) fn raw_text<'a>(
    key: &str,
    member: Option<&'a RawValue>,
    expected: &'static str,
) -> Result<Cow<'a, str>, ReadError> {
    let member = member.ok_or_else(|| missing(key, expected))?;
    // A text without escapes stands for itself.
    let quoted = member.get().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    if let Some(plain) = quoted.filter(|text| !text.contains('\\')) {
        return Ok(Cow::Borrowed(plain));
    }
    let value = value(member)?;
    match value.as_str() {
        Some(text) => Ok(Cow::Owned(text.to_owned())),
        None if value.is_null() => Err(missing(key, expected)),
        None => Err(wrong(key, &value, expected)),
    }
}

/// A member that is not read yet, read.
pub(super) fn value(member: &RawValue) -> Result<Value, ReadError> {
    serde_json::from_str(member.get()).map_err(ReadError::Json)
}

/// Whether a text holds control characters.
pub(super) fn has_control(text: &str) -> bool {
    match text.is_ascii() {
        true => text.bytes().any(|byte| byte.is_ascii_control()),
        false => text.contains(char::is_control),
    }
}

/// A text that may be there; anything but a text counts as absent.
pub(super) fn maybe<'a>(members: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    members.get(key).and_then(Value::as_str)
}

/// An instance id that must be there.
pub(super) fn instance(
    members: &Map<String, Value>,
    key: &str,
    at: &str,
) -> Result<InstanceId, ReadError> {
    const EXPECTED: &str = "an instance id";
    let text = text(members, key, at, EXPECTED)?;
    text.parse().map_err(|_bad| wrong(at, &text.into(), EXPECTED))
}

/// An account id: 12 digits.
pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|c| c.is_ascii_digit())
}

/// The name of a Region or a zone, loosely: new ones come without us.
pub(super) fn is_place(text: &str) -> bool {
    let fine = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(fine)
}

/// A member that may be left out or null, but must be usable when it is given.
pub(super) fn given<'a, T>(
    members: &'a Map<String, Value>,
    key: &str,
    expected: &'static str,
    read: impl FnOnce(&'a Value) -> Option<T>,
) -> Result<Option<T>, ReadError> {
    match members.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => read(value).map(Some).ok_or_else(|| wrong(key, value, expected)),
    }
}

/// A severity by its number or its word.
pub(super) fn severity(value: &Value) -> Option<Severity> {
    match value {
        Value::Number(number) => Severity::from_number(number.as_u64()?),
        Value::String(word) => {
            (0..=3).filter_map(Severity::from_number).find(|severity| severity.as_str() == word)
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// What an error shows of a value; control characters are escaped.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "a boolean".to_owned(),
        Value::Number(_) => "a number".to_owned(),
        Value::String(text) => format!("{:?}", text.chars().take(SHOWN).collect::<String>()),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
