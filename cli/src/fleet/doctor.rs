//! `snooze doctor`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_cloud::CloudError;
use snooze_cloud::groups::Groups;
use snooze_cloud::instances::Instance;
use snooze_cloud::topic::Topic;
use snooze_policy::ledger::Shelf;
use snoozed::exit;

use super::findings::{self, Finding, Severity};
use super::{Fleet, timing};
use crate::daemon::Context;
use crate::failure::Failure;
use crate::{host, screen, text};

/// The sweep comes every minute; an incident that waits longer than this for it waits in vain.
const SWEPT: Duration = Duration::from_secs(5 * 60);
/// How many overdue incidents are counted.
const OVERDUE: u32 = 100;

/// Look for all that keeps this instance and the fleet from being safe
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples: snooze doctor
          snooze doctor --local

Where no daemon runs, or AWS cannot be asked, it looks at the rest. docs/doctor.md lists all
findings. Exit codes: 0 nothing of severity `error` was found, 1 something was.")]
pub(crate) struct Args {
    /// Only this instance
    #[arg(long, conflicts_with = "cloud")]
    local: bool,
    /// Only the cloud side
    #[arg(long)]
    cloud: bool,
    /// The settings of this instance, in place of the usual file
    #[arg(long, value_name = "FILE", conflicts_with = "cloud")]
    config: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let mut found = Vec::new();
    if !args.cloud {
        found.extend(local(args.config.as_deref(), context));
    }
    if !args.local {
        match Fleet::connect(context) {
            Ok(fleet) => found.extend(cloud(&fleet, Timestamp::now())),
            Err(Failure::Said { text, .. }) => {
                let mend = "set that, or look at this instance alone with `--local`";
                found.push(Finding::error("AWS", text, mend));
            }
            Err(closed @ Failure::Closed) => return Err(closed),
        }
    }
    let data: Value = found.iter().map(data).collect();
    screen::show(context.json, &data, |_| person(&found))?;
    let is_bad = found.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if is_bad { exit::NO } else { exit::OK })
}

/// This instance, as its daemon tells, and as it is.
fn local(config: Option<&Path>, context: &Context) -> Vec<Finding> {
    let (status, why) = match context.ask("STATUS", json!({})) {
        Ok(status) => (Some(status), None),
        Err(Failure::Said { text, .. }) => (None, Some(text)),
        Err(Failure::Closed) => return Vec::new(),
    };
    let mut found = status.as_ref().map(findings::of_status).unwrap_or_default();
    match host::gather(config, status.as_ref(), why.clone()) {
        Some(facts) => found.extend(host::findings(&facts)),
        None => {
            let mend = "needless on a machine that is no instance";
            found.push(Finding::note("daemon", why.unwrap_or_default(), mend));
        }
    }
    found
}

/// The cloud side. Each call is one finding when it is refused, and the others go on.
fn cloud(fleet: &Fleet, now: Timestamp) -> Vec<Finding> {
    let mut found = Vec::new();
    let shelf = policies(fleet, &mut found);
    let queues = queues(fleet, &mut found);
    let version = shelf.as_ref().and_then(|shelf| shelf.version);
    let known = instances(fleet, queues.as_deref(), version, now, &mut found);
    hooks(fleet, &known, shelf.as_ref(), &mut found);
    incidents(fleet, now, &mut found);
    bus(fleet, &mut found);
    topics(fleet, queues.as_deref(), &mut found);
    found
}

/// Asks; what is refused is a finding, told once for each call that is.
fn asked<T>(
    fleet: &Fleet,
    part: &str,
    call: impl Future<Output = Result<T, CloudError>>,
    found: &mut Vec<Finding>,
) -> Option<T> {
    let answer = fleet.wait(&format!("looking at `{part}`"), call);
    answer.map_err(|error| found.push(Finding::refused(part, &error))).ok()
}

fn policies(fleet: &Fleet, found: &mut Vec<Finding>) -> Option<Shelf> {
    let table = fleet.policies();
    let contents = asked(fleet, &fleet.name("policies"), table.all(), found)?;
    let shelf = contents.shelf();
    let faults = shelf.faults.iter().map(ToString::to_string);
    let faults: Vec<String> = contents.faults.iter().cloned().chain(faults).collect();
    found.extend(findings::of_policies(contents.version, &shelf.policies, &faults));
    Some(shelf)
}

/// The hooks of the groups that the instances belong to.
fn hooks(fleet: &Fleet, known: &[Instance], shelf: Option<&Shelf>, found: &mut Vec<Finding>) {
    let groups: BTreeSet<&str> = known.iter().filter_map(|one| one.facts.asg.as_deref()).collect();
    let service = Groups::new(fleet.aws());
    for group in groups {
        if let Some(hooks) = asked(fleet, group, service.end_hooks(group), found) {
            let policies = shelf.map(|shelf| &*shelf.policies).unwrap_or_default();
            found.extend(findings::of_hooks(group, &hooks, policies));
        }
    }
}

/// The queues of the stack, as names with addresses.
fn queues(fleet: &Fleet, found: &mut Vec<Finding>) -> Option<Vec<(String, String)>> {
    let queues = fleet.queues();
    let prefix = fleet.name("");
    let known = asked(fleet, &format!("{prefix}*"), queues.list(&prefix), found)?;
    let actions = fleet.name("actions");
    if !known.iter().any(|(name, _)| *name == actions) {
        let mend = "deploy the stack, or name another with `--stack` and `--region`";
        found.push(Finding::error(&actions, "there is no such queue", mend));
    }
    for (name, url) in &known {
        let judge = match name.as_str() {
            name if name.ends_with("-dead") => findings::of_dead_letters,
            name if name == actions => findings::of_actions,
            _ => continue,
        };
        if let Some(standing) = asked(fleet, name, queues.standing(url), found) {
            found.push(judge(name, &standing));
        }
    }
    Some(known)
}

fn instances(
    fleet: &Fleet,
    queues: Option<&[(String, String)]>,
    version: Option<u64>,
    now: Timestamp,
    found: &mut Vec<Finding>,
) -> Vec<Instance> {
    let table = fleet.instances();
    let Some(known) = asked(fleet, &fleet.name("instances"), table.list(), found) else {
        return Vec::new();
    };
    let names: Option<Vec<String>> =
        queues.map(|queues| queues.iter().map(|(name, _)| name.clone()).collect());
    let prefix = fleet.name("instance-");
    found.extend(findings::of_instances(&known, names.as_deref(), &prefix, version, now));
    known
}

fn incidents(fleet: &Fleet, now: Timestamp, found: &mut Vec<Finding>) {
    let name = fleet.name("incidents");
    let table = fleet.incidents();
    let due = table.due(timing::before(now, SWEPT), OVERDUE);
    if let Some(ids) = asked(fleet, &name, due, found) {
        found.push(findings::of_overdue(&ids));
    }
    let breakers = fleet.breakers();
    if let Some(known) = asked(fleet, &name, breakers.list(), found) {
        found.extend(findings::of_breakers(&known));
    }
}

fn bus(fleet: &Fleet, found: &mut Vec<Finding>) {
    let bus = fleet.bus();
    if asked(fleet, fleet.bus_name(), bus.look(), found).is_some() {
        found.push(Finding::fine(fleet.bus_name(), "the bus is there"));
    }
}

fn topics(fleet: &Fleet, queues: Option<&[(String, String)]>, found: &mut Vec<Finding>) {
    let account = queues.into_iter().flatten().find_map(|(_, url)| account(url));
    let Some(account) = account else {
        let what = "not looked at: the account is not known without a queue";
        found.push(Finding::note("topics", what, ""));
        return;
    };
    for part in ["commands", "operators"] {
        let name = fleet.name(part);
        let region = fleet.region();
        let arn = format!("arn:{}:sns:{region}:{account}:{name}", partition(region));
        let topic = Topic::new(fleet.aws(), &arn);
        if let Some(attributes) = asked(fleet, &name, topic.attributes(), found) {
            found.extend(findings::of_topic(&name, &attributes));
        }
    }
}

/// The account in the address of a queue: the last but one part of its path.
fn account(url: &str) -> Option<&str> {
    let account = url.rsplit('/').nth(1)?;
    let is_account = account.len() == 12 && account.bytes().all(|c| c.is_ascii_digit());
    is_account.then_some(account)
}

/// The partition of a Region (AWS General Reference, "ARNs", checked 2026-11).
pub(super) fn partition(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

fn data(finding: &Finding) -> Value {
    json!({
        "severity": finding.severity.as_str(),
        "part": finding.part,
        "what": finding.what,
        "mend": finding.mend,
    })
}

fn person(found: &[Finding]) -> String {
    let mut out = String::new();
    for Finding { severity, part, what, mend } in found {
        let word = match severity {
            Severity::Error => "ERROR",
            Severity::Warning => "WARN",
            Severity::Note => "note",
            Severity::Fine => "ok",
        };
        out.push_str(&format!("{word:<5}  {}: ", text::shown(part)));
        out.push_str(&what.replace('\n', "\n         "));
        out.push('\n');
        if !mend.is_empty() {
            out.push_str(&format!("         {}\n", mend.replace('\n', "\n         ")));
        }
    }
    let count = |severity| found.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    out.push_str(&format!(
        "{}, {}\n",
        text::counted(errors, "error"),
        text::counted(warnings, "warning")
    ));
    out
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn findings_are_told_with_their_mends() {
        let found = [
            Finding::fine("daemon", "snoozed 0.1.0"),
            Finding::error("bus", "`PutEvents` failed\nso", "give it"),
            Finding::warning("i-1\u{1b}", "last drill: never", "`snooze drill i-1`"),
            Finding::note("topics", "not looked at", ""),
        ];
        expect![[r#"
            ok     daemon: snoozed 0.1.0
            ERROR  bus: `PutEvents` failed
                     so
                     give it
            WARN   i-1\u{1b}: last drill: never
                     `snooze drill i-1`
            note   topics: not looked at
            1 error, 1 warning
        "#]]
        .assert_eq(&person(&found));
    }

    #[test]
    fn the_account_stands_in_the_address_of_a_queue() {
        let url = "https://sqs.eu-west-1.amazonaws.com/123456789012/cloudsnooze-actions";
        assert_eq!(account(url), Some("123456789012"));
        assert_eq!(account("http://127.0.0.1:4566/000000000000/q"), Some("000000000000"));
        for bad in ["", "q", "https://host/short/q"] {
            assert_eq!(account(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_region_has_its_partition() {
        let regions = ["eu-west-1", "cn-north-1", "us-gov-west-1"].map(partition);
        assert_eq!(regions, ["aws", "aws-cn", "aws-us-gov"]);
    }
}
