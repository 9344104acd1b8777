//! What is done to an instance that stays: tags, snapshots, out of the load balancer.

use serde_json::{Map, Value};
use snooze_cloud::ec2::Snapshots;
use snooze_cloud::{CloudError, Kind};
use snooze_policy::tags_of;

use super::act::{Work, flag, missing, text};
use super::done::{Did, Trouble};

/// The destination of all calls to EC2.
pub(super) const EC2: &str = "ec2";
/// The destination of all calls to load balancers.
const BALANCERS: &str = "load-balancers";
/// The longest value of a tag that is written, in characters.
const VALUE: usize = 255;

/// Writes tags. To write one twice is to write it once.
pub(super) async fn tag(work: &Work<'_>, config: &Map<String, Value>) -> Result<Did, Trouble> {
    let instance = work.instance()?;
    let tags = tags_of(config);
    if tags.is_empty() {
        return Err(missing("tags"));
    }
    let call = work.perform.ec2.tag(&instance, &tags);
    match work.perform.through(EC2, work.now, call).await {
        Ok(()) => Ok(Did::Done(format!("{} tags written", tags.len()))),
        Err(Trouble::Cloud(error)) if error.kind == Kind::Missing => Ok(gone()),
        Err(trouble) => Err(trouble),
    }
}

/// Takes a snapshot of each volume. EC2 has no token that makes the call safe to repeat, so the
/// snapshots bear the incident and the task in a tag, and are looked for first. A snapshot may be
/// seen a moment late; the lease of a task is longer than that moment mostly is.
pub(super) async fn snapshot(work: &Work<'_>, config: &Map<String, Value>) -> Result<Did, Trouble> {
    let instance = work.instance()?;
    let mark = format!("{}:Task", work.perform.settings.tag_prefix);
    let key = cut(&work.key());
    let mut tags = tags_of(config);
    tags.push((mark.clone(), key.clone()));
    let description = text(config, "description")
        .map_or_else(|| format!("CloudSnooze {}", work.incident.id), str::to_owned);
    // The longest description of a snapshot has 255 characters.
    let description = cut(&description);
    let exclude_boot = flag(config, "exclude_boot_volume", false);
    let what = Snapshots { description: &description, tags: &tags, exclude_boot };
    let ec2 = &work.perform.ec2;
    let call = async {
        let known = ec2.snapshots(&mark, &key).await?;
        if known.is_empty() { ec2.snapshot(&instance, &what).await } else { Ok(known) }
    };
    match work.perform.through(EC2, work.now, call).await {
        Ok(ids) => Ok(Did::Done(format!("{} snapshots: {}", ids.len(), ids.join(", ")))),
        Err(Trouble::Cloud(error)) if error.kind == Kind::Missing => Ok(gone()),
        Err(trouble) => Err(trouble),
    }
}

/// Takes the instance out of target groups. One that is out stays out. A target group that fails
/// does not keep the others from being tried.
pub(super) async fn drain(work: &Work<'_>, config: &Map<String, Value>) -> Result<Did, Trouble> {
    let instance = work.instance()?;
    let groups = config.get("target_groups").and_then(Value::as_array);
    let groups: Vec<&str> = groups.into_iter().flatten().filter_map(Value::as_str).collect();
    if groups.is_empty() {
        return Err(missing("target_groups"));
    }
    let port = config.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    let balancers = &work.perform.balancers;
    let call = async {
        let (mut out, mut absent, mut failed) = (0_usize, 0_usize, None::<CloudError>);
        for group in &groups {
            match balancers.deregister(group, &instance, port).await {
                Ok(()) => out += 1,
                Err(error) if error.kind == Kind::Missing => absent += 1,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok((out, absent)), Err)
    };
    let (out, absent) = work.perform.through(BALANCERS, work.now, call).await?;
    Ok(match (out, absent) {
        (0, _) => Did::Failed {
            error: "NotFound",
            text: "no target group is there, or the instance is in none of them".to_owned(),
        },
        (out, 0) => Did::Done(format!("out of {out} target groups")),
        (out, absent) => Did::Done(format!(
            "out of {out} target groups; {absent} are not there, or it was not in them"
        )),
    })
}

pub(super) fn gone() -> Did {
    Did::Done("the instance is gone".to_owned())
}

pub(super) fn cut(text: &str) -> String {
    text.chars().take(VALUE).collect()
}
