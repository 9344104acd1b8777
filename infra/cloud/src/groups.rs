//! Auto Scaling groups: their members, their hooks and their size.

use std::time::Duration;

use snooze_event::InstanceId;
use snooze_policy::ledger::Hook;

use crate::{Aws, CloudError, Kind};

/// All groups.
#[derive(Debug, Clone)]
pub struct Groups {
    client: aws_sdk_autoscaling::Client,
}

/// An instance as its group knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The group.
    pub group: String,
    /// Its lifecycle state, as Auto Scaling writes it.
    pub state: String,
}

impl Member {
    /// Whether the group ends it already.
    #[must_use]
    pub fn is_going(&self) -> bool {
        let state = self.state.strip_prefix("Warmed:").unwrap_or(&self.state);
        // A retained instance has its hook abandoned and waits to be ended by a person.
        state.starts_with("Terminat") && state != "Terminating:Retained"
    }
}

/// The size of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// It never falls below this.
    pub least: u32,
    /// It never rises above this.
    pub most: u32,
    /// What is wanted now.
    pub desired: u32,
}

/// What became of a word to a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It was accepted.
    Accepted,
    /// Nothing waits there any more: it was completed, or its time is over.
    Gone,
}

impl Groups {
    /// Groups by these settings.
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        Self { client: aws_sdk_autoscaling::Client::new(aws) }
    }

    /// The group of an instance; `None` for one that is in none.
    ///
    /// # Errors
    /// It cannot be asked for.
    pub async fn member(&self, instance: &InstanceId) -> Result<Option<Member>, CloudError> {
        let asked = self.client.describe_auto_scaling_instances().instance_ids(instance.as_str());
        let told = asked
            .send()
            .await
            .map_err(|error| CloudError::of("DescribeAutoScalingInstances", &error))?;
        let known = told
            .auto_scaling_instances()
            .iter()
            .find(|member| member.instance_id() == Some(instance.as_str()));
        Ok(known.map(|member| Member {
            group: member.auto_scaling_group_name().unwrap_or_default().to_owned(),
            state: member.lifecycle_state().unwrap_or_default().to_owned(),
        }))
    }

    /// How long a hook of a group waits without a heartbeat; `None` when there is none of the name.
    ///
    /// # Errors
    /// It cannot be asked for.
    pub async fn hook_timeout(
        &self,
        group: &str,
        hook: &str,
    ) -> Result<Option<Duration>, CloudError> {
        let told = self
            .client
            .describe_lifecycle_hooks()
            .auto_scaling_group_name(group)
            .lifecycle_hook_names(hook)
            .send()
            .await
            .map_err(|error| CloudError::of("DescribeLifecycleHooks", &error))?;
        let known =
            told.lifecycle_hooks().iter().find(|known| known.lifecycle_hook_name() == Some(hook));
        let seconds = known.and_then(|known| known.heartbeat_timeout());
        Ok(seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs))
    }

    /// Answers a hook: `CONTINUE` when all is well, else `ABANDON`.
    ///
    /// # Errors
    /// It was not accepted; `ResourceContention` is [`Kind::Later`].
    pub async fn complete(&self, hook: &Hook, well: bool) -> Result<Heard, CloudError> {
        let result = if well { "CONTINUE" } else { "ABANDON" };
        let told = self
            .client
            .complete_lifecycle_action()
            .auto_scaling_group_name(&hook.group)
            .lifecycle_hook_name(&hook.name)
            .lifecycle_action_token(&hook.token)
            .lifecycle_action_result(result)
            .send()
            .await;
        heard(told.map(drop).map_err(|error| CloudError::of("CompleteLifecycleAction", &error)))
    }

    /// Lets a hook wait for another of its time-outs.
    ///
    /// # Errors
    /// It was not accepted.
    pub async fn beat(&self, hook: &Hook) -> Result<Heard, CloudError> {
        let told = self
            .client
            .record_lifecycle_action_heartbeat()
            .auto_scaling_group_name(&hook.group)
            .lifecycle_hook_name(&hook.name)
            .lifecycle_action_token(&hook.token)
            .send()
            .await;
        heard(
            told.map(drop)
                .map_err(|error| CloudError::of("RecordLifecycleActionHeartbeat", &error)),
        )
    }

    /// Ends a member through its group; with `decrement` nothing replaces it.
    ///
    /// # Errors
    /// It was refused; an instance that is in no group is [`Kind::Missing`].
    pub async fn terminate(
        &self,
        instance: &InstanceId,
        decrement: bool,
    ) -> Result<(), CloudError> {
        let told = self
            .client
            .terminate_instance_in_auto_scaling_group()
            .instance_id(instance.as_str())
            .should_decrement_desired_capacity(decrement)
            .send()
            .await;
        told.map(drop)
            .map_err(|error| sharper(CloudError::of("TerminateInstanceInAutoScalingGroup", &error)))
    }

    /// The size of a group; `None` when there is none of the name.
    ///
    /// # Errors
    /// It cannot be asked for.
    pub async fn size(&self, group: &str) -> Result<Option<Size>, CloudError> {
        let asked = self.client.describe_auto_scaling_groups().auto_scaling_group_names(group);
        let told = asked
            .send()
            .await
            .map_err(|error| CloudError::of("DescribeAutoScalingGroups", &error))?;
        let known = told
            .auto_scaling_groups()
            .iter()
            .find(|known| known.auto_scaling_group_name() == Some(group));
        let count = |number: Option<i32>| number.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        Ok(known.map(|known| Size {
            least: count(known.min_size()),
            most: count(known.max_size()),
            desired: count(known.desired_capacity()),
        }))
    }

    /// Sets the wanted size of a group, without regard to its cool-down.
    ///
    /// # Errors
    /// It was refused; a scaling activity that goes on is [`Kind::Later`].
    pub async fn resize(&self, group: &str, desired: u32) -> Result<(), CloudError> {
        let told = self
            .client
            .set_desired_capacity()
            .auto_scaling_group_name(group)
            .desired_capacity(i32::try_from(desired).unwrap_or(i32::MAX))
            .honor_cooldown(false)
            .send()
            .await;
        told.map(drop).map_err(|error| sharper(CloudError::of("SetDesiredCapacity", &error)))
    }
}

/// Auto Scaling answers `ValidationError` for an action that is over (aws-node-termination-handler
/// and API reference, checked 2026-11).
fn heard(told: Result<(), CloudError>) -> Result<Heard, CloudError> {
    match told.map_err(sharper) {
        Ok(()) => Ok(Heard::Accepted),
        Err(error) if error.kind == Kind::Missing => Ok(Heard::Gone),
        Err(error) => Err(error),
    }
}

/// What the codes of Auto Scaling mean beyond those that all services share.
fn sharper(error: CloudError) -> CloudError {
    let text = error.text.to_ascii_lowercase();
    match error.code.as_str() {
        "ResourceContentionFault" | "ScalingActivityInProgressFault" => {
            CloudError { kind: Kind::Later, ..error }
        }
        "ValidationError"
            if text.contains("no active lifecycle action") || text.contains("not found") =>
        {
            CloudError { kind: Kind::Missing, ..error }
        }
        _ => error,
    }
}

/// A hook at the end of the instances of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndHook {
    /// Its name.
    pub name: String,
    /// How long it waits without a heartbeat.
    pub timeout: Duration,
}

impl Groups {
    /// The hooks at the end of the instances of a group.
    ///
    /// # Errors
    /// They cannot be asked for.
    pub async fn end_hooks(&self, group: &str) -> Result<Vec<EndHook>, CloudError> {
        let call = self.client.describe_lifecycle_hooks().auto_scaling_group_name(group).send();
        let answer =
            call.await.map_err(|error| CloudError::of("DescribeLifecycleHooks", &error))?;
        let hooks = answer.lifecycle_hooks.unwrap_or_default().into_iter();
        let ends = hooks.filter(|hook| {
            hook.lifecycle_transition() == Some("autoscaling:EC2_INSTANCE_TERMINATING")
        });
        let read = ends.filter_map(|hook| {
            let timeout = u64::try_from(hook.heartbeat_timeout?).ok()?;
            Some(EndHook { name: hook.lifecycle_hook_name?, timeout: Duration::from_secs(timeout) })
        });
        Ok(read.collect())
    }
}
