//! The settings of the daemon.
//!
//! They are put together by hand: the loader of the SDK would bring ways to credentials that only
//! a person has, and with them another SDK.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::Region;
use aws_config::default_provider::endpoint_url::endpoint_url_provider;
use aws_config::default_provider::ignore_configured_endpoint_urls::ignore_configured_endpoint_urls_provider;
use aws_config::default_provider::use_dual_stack::use_dual_stack_provider;
use aws_config::default_provider::use_fips::use_fips_provider;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::identity::{IdentityCache, LazyCacheBuilder};
use aws_config::imds::client as imds;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::provider_config::ProviderConfig;
use aws_runtime::env_config::EnvConfigValue;
use aws_types::os_shim_internal::Env;
use aws_types::sdk_config::SharedCredentialsProvider;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use tracing::warn;

use super::{Aws, Patience, http};

/// The patience of the daemon: connect within 1 second, an exchange within 3, two attempts. A long
/// poll sets its own limit.
pub(super) const PATIENCE: Patience =
    Patience { attempts: 2, attempt: Duration::from_secs(3), operation: Duration::from_secs(7) };
/// How long before their end credentials are replaced: the service has new ones by then.
const EARLY: Duration = Duration::from_secs(5 * 60);
/// How long the daemon waits for its credentials. They come from next door.
const CREDENTIALS: Duration = Duration::from_secs(3);
/// How long one question to the metadata service may take.
const METADATA: Duration = Duration::from_secs(1);

/// The settings of the daemon in a Region. `metadata` is the address of the metadata service that
/// its credentials come from, where it is not the usual.
pub async fn connect_daemon(region: &str, metadata: Option<&str>) -> Aws {
    let settings = ProviderConfig::default().with_http_client(http::neighbours());
    let cache = cache().load_timeout(CREDENTIALS).build();
    let mut builder = Aws::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http::services())
        .region(Region::new(region.to_owned()))
        .timeout_config(PATIENCE.timeouts())
        .retry_config(PATIENCE.retries())
        .credentials_provider(SharedCredentialsProvider::new(credentials(&settings, metadata)))
        .identity_cache(cache);
    builder.set_use_fips(use_fips_provider(&settings).await);
    builder.set_use_dual_stack(use_dual_stack_provider(&settings).await);
    if ignore_configured_endpoint_urls_provider(&settings).await != Some(true) {
        builder.set_endpoint_url(endpoint_url_provider(&settings).await);
        builder = builder.service_config(Environment(Env::real()));
    }
    builder.build()
}

/// What the environment says of single services.
#[derive(Debug)]
struct Environment(Env);

impl LoadServiceConfig for Environment {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let value = EnvConfigValue::new().env(key.env()).service_id(key.service_id());
        Some(value.load(&self.0, None)?.0.into_owned())
    }
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
fn credentials(settings: &ProviderConfig, metadata: Option<&str>) -> CredentialsProviderChain {
    let mut client = imds::Client::builder()
        .configure(settings)
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
        ImdsCredentialsProvider::builder().configure(settings).imds_client(client.build()).build();
    let container = EcsCredentialsProvider::builder()
        .configure(settings)
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
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_one_service_goes_before_what_is_said_of_all() {
        let environment = Environment(Env::from_slice(&[
            ("AWS_ENDPOINT_URL", "http://all"),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://own"),
        ]));
        let of = |service| {
            let key = ServiceConfigKey::builder()
                .service_id(service)
                .env("AWS_ENDPOINT_URL")
                .profile("endpoint_url")
                .build();
            environment.load_config(key.unwrap())
        };
        assert_eq!(of("Secrets Manager").as_deref(), Some("http://own"));
        assert_eq!(of("SSM").as_deref(), Some("http://all"));
    }
}
