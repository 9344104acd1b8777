//! What can be wrong with a pattern or with an event.

use std::fmt;

use crate::json::Fault;

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
            place: Place::Path(path.to_owned()),
            expected: expected.into(),
            found: found.to_string(),
        }
    }
}

impl From<Fault> for CompileError {
    fn from(fault: Fault) -> CompileError {
        CompileError {
            place: Place::Text { line: fault.line, column: fault.column },
            expected: fault.expected.to_owned(),
            found: fault.found,
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
        NotAnEvent { line, column, expected, found }
    }
}
