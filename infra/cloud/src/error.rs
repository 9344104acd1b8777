//! What a call to AWS can fail with.

use std::error::Error;
use std::fmt;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{DispatchFailure, SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tracing::debug;

/// A call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{operation}` failed: {code}{}", Text(text))]
pub struct CloudError {
    /// The call, by the name AWS gives it, for example `PutItem`.
    pub operation: &'static str,
    /// The code AWS answered, or a word of ours where it did not answer: `Timeout`,
    /// `Unreachable`, `BadAnswer`.
    pub code: String,
    /// What AWS said; empty where it said nothing.
    pub text: String,
    /// What can be done about it.
    pub kind: Kind,
}

/// What can be done about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The role lacks a permission: a person has to give it.
    Denied,
    /// What was asked for is not there.
    Missing,
    /// A condition did not hold: somebody else was first.
    Conflict,
    /// Too many calls, or the service is unwell: later it may work.
    Later,
    /// No answer came: it may have worked.
    Unreachable,
    /// The request is wrong, and stays so.
    Invalid,
}

/// The longest text of AWS that is kept, in characters: some repeat the whole request.
const TEXT: usize = 512;

impl CloudError {
    /// An error of our own making, of this kind.
    #[must_use]
    pub fn new(operation: &'static str, kind: Kind, code: &str, text: &str) -> Self {
        Self { operation, code: code.to_owned(), text: tidy(text), kind }
    }

    /// AWS answered something else than it should.
    #[must_use]
    pub fn bad_answer(operation: &'static str, text: &str) -> Self {
        Self::new(operation, Kind::Unreachable, "BadAnswer", text)
    }

    /// What a code of AWS means, for errors that stand inside an answer.
    #[must_use]
    pub fn of_code(operation: &'static str, code: &str, text: &str) -> Self {
        Self::new(operation, kind(code, None), code, text)
    }

    /// The error of a call that the SDK made. The id of the request goes to the debug log only.
    pub(crate) fn of<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::ConstructionFailure(_) => {
                Self::new(operation, Kind::Invalid, "NotSent", &chain(error))
            }
            SdkError::TimeoutError(_) => {
                Self::new(operation, Kind::Unreachable, "Timeout", "no answer in time")
            }
            SdkError::DispatchFailure(failure) => of_dispatch(operation, failure, &chain(error)),
            SdkError::ResponseError(answer) => {
                let status = answer.raw().status().as_u16();
                Self::new(operation, of_status(status), "BadAnswer", &chain(error))
            }
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                let meta = answer.err().meta();
                let request = meta.extra("aws_request_id").unwrap_or_default();
                debug!(operation, status, code = meta.code(), request, "AWS refused a call");
                let text = meta.message().unwrap_or_default();
                match meta.code() {
                    Some(code) => Self::new(operation, kind(code, Some(status)), code, text),
                    None => Self::new(operation, of_status(status), "BadAnswer", text),
                }
            }
            _ => Self::bad_answer(operation, &chain(error)),
        }
    }

    /// Whether the same call may work later.
    #[must_use]
    pub fn again(&self) -> bool {
        matches!(self.kind, Kind::Later | Kind::Unreachable)
    }
}

/// A call that did not come through: nobody there, or no credentials to sign it with.
fn of_dispatch(operation: &'static str, failure: &DispatchFailure, text: &str) -> CloudError {
    if text.to_ascii_lowercase().contains("credentials") {
        return CloudError::new(operation, Kind::Later, "NoCredentials", text);
    }
    let code = if failure.is_timeout() { "Timeout" } else { "Unreachable" };
    CloudError::new(operation, Kind::Unreachable, code, text)
}

/// The kind of an answer that bears this code.
fn kind(code: &str, status: Option<u16>) -> Kind {
    // Some codes carry a namespace before or a fault after: `com.amazonaws.sqs#X`, `X;Sender`.
    let code = code.rsplit('#').next().unwrap_or(code);
    let code = code.split(';').next().unwrap_or(code);
    let word = code.strip_suffix("Exception").unwrap_or(code);
    match word {
        "AccessDenied"
        | "AuthorizationError"
        | "NotAuthorized"
        | "NotAuthorizedForSource"
        | "UnauthorizedOperation"
        | "UnauthorizedAccess"
        | "AuthFailure"
        | "OptInRequired"
        | "InvalidClientTokenId"
        | "UnrecognizedClient"
        | "MissingAuthenticationToken"
        | "SignatureDoesNotMatch"
        | "InvalidSignature"
        | "IncompleteSignature"
        | "InvalidAccessKeyId"
        | "InvalidSecurity" => Kind::Denied,
        "ConditionalCheckFailed"
        | "TransactionConflict"
        | "TransactionCanceled"
        | "Conflict"
        | "ConcurrentModification"
        | "QueueNameExists"
        | "QueueAlreadyExists"
        | "ReplicatedWriteConflict"
        | "PreconditionFailed" => Kind::Conflict,
        "NoSuchEntity"
        | "NoSuchBucket"
        | "NoSuchKey"
        | "NoSuchUpload"
        | "QueueDoesNotExist"
        | "AWS.SimpleQueueService.NonExistentQueue" => Kind::Missing,
        "ProvisionedThroughputExceeded"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "LimitExceeded"
        | "SlowDown"
        | "PriorRequestNotComplete"
        | "TransactionInProgress"
        | "InternalServerError"
        | "InternalServiceError"
        | "InternalFailure"
        | "InternalError"
        | "ServiceUnavailable"
        | "Unavailable"
        | "ServiceFailure"
        | "RequestTimeout"
        | "RequestExpired"
        | "ExpiredToken"
        | "RequestTimeTooSkewed"
        | "QueueDeletedRecently"
        | "AWS.SimpleQueueService.QueueDeletedRecently"
        | "ResourceContention"
        | "ScalingActivityInProgress"
        | "TooManyRequests" => Kind::Later,
        _ if word.contains("Throttl") => Kind::Later,
        // A key that is disabled or gone is mended by a person, as a missing permission is.
        _ if word.starts_with("KMS") || word.starts_with("Kms") => Kind::Denied,
        _ if word.starts_with("AccessDenied") => Kind::Denied,
        _ if word.ends_with("NotFound") => Kind::Missing,
        _ => status.map_or(Kind::Invalid, of_status),
    }
}

/// The kind of an answer whose code says nothing.
fn of_status(status: u16) -> Kind {
    match status {
        401 | 403 => Kind::Denied,
        429 | 500.. => Kind::Later,
        400.. => Kind::Invalid,
        // An answer that says it worked and cannot be read.
        _ => Kind::Unreachable,
    }
}

/// All that an error says, down to its last source.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// A text cut, on one line.
fn tidy(text: &str) -> String {
    text.chars().take(TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}
