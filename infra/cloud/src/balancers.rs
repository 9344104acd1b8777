//! Load balancers: taking an instance out of target groups.

use aws_sdk_elasticloadbalancingv2::types::TargetDescription;
use snooze_event::InstanceId;

use crate::{Aws, CloudError, Kind};

/// Application, network and gateway load balancers.
#[derive(Debug, Clone)]
pub struct Balancers {
    client: aws_sdk_elasticloadbalancingv2::Client,
}

impl Balancers {
    /// Load balancers by these settings.
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        Self { client: aws_sdk_elasticloadbalancingv2::Client::new(aws) }
    }

    /// Takes an instance out of a target group, with one port or with all of them. One that is
    /// out stays out.
    ///
    /// # Errors
    /// It was refused; a target group that is not there is [`Kind::Missing`], as is an instance
    /// that never was in it.
    pub async fn deregister(
        &self,
        target_group: &str,
        instance: &InstanceId,
        port: Option<u16>,
    ) -> Result<(), CloudError> {
        let target = TargetDescription::builder()
            .id(instance.as_str())
            .set_port(port.map(i32::from))
            .build();
        let asked = self.client.deregister_targets().target_group_arn(target_group);
        let told = asked.targets(target).send().await;
        told.map(drop).map_err(|error| sharper(CloudError::of("DeregisterTargets", &error)))
    }
}

/// What the codes of Elastic Load Balancing mean beyond those that all services share.
fn sharper(error: CloudError) -> CloudError {
    match error.code.as_str() {
        "TargetGroupNotFound" | "InvalidTarget" => CloudError { kind: Kind::Missing, ..error },
        _ => error,
    }
}
