//! The size of Auto Scaling groups.

use serde_json::{Map, Value};
use snooze_cloud::CloudError;

use super::act::{Work, missing, text};
use super::done::{Did, Trouble};
use super::hooks::AUTO_SCALING;

/// Sets the size of a group, within the bounds of the group. To set it twice is to set it once.
pub(super) async fn scale(work: &Work<'_>, config: &Map<String, Value>) -> Result<Did, Trouble> {
    let event = work.event()?;
    let wanted = config.get("desired").or_else(|| event.data.get("replicas"));
    let wanted = wanted.and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok());
    let wanted = wanted.ok_or_else(|| missing("desired"))?;
    let named = text(config, "group")
        .or_else(|| text(&event.data, "group"))
        .or_else(|| text(&event.data, "AutoScalingGroupName"));
    let group = match named {
        Some(group) => group.to_owned(),
        None => {
            let known = work.facts().await;
            let group = known.facts().and_then(|facts| facts.asg.clone());
            group.ok_or_else(|| missing("group"))?
        }
    };
    let groups = &work.perform.groups;
    let call = async {
        let Some(size) = groups.size(&group).await? else {
            return Ok(Err(Trouble::Config(format!("there is no Auto Scaling group `{group}`"))));
        };
        let bounded = wanted.clamp(size.least, size.most.max(size.least));
        let bounds = match bounded == wanted {
            true => String::new(),
            false => format!(": {wanted} is outside of {} to {}", size.least, size.most),
        };
        if size.desired != bounded {
            groups.resize(&group, bounded).await?;
        }
        Ok::<_, CloudError>(Ok(format!("`{group}` is to have {bounded} instances{bounds}")))
    };
    let text = work.perform.through(AUTO_SCALING, work.now, call).await??;
    Ok(Did::Done(text))
}
