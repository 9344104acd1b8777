//! `snooze replay`: what the plan of an incident would be with other policies, nothing touched.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use snooze_event::Event;
use snooze_policy::ledger::{Incident, Opening, Shelf, Task};
use snooze_policy::{Facts, Policy, When};
use snoozed::exit;

use super::{Fleet, incidents, ledger, policies};
use crate::daemon::Context;
use crate::failure::Failure;
use crate::{diff, files, screen};

/// What an Auto Scaling termination leaves an instance where nothing says more; as the function
/// `dispatch` has it.
const LIFECYCLE_BUDGET: Duration = Duration::from_secs(120);

/// Show what the plan of an incident would be today, and touch nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: snooze replay last --policy policies/orders.json

Lines with `-` were planned, those with `+` would be. The policies are those of the fleet as they
are stored now; `--policy` puts others in their place. Exit codes: 0 the plan would be the same,
1 it would be another.")]
pub(crate) struct Args {
    /// The id of the incident, as `snooze incidents` names it, or `last`
    #[arg(value_name = "INCIDENT")]
    incident: String,
    /// Policies in place of the stored ones of the same names: files, or directories of them
    #[arg(long, num_args = 1.., value_name = "FILE|DIR")]
    policy: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let ours =
        if args.policy.is_empty() { Vec::new() } else { files::usable_policies(&args.policy)? };
    let fleet = Fleet::connect(context)?;
    let incident = incidents::read(&args.incident, &fleet, Timestamp::now())?;
    let event = incident.told().map_err(|fault| {
        let text = format!("the incident `{}` holds no event: {fault}", incident.id);
        Failure::new(exit::NO, text)
    })?;
    let stored = policies::contents(&fleet)?.shelf();
    for fault in &stored.faults {
        screen::complain(&format!("a stored policy cannot be used: {fault}\n"));
    }
    let facts = facts(&event, &fleet)?;
    let policies = overlay(stored.policies.into_policies(), ours).into();
    let shelf = Shelf { policies, ..stored };
    let replayed = replay(&incident, &event, facts.as_ref(), &shelf);
    let (old, new) = (plan(&incident), plan(&replayed));
    let differs = diff::lines(&old, &new);
    let data = json!({
        "incident": incident.id,
        "differs": differs.is_some(),
        "planned": old.lines().collect::<Vec<_>>(),
        "now": new.lines().collect::<Vec<_>>(),
    });
    screen::show(context.json, &data, |_| match &differs {
        None => format!("{}: the plan would be the same\n{new}", ledger::title(&incident)),
        Some(lines) => format!("{}: the plan would be another\n{lines}", ledger::title(&incident)),
    })?;
    Ok(if differs.is_some() { exit::NO } else { exit::OK })
}

/// What the fleet knows of the instance today; the ledger does not keep what it knew then.
fn facts(event: &Event, fleet: &Fleet) -> Result<Option<Facts>, Failure> {
    let Some(instance) = &event.instance else { return Ok(None) };
    let table = fleet.instances();
    let known = fleet.ask("read the instance", &fleet.name("instances"), table.read(instance))?;
    if known.is_none() {
        screen::complain(&format!(
            "the fleet has forgotten {instance}: policies that ask for its tags do not match\n"
        ));
    }
    // It was known when the incident was opened.
    let gone = || Facts { id: Some(instance.clone()), ..Facts::default() };
    Ok(Some(known.map_or_else(gone, |known| known.facts)))
}

/// The stored policies, with ours in the place of those of the same names.
fn overlay(stored: Vec<Policy>, ours: Vec<Policy>) -> Vec<Policy> {
    let is_ours = |name| ours.iter().any(|own| own.name == name);
    let mut all: Vec<Policy> =
        stored.into_iter().filter(|policy| !is_ours(policy.name.clone())).collect();
    all.extend(ours);
    all
}

/// The incident as it would be opened with these policies, at the same moment.
fn replay(incident: &Incident, event: &Event, facts: Option<&Facts>, shelf: &Shelf) -> Incident {
    let hook_timeout = incident.hook.as_ref().and_then(|hook| hook.timeout_seconds);
    let opening = Opening {
        event,
        facts,
        shelf,
        hook_timeout: hook_timeout.map(Duration::from_secs),
        lifecycle_budget: LIFECYCLE_BUDGET,
    };
    Incident::open(&incident.id, opening, incident.opened_at)
}

/// What was to be done, one line for each step and task, without how it went.
fn plan(incident: &Incident) -> String {
    let task = |task: &Task| {
        let when = match task.when() {
            When::Now => "at once",
            When::Outcome => "when the outcome is known",
        };
        format!("do   {} in the cloud, {when}", task.id)
    };
    let lines = incident.plan.iter().cloned().chain(incident.tasks.iter().map(task));
    lines.map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::super::ledger::samples::done;
    use super::*;

    const ORDERS: &str = r#"{ "name": "orders-db", "match": { "type": ["cloud.spot.interrupt"] },
        "handlers": [{ "plugin": "redis-flusher", "priority": 100, "timeout_seconds": 30 }],
        "actions": [{ "action": "notify" }] }"#;

    fn replayed(policies: &[&str]) -> Option<String> {
        let incident = done(json!({}));
        let policies = policies.iter().map(|text| snooze_policy::check(text).unwrap());
        let shelf = Shelf { version: Some(13), policies: policies.collect(), faults: Vec::new() };
        let facts = Facts::default();
        let event = incident.told().unwrap();
        let replayed = replay(&incident, &event, Some(&facts), &shelf);
        diff::lines(&plan(&incident), &plan(&replayed))
    }

    #[test]
    fn the_same_policies_bring_the_same_plan() {
        assert_eq!(replayed(&[ORDERS]), None);
    }

    #[test]
    fn another_policy_shows_what_it_would_change() {
        let slower = ORDERS
            .replace(
                "\"timeout_seconds\": 30 }",
                "\"timeout_seconds\": 60 }, { \"plugin\": \"slack-notifier\", \"priority\": 10 }",
            )
            .replace(
                "notify",
                "tag\", \"config\": { \"tags\": { \"a\": \"b\" } }, \"when\": \"outcome",
            );
        expect![[r#"
              118.9s left
            - run  orders-db/redis-flusher (high 100) within 30s
            + run  orders-db/redis-flusher (high 100) within 60s
            + run  orders-db/slack-notifier (low 10) within 10s, after 60s at the latest
              do   command in the cloud, at once
            - do   orders-db/notify in the cloud, at once
            + do   orders-db/tag in the cloud, when the outcome is known
            + do   operators in the cloud, at once
        "#]]
        .assert_eq(&replayed(&[&slower]).unwrap());
        expect![[r#"
            - 118.9s left
            - run  orders-db/redis-flusher (high 100) within 30s
              do   command in the cloud, at once
            - do   orders-db/notify in the cloud, at once
            + do   operators in the cloud, at once
        "#]]
        .assert_eq(&replayed(&[]).unwrap());
    }

    #[test]
    fn our_policies_take_the_place_of_stored_ones_of_their_names() {
        let policy = |text: &str| snooze_policy::check(text).unwrap();
        let other = policy(&ORDERS.replace("orders-db", "other"));
        let off = policy(&ORDERS.replacen('{', r#"{ "enabled": false,"#, 1));
        let all = overlay(vec![policy(ORDERS), other], vec![off]);
        let told: Vec<_> = all.iter().map(|one| (one.name.as_str(), one.enabled)).collect();
        assert_eq!(told, [("other", true), ("orders-db", false)]);
    }
}
