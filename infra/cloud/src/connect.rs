//! The shared settings of all clients: Region, credentials, time limits, retries.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::identity::{IdentityCache, LazyCacheBuilder};
use aws_config::imds::client as imds;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use tracing::warn;

/// What all clients are made from. The only type of the SDK that leaves this crate.
pub type Aws = aws_config::SdkConfig;

/// How to reach AWS.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The Region; `None` leaves it to the SDK's own settings.
    pub region: Option<String>,
    /// How patient the clients are.
    pub role: Role,
    /// The address of the metadata service that the daemon's credentials come from, where it is
    /// not the usual.
    pub metadata: Option<String>,
}

/// Who asks, which decides how long a call may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// A function in a notice's path: three attempts within 4 seconds.
    #[default]
    Function,
    /// The daemon: connect within 1 second, an exchange within 3, two attempts. A long poll sets
    /// its own limit.
    Daemon,
    /// The command, where a person waits.
    Person,
}

/// How often the SDK tries a call, the first time included.
const ATTEMPTS: u32 = 3;
/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(1);
/// How long before their end credentials are replaced: the service has new ones by then.
const EARLY: Duration = Duration::from_secs(5 * 60);
/// How long the daemon waits for its credentials. They come from next door.
const CREDENTIALS: Duration = Duration::from_secs(3);
/// How long one question to the metadata service may take.
const METADATA: Duration = Duration::from_secs(1);

impl Role {
    fn attempts(self) -> u32 {
        match self {
            Self::Function | Self::Person => ATTEMPTS,
            Self::Daemon => 2,
        }
    }

    fn attempt(self) -> Duration {
        match self {
            Self::Function => Duration::from_millis(1500),
            Self::Daemon => Duration::from_secs(3),
            Self::Person => Duration::from_secs(10),
        }
    }

    fn operation(self) -> Duration {
        match self {
            Self::Function => Duration::from_secs(4),
            Self::Daemon => Duration::from_secs(7),
            Self::Person => Duration::from_secs(30),
        }
    }
}

/// Reads the SDK's own settings and adds ours.
pub async fn connect(options: &Options) -> Aws {
    let Options { region, role, metadata } = options;
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(role.attempt())
        .operation_timeout(role.operation())
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(role.attempts())
        .with_initial_backoff(Duration::from_millis(100))
        .with_max_backoff(Duration::from_secs(1));
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts)
        .retry_config(retries);
    if let Some(region) = region {
        loader = loader.region(aws_config::Region::new(region.clone()));
    }
    if *role == Role::Daemon {
        loader = loader
            .credentials_provider(credentials(metadata.as_deref()))
            .identity_cache(cache().load_timeout(CREDENTIALS).build());
    }
    loader.load().await
}

fn cache() -> LazyCacheBuilder {
    IdentityCache::lazy().buffer_time(EARLY)
}

/// The credentials of the daemon: the keys of the environment where there are some, those that a
/// container's agent hands out, those of the instance's role. Neither files nor single sign-on:
/// no person is there.
///
/// When the metadata service fails, or hands out what has expired, the SDK goes on with what it
/// had, and it is AWS who refuses; so an outage of the metadata service stops no call before its
/// time.
fn credentials(metadata: Option<&str>) -> CredentialsProviderChain {
    let settings = ProviderConfig::default();
    let mut client = imds::Client::builder()
        .configure(&settings)
        .max_attempts(2)
        .connect_timeout(METADATA)
        .read_timeout(METADATA)
        .operation_attempt_timeout(METADATA)
        .operation_timeout(2 * METADATA);
    if let Some(address) = metadata {
        match client.clone().endpoint(address) {
            Ok(led) => client = led,
            Err(error) => warn!(address, %error, "no address of a metadata service"),
        }
    }
    let role =
        ImdsCredentialsProvider::builder().configure(&settings).imds_client(client.build()).build();
    let container = EcsCredentialsProvider::builder()
        .configure(&settings)
        .connect_timeout(METADATA)
        .read_timeout(METADATA)
        .build();
    CredentialsProviderChain::first_try(
        "Environment",
        EnvironmentVariableCredentialsProvider::new(),
    )
    .or_else("Container", container)
    .or_else("Role", role)
}

#[cfg(test)]
mod tests;
