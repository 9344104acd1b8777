//! Readers and writers, one module for each outside payload.
//!
//! Every reader is a pure function from a text, or from JSON that was parsed within the limits
//! below, to our own words. What cannot be read today cannot be read on a retry.

pub mod base64;
pub mod cloudevents;
pub mod command;
pub mod eventbridge;
pub mod imds;
pub mod otlp;
pub mod plugin;

mod field;
mod loss;
mod time;

use serde_json::{Map, Value};

/// The longest event that is read, in bytes. EventBridge itself stops at 1 MB (EventBridge API
/// reference, "PutEvents", in the service model of botocore 1.43.11).
pub const MAX_EVENT: usize = 1 << 20;

/// The deepest nesting of arrays and objects that is read. No payload we know passes 6.
pub const MAX_DEPTH: usize = 32;

/// The most arrays, objects and members together. A parsed value takes many times the memory of
/// its text, so that a limit of bytes alone would not bound the memory.
pub const MAX_VALUES: usize = 10_000;

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It may work the next time.
    Again,
    /// It never will.
    Never,
}

/// A payload that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is too long.
    #[error("{size} bytes: expected at most {limit}")]
    Size {
        /// Its length in bytes.
        size: usize,
        /// The most that is read.
        limit: usize,
    },
    /// It nests too deeply.
    #[error("nested too deeply: expected at most {MAX_DEPTH} levels")]
    Depth,
    /// It holds too many values.
    #[error("too many values: expected at most {MAX_VALUES}")]
    Values,
    /// It is not text.
    #[error("not UTF-8 text")]
    Text(#[source] std::str::Utf8Error),
    /// It is not JSON.
    #[error("not JSON")]
    Json(#[source] serde_json::Error),
    /// A member that must be there is not.
    #[error("`{at}` is missing: expected {expected}")]
    Missing {
        /// Which member, as a path from the top.
        at: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// A member holds something else than it should.
    #[error("`{at}` is {found}: expected {expected}")]
    Field {
        /// Which member, as a path from the top.
        at: String,
        /// The start of what stands there, escaped.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
}

impl ReadError {
    /// A payload that cannot be read today cannot be read on a retry.
    pub const RETRY: Retry = Retry::Never;

    /// The member at fault, as a path from the top; `None` when the whole payload is.
    #[must_use]
    pub fn at(&self) -> Option<&str> {
        match self {
            Self::Missing { at, .. } | Self::Field { at, .. } => Some(at),
            Self::Size { .. } | Self::Depth | Self::Values | Self::Text(_) | Self::Json(_) => None,
        }
    }
}

/// The text of a body as it came from outside.
///
/// # Errors
/// The body is longer than [`MAX_EVENT`], or not UTF-8.
pub fn text(body: &[u8]) -> Result<&str, ReadError> {
    if body.len() > MAX_EVENT {
        return Err(ReadError::Size { size: body.len(), limit: MAX_EVENT });
    }
    std::str::from_utf8(body).map_err(ReadError::Text)
}

/// The JSON of a text from outside, within [`MAX_EVENT`], [`MAX_DEPTH`] and [`MAX_VALUES`].
///
/// Of a member that is written twice the last one counts, as it does for EventBridge.
///
/// # Errors
/// The text passes a limit, or is not JSON.
pub fn parse(text: &str) -> Result<Value, ReadError> {
    guard(text)?;
    serde_json::from_str(text).map_err(ReadError::Json)
}

/// Checks the limits in one pass and without memory, before anything is built.
fn guard(text: &str) -> Result<(), ReadError> {
    if text.len() > MAX_EVENT {
        return Err(ReadError::Size { size: text.len(), limit: MAX_EVENT });
    }
    // Most events are so small that counting brackets shows it, which is several times faster.
    let brackets = || memchr::memchr2_iter(b'{', b'[', text.as_bytes()).count();
    if text.len() <= MAX_VALUES && brackets() <= MAX_DEPTH {
        return Ok(());
    }
    let (mut depth, mut values) = (0_usize, 0_usize);
    let (mut quoted, mut escaped) = (false, false);
    for byte in text.bytes() {
        if quoted {
            quoted = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'[' | b'{' => {
                depth += 1;
                values += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(ReadError::Depth);
        }
        if values > MAX_VALUES {
            return Err(ReadError::Values);
        }
    }
    Ok(())
}

/// The object that a whole text is.
fn object(text: &str, expected: &'static str) -> Result<Map<String, Value>, ReadError> {
    let value = parse(text)?;
    if let Value::Object(members) = value {
        return Ok(members);
    }
    Err(field::wrong("$", &value, expected))
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
