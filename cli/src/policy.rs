//! `snooze policy`.

mod sign;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_event::{Event, EventType};
use snooze_policy::signed::Refusal;
use snooze_policy::{Fault, Policy};
use snoozed::cloud::Trust;
use snoozed::exit;

use crate::daemon::Context;
use crate::failure::Failure;
use crate::files::{self, FileFault};
use crate::fleet::policies;
use crate::{screen, text};

/// How long before its end EC2 tells a Spot instance (EC2 User Guide, "Spot Instance interruption
/// notices", checked 2026-11).
const SPOT_NOTICE: Duration = Duration::from_secs(120);

/// Look policies over, and look after those of the fleet
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Say all that is wrong with policy files, and end with 1 if there is anything
    #[command(after_help = "\
Examples: snooze policy check /etc/cloudsnooze/policies.d
          snooze policy check orders.json --keys /etc/cloudsnooze/keys")]
    Check(Check),
    Sign(sign::Args),
    Put(policies::Put),
    Get(policies::Get),
    /// List the policies of the fleet
    #[command(after_help = "Example: snooze policy list --stack cloudsnooze")]
    List,
    Rm(policies::Remove),
    Diff(policies::Diff),
    Test(policies::Test),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Files with a policy each, and directories of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Each must be signed by a key of this directory, in `FILE.minisig`
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

pub(crate) fn run(verb: &Verb, context: &Context) -> Result<u8, Failure> {
    match verb {
        Verb::Check(args) => check(args, context),
        Verb::Sign(args) => sign::run(args, context),
        Verb::Put(args) => policies::put(args, context),
        Verb::Get(args) => policies::get(args, context),
        Verb::List => policies::list(context),
        Verb::Rm(args) => policies::remove(args, context),
        Verb::Diff(args) => policies::diff(args, context),
        Verb::Test(args) => policies::test(args, context),
    }
}

fn check(check: &Check, context: &Context) -> Result<u8, Failure> {
    let paths = files::json_files(&check.files)?;
    let (policies, mut faults) = files::policies(&paths)?;
    if let Some(keys) = &check.keys {
        faults.extend(signatures(&paths, keys, Timestamp::now())?);
    }
    report(paths.len(), &policies, &faults, context)?;
    Ok(if faults.is_empty() { exit::OK } else { exit::NO })
}

/// What is wrong with the signatures of files with a policy each, as an instance with these keys
/// would see it.
fn signatures(paths: &[PathBuf], keys: &Path, now: Timestamp) -> Result<Vec<FileFault>, Failure> {
    let trust = Trust::read(keys, None);
    let fault = |path: &Path, text: &str| FileFault {
        file: path.display().to_string(),
        fault: Fault::new("signature", text),
    };
    let mut faults: Vec<FileFault> = trust.faults.iter().map(|text| fault(keys, text)).collect();
    for path in paths {
        let text = files::read(path)?;
        // What cannot be read as a policy is told already.
        let Ok(policy) = snooze_policy::check(&text) else { continue };
        let signature = files::signature_of(path)?;
        let said = trust.verify(&policy.name, &text, signature.as_deref());
        let said = said.and_then(|said| match said.expires <= now {
            true => Err(Refusal::Expired(said.expires)),
            false => Ok(()),
        });
        faults.extend(said.err().map(|refusal| fault(path, &refusal.to_string())));
    }
    Ok(faults)
}

/// Shows what a check found.
pub(crate) fn report(
    files: usize,
    policies: &[Policy],
    faults: &[FileFault],
    context: &Context,
) -> Result<(), Failure> {
    let warnings: Vec<String> = policies.iter().filter_map(warning).collect();
    let data = json!({
        "files": files,
        "policies": policies.iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>(),
        "faults": faults.iter().map(fault).collect::<Vec<_>>(),
        "warnings": warnings,
    });
    screen::show(context.json, &data, |_| {
        let lines = warnings.iter().map(|text| format!("warning: {}\n", text::shown(text)));
        lines.collect::<String>() + &person(policies.len(), faults)
    })
}

/// What of a policy does not fit into the notice that EC2 gives before it takes a Spot instance.
fn warning(policy: &Policy) -> Option<String> {
    let id = "policy-check".parse().ok()?;
    let event = Event::new(EventType::SpotInterrupt, "", Timestamp::UNIX_EPOCH, id);
    let named = policy.pattern.exact_strings("type");
    let is_for_it = named.is_none_or(|types| types.contains(&event.kind.as_str()));
    let steps = snooze_policy::steps(&[policy], &event);
    let misfits = snooze_policy::misfits(&steps, SPOT_NOTICE);
    (is_for_it && !misfits.is_empty()).then(|| {
        let seconds = SPOT_NOTICE.as_secs();
        format!("{}: a Spot notice leaves {seconds} s: {}", policy.name, misfits.join("; "))
    })
}

fn fault(FileFault { file, fault }: &FileFault) -> Value {
    json!({ "file": file, "path": fault.path, "text": fault.text })
}

fn person(policies: usize, faults: &[FileFault]) -> String {
    if faults.is_empty() {
        return format!("no fault; policies: {policies}\n");
    }
    let line = |FileFault { file, fault }: &FileFault| text::shown(&format!("{file}: {fault}"));
    let lines: Vec<String> = faults.iter().map(line).collect();
    format!("{}\n{}\n", lines.join("\n"), text::counted(faults.len(), "fault"))
}
