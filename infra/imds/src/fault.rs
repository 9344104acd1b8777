//! What can go wrong with one exchange.

/// Why an exchange gave no answer. None of these means "there is no news".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Status 403: the service is turned off for this instance.
    #[error("metadata is off (status 403)")]
    Off,
    /// Status 401 again with a token made for this very exchange.
    #[error("a new token was refused (status 401)")]
    Refused,
    /// The exchange was not over in time; also what a hop limit that is too small looks like.
    #[error("no whole answer within {0:?}")]
    TimedOut(std::time::Duration),
    /// A status that is neither news nor the absence of news; 429 and 503 are throttling.
    #[error("status {0}")]
    Status(u16),
    /// The service never redirects, so somebody else answered.
    #[error("redirect (status {0}), which is never followed")]
    Redirect(u16),
    /// The body is longer than [`BODY_LIMIT`](crate::BODY_LIMIT).
    #[error("answer over {} bytes", crate::BODY_LIMIT)]
    TooLarge,
    /// No connection; the text is the reason of the operating system.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection ended before an answer began, or what came is not HTTP.
    #[error("connection broken, or what came is not HTTP")]
    Broken,
    /// An answer began, but its body was cut short, or is garbled or not UTF-8.
    #[error("body cut short or garbled")]
    Body,
    /// Status 200, but the body is not what belongs there; the text says why.
    #[error("unreadable answer: {0}")]
    Unreadable(String),
    /// The service gave no usable token.
    #[error("no token: {0}")]
    Token(TokenFault),
}

impl Fault {
    /// Whether it says something about the endpoint as a whole, not about one path.
    #[must_use]
    pub fn is_of_endpoint(&self) -> bool {
        match self {
            Self::Off
            | Self::Refused
            | Self::TimedOut(_)
            | Self::Redirect(_)
            | Self::Connect(_)
            | Self::Broken
            | Self::Token(_) => true,
            Self::Status(_) | Self::TooLarge | Self::Body | Self::Unreadable(_) => false,
        }
    }

    /// The fault that a body makes which a reader refused; keeps the texts of all causes.
    #[must_use]
    pub fn unreadable(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self::Unreadable(text)
    }
}

/// Why the service gave no usable token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// A status other than 200 and 403.
    #[error("status {0}")]
    Status(u16),
    /// The answer does not say how long the token lives.
    #[error("its life is missing or not a number of seconds")]
    Life,
    /// The body cannot be the value of a header.
    #[error("it is empty or holds characters that no header can")]
    Text,
    /// The answer was cut short, too long, or not HTTP.
    #[error("answer cut short, too long or garbled")]
    Body,
}
