//! Why a verb ends early.

use std::fmt::Display;
use std::io;

use snoozed::exit;

/// Why a verb ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody reads our output any more, which is no error of ours.
    Closed,
    /// Something failed.
    Said {
        /// The exit code.
        code: u8,
        /// What failed, on what, and what to do.
        text: String,
    },
}

impl Failure {
    /// A failure with its exit code.
    pub(crate) fn new(code: u8, text: impl Into<String>) -> Self {
        Self::Said { code, text: text.into() }
    }

    /// The arguments do not fit.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(exit::USAGE, text)
    }

    /// A file that was named cannot be used as it is.
    pub(crate) fn file(path: impl Display, why: impl Display) -> Self {
        Self::new(exit::BAD_SETTINGS, format!("`{path}`: {why}"))
    }

    /// The system refused something.
    pub(crate) fn system(what: impl Display, source: &io::Error) -> Self {
        Self::new(exit::SYSTEM, format!("cannot {what}: {source}"))
    }

    /// Output that could not be written.
    pub(crate) fn output(source: &io::Error) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe {
            return Self::Closed;
        }
        Self::system("write the output", source)
    }
}
