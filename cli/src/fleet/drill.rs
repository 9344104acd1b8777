//! `snooze drill`: a loss as an exercise, through the whole road.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_cloud::incidents::Incidents;
use snooze_cloud::instances::Instance;
use snooze_cloud::{CloudError, Kind};
use snooze_event::InstanceId;
use snooze_policy::ledger::{By, Incident};
use snoozed::exit;
use tokio::time;

use super::drill_event::{self, Action, Cause, MARK};
use super::{Fleet, ledger, refusal, timing};
use crate::daemon::Context;
use crate::failure::Failure;
use crate::screen;
use crate::text::{self, word};

/// How often the ledger is asked.
const EVERY: Duration = Duration::from_millis(500);
/// How long the tasks of the cloud side may take after the instance has told its outcome.
const AFTER: Duration = Duration::from_secs(10);
/// Clocks of people's machines go wrong by less than this.
const SKEW: Duration = Duration::from_secs(3600);
/// How many incidents of an instance are looked through for the one of a drill.
const LOOK: u32 = 20;

/// Have instances go through a loss as a drill, from the bus to the ledger
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples: snooze drill i-0a1b2c3d4e5f60718 --cause spot
          snooze drill tag:role=db --cause lifecycle

Nothing real is stopped, terminated or completed. Handlers really run, unless their policy says
`\"drill\": \"rehearse\"`. Exit codes: 0 every instance ended with `done` before its deadline,
1 one did not, or had nothing to do.")]
pub(crate) struct Args {
    /// An instance id, or `tag:KEY=VALUE` for all instances with that tag
    #[arg(value_name = "TARGET", value_parser = target)]
    target: Target,
    /// Why they go
    #[arg(long, value_enum)]
    cause: Cause,
    /// What is done to them
    #[arg(long, value_enum, default_value = "terminate")]
    action: Action,
    /// How long it is followed
    #[arg(long, default_value = "240s", value_parser = timing::span, value_name = "SPAN")]
    timeout: Duration,
}

/// Whom a drill is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Instance(InstanceId),
    Tag(String, String),
}

fn target(text: &str) -> Result<Target, String> {
    match text.strip_prefix("tag:").map(|tag| tag.split_once('=')) {
        Some(Some((key, value))) if !key.is_empty() => {
            Ok(Target::Tag(key.to_owned(), value.to_owned()))
        }
        Some(_) => Err("expected `tag:KEY=VALUE`".to_owned()),
        None => text.parse().map(Target::Instance).map_err(|fault| format!("{fault}")),
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    if !args.cause.announces(args.action) {
        return Err(Failure::usage("AWS never announces that action for that cause"));
    }
    let fleet = Fleet::connect(context)?;
    let instances = targets(&args.target, &fleet)?;
    let mut runs = send(args, &instances, &fleet)?;
    if !context.json {
        let sent: String =
            runs.iter().map(|run| format!("drill sent for {}\n", run.instance)).collect();
        screen::say(&sent)?;
    }
    follow(&mut runs, args.timeout, &fleet, context)?;
    let data: Value = runs.iter().map(Run::data).collect();
    screen::show(context.json, &data, |_| runs.iter().map(Run::person).collect())?;
    Ok(if runs.iter().all(|run| run.verdict().is_ok()) { exit::OK } else { exit::NO })
}

/// The instances that the drill is for, as the fleet knows them.
fn targets(target: &Target, fleet: &Fleet) -> Result<Vec<Instance>, Failure> {
    let (table, name) = (fleet.instances(), fleet.name("instances"));
    let found = match target {
        Target::Instance(id) => {
            let known = fleet.ask("read the instance", &name, table.read(id))?;
            known.into_iter().collect()
        }
        Target::Tag(key, value) => {
            let mut known = fleet.ask("list the instances", &name, table.list())?;
            known.retain(|one| one.facts.tags.get(key) == Some(value));
            known
        }
    };
    if found.is_empty() {
        let text = "no such instance in the fleet: one that never said hello is sent no command; \
                    `snooze instances` lists those that did";
        return Err(Failure::new(exit::NO, text));
    }
    Ok(found)
}

/// The drill of one instance.
#[derive(Debug)]
struct Run {
    instance: InstanceId,
    mark: String,
    incident: Option<Incident>,
    /// What of it was told.
    told: BTreeSet<String>,
    /// When its outcome was first seen, by the clock that cannot jump.
    ended: Option<time::Instant>,
    fault: Option<String>,
}

/// Puts the events on the bus.
fn send(args: &Args, instances: &[Instance], fleet: &Fleet) -> Result<Vec<Run>, Failure> {
    let now = Timestamp::now();
    let mut runs = Vec::new();
    let mut entries = Vec::new();
    for (count, instance) in instances.iter().enumerate() {
        let Some(id) = instance.facts.id.clone() else { continue };
        let mark = format!("{}-{}-{count}", now.as_nanosecond(), std::process::id());
        entries.push(drill_event::entry(args.cause, args.action, instance, &mark, now));
        let told = BTreeSet::new();
        runs.push(Run { instance: id, mark, incident: None, told, ended: None, fault: None });
    }
    let bus = fleet.bus();
    let what = "put the drill on the bus";
    let taken = fleet.ask(what, fleet.bus_name(), bus.put(&entries))?;
    for (run, taken) in runs.iter_mut().zip(taken) {
        run.fault = taken.err().map(|error| error.to_string());
    }
    Ok(runs)
}

/// Asks the ledger until every incident has ended, or the time is over.
fn follow(
    runs: &mut [Run],
    timeout: Duration,
    fleet: &Fleet,
    context: &Context,
) -> Result<(), Failure> {
    let (table, name) = (fleet.incidents(), fleet.name("incidents"));
    let since = timing::before(Timestamp::now(), SKEW);
    let started = time::Instant::now();
    while started.elapsed() < timeout {
        let looked = fleet.wait("waiting for the ledger", look(runs, &table, since));
        if let Err(error) = looked
            && !matches!(error.kind, Kind::Later | Kind::Unreachable)
        {
            return Err(refusal::failure("follow the drill", &name, &error));
        }
        if !context.json {
            let news: String = runs.iter_mut().map(Run::news).collect();
            screen::say(&news)?;
        }
        if runs.iter().all(Run::is_over) {
            break;
        }
        fleet.sleep(EVERY);
    }
    Ok(())
}

async fn look(runs: &mut [Run], table: &Incidents, since: Timestamp) -> Result<(), CloudError> {
    for run in runs.iter_mut().filter(|run| !run.is_over()) {
        let found = match &run.incident {
            Some(known) => table.read(&known.id).await?.map(|stored| stored.incident),
            None => {
                let known = table.of_instance(&run.instance, since, LOOK).await?;
                known.into_iter().map(|stored| stored.incident).find(|one| run.is_mine(one))
            }
        };
        if let Some(found) = found {
            if found.ended.is_some() {
                run.ended.get_or_insert_with(time::Instant::now);
            }
            run.incident = Some(found);
        }
    }
    Ok(())
}

impl Run {
    fn is_mine(&self, incident: &Incident) -> bool {
        let mark = incident.event.get("data").and_then(|data| data.get(MARK));
        mark.and_then(Value::as_str) == Some(&self.mark)
    }

    /// The instance has told its outcome, and the cloud side did its tasks or had its time.
    fn is_over(&self) -> bool {
        let is_closed = self.incident.as_ref().is_some_and(|incident| !incident.is_open());
        self.fault.is_some()
            || is_closed
            || self.ended.is_some_and(|ended| ended.elapsed() >= AFTER)
    }

    /// What came since the last look: stations, and how it ended.
    fn news(&mut self) -> String {
        let Some(incident) = &self.incident else { return String::new() };
        let mut news = String::new();
        for hop in ledger::hops(incident) {
            if self.told.insert(hop.name.to_owned()) {
                let after = hop.after.map(|after| format!(" after {}", text::took(after)));
                let after = after.unwrap_or_default();
                news.push_str(&format!("  {} {}{after}\n", self.instance, word(hop.name)));
            }
        }
        news
    }

    /// Why it does not pass.
    fn verdict(&self) -> Result<(), String> {
        if let Some(fault) = &self.fault {
            return Err(format!("the bus did not take it: {fault}"));
        }
        let Some(incident) = &self.incident else {
            return Err("it never came into the ledger: does the stack take drills (parameter \
                        `AllowDrills`), and does `dispatch` work? `snooze doctor` looks"
                .to_owned());
        };
        let Some(ended) = &incident.ended else {
            return Err(format!("it did not end; {}", last_station(incident)));
        };
        if ended.by != By::Instance {
            let by = ledger::by(ended.by);
            return Err(format!("{by} ended it, not the instance: {}", word(&ended.text)));
        }
        if ended.outcome != "done" {
            return Err(format!("it ended `{}`: {}", word(&ended.outcome), word(&ended.text)));
        }
        if incident.steps.is_empty() {
            return Err("there was no step to do: no policy matches".to_owned());
        }
        match ledger::margin(incident) {
            Some(margin) if margin.is_negative() => {
                Err(format!("the plan does not fit: {}", timing::margin(margin)))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn fits(&self) -> Option<bool> {
        let margin = ledger::margin(self.incident.as_ref()?)?;
        Some(!margin.is_negative())
    }

    fn data(&self) -> Value {
        let verdict = self.verdict();
        json!({
            "instance": self.instance.as_str(),
            "passed": verdict.is_ok(),
            "why": verdict.err(),
            "fits": self.fits(),
            "incident": self.incident.as_ref().map(ledger::data),
        })
    }

    fn person(&self) -> String {
        let mut out = match self.verdict() {
            Ok(()) => {
                let margin = self.incident.as_ref().and_then(ledger::margin);
                let margin = margin.map(|margin| format!(", {}", timing::margin(margin)));
                format!("{} done{}\n", self.instance, margin.unwrap_or_default())
            }
            Err(why) => format!("{} FAILED: {}\n", self.instance, text::shown(&why)),
        };
        if let Some(incident) = &self.incident {
            for step in &incident.steps {
                let (state, took) = (ledger::step_state(step), ledger::took(step));
                let took = took.map(|took| format!(" in {took}")).unwrap_or_default();
                out.push_str(&format!("  {} {}{took}\n", word(&step.step), word(state)));
            }
            out.push_str(&format!("  `snooze incidents explain {}`\n", word(&incident.id)));
        }
        out
    }
}

/// How far an incident came.
fn last_station(incident: &Incident) -> String {
    match ledger::hops(incident).last() {
        None => "it passed no station".to_owned(),
        Some(hop) => format!("the last station it passed is `{}`", word(hop.name)),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::ledger::samples::{done, troubled};
    use super::*;

    #[test]
    fn a_target_is_an_instance_or_a_tag() {
        let id = "i-0a1b2c3d4e5f60718";
        assert_eq!(target(id), Ok(Target::Instance(id.parse().unwrap())));
        let tag = Target::Tag("role".to_owned(), "db=1".to_owned());
        assert_eq!(target("tag:role=db=1"), Ok(tag));
        for bad in ["", "role=db", "tag:role", "tag:=db", "i-xyz"] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }

    fn run(incident: Option<Incident>) -> Run {
        Run {
            instance: "i-0a1b2c3d4e5f60718".parse().unwrap(),
            mark: "m-1".to_owned(),
            incident,
            told: BTreeSet::new(),
            ended: None,
            fault: None,
        }
    }

    #[test]
    fn each_station_is_told_once_with_its_latency() {
        let hops = |more: Value| {
            let mut hops = json!({ "noticed": "2026-11-21T10:00:00Z",
                "dispatched": "2026-11-21T10:00:01.1Z" });
            hops.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Some(done(json!({ "hops": hops })))
        };
        let mut run = run(hops(json!({})));
        let told = "  i-0a1b2c3d4e5f60718 noticed\n  i-0a1b2c3d4e5f60718 dispatched after 1.1 s\n";
        assert_eq!(run.news(), told);
        assert_eq!(run.news(), "");
        run.incident = hops(json!({ "commanded": "2026-11-21T10:00:01.2Z" }));
        assert_eq!(run.news(), "  i-0a1b2c3d4e5f60718 commanded after 100 ms\n");
    }

    #[test]
    fn a_drill_passes_when_the_instance_says_done_in_time() {
        let passed = run(Some(done(json!({}))));
        assert_eq!((passed.verdict(), passed.fits()), (Ok(()), Some(true)));
        expect![[r#"
            i-0a1b2c3d4e5f60718 done, 1 min 58 s to spare
              orders-db/redis-flusher done in 150 ms
              `snooze incidents explain i-0a1b2c3d4e5f60718/spot/terminate/20261121T100001Z`
        "#]]
        .assert_eq(&passed.person());
    }

    #[test]
    fn everything_else_fails_and_says_why() {
        let failed = |more| run(Some(done(more))).verdict().unwrap_err();
        let refused = Run { fault: Some("`PutEvents` failed: Throttled".to_owned()), ..run(None) };
        let ended = |outcome: &str, by: &str| {
            json!({ "ended": { "outcome": outcome, "by": by, "text": "so",
                "at": "2026-11-21T10:00:03Z" } })
        };
        let why = [
            refused.verdict().unwrap_err(),
            run(None).verdict().unwrap_err(),
            failed(json!({ "ended": null })),
            failed(ended("done", "dispatch")),
            failed(ended("unknown", "sweep")),
            failed(ended("partial", "instance")),
            failed(json!({ "steps": [] })),
            failed(json!({ "hops": { "finished": "2026-11-21T10:02:01.5Z" } })),
        ];
        expect![[r#"
            the bus did not take it: `PutEvents` failed: Throttled
            it never came into the ledger: does the stack take drills (parameter `AllowDrills`), and does `dispatch` work? `snooze doctor` looks
            it did not end; the last station it passed is `recorded`
            dispatch ended it, not the instance: so
            the sweep ended it, not the instance: so
            it ended `partial`: so
            there was no step to do: no policy matches
            the plan does not fit: 1.5 s too late"#]].assert_eq(&why.join("\n"));
        expect![[r#"
            i-0a1b2c3d4e5f60718 FAILED: the sweep ended it, not the instance: the instance did not tell
              orders-db/redis-flusher timed-out in 30.0 s
              orders-db/image dropped
              orders-db/later not told
              `snooze incidents explain i-0a1b2c3d4e5f60718/spot/terminate/20261121T100001Z`
        "#]].assert_eq(&run(Some(troubled())).person());
    }

    #[test]
    fn an_incident_belongs_to_the_drill_that_it_bears_the_mark_of() {
        let incident = done(json!({}));
        assert!(!run(None).is_mine(&incident));
        let mut marked = Value::clone(&incident.event);
        marked["data"][MARK] = json!("m-1");
        assert!(run(None).is_mine(&done(json!({ "event": marked }))));
    }
}
