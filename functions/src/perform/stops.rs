//! Stops: an instance is stopped, hibernated, or ended through its group.
//!
//! ```text
//!  in a group? -> what EC2 says of it -> protected? -> idle still? -> dry run? -> limits -> idle still? -> tags -> stop
//!                 stopped: over          stays         stays, later   said        stays    stays
//! ```
//!
//! A stop for an event that takes the instance away anyway is done at once: to hold it back would
//! save nothing.

mod check;
mod tags;

use serde_json::{Map, Value};
use snooze_cloud::Kind;
use snooze_cloud::ec2::Machine;
use snooze_cloud::groups::Member;
use snooze_cloud::topic::Topic;
use snooze_event::{Event, EventType, InstanceId};
use snooze_policy::ledger::What;
use tracing::{error, warn};

use super::act::{Work, flag, text};
use super::attempt::timed;
use super::done::{Did, Trouble};
use super::hooks::AUTO_SCALING;
use super::instances::{EC2, gone};
use crate::failure::Name;
use crate::telemetry::{By, Metric};

pub(super) use check::{is_false, is_stopped};
pub(super) use tags::reason;

use check::Idleness;

/// The scope of the limit of all policies together.
const STACK: &str = "stack";

/// Stops an instance, or hibernates it where it can, with tags that say why and when, written
/// before. To stop a stopped instance does nothing.
///
/// A member of a group is never stopped: the group would replace it.
pub(super) async fn stop(
    work: &Work<'_>,
    config: &Map<String, Value>,
    hibernate: bool,
) -> Result<Did, Trouble> {
    let (instance, event) = (work.instance()?, work.event()?);
    if let Some(group) = group(work, &instance).await? {
        return Ok(Did::Skipped(format!(
            "a member of the Auto Scaling group `{group}`, which would replace it: use \
             `terminate-in-group`"
        )));
    }
    let would = if hibernate { "hibernated, or stopped" } else { "stopped" };
    let machine = match may(work, config, &instance, &event, would).await? {
        May::Go(machine) => machine,
        May::Not(did) => return Ok(did),
    };
    let tags = tags::of_stop(work, config, &event, machine.as_ref());
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
        Ok(text) => Ok(done(work, text.to_owned())),
        Err(Trouble::Cloud(error)) if error.kind == Kind::Missing => Ok(is_gone(&event)),
        Err(trouble) => Err(trouble),
    }
}

/// Ends a member through its group, which then wants one less. A member that ends already is
/// left alone, so that the group does not shrink twice.
pub(super) async fn terminate(
    work: &Work<'_>,
    config: &Map<String, Value>,
) -> Result<Did, Trouble> {
    let (instance, event) = (work.instance()?, work.event()?);
    let Some(member) = member(work, &instance).await? else {
        let text = "a member of no Auto Scaling group: use `stop-instance`".to_owned();
        return Ok(Did::Skipped(text));
    };
    if member.is_going() {
        return Ok(Did::Done(format!("`{}` ends it already", member.group)));
    }
    if let May::Not(did) = may(work, config, &instance, &event, "ended through its group").await? {
        return Ok(did);
    }
    let decrement = flag(config, "decrement_desired", true);
    let call = work.perform.groups.terminate(&instance, decrement);
    let replaced = if decrement { "nothing replaces it" } else { "another one replaces it" };
    match work.perform.through(AUTO_SCALING, work.now, call).await {
        Ok(()) => Ok(done(work, format!("`{}` ends it, {replaced}", member.group))),
        Err(Trouble::Cloud(error)) if error.kind == Kind::Missing => Ok(is_gone(&event)),
        Err(trouble) => Err(trouble),
    }
}

/// What EC2 knows of an instance; `None` when it is gone.
pub(super) async fn look(
    work: &Work<'_>,
    instance: &InstanceId,
) -> Result<Option<Machine>, Trouble> {
    let machine = work.perform.through(EC2, work.now, work.perform.ec2.look(instance)).await?;
    let is_gone = |machine: &Machine| ["shutting-down", "terminated"].contains(&&*machine.state);
    Ok(machine.filter(|machine| !is_gone(machine)))
}

/// Whether an instance may be stopped now.
enum May {
    /// It may; what EC2 knows of it, where that was asked.
    Go(Option<Machine>),
    Not(Did),
}

async fn may(
    work: &Work<'_>,
    config: &Map<String, Value>,
    instance: &InstanceId,
    event: &Event,
    would: &str,
) -> Result<May, Trouble> {
    let is_dry = flag(config, "dry_run", false);
    let dry = || Did::Skipped(format!("dry run: it would be {would}"));
    if event.cause.is_some() {
        return Ok(if is_dry { May::Not(dry()) } else { May::Go(None) });
    }
    let Some(machine) = look(work, instance).await? else { return Ok(May::Not(is_gone(event))) };
    let prefix = &work.perform.settings.tag_prefix;
    if ["stopping", "stopped"].contains(&&*machine.state) {
        let is_ours = work.task.attempts > 1 && is_stopped(&machine.tags, prefix);
        return Ok(May::Not(match is_ours {
            true => done(work, "stops".to_owned()),
            false => Did::Skipped("it is stopped already".to_owned()),
        }));
    }
    if let Some(why) = check::protection(&machine.tags, prefix, work.now) {
        return Ok(May::Not(Did::Skipped(why)));
    }
    if let Some(did) = stays(work, instance, event).await? {
        return Ok(May::Not(did));
    }
    if is_dry {
        return Ok(May::Not(dry()));
    }
    if let Some(did) = refused(work, config).await? {
        return Ok(May::Not(did));
    }
    // The calls above take their time, in which somebody may log in.
    match stays(work, instance, event).await? {
        None => Ok(May::Go(Some(machine))),
        Some(did) => {
            take_back(work, config, true).await;
            Ok(May::Not(did))
        }
    }
}

/// Why an instance that told that it is idle is left alone now.
async fn stays(
    work: &Work<'_>,
    instance: &InstanceId,
    event: &Event,
) -> Result<Option<Did>, Trouble> {
    if event.kind != EventType::InstanceIdle {
        return Ok(None);
    }
    let known = timed(work.perform.instances.read(instance)).await?;
    Ok(match check::idleness(event, known.as_ref(), work.now) {
        Idleness::Lasts => None,
        Idleness::Over(why) => Some(Did::Skipped(why)),
        Idleness::NotKept => Some(Did::Later {
            error: "NotRecorded",
            text: "its report is not written down yet".to_owned(),
            least: check::RECORDED,
        }),
    })
}

/// Why a limit holds the stop back; else it is counted.
async fn refused(work: &Work<'_>, config: &Map<String, Value>) -> Result<Option<Did>, Trouble> {
    let (limits, key) = (&work.perform.limits, work.key());
    if let Some((policy, limit)) = own_limit(work, config)
        && !timed(limits.pass(&scope(policy), &key, limit, work.now)).await?
    {
        let what = format!("the limit of {limit} stops an hour of the policy `{policy}`");
        return Ok(Some(refuse(work, &scope(policy), &what).await));
    }
    let limit = work.perform.settings.stops_per_hour;
    if timed(limits.pass(STACK, &key, limit, work.now)).await? {
        return Ok(None);
    }
    take_back(work, config, false).await;
    let what = format!("the limit of {limit} stops an hour of the stack");
    Ok(Some(refuse(work, STACK, &what).await))
}

async fn refuse(work: &Work<'_>, scope: &str, what: &str) -> Did {
    let perform = work.perform;
    perform.meter.count(Metric::StopsRefused, By::ALL, 1);
    match timed(perform.limits.is_first_refusal(scope, work.now)).await {
        Ok(false) => {}
        // Twice is better than never.
        Ok(true) | Err(_) => {
            let subject = "CloudSnooze: idle instances are left running";
            let text = format!(
                "{what} is reached. Instances beyond it are left running; those that stay idle \
                 are looked at again after an hour.\nTo see them: snooze incidents\nIf so many \
                 stops are right, raise the limit: `per_hour` of the action, or the parameter \
                 `MaxStopsPerHour` of the stack."
            );
            let topic = Topic::new(&perform.aws, &perform.settings.operators);
            if let Err(error) = timed(topic.message(subject, &text)).await {
                error!(name = %Name::OperatorsNotTold, %error, "operators not told of a limit");
            }
        }
    }
    Did::Skipped(format!("{what} is reached"))
}

/// Gives room to others for what is not done after all. When that fails, the hour has one stop
/// less than it may have.
async fn take_back(work: &Work<'_>, config: &Map<String, Value>, of_stack: bool) {
    let policy = own_limit(work, config).map(|(policy, _)| scope(policy));
    let stack = of_stack.then(|| STACK.to_owned());
    let key = work.key();
    for scope in policy.into_iter().chain(stack) {
        let call = work.perform.limits.take_back(&scope, &key, work.now);
        if let Err(error) = timed(call).await {
            warn!(scope, %error, "a stop that was not done stays counted");
        }
    }
}

/// The policy of the task, and how many stops an hour it may do where it says so.
fn own_limit<'a>(work: &'a Work<'_>, config: &Map<String, Value>) -> Option<(&'a str, u64)> {
    let What::Action { policy: Some(policy), .. } = &work.task.what else { return None };
    Some((policy, config.get("per_hour")?.as_u64()?))
}

fn scope(policy: &str) -> String {
    format!("policy/{policy}")
}

/// To stop what is gone is done where the event said that it goes; else it was no stop of ours.
fn is_gone(event: &Event) -> Did {
    match event.cause {
        Some(_) => gone(),
        None => Did::Skipped("the instance is gone".to_owned()),
    }
}

fn done(work: &Work<'_>, text: String) -> Did {
    work.perform.meter.count(Metric::Stops, By::ALL, 1);
    Did::Done(text)
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

/// What the action says, or the event.
pub(super) fn why(config: &Map<String, Value>, event: &Event) -> String {
    text(config, "reason").map_or_else(|| reason(event), str::to_owned)
}
