//! The way to AWS, and what a person can do about what it refuses.

use snooze_cloud::{Aws, CloudError, Kind, Options, connect};
use snooze_plugin::PluginError;
use tokio::runtime::{Builder, Runtime};

/// A runtime and a client, made when they are first needed and kept.
pub(crate) struct Road<T>(Option<(Runtime, T)>);

impl<T> Default for Road<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Road<T> {
    /// The runtime and the client.
    pub(crate) fn open(
        &mut self,
        options: impl FnOnce() -> Options,
        client: impl FnOnce(&Aws) -> T,
    ) -> Result<(&Runtime, &T), PluginError> {
        let road = match self.0.take() {
            Some(road) => road,
            None => {
                let (runtime, aws) = begin(&options())?;
                (runtime, client(&aws))
            }
        };
        let (runtime, client) = self.0.insert(road);
        Ok((runtime, client))
    }
}

/// A runtime and the settings of all clients.
fn begin(options: &Options) -> Result<(Runtime, Aws), PluginError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let aws = runtime.block_on(Box::pin(connect(options)));
    if aws.region().is_none() {
        return Err(PluginError::new("no Region: set `region`"));
    }
    Ok((runtime, aws))
}

/// An error of AWS, with what to do about it.
pub(crate) fn told(error: &CloudError) -> String {
    let advice = match (error.code.as_str(), error.kind) {
        ("NoCredentials", _) => "; give the instance a role",
        ("NoSuchBucket", _) => "; check `bucket`",
        ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraint", _) => {
            "; set `region` to that of the bucket"
        }
        ("NotFound" | "NotFoundException", _) => "; check `topic_arn`",
        (_, Kind::Denied) => "; give the role what the page of this plugin lists",
        (_, Kind::Unreachable) => "; check the way to AWS: routes, endpoints, security groups",
        (_, Kind::Missing | Kind::Conflict | Kind::Later | Kind::Invalid) => "",
    };
    format!("{error}{advice}")
}
