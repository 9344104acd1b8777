//! EC2, as far as actions change it.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Filter, InstanceSpecification, ResourceType, Tag, TagSpecification};
use snooze_event::InstanceId;

use crate::{Aws, CloudError, Kind};

/// Instances and their volumes.
#[derive(Debug, Clone)]
pub struct Ec2 {
    client: aws_sdk_ec2::Client,
}

/// An instance as EC2 knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its state, as EC2 writes it: `running`, `stopped`.
    pub state: String,
    /// Its type.
    pub kind: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// What is taken of the volumes of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshots<'a> {
    /// Stands at each.
    pub description: &'a str,
    /// The tags of each.
    pub tags: &'a [(String, String)],
    /// Leaves the boot volume out.
    pub exclude_boot: bool,
}

impl Ec2 {
    /// EC2 by these settings.
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        Self { client: aws_sdk_ec2::Client::new(aws) }
    }

    /// Writes tags on an instance; those that are there are overwritten.
    ///
    /// # Errors
    /// They were refused; an instance that is gone is [`Kind::Missing`].
    pub async fn tag(
        &self,
        instance: &InstanceId,
        tags: &[(String, String)],
    ) -> Result<(), CloudError> {
        let asked = self.client.create_tags().resources(instance.as_str());
        let told = asked.set_tags(Some(written(tags))).send().await;
        told.map(drop).map_err(|error| sharper(CloudError::of("CreateTags", &error)))
    }

    /// Stops an instance, with its memory kept where `hibernate` says so. One that is stopped or
    /// stopping stays so.
    ///
    /// # Errors
    /// It was refused: gone is [`Kind::Missing`], a wrong state [`Kind::Conflict`], one that
    /// cannot hibernate (or, of a one-time Spot request, not stop) [`Kind::Invalid`].
    pub async fn stop(&self, instance: &InstanceId, hibernate: bool) -> Result<(), CloudError> {
        let asked = self.client.stop_instances().instance_ids(instance.as_str());
        let told = asked.set_hibernate(hibernate.then_some(true)).send().await;
        told.map(drop).map_err(|error| sharper(CloudError::of("StopInstances", &error)))
    }

    /// Starts an instance that is stopped; one that runs already goes on.
    ///
    /// # Errors
    /// It was refused: gone is [`Kind::Missing`], a wrong state [`Kind::Conflict`], no room for it
    /// [`Kind::Later`].
    pub async fn start(&self, instance: &InstanceId) -> Result<(), CloudError> {
        let told = self.client.start_instances().instance_ids(instance.as_str()).send().await;
        told.map(drop).map_err(|error| sharper(CloudError::of("StartInstances", &error)))
    }

    /// What EC2 knows of an instance; `None` for one that is gone.
    ///
    /// # Errors
    /// It cannot be asked for.
    pub async fn look(&self, instance: &InstanceId) -> Result<Option<Machine>, CloudError> {
        let asked = self.client.describe_instances().instance_ids(instance.as_str()).send().await;
        let asked = asked.map_err(|error| sharper(CloudError::of("DescribeInstances", &error)));
        let told = match asked {
            Err(error) if error.kind == Kind::Missing => return Ok(None),
            told => told?,
        };
        let mut known = told.reservations().iter().flat_map(|reservation| reservation.instances());
        let known = known.find(|known| known.instance_id() == Some(instance.as_str()));
        Ok(known.map(|known| Machine {
            state: known
                .state()
                .and_then(|state| state.name())
                .map_or_else(String::new, |name| name.as_str().to_owned()),
            kind: known.instance_type().map(|kind| kind.as_str().to_owned()),
            tags: known
                .tags()
                .iter()
                .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned())))
                .collect(),
        }))
    }

    /// The ids of our own snapshots that bear a tag. A snapshot of this very moment may be
    /// missing: EC2 is only consistent in the end.
    ///
    /// # Errors
    /// They cannot be listed.
    pub async fn snapshots(&self, key: &str, value: &str) -> Result<Vec<String>, CloudError> {
        let filter = Filter::builder().name(format!("tag:{key}")).values(value).build();
        let asked = self.client.describe_snapshots().owner_ids("self").filters(filter);
        let told = asked
            .send()
            .await
            .map_err(|error| sharper(CloudError::of("DescribeSnapshots", &error)))?;
        Ok(told.snapshots().iter().filter_map(|one| one.snapshot_id().map(str::to_owned)).collect())
    }

    /// Takes a snapshot of each volume of an instance, all of one moment, and answers with their
    /// ids.
    ///
    /// # Errors
    /// It was refused; an instance that is gone is [`Kind::Missing`].
    pub async fn snapshot(
        &self,
        instance: &InstanceId,
        what: &Snapshots<'_>,
    ) -> Result<Vec<String>, CloudError> {
        let of = InstanceSpecification::builder()
            .instance_id(instance.as_str())
            .exclude_boot_volume(what.exclude_boot)
            .build();
        let tags = TagSpecification::builder()
            .resource_type(ResourceType::Snapshot)
            .set_tags(Some(written(what.tags)))
            .build();
        let told = self
            .client
            .create_snapshots()
            .description(what.description)
            .instance_specification(of)
            .tag_specifications(tags)
            .send()
            .await
            .map_err(|error| sharper(CloudError::of("CreateSnapshots", &error)))?;
        Ok(told.snapshots().iter().filter_map(|one| one.snapshot_id().map(str::to_owned)).collect())
    }
}

fn written(tags: &[(String, String)]) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// What the codes of EC2 mean beyond those that all services share (EC2 API reference, "Error
/// codes", checked 2026-11).
fn sharper(error: CloudError) -> CloudError {
    let kind = match error.code.as_str() {
        "IncorrectInstanceState" | "IncorrectState" => Kind::Conflict,
        "SnapshotCreationPerVolumeRateExceeded" | "InsufficientInstanceCapacity" => Kind::Later,
        code if code.ends_with(".NotFound") => Kind::Missing,
        _ => error.kind,
    };
    CloudError { kind, ..error }
}
