//! The shared settings of all clients: Region, credentials, time limits, retries.

#[cfg(feature = "daemon")]
mod daemon;
#[cfg(feature = "daemon")]
mod http;

use std::time::Duration;

#[cfg(feature = "https")]
use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;

#[cfg(feature = "daemon")]
pub use self::daemon::connect_daemon;

/// What all clients are made from. The only type of the SDK that leaves this crate.
pub type Aws = aws_config::SdkConfig;

#[cfg(feature = "https")]
/// How to reach AWS.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The Region; `None` leaves it to the SDK's own settings.
    pub region: Option<String>,
    /// The address of all services; `None` leaves it to the SDK's own settings.
    pub endpoint: Option<String>,
    /// How patient the clients are.
    pub role: Role,
}

#[cfg(feature = "https")]
/// Who asks, which decides how long a call may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// A function in a notice's path: three attempts within 4 seconds.
    #[default]
    Function,
    /// The command, where a person waits.
    Person,
    /// A plugin that carries data: a call may last as long as a large part takes on a slow line,
    /// and the plugin ends it with its step.
    Carrier,
}

/// How long a call may take.
#[derive(Debug)]
struct Patience {
    /// How often the SDK tries a call, the first time included.
    attempts: u32,
    attempt: Duration,
    operation: Duration,
}

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(1);

#[cfg(feature = "https")]
impl Role {
    fn patience(self) -> Patience {
        match self {
            Self::Function => Patience {
                attempts: 3,
                attempt: Duration::from_millis(1500),
                operation: Duration::from_secs(4),
            },
            Self::Person => Patience {
                attempts: 3,
                attempt: Duration::from_secs(10),
                operation: Duration::from_secs(30),
            },
            Self::Carrier => Patience {
                attempts: 3,
                attempt: Duration::from_secs(300),
                operation: Duration::from_secs(600),
            },
        }
    }
}

impl Patience {
    fn timeouts(&self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(self.attempt)
            .operation_timeout(self.operation)
            .build()
    }

    fn retries(&self) -> RetryConfig {
        RetryConfig::standard()
            .with_max_attempts(self.attempts)
            .with_initial_backoff(Duration::from_millis(100))
            .with_max_backoff(Duration::from_secs(1))
    }
}

#[cfg(feature = "https")]
/// Reads the SDK's own settings and adds ours.
pub async fn connect(options: &Options) -> Aws {
    let Options { region, endpoint, role } = options;
    let patience = role.patience();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(patience.timeouts())
        .retry_config(patience.retries());
    if let Some(region) = region {
        loader = loader.region(aws_config::Region::new(region.clone()));
    }
    if let Some(endpoint) = endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    loader.load().await
}

#[cfg(all(test, feature = "daemon"))]
mod tests;
