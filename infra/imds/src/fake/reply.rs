//! One scripted answer.

use std::time::Duration;

/// One scripted answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// How long the client waits before anything comes.
    pub delay: Duration,
    /// The status.
    pub status: u16,
    /// Headers beside `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// The body; in [`Mode::Raw`] the whole answer.
    pub body: Vec<u8>,
    /// How it is sent.
    pub mode: Mode,
}

/// How an answer is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As it should be.
    Whole,
    /// The connection ends after so many bytes of the body, which the head announces whole.
    CutAfter(usize),
    /// One byte of the body each time so long has passed.
    Drip(Duration),
    /// Nothing ever comes, and the connection stays open.
    Hang,
    /// The connection is reset.
    Reset,
    /// The body alone is sent, without a head, and the connection ends.
    Raw,
}

impl Reply {
    /// Status 200 with a body.
    #[must_use]
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        let mode = Mode::Whole;
        Self { delay: Duration::ZERO, status: 200, headers: Vec::new(), body: body.into(), mode }
    }

    /// A status with a page of HTML, as the real service sends it.
    #[must_use]
    pub fn status(status: u16) -> Self {
        let page = format!("<?xml version=\"1.0\"?><html><body><h1>{status}</h1></body></html>\n");
        Self { status, ..Self::ok(page) }
    }

    /// Nothing ever comes.
    #[must_use]
    pub fn hang() -> Self {
        Self::ok("").mode(Mode::Hang)
    }

    /// The connection is reset.
    #[must_use]
    pub fn reset() -> Self {
        Self::ok("").mode(Mode::Reset)
    }

    /// These bytes in place of an HTTP answer.
    #[must_use]
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self::ok(bytes).mode(Mode::Raw)
    }

    /// The same, sent in another way.
    #[must_use]
    pub fn mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// The same, later.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// The same with one header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}
