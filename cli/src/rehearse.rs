//! `snooze rehearse`: the plan that an event would bring, with nothing touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use snooze_event::{Event, EventId, wire};
use snooze_plugin::WARNINGS;
use snooze_policy::{Facts, Plan, Policy, When, document, schedule, select, steps};
use snoozed::exit;

use crate::daemon::Context;
use crate::failure::Failure;
use crate::{files, screen, text};

/// What an event without a deadline leaves, so that only the time-outs of handlers bound a plan.
const NO_DEADLINE: Duration = Duration::from_secs(24 * 3600);

/// Print the plan that an event would bring on an instance; nothing is touched
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples: snooze rehearse cloud.spot.interrupt --policies /etc/cloudsnooze/policies.d
          snooze rehearse notice.json --policies orders.json --instance facts.json --left 40

An event file holds an EventBridge event, a CloudEvent, or {\"type\", \"data\", \"severity\",
\"deadline\"}. Facts are {\"id\", \"type\", \"zone\", \"region\", \"account\", \"lifecycle\",
\"asg\", \"tags\": {}}. Exit codes: 0 something would run, 1 nothing would, 3 a file cannot be used.")]
pub(crate) struct Args {
    /// A file with an event, or an event type
    #[arg(value_name = "EVENT-FILE|TYPE")]
    event: String,
    /// Policies: files, or directories of them
    #[arg(long, required = true, num_args = 1.., value_name = "FILE|DIR")]
    policies: Vec<PathBuf>,
    /// A file with what is known of the instance
    #[arg(long, value_name = "FILE")]
    instance: Option<PathBuf>,
    /// How long the instance still has, whatever the event says
    #[arg(long, value_name = "SECONDS")]
    left: Option<f64>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let policies = files::usable_policies(&args.policies)?;
    let facts = args.instance.as_deref().map(facts_of_file).transpose()?.unwrap_or_default();
    let left = args.left.map(duration).transpose()?;
    let now = Timestamp::now();
    let rehearsals: Vec<Rehearsal> = events(&args.event, now)?
        .into_iter()
        .map(|event| Rehearsal::of(event, &policies, &facts, left))
        .collect();
    show(&rehearsals, context.json)
}

/// Prints rehearsals, and says by the exit code whether anything would run.
pub(crate) fn show(rehearsals: &[Rehearsal], json: bool) -> Result<u8, Failure> {
    let data: Value = rehearsals.iter().map(Rehearsal::data).collect();
    screen::show(json, &data, |_| {
        rehearsals.iter().map(Rehearsal::person).collect::<Vec<_>>().join("\n")
    })?;
    let runs = rehearsals.iter().any(Rehearsal::does_something);
    Ok(if runs { exit::OK } else { exit::NO })
}

/// What an event would bring.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    event: Event,
    /// Each policy: its name, whether it applies, and why.
    policies: Vec<Chosen>,
    plan: Plan,
    /// What the cloud side does; `None` where only the instance is looked at.
    actions: Option<Vec<Doing>>,
}

/// An action of a policy that matches.
#[derive(Debug)]
struct Doing {
    policy: String,
    action: &'static str,
    when: When,
}

#[derive(Debug)]
struct Chosen {
    name: String,
    enabled: bool,
    matches: bool,
    why: String,
}

impl Rehearsal {
    /// The plan of an event; `left` overrides what the event says.
    pub(crate) fn of(
        event: Event,
        policies: &[Policy],
        facts: &Facts,
        left: Option<Duration>,
    ) -> Self {
        let document = document(&event, facts);
        let steps = steps(&select(policies, &document), &event);
        let plan = schedule(&steps, left.unwrap_or_else(|| left_of(&event)));
        let policies = policies.iter().map(|policy| Chosen {
            name: policy.name.to_string(),
            enabled: policy.enabled,
            matches: policy.pattern.matches_view(&document),
            why: policy.pattern.explain_view(&document).to_string(),
        });
        Self { policies: policies.collect(), event, plan, actions: None }
    }

    /// With what the cloud side does for it.
    pub(crate) fn with_actions(self, policies: &[Policy], facts: &Facts) -> Self {
        let document = document(&self.event, facts);
        let actions = select(policies, &document).into_iter().flat_map(|policy| {
            policy.actions.iter().map(|action| Doing {
                policy: policy.name.to_string(),
                action: action.name.as_str(),
                when: action.when,
            })
        });
        Self { actions: Some(actions.collect()), ..self }
    }

    fn does_something(&self) -> bool {
        let acts = self.actions.as_ref().is_some_and(|actions| !actions.is_empty());
        acts || !self.plan.steps.is_empty()
    }

    fn data(&self) -> Value {
        let steps = self.plan.steps.iter().map(|step| {
            json!({
                "step": step.id.as_str(),
                "plugin": step.plugin.as_str(),
                "policy": step.policy.as_str(),
                "priority": step.priority,
                "after_seconds": step.after.as_secs_f64(),
                "budget_seconds": step.budget.as_secs_f64(),
                "rehearse": step.rehearse,
            })
        });
        let dropped = self.plan.dropped.iter();
        let dropped =
            dropped.map(|(step, why)| json!({ "step": step.as_str(), "why": why.to_string() }));
        let policies = self.policies.iter().map(|policy| {
            json!({ "policy": policy.name, "enabled": policy.enabled, "matches": policy.matches })
        });
        let mut data = json!({
            "event": wire::cloudevents::write(&self.event, None),
            "policies": policies.collect::<Vec<_>>(),
            "left_seconds": self.plan.left.as_secs_f64(),
            "steps": steps.collect::<Vec<_>>(),
            "dropped": dropped.collect::<Vec<_>>(),
        });
        if let (Some(actions), Some(members)) = (&self.actions, data.as_object_mut()) {
            let actions = actions.iter().map(|doing| {
                let on_outcome = doing.when == When::Outcome;
                json!({ "policy": doing.policy, "action": doing.action, "on_outcome": on_outcome })
            });
            members.insert("actions".to_owned(), actions.collect());
        }
        data
    }

    fn person(&self) -> String {
        let event = &self.event;
        let action = event.action.as_ref().map(|action| format!(" {}", action.as_str()));
        let mut out = format!(
            "event {}{}, from {}, at {}\n",
            event.kind,
            text::shown(&action.unwrap_or_default()),
            text::shown(&event.source),
            event.time
        );
        for policy in &self.policies {
            let (verdict, why) = match (policy.enabled, policy.matches) {
                (true, true) => ("matches", ""),
                (false, _) => ("is switched off", ""),
                (true, false) => ("does not match", policy.why.as_str()),
            };
            out.push_str(&format!("policy {} {verdict}\n", policy.name));
            let reasons = why.lines().filter(|line| line.trim_start().starts_with("fail"));
            reasons.for_each(|line| out.push_str(&format!("  {}\n", line.trim())));
        }
        match self.plan.steps.is_empty() && self.plan.dropped.is_empty() {
            true => out.push_str("nothing would run\n"),
            false => out.push_str(&self.plan.to_string()),
        }
        for Doing { policy, action, when } in self.actions.iter().flatten() {
            let when = match when {
                When::Now => "at once",
                When::Outcome => "when the outcome is known",
            };
            out.push_str(&format!("do   {policy}/{action} in the cloud, {when}\n"));
        }
        out
    }
}

/// What the event leaves at the moment it comes.
fn left_of(event: &Event) -> Duration {
    let said = event.deadline.map(|deadline| {
        Duration::try_from(deadline.duration_since(event.time)).unwrap_or_default()
    });
    match (event.cause, &event.action) {
        (Some(cause), Some(action)) => {
            snooze_event::budget(cause, action, event.deadline, event.time)
        }
        _ => said.unwrap_or(NO_DEADLINE),
    }
}

fn duration(seconds: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|fault| Failure::usage(format!("--left {seconds}: {fault}")))
}

/// The events of a file, or a plain one of a type.
pub(crate) fn events(file_or_type: &str, now: Timestamp) -> Result<Vec<Event>, Failure> {
    let path = Path::new(file_or_type);
    let bad = |why: String| Failure::file(file_or_type, why);
    if !path.exists() {
        let looks_like_a_file = file_or_type.contains('/') || file_or_type.ends_with(".json");
        if looks_like_a_file {
            return Err(bad("there is no such file".to_owned()));
        }
        return Ok(vec![plain(file_or_type, Map::new(), now)?]);
    }
    let body = fs::read(path).map_err(|source| Failure::file(path.display(), source))?;
    let read = wire::text(&body).map_err(|fault| bad(chain(fault)))?;
    of_text(read, now).map_err(|fault| bad(chain(fault)))
}

/// An event of a type, with what `more` says of it.
pub(crate) fn plain(
    kind: &str,
    more: Map<String, Value>,
    now: Timestamp,
) -> Result<Event, Failure> {
    let mut members = more;
    members.insert("type".to_owned(), kind.into());
    wire::plugin::read_custom(&Value::Object(members), now, event_id()?)
        .map_err(|fault| Failure::usage(chain(fault)))
}

/// Whether such an event says when the instance goes.
pub(crate) fn has_deadline(kind: &str) -> bool {
    !WARNINGS.contains(&kind) && !kind.starts_with("system.")
}

fn of_text(text: &str, now: Timestamp) -> Result<Vec<Event>, wire::ReadError> {
    let value = wire::parse(text)?;
    if value.get("detail-type").is_some() {
        return wire::eventbridge::read(text);
    }
    if value.get("specversion").is_some() {
        return Ok(vec![wire::cloudevents::read(&value, now)?]);
    }
    let id = event_id().unwrap_or_else(|_| unreachable!("the text has the form of an id"));
    Ok(vec![wire::plugin::read_custom(&value, now, id)?])
}

fn event_id() -> Result<EventId, Failure> {
    "rehearsal".parse().map_err(|fault| Failure::usage(format!("{fault}")))
}

fn chain(fault: wire::ReadError) -> String {
    format!("{:#}", anyhow::Error::from(fault))
}

/// What is known of an instance, as a file tells it.
pub(crate) fn facts_of_file(file: &Path) -> Result<Facts, Failure> {
    facts(&files::read_json(file)?).map_err(|why| Failure::file(file.display(), why))
}

fn facts(value: &Value) -> Result<Facts, String> {
    const KEYS: [&str; 8] = ["id", "type", "zone", "region", "account", "lifecycle", "asg", "tags"];
    let members = value.as_object().ok_or("expected an object with the facts")?;
    if let Some(key) = members.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("unknown fact `{key}`; expected {}", KEYS.join(", ")));
    }
    let text = |key: &str| match members.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("`{key}` is {other}: expected a text")),
    };
    let mut facts = Facts {
        kind: text("type")?,
        zone: text("zone")?,
        region: text("region")?,
        account: text("account")?,
        lifecycle: text("lifecycle")?,
        asg: text("asg")?,
        ..Facts::default()
    };
    if let Some(id) = text("id")? {
        facts.id = Some(id.parse().map_err(|fault| format!("`id`: {fault}"))?);
    }
    let tags = members.get("tags").cloned().unwrap_or(json!({}));
    facts.tags = serde_json::from_value(tags)
        .map_err(|_not| "`tags`: expected an object of texts".to_owned())?;
    Ok(facts)
}
