//! What operators are told: a subject and a text that a person can act on. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use snooze_event::{Event, EventType};
use snooze_policy::ledger::{By, COMMAND, Ended, Incident, Task, TaskState, idle_since};

use super::act::Known;
use super::stops::reason;

/// The longest subject that SNS takes, in characters.
const SUBJECT: usize = 100;
/// The most lines of one list; the ledger has them all.
const LINES: usize = 20;
/// The words of steps that are as they should be.
const FINE: [&str; 4] = ["done", "not-needed", "not-handled", "cancelled"];

/// What a message is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct News<'a> {
    pub(super) incident: &'a Incident,
    pub(super) event: &'a Event,
    pub(super) known: &'a Known,
    /// What the policy wants said.
    pub(super) config: &'a Map<String, Value>,
    pub(super) now: Timestamp,
}

impl News<'_> {
    /// At most 100 characters of printable ASCII.
    pub(super) fn subject(&self) -> String {
        let drill = if self.incident.drill { "[DRILL] " } else { "" };
        let own = self.own("subject").map(|own| format!("{own}: ")).unwrap_or_default();
        let what = match (&self.incident.ended, self.incident.deadline) {
            (Some(ended), _) if self.is_loss() => format!("{} {}", self.name(), verb(ended)),
            (None, Some(deadline)) if self.is_loss() => {
                format!("{} goes at {}", self.name(), deadline.strftime("%H:%M:%S UTC"))
            }
            (None, None) if self.is_loss() => format!("{} goes soon", self.name()),
            _ if self.is_idle() => format!("{} is idle", self.name()),
            _ => format!("{} {}", self.name(), self.event.kind),
        };
        let why = if self.is_loss() { format!(" ({})", self.why()) } else { String::new() };
        let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        format!("{drill}{own}{what}{why}").chars().map(plain).take(SUBJECT).collect()
    }

    /// The text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut part = |lines: Vec<String>| {
            if !lines.is_empty() {
                // Writing to a String cannot fail.
                let _ = write!(text, "{}\n\n", lines.join("\n"));
            }
        };
        if self.incident.drill {
            part(vec!["THIS IS A DRILL: nothing real is stopped or ended.".to_owned()]);
        }
        part(self.own("text").map(str::to_owned).into_iter().collect());
        part(self.what());
        part(self.plan());
        part(self.outcome());
        part(self.stops());
        part(self.tasks());
        part(self.duties());
        let _ = write!(text, "Incident {}", self.incident.id);
        text
    }

    /// The same for programs.
    pub(super) fn value(&self) -> Value {
        let Incident { id, instance, drill, deadline, opened_at, plan, steps, .. } = self.incident;
        let left = deadline.map(|deadline| left(deadline, self.now).as_secs());
        let tasks = self.incident.tasks.iter().map(
            |task| json!({ "task": task.id, "state": task.state.as_str(), "text": said(task) }),
        );
        json!({
            "id": id,
            "instance": instance,
            "drill": drill,
            "opened_at": opened_at,
            "deadline": deadline,
            "seconds_left": left,
            "plan": plan,
            "outcome": self.incident.ended.as_ref().map(|ended| &ended.outcome),
            "outcome_text": self.incident.ended.as_ref().map(|ended| &ended.text),
            "steps": steps,
            "tasks": tasks.collect::<Vec<_>>(),
        })
    }

    fn what(&self) -> Vec<String> {
        let facts = self.known.facts().cloned().unwrap_or_default();
        let type_told = self.event.data.get("instanceType").and_then(Value::as_str);
        let account = self.event.account.clone().or(facts.account);
        let region = self.event.region.clone().or(facts.region);
        let places = [
            facts.tags.get("Name").map(|name| format!("`{name}`")),
            facts.kind.or(type_told.map(str::to_owned)),
            facts.zone.or(region),
            account.map(|account| format!("account {account}")),
            facts.asg.map(|group| format!("Auto Scaling group `{group}`")),
        ];
        let places: Vec<String> = places.into_iter().flatten().filter(|p| !p.is_empty()).collect();
        let place =
            if places.is_empty() { String::new() } else { format!(" ({})", places.join(", ")) };
        let mut lines = Vec::new();
        if self.is_loss() {
            lines.push(format!("{}{place} is taken away: {}.", self.name(), self.why()));
            lines.push(self.when());
        } else if self.is_idle() {
            let (since, reason) = (idle_since(self.event), reason(self.event));
            lines.push(format!("{}{place} is idle since {since}: {reason}.", self.name()));
            lines.extend(self.measured());
        } else {
            lines.push(format!("{}{place}: {}.", self.name(), self.event.kind));
            lines.push(format!(
                "It happened at {} (source {}).",
                self.event.time, self.event.source
            ));
        }
        lines
    }

    /// What an idle instance measured, and how its plugins voted.
    fn measured(&self) -> Vec<String> {
        let data = &self.event.data;
        let metrics = data.get("metrics").and_then(Value::as_object).into_iter().flatten();
        let metrics = metrics.filter(|(_, value)| value.is_number()).take(LINES);
        let metrics: Vec<_> = metrics.map(|(key, value)| format!("{key} {value}")).collect();
        let votes = data.get("votes").and_then(Value::as_array).into_iter().flatten();
        let votes = votes.take(LINES).map(|vote| {
            let word = |key: &str| vote.get(key).and_then(Value::as_str).unwrap_or("?");
            format!("{}: {} ({})", word("plugin"), word("vote"), word("reason"))
        });
        let measured = (!metrics.is_empty()).then(|| format!("Measured: {}.", metrics.join(", ")));
        measured.into_iter().chain(votes).collect()
    }

    /// What is done to an idle instance, or was.
    fn stops(&self) -> Vec<String> {
        let stops = self.incident.tasks.iter().filter(|task| self.is_idle() && task.stops());
        let line = |task: &Task| match (&task.state, said(task)) {
            (TaskState::Waiting, _) => format!("{}: once all is saved on it", task.id),
            (_, "") => format!("{}: {}", task.id, task.state.as_str()),
            (_, said) => format!("{}: {said}", task.id),
        };
        let lines: Vec<_> = stops.map(line).collect();
        if lines.is_empty() { lines } else { titled("What is done to it:", lines.into_iter()) }
    }

    fn when(&self) -> String {
        let Some(deadline) = self.incident.deadline else {
            return "The event names no deadline.".to_owned();
        };
        match left(deadline, self.now).as_secs() {
            0 => format!("Deadline: {deadline}, which is over."),
            seconds => format!("Deadline: {deadline}, in {seconds} seconds."),
        }
    }

    fn plan(&self) -> Vec<String> {
        if self.incident.ended.is_some() || self.incident.plan.is_empty() {
            return Vec::new();
        }
        titled("What is saved on it:", self.incident.plan.iter().cloned())
    }

    fn outcome(&self) -> Vec<String> {
        let Some(Ended { outcome, by, text, at }) = &self.incident.ended else { return Vec::new() };
        let by = match by {
            By::Instance => "told by the instance",
            By::Sweep => "found by the sweep",
            By::Dispatch => "found by dispatch",
        };
        let why = if text.is_empty() { String::new() } else { format!(": {text}") };
        let steps = self.incident.steps.iter().map(|step| {
            let word = step.outcome.as_deref().unwrap_or("not ended");
            let text =
                if step.text.is_empty() { String::new() } else { format!(": {}", step.text) };
            format!("{word} {} after {} ms{text}", step.step, step.milliseconds)
        });
        titled(&format!("Outcome: {outcome}, {by} at {at}{why}."), steps)
    }

    fn tasks(&self) -> Vec<String> {
        let bad = |task: &&Task| matches!(task.state, TaskState::Failed { .. });
        let failed = self.incident.tasks.iter().filter(bad);
        let lines: Vec<_> = failed.map(|task| format!("{}: {}", task.id, said(task))).collect();
        if lines.is_empty() {
            lines
        } else {
            titled("What failed in the cloud:", lines.into_iter())
        }
    }

    fn duties(&self) -> Vec<String> {
        titled("What to do:", self.advice().into_iter())
    }

    fn advice(&self) -> Vec<String> {
        let mut advice: Vec<String> = Vec::new();
        let mut add = |text: &str| advice.push(text.to_owned());
        let is_told = self.incident.task(COMMAND).is_some();
        let ended = self.incident.ended.as_ref().map(|ended| ended.outcome.as_str());
        let is_unprotected = *self.known == Known::Nothing;
        if self.is_loss() && is_unprotected && ended.is_none() {
            add(
                "This instance never said hello, so nothing is saved on it: save by hand what you \
                 need before the deadline, and install the daemon on instances of its kind.",
            );
        }
        if self.is_idle() && matches!(ended, Some("partial" | "failed" | "unknown")) {
            add(
                "It is not stopped, since not everything on it is known to be saved: mend what the \
                 steps above name. It is looked at again after an hour if it stays idle.",
            );
        }
        match ended.filter(|_| !self.is_idle()) {
            None if self.is_idle() => {}
            None if self.incident.policies.is_none() && is_told && !is_unprotected => {
                add("The table of policies could not be read: the instance acts on its own copy. \
                     Look at the alarms of the stack.");
            }
            None if is_told && !is_unprotected && self.incident.plan.is_empty() => {
                add("No policy runs anything on this instance for such an event: write one, or \
                     save by hand what you need before the deadline.");
            }
            None if is_told && !is_unprotected => {
                add("Nothing now: the outcome follows. Without one three minutes after the \
                     deadline, take the data of this instance as not saved.");
            }
            Some("partial" | "failed") => {
                add("What the steps above were to save is not known to be safe: restore from the \
                     last copy before this incident, and mend what the texts name.");
                if self.incident.hook.is_some() {
                    add(
                        "Its lifecycle hook is abandoned: where the group retains such instances, \
                         the machine is still there to be looked at.",
                    );
                }
            }
            Some("unknown") => {
                add("Nobody knows what was saved: look for what the plugins wrote last, and take \
                     what is missing as lost.");
            }
            Some("expired") => {
                add("There was no time to act: look at why the event came so late.");
            }
            None | Some(_) => {}
        }
        if advice.is_empty() {
            advice.push("Nothing.".to_owned());
        }
        let ask = format!("To see all of it: snooze incidents show '{}'", self.incident.id);
        advice.push(ask);
        advice
    }

    fn is_idle(&self) -> bool {
        self.event.kind == EventType::InstanceIdle
    }

    fn is_loss(&self) -> bool {
        self.event.cause.is_some()
    }

    fn name(&self) -> &str {
        self.incident.instance.as_deref().unwrap_or("CloudSnooze")
    }

    fn why(&self) -> String {
        let cause = self.event.cause.map_or("", snooze_event::Cause::as_str);
        let action = self.event.action.as_ref().map_or("terminate", |action| action.as_str());
        format!("{cause} {action}")
    }

    fn own(&self, key: &str) -> Option<&str> {
        self.config.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }
}

fn verb(ended: &Ended) -> String {
    match ended.outcome.as_str() {
        "done" => "saved all".to_owned(),
        outcome => format!("ended: {outcome}"),
    }
}

/// A title with lines below it, those that failed first.
fn titled(title: &str, lines: impl Iterator<Item = String>) -> Vec<String> {
    let is_fine = |line: &String| FINE.iter().any(|word| line.starts_with(&format!("{word} ")));
    let mut all: Vec<String> = lines.collect();
    all.sort_by_key(is_fine);
    let left_out = all.len().saturating_sub(LINES);
    all.truncate(LINES);
    let mut out = vec![title.to_owned()];
    out.extend(all.into_iter().map(|line| format!("  - {line}")));
    if left_out > 0 {
        out.push(format!("  - and {left_out} more"));
    }
    out
}

fn left(deadline: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(deadline.duration_since(now)).unwrap_or_default()
}

fn said(task: &Task) -> &str {
    match &task.state {
        TaskState::Done { text, .. }
        | TaskState::Failed { text, .. }
        | TaskState::Skipped { text } => text,
        TaskState::Waiting
        | TaskState::Pending { .. }
        | TaskState::Sent { .. }
        | TaskState::Running { .. } => &task.error,
    }
}

#[cfg(test)]
mod tests;
