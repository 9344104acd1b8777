//! Faults, and which calls have them.

use std::time::Duration;

use super::Call;

/// What goes wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is refused, and nothing happens.
    Error {
        /// The HTTP status.
        status: u16,
        /// The code, for example `ThrottlingException`.
        code: String,
        /// The message.
        text: String,
    },
    /// This is answered as it stands, and nothing happens.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// It is never answered, and nothing happens.
    Hang,
    /// It happens, and the answer takes so long.
    Slow(Duration),
    /// It happens, and the connection is closed without an answer.
    DropAfter,
    /// It happens, and is never answered.
    HangAfter,
    /// The connection is closed without an answer, and nothing happens.
    Refuse,
    /// Of a batch (`SendMessageBatch`, `PutEvents`) the entries at these places are refused, the
    /// others are taken.
    Entries {
        /// The places, from 0.
        at: Vec<usize>,
        /// The code.
        code: String,
    },
}

impl Fault {
    /// A refusal with this code.
    #[must_use]
    pub fn error(status: u16, code: &str) -> Self {
        let text = format!("{code}, since a test wants it");
        Self::Error { status, code: code.to_owned(), text }
    }
}

/// Which calls have a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    operation: String,
    holding: Option<String>,
    after: usize,
    times: Option<usize>,
}

impl When {
    /// The next call of an operation; `*` is any.
    #[must_use]
    pub fn next(operation: &str) -> Self {
        Self { operation: operation.to_owned(), holding: None, after: 0, times: Some(1) }
    }

    /// So many of them.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times: Some(times), ..self }
    }

    /// All of them.
    #[must_use]
    pub fn always(self) -> Self {
        Self { times: None, ..self }
    }

    /// Not the first so many.
    #[must_use]
    pub fn after(self, calls: usize) -> Self {
        Self { after: calls, ..self }
    }

    /// Only those whose body holds this text.
    #[must_use]
    pub fn holding(self, text: &str) -> Self {
        Self { holding: Some(text.to_owned()), ..self }
    }

    pub(super) fn operation(&self) -> &str {
        &self.operation
    }

    /// Whether this call has the fault; counts it.
    pub(super) fn strikes(&mut self, call: &Call) -> bool {
        let is_it = self.operation == "*" || self.operation == call.operation;
        let holds = self.holding.as_ref().is_none_or(|text| call.body.contains(text.as_str()));
        if !is_it || !holds || self.is_over() {
            return false;
        }
        if let Some(left) = self.after.checked_sub(1) {
            self.after = left;
            return false;
        }
        self.times = self.times.map(|times| times.saturating_sub(1));
        true
    }

    pub(super) fn is_over(&self) -> bool {
        self.times == Some(0)
    }
}
