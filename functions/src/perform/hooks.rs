//! Lifecycle hooks: kept waiting while the instance saves, then answered.

use std::time::Duration;

use jiff::Timestamp;
use snooze_cloud::groups::Heard;
use snooze_policy::ActionName;
use snooze_policy::ledger::{HEARTBEAT, Hook, Incident, Task, What};

use super::act::Work;
use super::done::{Did, Trouble};

/// The destination of all calls to Auto Scaling.
pub(super) const AUTO_SCALING: &str = "auto-scaling";
/// The longest time between two heartbeats: an order is not held back for longer.
const LONGEST: Duration = Duration::from_secs(900);

/// Answers the hook: `CONTINUE` only when it is known that everything was saved.
///
/// The second answer to one hook finds that nothing waits any more, which is as good as done.
pub(super) async fn complete(work: &Work<'_>) -> Result<Did, Trouble> {
    let Some(hook) = &work.incident.hook else {
        return Ok(Did::Skipped("no lifecycle hook waits".to_owned()));
    };
    let Some(ended) = &work.incident.ended else {
        let text = "the outcome is not known".to_owned();
        return Ok(Did::Later { error: "NoOutcome", text, least: Duration::ZERO });
    };
    let well = ended.outcome == "done";
    let call = work.perform.groups.complete(hook, well);
    let word = if well { "CONTINUE" } else { "ABANDON" };
    Ok(Did::Done(match work.perform.through(AUTO_SCALING, work.now, call).await? {
        Heard::Accepted => format!("{word}, since the outcome is `{}`", ended.outcome),
        Heard::Gone => "the hook no longer waited".to_owned(),
    }))
}

/// Keeps the hook waiting, at once and then at half of its time-out, until the incident has
/// ended. One heartbeat too many does no harm.
pub(super) async fn beat(work: &Work<'_>) -> Result<Did, Trouble> {
    if work.incident.drill {
        return Ok(Did::Skipped("a drill".to_owned()));
    }
    let Some(hook) = &work.incident.hook else {
        return Ok(Did::Skipped("no lifecycle hook waits".to_owned()));
    };
    if work.task.id != HEARTBEAT && work.incident.task(HEARTBEAT).is_some() {
        return Ok(Did::Done("the hook is kept waiting without that, too".to_owned()));
    }
    if let Some(why) = needless(work.incident, work.now) {
        return Ok(Did::Done(why.to_owned()));
    }
    let call = work.perform.groups.beat(hook);
    Ok(match work.perform.through(AUTO_SCALING, work.now, call).await? {
        Heard::Accepted => Did::Beat(hook.beat().min(LONGEST)),
        Heard::Gone => Did::Done("the hook no longer waited".to_owned()),
    })
}

/// Why no heartbeat is needed any more.
#[must_use]
pub fn needless(incident: &Incident, now: Timestamp) -> Option<&'static str> {
    if incident.is_completed() {
        Some("the hook was answered")
    } else if incident.ended.is_some() {
        Some("the incident has ended")
    } else if now >= incident.overdue_at() {
        Some("the outcome is overdue")
    } else {
        None
    }
}

/// Whether an order for a heartbeat is one too many: another one beat a moment ago, and looks
/// after the next. Two orders in the queue would else beat side by side for ever.
#[must_use]
pub fn is_surplus(incident: &Incident, task: &str, now: Timestamp) -> bool {
    let is_beat = incident.task(task).is_some_and(beats);
    let is_young = |hook: &Hook| {
        let pause = hook.beat().min(LONGEST);
        hook.beat_at.is_some_and(|last| now.duration_since(last).unsigned_abs() < pause / 2)
    };
    is_beat && needless(incident, now).is_none() && incident.hook.as_ref().is_some_and(is_young)
}

/// The longest delay before a task is tried again: a hook does not wait for long.
#[must_use]
pub fn patience(incident: &Incident, task: &Task) -> Duration {
    let usual = Duration::from_secs(30);
    match &incident.hook {
        Some(hook) if beats(task) => usual.min(hook.timeout() / 6),
        Some(_) | None => usual,
    }
}

fn beats(task: &Task) -> bool {
    task.what == What::Heartbeat
        || task.action().is_some_and(|(name, _)| name == ActionName::Heartbeat)
}
