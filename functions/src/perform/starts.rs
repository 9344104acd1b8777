//! Starts: an instance that we stopped is woken again.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use snooze_cloud::Kind;
use snooze_cloud::ec2::Machine;
use snooze_event::Event;

use super::act::{Work, flag};
use super::done::{Did, Trouble};
use super::instances::{EC2, cut, gone};
use super::stops::{is_false, is_stopped, look, why};

/// An instance takes about this long to stop; until then it cannot be started.
const STOPPING: Duration = Duration::from_secs(15);

/// Starts an instance that our tags say we stopped, unless they forbid it. One that runs already
/// is left alone, and its tags are set right.
pub(super) async fn start(work: &Work<'_>, config: &Map<String, Value>) -> Result<Did, Trouble> {
    let (instance, event) = (work.instance()?, work.event()?);
    let prefix = &work.perform.settings.tag_prefix;
    let Some(machine) = look(work, &instance).await? else {
        return Ok(Did::Skipped("the instance is gone".to_owned()));
    };
    if let Some(why) = forbidden(&machine, prefix, &event) {
        return Ok(Did::Skipped(why));
    }
    if flag(config, "dry_run", false) {
        return Ok(Did::Skipped("dry run: it would be started".to_owned()));
    }
    if machine.state == "stopping" {
        let text = "it is still stopping".to_owned();
        return Ok(Did::Later { error: "WrongState", text, least: STOPPING });
    }
    let tags = tags(prefix, &why(config, &event), &event, work);
    let ec2 = &work.perform.ec2;
    let call = async {
        let sleeps = machine.state == "stopped";
        if sleeps {
            ec2.start(&instance).await?;
        }
        ec2.tag(&instance, &tags).await?;
        Ok(if sleeps { "starts" } else { "it runs already" })
    };
    match work.perform.through(EC2, work.now, call).await {
        Ok(text) => Ok(Did::Done(text.to_owned())),
        Err(Trouble::Cloud(error)) if error.kind == Kind::Missing => Ok(gone()),
        Err(trouble) => Err(trouble),
    }
}

/// Takes our word back that an instance is stopped, which somebody else started. A stop that was
/// ordered meanwhile stands.
pub(super) async fn mark(work: &Work<'_>) -> Result<Did, Trouble> {
    let instance = work.instance()?;
    let prefix = &work.perform.settings.tag_prefix;
    let Some(machine) = look(work, &instance).await? else { return Ok(gone()) };
    let back = work.incident.back_at().unwrap_or(work.now);
    if machine.state != "running" || !is_of_stop_before(&machine, prefix, back) {
        return Ok(Did::Skipped("its tags are of another stop, or of none".to_owned()));
    }
    let tags = [("Status", "Running".to_owned()), ("RestartTimestamp", written(back))];
    let tags = tags.map(|(key, value)| (format!("{prefix}:{key}"), value));
    match work.perform.through(EC2, work.now, work.perform.ec2.tag(&instance, &tags)).await {
        Ok(()) => Ok(Did::Done("its tags say that it runs".to_owned())),
        Err(Trouble::Cloud(error)) if error.kind == Kind::Missing => Ok(gone()),
        Err(trouble) => Err(trouble),
    }
}

/// Whether its tags say that we stopped it before this moment.
fn is_of_stop_before(machine: &Machine, prefix: &str, back: Timestamp) -> bool {
    let at = machine.tags.get(&format!("{prefix}:StopTimestamp"));
    let at = at.and_then(|at| at.parse::<Timestamp>().ok());
    is_stopped(&machine.tags, prefix) && at.is_none_or(|at| at <= back)
}

fn written(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Why an instance is not to be started.
fn forbidden(machine: &Machine, prefix: &str, event: &Event) -> Option<String> {
    if !is_stopped(&machine.tags, prefix) {
        return Some("it was not stopped by us".to_owned());
    }
    let allowed = format!("{prefix}:RestartAllowed");
    if is_false(&machine.tags, &allowed) {
        return Some(format!("its tag `{allowed}` forbids it"));
    }
    let restarters = format!("{prefix}:AllowedRestarters");
    let names = machine.tags.get(&restarters).filter(|names| !names.trim().is_empty())?;
    let is_named = names.split(',').any(|name| name.trim() == event.source);
    (!is_named).then(|| format!("its tag `{restarters}` does not name `{}`", event.source))
}

fn tags(prefix: &str, reason: &str, event: &Event, work: &Work<'_>) -> Vec<(String, String)> {
    let tags = [
        ("Status", "Running".to_owned()),
        ("RestartTimestamp", written(work.now)),
        ("RestartReason", reason.to_owned()),
        ("RestartedBy", event.source.clone()),
    ];
    tags.map(|(key, value)| (format!("{prefix}:{key}"), cut(&value))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_stopped_and_who_may_is_started() {
        let check = |tags: &[(&str, &str)]| {
            let tags = tags.iter().map(|(key, value)| (format!("P:{key}"), (*value).to_owned()));
            let machine = Machine { state: "stopped".to_owned(), kind: None, tags: tags.collect() };
            let now = jiff::Timestamp::UNIX_EPOCH;
            let kind = "trigger.start".parse().unwrap();
            let event = Event::new(kind, "portal", now, "e".parse().unwrap());
            forbidden(&machine, "P", &event)
        };
        assert_eq!(check(&[]).as_deref(), Some("it was not stopped by us"));
        assert!(check(&[("Status", "Running")]).is_some());
        assert_eq!(check(&[("Status", "Stopped")]), None);
        assert_eq!(check(&[("Status", "stopped"), ("RestartAllowed", "true")]), None);
        let forbidden = check(&[("Status", "Stopped"), ("RestartAllowed", "False")]);
        assert_eq!(forbidden.as_deref(), Some("its tag `P:RestartAllowed` forbids it"));
        let named = |names| check(&[("Status", "Stopped"), ("AllowedRestarters", names)]);
        assert_eq!((named("other, portal"), named(" ")), (None, None));
        let other = named("other,portals");
        assert_eq!(other.as_deref(), Some("its tag `P:AllowedRestarters` does not name `portal`"));
    }
}
