//! What is done to an instance: tags, snapshots, out of the load balancer, stop, end.

use jiff::Timestamp;
use serde_json::{Map, Value};
use snooze_cloud::ec2::Snapshots;
use snooze_cloud::groups::Member;
use snooze_cloud::{CloudError, Kind};
use snooze_event::{Event, InstanceId};
use snooze_policy::tags_of;

use super::act::{Work, flag, missing, text};
use super::done::{Did, Trouble};
use super::hooks::AUTO_SCALING;

/// The destination of all calls to EC2.
const EC2: &str = "ec2";
/// The destination of all calls to load balancers.
const BALANCERS: &str = "load-balancers";
/// The longest value of a tag that is written, in characters.
const VALUE: usize = 255;
/// The most metrics of an event that become tags.
const METRICS: usize = 10;

/// Stops an instance, or hibernates it where it can, with tags that say why and when, written
/// before. To stop a stopped instance does nothing.
///
/// A member of a group is never stopped: the group would replace it.
pub(super) async fn stop(
    work: &Work<'_>,
    config: &Map<String, Value>,
    hibernate: bool,
) -> Result<Did, Trouble> {
    let instance = work.instance()?;
    if let Some(group) = group(work, &instance).await? {
        return Ok(Did::Skipped(format!(
            "a member of the Auto Scaling group `{group}`, which would replace it: use \
             `terminate-in-group`"
        )));
    }
    let tags = stop_tags(work, config)?;
    let ec2 = &work.perform.ec2;
    let call = async {
        ec2.tag(&instance, &tags).await?;
        if hibernate {
            match ec2.stop(&instance, true).await {
                Ok(()) => return Ok("hibernates"),
                Err(error) if error.kind == Kind::Invalid => {}
                Err(error) => return Err(error),
            }
        }
        ec2.stop(&instance, false).await?;
        Ok(if hibernate { "stops: it cannot hibernate" } else { "stops" })
    };
    match work.perform.through(EC2, work.now, call).await {
        Ok(text) => Ok(Did::Done(text.to_owned())),
        Err(Trouble::Cloud(error)) if error.kind == Kind::Missing => Ok(gone()),
        Err(trouble) => Err(trouble),
    }
}

/// The group of an instance, as Auto Scaling knows it or as the instance was told.
async fn group(work: &Work<'_>, instance: &InstanceId) -> Result<Option<String>, Trouble> {
    if let Some(member) = member(work, instance).await? {
        return Ok(Some(member.group));
    }
    Ok(work.facts().await.facts().and_then(|facts| facts.asg.clone()))
}

async fn member(work: &Work<'_>, instance: &InstanceId) -> Result<Option<Member>, Trouble> {
    let call = work.perform.groups.member(instance);
    work.perform.through(AUTO_SCALING, work.now, call).await
}

fn stop_tags(
    work: &Work<'_>,
    config: &Map<String, Value>,
) -> Result<Vec<(String, String)>, Trouble> {
    let event = work.event()?;
    let reason = text(config, "reason").map_or_else(|| reason(&event), str::to_owned);
    Ok(tags(&work.perform.settings.tag_prefix, &event, &reason, work.now))
}

fn reason(event: &Event) -> String {
    text(&event.data, "reason").map_or_else(|| event.kind.to_string(), str::to_owned)
}

/// The tags of a stop.
fn tags(prefix: &str, event: &Event, reason: &str, now: Timestamp) -> Vec<(String, String)> {
    let mut tags = vec![
        ("Status", "stopped".to_owned()),
        ("StopTimestamp", now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        ("StopReason", reason.to_owned()),
        ("RestartAllowed", "true".to_owned()),
    ];
    if let Some(minutes) = event.data.get("naptime_minutes").and_then(Value::as_u64) {
        tags.push(("NaptimeMinutes", minutes.to_string()));
    }
    let metrics = event.data.get("metrics").and_then(Value::as_object);
    let is_word = |key: &str| {
        (1..=64).contains(&key.len()) && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let metrics =
        metrics.into_iter().flatten().filter(|(key, value)| is_word(key) && value.is_number());
    tags.extend(metrics.take(METRICS).map(|(key, value)| (key.as_str(), value.to_string())));
    tags.into_iter().map(|(key, value)| (format!("{prefix}:{key}"), cut(&value))).collect()
}

/// Ends a member through its group, which then wants one less. A member that ends already is
/// left alone, so that the group does not shrink twice.
pub(super) async fn terminate(
    work: &Work<'_>,
    config: &Map<String, Value>,
) -> Result<Did, Trouble> {
    let instance = work.instance()?;
    let Some(member) = member(work, &instance).await? else {
        let text = "a member of no Auto Scaling group: use `stop-instance`".to_owned();
        return Ok(Did::Skipped(text));
    };
    if member.is_going() {
        return Ok(Did::Done(format!("`{}` ends it already", member.group)));
    }
    let decrement = flag(config, "decrement_desired", true);
    let call = work.perform.groups.terminate(&instance, decrement);
    let replaced = if decrement { "nothing replaces it" } else { "another one replaces it" };
    match work.perform.through(AUTO_SCALING, work.now, call).await {
        Ok(()) => Ok(Did::Done(format!("`{}` ends it, {replaced}", member.group))),
        Err(Trouble::Cloud(error)) if error.kind == Kind::Missing => Ok(gone()),
        Err(trouble) => Err(trouble),
    }
}

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

fn gone() -> Did {
    Did::Done("the instance is gone".to_owned())
}

fn cut(text: &str) -> String {
    text.chars().take(VALUE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_says_why_and_when_in_its_tags() {
        let now: Timestamp = "2026-11-21T10:00:00.123Z".parse().unwrap();
        let kind = "instance.idle".parse().unwrap();
        let mut event = Event::new(kind, "cloudsnooze.shim", now, "e-1".parse().unwrap());
        event.data = serde_json::from_str(
            r#"{"naptime_minutes":30,"metrics":{"CPU":1.5,"a b":1,"Network":"x","Memory":20}}"#,
        )
        .unwrap();
        let shown: Vec<_> = tags("CloudSnooze", &event, &reason(&event), now)
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        expect_test::expect![[r#"
            CloudSnooze:Status=stopped
            CloudSnooze:StopTimestamp=2026-11-21T10:00:00Z
            CloudSnooze:StopReason=instance.idle
            CloudSnooze:RestartAllowed=true
            CloudSnooze:NaptimeMinutes=30
            CloudSnooze:CPU=1.5
            CloudSnooze:Memory=20"#]]
        .assert_eq(&shown.join("\n"));
    }
}
