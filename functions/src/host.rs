//! What the four programs have in common: environment, logs, the loop of the runtime.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use lambda_runtime::{Context, Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::failure::{Failure, Name};
use crate::settings::{self, Environment, Faults, Variables};
use crate::telemetry::{self, Meter};

/// How long before its time-out a function stops by itself.
const MARGIN: Duration = Duration::from_secs(2);

/// One invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The payload, as it came: whoever reads it sets the limits.
    pub text: String,
    /// When it began.
    pub now: Timestamp,
    /// When it has to be over, some time before Lambda ends it.
    pub until: Timestamp,
}

impl Invocation {
    fn of(text: &str, context: &Context, now: Timestamp) -> Self {
        let deadline = i64::try_from(context.deadline).ok();
        let deadline = deadline.and_then(|deadline| Timestamp::from_millisecond(deadline).ok());
        let until = deadline.and_then(|deadline| deadline.checked_sub(MARGIN).ok());
        Self { text: text.to_owned(), now, until: until.unwrap_or(now).max(now) }
    }
}

/// The environment of this process; variables that are no text are left out.
#[must_use]
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Begins to log, and reads the settings from the environment of this process.
///
/// # Errors
/// Variables are missing or unusable; the log names them all.
pub fn begin<T>(settings: impl FnOnce(&mut Variables<'_>) -> T) -> Result<T, Faults> {
    telemetry::begin();
    settings::read(&environment(), settings).inspect_err(|faults| {
        tracing::error!(name = %Name::SettingsUnusable, %faults, "the function cannot start");
    })
}

/// Takes invocations for as long as Lambda gives any. The figures of each are written at its end,
/// also when it failed.
///
/// # Errors
/// The runtime cannot be reached.
pub async fn serve<F, Fut>(meter: &Meter, handle: F) -> Result<(), lambda_runtime::Error>
where
    F: Fn(Invocation) -> Fut,
    Fut: Future<Output = Result<Value, Failure>>,
{
    let handle = &handle;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let (payload, context) = event.into_parts();
        let answer = handle(Invocation::of(payload.get(), &context, Timestamp::now())).await;
        meter.write(Timestamp::now());
        if let Err(failure) = &answer {
            tracing::error!(name = %failure.name, text = %failure.text, "invocation failed");
        }
        answer.map_err(Diagnostic::from)
    }))
    .await
}
