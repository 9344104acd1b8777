//! The local action `stop-instance`: this instance asks EC2 to stop it.

use snooze_cloud::CloudError;
use snooze_cloud::ec2_query::Ec2Query;
use snooze_event::InstanceId;
use snooze_imds::{Answer, Client, Fault, Path, SettingsError, SignalPath};
use snooze_policy::Facts;

/// The instance did not stop itself.
#[derive(Debug, thiserror::Error)]
pub(super) enum StopError {
    #[error("not yet known which instance this is, and in which Region")]
    Unknown,
    #[error("a member of an Auto Scaling group, which would replace it")]
    Member,
    #[error("not known whether it is a member of an Auto Scaling group")]
    Group(#[source] Fault),
    #[error("the metadata service cannot be asked")]
    Metadata(#[source] SettingsError),
    #[error("EC2 does not stop it")]
    Refused(#[source] CloudError),
}

/// What a stop needs to know.
#[derive(Debug)]
pub(super) struct Stop {
    id: InstanceId,
    region: String,
    metadata: snooze_imds::Settings,
    unusual: Option<String>,
}

impl Stop {
    /// The stop of the instance of these facts. `unusual` is the address of the metadata service
    /// where it is not the usual one.
    pub(super) fn of(
        facts: &Facts,
        metadata: snooze_imds::Settings,
        unusual: Option<String>,
    ) -> Result<Self, StopError> {
        if facts.asg.is_some() {
            return Err(StopError::Member);
        }
        match (&facts.id, &facts.region) {
            (Some(id), Some(region)) => {
                Ok(Self { id: id.clone(), region: region.clone(), metadata, unusual })
            }
            (None, _) | (_, None) => Err(StopError::Unknown),
        }
    }

    /// Stops it. Whoever is in a group has a lifecycle state in its metadata, whether or not it
    /// may see its tags (Amazon EC2 Auto Scaling User Guide, "Retrieve the target lifecycle state
    /// through instance metadata", checked 2026-11).
    pub(super) async fn run(self) -> Result<(), StopError> {
        let client = Client::new(self.metadata).map_err(StopError::Metadata)?;
        match client.get(&Path::Signal(SignalPath::TargetLifecycleState)).await {
            Ok(Answer::Absent) => {}
            Ok(Answer::Found(_)) => return Err(StopError::Member),
            Err(fault) => return Err(StopError::Group(fault)),
        }
        let aws = Box::pin(snooze_cloud::connect_daemon(&self.region, self.unusual.as_deref()));
        let aws = aws.await;
        Ec2Query::new(&aws).stop(&self.id).await.map_err(StopError::Refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_instance_in_no_group_is_stopped() {
        let facts = |asg: Option<&str>, region: Option<&str>| Facts {
            id: "i-0123456789abcdef0".parse().ok(),
            asg: asg.map(str::to_owned),
            region: region.map(str::to_owned),
            ..Facts::default()
        };
        let stop = |facts: Facts| Stop::of(&facts, snooze_imds::Settings::default(), None);
        assert!(matches!(stop(facts(Some("web"), Some("eu-west-1"))), Err(StopError::Member)));
        assert!(matches!(stop(facts(None, None)), Err(StopError::Unknown)));
        assert!(matches!(stop(Facts::default()), Err(StopError::Unknown)));
        assert_eq!(stop(facts(None, Some("eu-west-1"))).unwrap().region, "eu-west-1");
    }
}
