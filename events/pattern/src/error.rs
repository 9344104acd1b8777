//! What can be wrong with a pattern or with an event.

use std::fmt;

use crate::json::{Fault, harmless};

/// So much of a path is shown, in characters; a key may be as long as the pattern.
const PATH: usize = 500;

/// A pattern is not a pattern: where, what was expected there, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: expected {expected}, found {found}")]
pub struct CompileError {
    place: Place,
    expected: String,
    found: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// A path such as `detail.state[1].prefix`; empty for the pattern itself.
    Path(String),
    Text {
        line: usize,
        column: usize,
    },
}

impl CompileError {
    /// The place as a path such as `detail.state[1].prefix`, empty for the pattern as a whole;
    /// `None` when the text is not JSON.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match &self.place {
            Place::Path(path) => Some(path),
            Place::Text { .. } => None,
        }
    }

    /// What was expected there, in words.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// What was found instead: JSON, shortened, or words.
    #[must_use]
    pub fn found(&self) -> &str {
        &self.found
    }

    pub(crate) fn at(
        path: &str,
        expected: impl Into<String>,
        found: impl fmt::Display,
    ) -> CompileError {
        CompileError {
            place: Place::Path(harmless(path.chars().take(PATH))),
            expected: expected.into(),
            found: harmless(found.to_string().chars()),
        }
    }
}

impl From<Fault> for CompileError {
    fn from(fault: Fault) -> CompileError {
        CompileError {
            place: Place::Text { line: fault.line, column: fault.column },
            expected: fault.expected.to_owned(),
            found: harmless(fault.found.chars()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Path(path) if path.is_empty() => out.write_str("the pattern"),
            Place::Path(path) => write!(out, "`{path}`"),
            Place::Text { line, column } => write!(out, "line {line} column {column}"),
        }
    }
}

/// A text is not an event: not JSON, not a JSON object, or too large.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event, line {line} column {column}: expected {expected}, found {found}")]
pub struct NotAnEvent {
    line: usize,
    column: usize,
    expected: &'static str,
    found: String,
}

impl From<Fault> for NotAnEvent {
    fn from(fault: Fault) -> NotAnEvent {
        let Fault { line, column, expected, found } = fault;
        NotAnEvent { line, column, expected, found: harmless(found.chars()) }
    }
}

#[cfg(test)]
mod tests {
    use crate::Pattern;

    #[test]
    fn c11_a_fault_shows_control_characters_escaped_and_stays_short() {
        for key in ["a\u{7f}b", "a\u{9b}2Jb", "a\tb"] {
            for pattern in [
                serde_json::json!({ "detail": { key: 1 } }),
                serde_json::json!({ "detail": [{ key: false }] }),
                serde_json::json!({ "detail": [{ "prefix": { "wildcard": key } }] }),
            ] {
                let text = Pattern::compile(&pattern.to_string()).unwrap_err().to_string();
                assert!(!text.contains(char::is_control), "{text:?}");
            }
        }
        let long = serde_json::json!({ "detail": { "x".repeat(60_000): 1 } });
        let text = Pattern::compile(&long.to_string()).unwrap_err().to_string();
        assert!(text.len() < 1000, "{} bytes", text.len());
    }
}
