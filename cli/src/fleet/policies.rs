//! The fleet part of `snooze policy`.

use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_cloud::bus::Entry;
use snooze_cloud::policies::{Contents, Document};
use snooze_event::{Event, EventType};
use snooze_policy::{Facts, Policy, PolicyName};
use snoozed::exit;

use super::{Fleet, refusal};
use crate::daemon::Context;
use crate::failure::Failure;
use crate::rehearse::{self, Rehearsal};
use crate::text::word;
use crate::{diff as lines, files, policy, screen, text};

/// Who tells the bus: triggers come from outside, not from the functions or the instances.
const SOURCE: &str = "cloudsnooze.command";

/// Check policies, store them for the fleet, and tell the instances
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: snooze policy put policies/orders.json --dry-run

A signature that stands beside a file as `FILE.minisig` is stored with it. Exit codes: 0 stored (or nothing to store), 1 a policy has faults and nothing was stored.")]
pub(crate) struct Put {
    /// Files with a policy each, and directories of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only say what would be stored
    #[arg(long)]
    dry_run: bool,
    /// Who stores them
    #[arg(
        long,
        env = "USER",
        hide_env_values = true,
        default_value = "unknown",
        value_name = "NAME"
    )]
    by: String,
}

/// Print a policy of the fleet, as it was stored
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: snooze policy get orders-db > orders-db.json")]
pub(crate) struct Get {
    /// Which
    name: PolicyName,
}

/// Remove policies of the fleet, and tell the instances
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: snooze policy rm orders-db --yes")]
pub(crate) struct Remove {
    /// Which
    #[arg(required = true, value_name = "NAME")]
    names: Vec<PolicyName>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Show what differs between a file and the policy that the fleet has
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: snooze policy diff policies/orders.json

Lines with `-` are stored, those with `+` are in the file. Exit codes: 0 the same, 1 they differ.")]
pub(crate) struct Diff {
    /// A file with a policy
    file: PathBuf,
}

/// Say which policies match an event, and what would be done; nothing is touched
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples: snooze policy test event.json
          snooze policy test event.json --policies policies --instance facts.json

Without `--policies` it asks the fleet: its policies, and what it knows of the event's instance.
Exit codes: 0 something would be done, 1 nothing would, 3 a file cannot be used.")]
pub(crate) struct Test {
    /// A file with an event, or an event type
    #[arg(value_name = "EVENT-FILE|TYPE")]
    event: String,
    /// Policies in place of those of the fleet: files, or directories of them
    #[arg(long, num_args = 1.., value_name = "FILE|DIR")]
    policies: Vec<PathBuf>,
    /// A file with what is known of the instance
    #[arg(long, value_name = "FILE")]
    instance: Option<PathBuf>,
}

pub(crate) fn put(args: &Put, context: &Context) -> Result<u8, Failure> {
    let paths = files::json_files(&args.files)?;
    let (policies, faults) = files::policies(&paths)?;
    if !faults.is_empty() {
        policy::report(paths.len(), &policies, &faults, context)?;
        return Ok(exit::NO);
    }
    let texts: Vec<(Policy, String, Option<String>)> = paths
        .iter()
        .map(|path| {
            let text = files::read(path)?;
            let policy = snooze_policy::check(&text).map_err(|_settings| {
                let why = "holds settings of a daemon; the fleet takes files with one policy each";
                Failure::file(path.display(), why)
            })?;
            Ok((policy, text, files::signature_of(path)?))
        })
        .collect::<Result<_, Failure>>()?;
    let fleet = Fleet::connect(context)?;
    let stored = contents(&fleet)?;
    let mut version = stored.version;
    let mut told = Vec::new();
    for (policy, text, signature) in &texts {
        let known = stored.documents.iter().find(|known| known.name == policy.name);
        let change = match known {
            None => Change::New,
            Some(known) if known.text == *text && known.signature == *signature => Change::Same,
            Some(_) => Change::Changed,
        };
        if signature.is_none() && known.is_some_and(|known| known.signature.is_some()) {
            screen::complain(&format!(
                "{} is stored with a signature, and comes without one: instances that require \
                 one refuse it; `snooze policy sign` signs it\n",
                policy.name
            ));
        }
        if change != Change::Same && !args.dry_run {
            let table = fleet.policies();
            let write = table.put_signed(text, signature.as_deref(), &args.by, Timestamp::now());
            version = fleet.ask("store the policy", &fleet.name("policies"), write)?;
        }
        told.push((policy.name.to_string(), change));
    }
    let changed = told.iter().any(|(_, change)| *change != Change::Same);
    let news = Stored { version, told: &told, dry_run: args.dry_run };
    screen::show(context.json, &news.data(), |_| news.person())?;
    if changed && !args.dry_run {
        tell(version, &fleet);
    }
    Ok(exit::OK)
}

/// What became of a policy that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    New,
    Changed,
    Same,
}

impl Change {
    fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Same => "unchanged",
        }
    }
}

struct Stored<'a> {
    version: u64,
    told: &'a [(String, Change)],
    dry_run: bool,
}

impl Stored<'_> {
    fn data(&self) -> Value {
        let policies = self
            .told
            .iter()
            .map(|(name, change)| json!({ "policy": name, "change": change.as_str() }));
        json!({ "version": self.version, "dry_run": self.dry_run,
                "policies": policies.collect::<Vec<_>>() })
    }

    fn person(&self) -> String {
        let line = |(name, change): &(String, Change)| format!("{name} {}\n", change.as_str());
        let mut out: String = self.told.iter().map(line).collect();
        let what = if self.dry_run { "nothing was stored; " } else { "" };
        out.push_str(&format!("{what}the table is at version {}\n", self.version));
        out
    }
}

pub(crate) fn get(args: &Get, context: &Context) -> Result<u8, Failure> {
    let fleet = Fleet::connect(context)?;
    let contents = contents(&fleet)?;
    let found = find(&contents, &args.name, &fleet)?;
    if context.json {
        let mut data = head(found);
        if let Some(members) = data.as_object_mut() {
            let document = serde_json::from_str(&found.text).unwrap_or(Value::Null);
            members.insert("document".to_owned(), document);
        }
        screen::raw(text::json(&data).as_bytes())?;
    } else {
        screen::raw(text::json_as_it_stands(&found.text).as_bytes())?;
    }
    Ok(exit::OK)
}

pub(crate) fn list(context: &Context) -> Result<u8, Failure> {
    let fleet = Fleet::connect(context)?;
    let contents = contents(&fleet)?;
    let shelf = contents.shelf();
    let mut faults = contents.faults.clone();
    faults.extend(shelf.faults.iter().map(ToString::to_string));
    let data = json!({
        "version": contents.version,
        "policies": contents.documents.iter().map(head).collect::<Vec<_>>(),
        "faults": faults,
    });
    screen::show(context.json, &data, |_| listed(&contents, &faults))?;
    Ok(exit::OK)
}

fn listed(contents: &Contents, faults: &[String]) -> String {
    let mut out = String::new();
    if !contents.documents.is_empty() {
        let head = ["POLICY", "ON", "VERSION", "STORED", "BY", "EVENT TYPES"].map(str::to_owned);
        let rows = contents.documents.iter().map(|known| {
            [
                known.name.to_string(),
                if known.enabled { "yes" } else { "no" }.to_owned(),
                known.version.to_string(),
                text::at(known.at),
                word(&known.by),
                word(&known.types.join(", ")),
            ]
        });
        out.push_str(&text::table(&[head].into_iter().chain(rows).collect::<Vec<_>>()));
    }
    for fault in faults {
        out.push_str(&format!("fault: {}\n", text::shown(fault)));
    }
    match contents.documents.is_empty() {
        true => out.push_str("no policy is stored; `snooze policy put` stores one\n"),
        false => out.push_str(&format!(
            "{}, version {}\n",
            match contents.documents.len() {
                1 => "1 policy".to_owned(),
                count => format!("{count} policies"),
            },
            contents.version
        )),
    }
    out
}

/// A stored policy, without its text.
fn head(known: &Document) -> Value {
    json!({
        "policy": known.name.as_str(),
        "enabled": known.enabled,
        "version": known.version,
        "types": known.types,
        "sha256": known.sha256,
        "signed": known.signature.is_some(),
        "by": known.by,
        "at": known.at.to_string(),
    })
}

pub(crate) fn remove(args: &Remove, context: &Context) -> Result<u8, Failure> {
    if !args.yes && !agreed(args)? {
        return Ok(exit::NO);
    }
    let fleet = Fleet::connect(context)?;
    let table = fleet.policies();
    let mut removed = Vec::new();
    let mut missing = Vec::new();
    let mut version = None;
    for name in &args.names {
        let write = table.remove(name);
        match fleet.ask("remove the policy", &fleet.name("policies"), write)? {
            Some(now) => {
                version = Some(now);
                removed.push(name.as_str());
            }
            None => missing.push(name.as_str()),
        }
    }
    let data = json!({ "version": version, "removed": removed, "missing": missing });
    screen::show(context.json, &data, |_| {
        let mut out: String = removed.iter().map(|name| format!("{name} removed\n")).collect();
        missing.iter().for_each(|name| out.push_str(&format!("{name} is not stored\n")));
        if let Some(version) = version {
            out.push_str(&format!("the table is at version {version}\n"));
        }
        out
    })?;
    if let Some(version) = version {
        tell(version, &fleet);
    }
    Ok(if missing.is_empty() { exit::OK } else { exit::NO })
}

/// Whether the person at the terminal agrees.
fn agreed(args: &Remove) -> Result<bool, Failure> {
    let names: Vec<&str> = args.names.iter().map(PolicyName::as_str).collect();
    let names = names.join(", ");
    screen::agreed(
        &format!("Remove {names} from the whole fleet?"),
        &format!("`--yes` removes {names} without asking"),
    )
}

pub(crate) fn diff(args: &Diff, context: &Context) -> Result<u8, Failure> {
    let paths = files::json_files(std::slice::from_ref(&args.file))?;
    let policies = files::usable_policies(&paths)?;
    let [policy] = policies.as_slice() else {
        return Err(Failure::file(args.file.display(), "expected one policy"));
    };
    let new = files::read_json(&args.file)?;
    let fleet = Fleet::connect(context)?;
    let contents = contents(&fleet)?;
    let known = contents.documents.iter().find(|known| known.name == policy.name);
    // Members are ordered by name on both sides: only what a policy says can differ.
    let old = known.map(|known| serde_json::from_str::<Value>(&known.text).unwrap_or_default());
    let shown = |value: &Value| format!("{value:#}\n");
    let old_text = old.as_ref().map(shown).unwrap_or_default();
    let differs = lines::lines(&old_text, &shown(&new));
    let data = json!({
        "policy": policy.name.as_str(),
        "differs": differs.is_some(),
        "stored": old,
        "file": new,
    });
    screen::show(context.json, &data, |_| match (&differs, known) {
        (None, _) => format!("{} is stored as it is in the file\n", policy.name),
        (Some(lines), None) => format!("{} is not stored\n{lines}", policy.name),
        (Some(lines), Some(_)) => lines.clone(),
    })?;
    Ok(if differs.is_some() { exit::NO } else { exit::OK })
}

pub(crate) fn test(args: &Test, context: &Context) -> Result<u8, Failure> {
    let now = Timestamp::now();
    let events = rehearse::events(&args.event, now)?;
    let given = args.instance.as_deref().map(rehearse::facts_of_file).transpose()?;
    let fleet = if args.policies.is_empty() { Some(Fleet::connect(context)?) } else { None };
    let policies = match &fleet {
        None => files::usable_policies(&args.policies)?,
        Some(fleet) => {
            let shelf = contents(fleet)?.shelf();
            for fault in &shelf.faults {
                screen::complain(&format!("a stored policy cannot be used: {fault}\n"));
            }
            shelf.policies.into_policies()
        }
    };
    let mut rehearsals = Vec::new();
    for event in events {
        let facts = match (&given, &fleet) {
            (Some(facts), _) => facts.clone(),
            (None, Some(fleet)) => known_facts(fleet, &event)?,
            (None, None) => Facts::default(),
        };
        rehearsals
            .push(Rehearsal::of(event, &policies, &facts, None).with_actions(&policies, &facts));
    }
    rehearse::show(&rehearsals, context.json)
}

/// What the fleet knows of the instance of an event.
fn known_facts(fleet: &Fleet, event: &Event) -> Result<Facts, Failure> {
    let Some(instance) = &event.instance else { return Ok(Facts::default()) };
    let table = fleet.instances();
    let known = fleet.ask("read the instance", &fleet.name("instances"), table.read(instance))?;
    match known {
        Some(known) => Ok(known.facts),
        None => {
            let text = format!(
                "the fleet does not know {instance}: its daemon never said hello, so that policies \
                 which ask for tags do not match; `--instance FILE` tells what to suppose\n"
            );
            screen::complain(&text);
            Ok(Facts { id: Some(instance.clone()), ..Facts::default() })
        }
    }
}

/// All of the table.
pub(super) fn contents(fleet: &Fleet) -> Result<Contents, Failure> {
    let table = fleet.policies();
    fleet.ask("read the policies", &fleet.name("policies"), table.all())
}

fn find<'a>(
    contents: &'a Contents,
    name: &PolicyName,
    fleet: &Fleet,
) -> Result<&'a Document, Failure> {
    contents.documents.iter().find(|known| known.name == *name).ok_or_else(|| {
        let table = fleet.name("policies");
        let text = format!("`{table}` has no policy `{name}`; `snooze policy list` lists them");
        Failure::new(exit::NO, text)
    })
}

/// Has all instances read the policies anew. When that cannot be told, they do so in their own
/// time, so it is no failure.
fn tell(version: u64, fleet: &Fleet) {
    let entry = Entry {
        source: SOURCE.to_owned(),
        detail_type: EventType::TriggerUpdate.as_str().to_owned(),
        detail: json!({ "policies": version }).to_string(),
    };
    let bus = fleet.bus();
    let put = fleet.wait("waiting for AWS to tell the instances", bus.put(&[entry]));
    let refused = put.and_then(|each| each.into_iter().collect::<Result<(), _>>());
    if let Err(error) = refused {
        let mend = refusal::mend(&error, fleet.bus_name());
        screen::complain(&format!(
            "the instances could not be told, and will see it within 5 minutes: {error}\n  {mend}\n"
        ));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn document(name: &str, enabled: bool, version: u64) -> Document {
        Document {
            name: name.parse().unwrap(),
            text: "{}".to_owned(),
            version,
            enabled,
            sha256: "00".to_owned(),
            types: vec!["cloud.spot.interrupt".to_owned(), "custom".to_owned()],
            by: "an\u{1b}na".to_owned(),
            at: "2026-11-21T10:00:00Z".parse().unwrap(),
            signature: None,
        }
    }

    #[test]
    fn stored_policies_are_listed_with_what_is_wrong() {
        let documents = vec![document("orders", true, 12), document("web", false, 7)];
        let contents = Contents { version: 12, documents, faults: Vec::new() };
        expect![[r#"
            POLICY  ON   VERSION  STORED                    BY          EVENT TYPES
            orders  yes  12       2026-11-21T10:00:00.000Z  an\u{1b}na  cloud.spot.interrupt, custom
            web     no   7        2026-11-21T10:00:00.000Z  an\u{1b}na  cloud.spot.interrupt, custom
            fault: `old`: not JSON
            2 policies, version 12
        "#]]
        .assert_eq(&listed(&contents, &["`old`: not JSON".to_owned()]));
        expect![[r#"
            no policy is stored; `snooze policy put` stores one
        "#]]
        .assert_eq(&listed(&Contents::default(), &[]));
    }

    #[test]
    fn what_was_stored_is_told_policy_by_policy() {
        let told = [("orders".to_owned(), Change::New), ("web".to_owned(), Change::Same)];
        let news = |dry_run| Stored { version: 13, told: &told, dry_run };
        expect![[r#"
            orders new
            web unchanged
            the table is at version 13
        "#]]
        .assert_eq(&news(false).person());
        expect![[r#"
            orders new
            web unchanged
            nothing was stored; the table is at version 13
        "#]]
        .assert_eq(&news(true).person());
    }
}
