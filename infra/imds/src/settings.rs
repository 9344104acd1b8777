//! Where the metadata service is, and how long it may take.

use std::time::Duration;

/// Where the metadata service is, and how long it may take.
///
/// The defaults work on every instance with no setting at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Base addresses, `http://` only, in the order of preference.
    pub endpoints: Vec<String>,
    /// Limit for one whole exchange: a new token where one is needed, the answer and its body.
    pub timeout: Duration,
    /// The life that is asked for a token, in seconds: 1 to 21,600.
    pub token_ttl: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // The second one exists on Nitro instances whose option `HttpProtocolIpv6` is on.
            endpoints: vec![
                "http://169.254.169.254".to_owned(),
                "http://[fd00:ec2::254]".to_owned(),
            ],
            // The service is on the same host and answers in a millisecond or two; half a second
            // keeps two polls of one second apart whatever happens.
            timeout: Duration::from_millis(500),
            // The longest life there is, so that a renewal seldom falls into a notice.
            token_ttl: 21_600,
        }
    }
}

impl Settings {
    /// The default settings, but for one endpoint elsewhere.
    #[must_use]
    pub fn at(endpoint: &str) -> Self {
        Self { endpoints: vec![endpoint.to_owned()], ..Self::default() }
    }
}

/// The settings cannot make a client.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no endpoint.
    #[error("no metadata endpoint is set: expected at least one")]
    NoEndpoint,
    /// An endpoint is not the address of an HTTP server.
    #[error("{0:?} is not a metadata endpoint: expected `http://`, a host and perhaps a port")]
    Endpoint(String),
    /// The life of a token is out of bounds.
    #[error("{0} is not the life of a metadata token: expected 1 to 21600 seconds")]
    TokenTtl(u32),
    /// The limit is zero, so that nothing would ever be answered.
    #[error("the limit of a metadata exchange is zero")]
    Timeout,
    /// The HTTP client cannot be made.
    #[error("the metadata client cannot be made")]
    Http(#[source] reqwest::Error),
}
