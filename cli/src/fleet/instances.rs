//! `snooze instances`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_cloud::instances::Instance;
use snoozed::exit;

use super::{Fleet, timing};
use crate::daemon::Context;
use crate::failure::Failure;
use crate::text::word;
use crate::{screen, text};

/// An instance tells of itself every 15 minutes; after two of them it is stale.
pub(super) const STALE: Duration = Duration::from_secs(30 * 60);

/// List the instances of the fleet
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: snooze instances --stale")]
pub(crate) struct Args {
    /// Only those that do nothing
    #[arg(long)]
    idle: bool,
    /// Only those that were not heard of for 30 minutes
    #[arg(long)]
    stale: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let fleet = Fleet::connect(context)?;
    let now = Timestamp::now();
    let table = fleet.instances();
    let mut known = fleet.ask("list the instances", &fleet.name("instances"), table.list())?;
    known.retain(|one| {
        (!args.idle || one.idle_since.is_some()) && (!args.stale || is_stale(one, now))
    });
    let table = fleet.policies();
    let version = fleet.wait("waiting for the version of the policies", table.version());
    // The list is worth having without it.
    let version = version.ok();
    let data = json!({
        "policies": version,
        "instances": known.iter().map(|one| data(one, now)).collect::<Vec<_>>(),
    });
    screen::show(context.json, &data, |_| person(&known, version, now))?;
    Ok(exit::OK)
}

/// Whether an instance was not heard of for too long.
pub(super) fn is_stale(instance: &Instance, now: Timestamp) -> bool {
    instance.last_seen.is_none_or(|seen| seen < timing::before(now, STALE))
}

/// The id of an instance of the table, where it always stands.
pub(super) fn id(instance: &Instance) -> String {
    instance.facts.id.as_ref().map_or_else(String::new, ToString::to_string)
}

fn person(known: &[Instance], version: Option<u64>, now: Timestamp) -> String {
    if known.is_empty() {
        return "no such instance; a daemon with `cloud` in its settings says hello when it starts\n"
            .to_owned();
    }
    let head = [
        "INSTANCE", "TYPE", "ZONE", "GROUP", "DAEMON", "POLICIES", "SEEN", "IDLE", "DRILLED",
        "FAULTS",
    ];
    let rows = known.iter().map(|one| {
        let fact = |fact: &Option<String>| word(fact.as_deref().unwrap_or_default());
        [
            word(&id(one)),
            fact(&one.facts.kind),
            fact(&one.facts.zone),
            fact(&one.facts.asg),
            fact(&one.version),
            policies(one.policies, version),
            timing::ago(one.last_seen, now),
            one.idle_since.map_or_else(|| "-".to_owned(), |since| timing::ago(Some(since), now)),
            timing::ago(one.drilled_at, now),
            word(&one.faults.join("; ")),
        ]
    });
    let rows: Vec<_> = [head.map(str::to_owned)].into_iter().chain(rows).collect();
    let stale = known.iter().filter(|one| is_stale(one, now)).count();
    let count = text::counted(known.len(), "instance");
    format!(
        "{}{count}, {stale} not heard of for {} minutes\n",
        text::table(&rows),
        STALE.as_secs() / 60
    )
}

/// The version that an instance acts on, beside that of the table where it is another.
fn policies(own: Option<u64>, table: Option<u64>) -> String {
    match (own, table) {
        (None, _) => "own files".to_owned(),
        (Some(own), Some(table)) if own != table => format!("{own} (stored: {table})"),
        (Some(own), _) => own.to_string(),
    }
}

fn data(one: &Instance, now: Timestamp) -> Value {
    let facts = &one.facts;
    let moment = |moment: &Option<Timestamp>| moment.map(|moment| moment.to_string());
    json!({
        "instance": id(one),
        "type": facts.kind,
        "zone": facts.zone,
        "region": facts.region,
        "account": facts.account,
        "lifecycle": facts.lifecycle,
        "group": facts.asg,
        "tags": facts.tags,
        "version": one.version,
        "policies": one.policies,
        "queue": one.queue_url,
        "last_seen": moment(&one.last_seen),
        "stale": is_stale(one, now),
        "idle_since": moment(&one.idle_since),
        "drilled_at": moment(&one.drilled_at),
        "faults": one.faults,
    })
}

#[cfg(test)]
pub(super) mod samples {
    //! Instances for tests.

    use snooze_policy::Facts;

    use super::Instance;

    /// An instance that was heard of five minutes before 10:00.
    pub(crate) fn instance(id: &str) -> Instance {
        let text = |text: &str| Some(text.to_owned());
        Instance {
            facts: Facts {
                id: Some(id.parse().unwrap()),
                kind: text("m7g.large"),
                zone: text("eu-west-1a"),
                region: text("eu-west-1"),
                account: text("123456789012"),
                lifecycle: text("spot"),
                asg: text("orders"),
                tags: [("role".to_owned(), "db".to_owned())].into(),
            },
            queue_url: text("https://queue"),
            subscription: text("arn:aws:sns:eu-west-1:123456789012:cloudsnooze-commands:1"),
            version: text("0.1.0"),
            boot: text("b"),
            policies: Some(12),
            faults: Vec::new(),
            last_seen: Some("2026-11-21T09:55:00Z".parse().unwrap()),
            idle_since: None,
            idle_told: None,
            idle_boot: None,
            drilled_at: Some("2026-11-14T10:00:00Z".parse().unwrap()),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::samples::instance;
    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn one_line_for_each_instance() {
        let silent = Instance {
            version: None,
            policies: Some(11),
            faults: vec!["bus: denied\u{1b}".to_owned(), "queue: denied".to_owned()],
            last_seen: Some("2026-11-21T08:00:00Z".parse().unwrap()),
            idle_since: Some("2026-11-21T09:00:00Z".parse().unwrap()),
            drilled_at: None,
            ..instance("i-0b1b2c3d4e5f60718")
        };
        let known = [instance("i-0a1b2c3d4e5f60718"), silent];
        expect![[r#"
            INSTANCE             TYPE       ZONE        GROUP   DAEMON  POLICIES         SEEN           IDLE           DRILLED      FAULTS
            i-0a1b2c3d4e5f60718  m7g.large  eu-west-1a  orders  0.1.0   12               5 min 0 s ago  -              7 d 0 h ago  -
            i-0b1b2c3d4e5f60718  m7g.large  eu-west-1a  orders  -       11 (stored: 12)  2 h 0 min ago  1 h 0 min ago  never        bus: denied\u{1b}; queue: denied
            2 instances, 1 not heard of for 30 minutes
        "#]].assert_eq(&person(&known, Some(12), now()));
    }

    #[test]
    fn an_empty_fleet_says_how_instances_come_into_it() {
        assert!(person(&[], None, now()).contains("says hello"));
    }

    #[test]
    fn an_instance_without_a_sign_of_life_for_30_minutes_is_stale() {
        let seen = |seen: Option<&str>| Instance {
            last_seen: seen.map(|seen| seen.parse().unwrap()),
            ..instance("i-0a1b2c3d4e5f60718")
        };
        let stale = [Some("2026-11-21T09:30:00Z"), Some("2026-11-21T09:29:59Z"), None]
            .map(|moment| is_stale(&seen(moment), now()));
        assert_eq!(stale, [false, true, true]);
    }
}
