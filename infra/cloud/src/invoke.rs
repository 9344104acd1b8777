//! Lambda functions of others, called as plugins.

use std::time::Duration;

use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use serde_json::Value;

use crate::{Aws, CloudError};

/// How long a function may take that is waited for. A call that takes longer is asynchronous.
pub const WAIT: Duration = Duration::from_secs(5);
/// The longest answer that is read.
const ANSWER: usize = 64 << 10;

/// All functions.
#[derive(Debug, Clone)]
pub struct Functions {
    client: aws_sdk_lambda::Client,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// It was taken, and is done some time.
    Taken,
    /// The function answered; null where it is no JSON, or longer than 64 KiB.
    Answer(Value),
    /// The function failed, by the type of its error.
    Fault(String),
}

impl Functions {
    /// Functions by these settings. A call is made once: a function that was slow would run
    /// again beside itself.
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(1))
            .operation_attempt_timeout(WAIT)
            .operation_timeout(WAIT)
            .build();
        let config = aws_sdk_lambda::config::Builder::from(aws)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::disabled())
            .build();
        Self { client: aws_sdk_lambda::Client::from_conf(config) }
    }

    /// Calls a function, and waits for its answer or only until it is taken.
    ///
    /// # Errors
    /// It was not called, or did not answer in time.
    pub async fn call(
        &self,
        function: &str,
        payload: &Value,
        wait: bool,
    ) -> Result<Reply, CloudError> {
        let kind = if wait { InvocationType::RequestResponse } else { InvocationType::Event };
        let told = self
            .client
            .invoke()
            .function_name(function)
            .invocation_type(kind)
            .payload(Blob::new(payload.to_string()))
            .send()
            .await
            .map_err(|error| CloudError::of("Invoke", &error))?;
        if !wait {
            return Ok(Reply::Taken);
        }
        let bytes = told.payload().map(Blob::as_ref).filter(|bytes| bytes.len() <= ANSWER);
        let answer = bytes.and_then(|bytes| serde_json::from_slice(bytes).ok());
        let answer: Value = answer.unwrap_or(Value::Null);
        Ok(match told.function_error() {
            None => Reply::Answer(answer),
            Some(_) => {
                let kind = answer.get("errorType").and_then(Value::as_str).unwrap_or("Unhandled");
                Reply::Fault(kind.chars().take(100).collect())
            }
        })
    }
}
