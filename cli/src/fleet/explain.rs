//! Why each task and step of an incident ended as it did, in sentences.

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_policy::ledger::{By, Incident, StepReport, Task, TaskState, What};

use super::{ledger, timing};
use crate::text::{self, word};

/// The sentences.
pub(super) fn person(incident: &Incident, now: Timestamp) -> String {
    let mut out = format!("{}\n", ledger::title(incident));
    for sentence in story(incident, now) {
        out.push_str(&format!("  {sentence}\n"));
    }
    for (head, points) in [("On the instance", steps(incident)), ("In the cloud", tasks(incident))]
    {
        if points.is_empty() {
            continue;
        }
        out.push_str(&format!("\n{head}\n"));
        for Point { name, what, mend } in points {
            out.push_str(&format!("  {name} {what}\n"));
            mend.into_iter().for_each(|mend| out.push_str(&format!("    {mend}\n")));
        }
    }
    out
}

/// The same, as data.
pub(super) fn data(incident: &Incident, now: Timestamp) -> Value {
    let points = |points: Vec<Point>| -> Value {
        let each = points.into_iter();
        each.map(|point| json!({ "name": point.name, "what": point.what, "mend": point.mend }))
            .collect()
    };
    json!({
        "incident": incident.id,
        "story": story(incident, now),
        "steps": points(steps(incident)),
        "tasks": points(tasks(incident)),
    })
}

/// What is said of one task or step.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) name: String,
    /// How it ended, as the rest of a sentence.
    pub(super) what: String,
    /// What to do about it.
    pub(super) mend: Option<String>,
}

/// What is said of the incident as a whole.
pub(super) fn story(incident: &Incident, now: Timestamp) -> Vec<String> {
    let instance = word(incident.instance.as_deref().unwrap_or("no instance"));
    let mut story = vec![match incident.unseen {
        true => format!("{instance} told of it itself; no event of EC2 came to the cloud side."),
        false => format!(
            "The cloud side heard of it for {instance} by {}.",
            text::counted(incident.signals.len(), "signal")
        ),
    }];
    if incident.policies.is_none() {
        let text = "The policies could not be read then: the instance acted on its own copy.";
        story.push(text.to_owned());
    }
    if incident.plan.is_empty() && incident.task("command").is_some() {
        let text = "No policy matched it, so nothing was planned for the instance: `snooze policy \
                    test` tells of each policy why.";
        story.push(text.to_owned());
    }
    story.push(match &incident.ended {
        None => format!("It is {}.", ledger::standing(incident, now)),
        Some(ended) => {
            let text = word(&ended.text);
            format!("It ended `{}`, says {}: {text}.", word(&ended.outcome), ledger::by(ended.by))
        }
    });
    if incident.ended.as_ref().is_some_and(|ended| ended.by == By::Sweep) {
        story.push(
            "The word of the instance, if it comes yet, replaces that. If it does not, look at \
             `journalctl -u snoozed` there, and at `snooze doctor` for its queue."
                .to_owned(),
        );
    }
    if let Some(margin) = ledger::margin(incident) {
        story.push(match margin.is_negative() {
            false => format!("The work was finished with {}.", timing::margin(margin)),
            true => format!(
                "The work was finished {}: shorten the time-outs of the policies.",
                timing::margin(margin)
            ),
        });
    }
    if let (Some(hook), false) = (&incident.hook, incident.is_completed()) {
        story.push(format!(
            "The hook `{}` of the group `{}` has no answer of ours: it ends by its own time-out, \
             {} after the last heartbeat.",
            word(&hook.name),
            word(&hook.group),
            text::took(hook.timeout())
        ));
    }
    story
}

/// What is said of each step on the instance.
pub(super) fn steps(incident: &Incident) -> Vec<Point> {
    incident.steps.iter().map(step).collect()
}

/// What is said of each task in the cloud.
pub(super) fn tasks(incident: &Incident) -> Vec<Point> {
    incident.tasks.iter().map(|task| of_task(task, incident)).collect()
}

fn step(step: &StepReport) -> Point {
    let state = ledger::step_state(step);
    let took = ledger::took(step).map(|took| format!(" in {took}")).unwrap_or_default();
    let text = if step.text.is_empty() { String::new() } else { format!(": {}", word(&step.text)) };
    Point {
        name: word(&step.step),
        what: format!("{}{took}{text}", word(state)),
        mend: of_outcome(state).map(str::to_owned),
    }
}

/// What to do about a step that ended so; nothing where all is well.
fn of_outcome(outcome: &str) -> Option<&'static str> {
    Some(match outcome {
        "done" | "not-needed" | "cancelled" | "rehearsed" => return None,
        "degraded" => "look at what it saved before you rely on it",
        "not-handled" => "the plugin does not care for such events: take it out of the policy",
        "failed" => "mend what it says; `snooze plugin test` tries it again",
        "timed-out" => "raise its `timeout_seconds`, or give it less to do",
        "unkillable" => "it hangs in the kernel: look at the disk or file system that it uses",
        "cannot-start" => "`snooze plugin list` on the instance says why it cannot be started",
        "broken-reply" | "too-much-output" => "`snooze plugin test` shows what it answers",
        "died" => "its last lines stand in `journalctl -u snoozed` on the instance",
        "untrusted" => {
            "its file is not the one that `plugins.allowed` pins: install that, or pin \
                        this one"
        }
        "dropped" => "make the steps before it shorter, or its `priority` higher",
        "unknown" => "look whether its work is whole; `repeatable` lets it run again after a crash",
        "not told" => "the instance did not tell of it before it went",
        _ => return None,
    })
}

fn of_task(task: &Task, incident: &Incident) -> Point {
    let attempts = match task.attempts {
        0 | 1 => String::new(),
        more => format!(" after {more} attempts"),
    };
    let said = |text: &str| if text.is_empty() { String::new() } else { format!(": {text}") };
    let again = match task.error.as_str() {
        "" => String::new(),
        error => format!("; the last attempt said: {}", word(error)),
    };
    let (what, mend) = match &task.state {
        TaskState::Done { at, text } => {
            (format!("done at {}{attempts}{}", text::at(*at), said(&word_of(text))), None)
        }
        TaskState::Skipped { text } => {
            (format!("was not to be done{}", said(&word_of(text))), None)
        }
        TaskState::Failed { error, text, .. } => (
            format!("failed{attempts}: {}", word(&format!("{error}: {text}"))),
            Some(of_error(error, text)),
        ),
        TaskState::Waiting => (
            "waits for the outcome of the instance".to_owned(),
            incident
                .ended
                .is_some()
                .then(|| "the outcome is there: the sweep releases it within a minute".to_owned()),
        ),
        TaskState::Pending { .. } => (
            format!("is not sent yet{again}"),
            Some("the sweep sends it within a minute".to_owned()),
        ),
        TaskState::Sent { at } => {
            let mend = match task.what {
                What::Heartbeat => None,
                What::Command | What::Action { .. } => Some(match again.is_empty() {
                    true => "`perform` takes it from the queue of actions; `snooze doctor` looks \
                             at that queue"
                        .to_owned(),
                    false => of_error(&task.error, ""),
                }),
            };
            (format!("stands in the queue since {}{again}", text::at(*at)), mend)
        }
        TaskState::Running { until, .. } => (
            format!("is being done{again}"),
            Some(format!("after {} another attempt may take it over", text::at(*until))),
        ),
    };
    Point { name: word(&task.id), what, mend }
}

/// A text that may be empty, for the end of a sentence.
fn word_of(text: &str) -> String {
    if text.is_empty() { String::new() } else { word(text) }
}

/// What to do about a task that failed with this.
fn of_error(error: &str, text: &str) -> String {
    let has = |words: &[&str]| {
        let all = format!("{error} {text}").to_ascii_lowercase();
        words.iter().any(|word| all.contains(word))
    };
    let mend = if has(&["denied", "authoriz", "forbidden"]) {
        "give the role of the function that permission: `snooze iam-policy perform` prints what it \
         needs"
    } else if has(&["breaker", "circuit"]) {
        "its destination failed time and again; mend it, and `snooze breaker reset` lets calls \
         through at once"
    } else if has(&["timeout", "unreachable", "timed out"]) {
        "its destination does not answer: look at its address and the network of the function"
    } else if has(&["notfound", "not found", "missing", "nosuch"]) {
        "what it names is not there: look at the parameters of the action"
    } else {
        "mend what it says; `snooze drill` tries the road again without harm"
    };
    mend.to_owned()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;
    use crate::fleet::ledger::samples::{at, done, troubled};

    #[test]
    fn what_went_well_needs_no_advice() {
        expect![[r#"
            cloud.spot.interrupt terminate
              The cloud side heard of it for i-0a1b2c3d4e5f60718 by 1 signal.
              It ended `done`, says the instance: 1 done.
              The work was finished with 1 min 58 s to spare.

            On the instance
              orders-db/redis-flusher done in 150 ms: redis_saved

            In the cloud
              command done at 2026-11-21T10:00:01.200Z
              orders-db/notify done at 2026-11-21T10:00:01.400Z after 2 attempts: 2 told
        "#]]
        .assert_eq(&person(&done(json!({})), at("11:00:00")));
    }

    #[test]
    fn what_went_wrong_comes_with_what_to_do() {
        expect![[r#"
            cloud.spot.interrupt terminate
              The cloud side heard of it for i-0a1b2c3d4e5f60718 by 1 signal.
              It ended `partial`, says the sweep: the instance did not tell.
              The word of the instance, if it comes yet, replaces that. If it does not, look at `journalctl -u snoozed` there, and at `snooze doctor` for its queue.
              The work was finished 1.5 s too late: shorten the time-outs of the policies.
              The hook `drain` of the group `orders` has no answer of ours: it ends by its own time-out, 5 min 0 s after the last heartbeat.

            On the instance
              orders-db/redis-flusher timed-out in 30.0 s: after 30s
                raise its `timeout_seconds`, or give it less to do
              orders-db/image dropped: too little time: 20s left, 65s needed
                make the steps before it shorter, or its `priority` higher
              orders-db/later not told
                the instance did not tell of it before it went

            In the cloud
              command failed: Denied: `Publish` failed: AuthorizationError
                give the role of the function that permission: `snooze iam-policy perform` prints what it needs
              heartbeat was not to be done: it is over
              orders-db/complete-lifecycle waits for the outcome of the instance
                the outcome is there: the sweep releases it within a minute
              orders-db/webhook stands in the queue since 2026-11-21T10:00:09.000Z; the last attempt said: BreakerOpen: example.com failed 5 times
                its destination failed time and again; mend it, and `snooze breaker reset` lets calls through at once
              orders-db/tag is being done
                after 2026-11-21T10:00:29.000Z another attempt may take it over
              orders-db/notify is not sent yet
                the sweep sends it within a minute
        "#]].assert_eq(&person(&troubled(), at("11:00:00")));
    }

    #[test]
    fn an_incident_that_only_the_instance_saw_says_so() {
        let told = done(json!({ "unseen": true, "policies": null, "plan": [] }));
        let told = person(&told, at("11:00:00"));
        assert!(told.contains("no event of EC2 came"), "{told}");
        assert!(told.contains("acted on its own copy"), "{told}");
        assert!(told.contains("No policy matched"), "{told}");
    }
}
