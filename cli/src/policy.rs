//! `snooze policy`.

use std::path::PathBuf;

use serde_json::{Value, json};
use snoozed::exit;

use crate::daemon::Context;
use crate::failure::Failure;
use crate::files::{self, FileFault};
use crate::{screen, text};

/// Look policies over
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Say all that is wrong with policy files, and end with 1 if there is anything
    #[command(after_help = "Example: snooze policy check /etc/cloudsnooze/policies.d")]
    Check(Check),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Files with a policy each, and directories of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) fn run(verb: &Verb, context: &Context) -> Result<u8, Failure> {
    let Verb::Check(check) = verb;
    let paths = files::json_files(&check.files)?;
    let (policies, faults) = files::policies(&paths)?;
    let data = json!({
        "files": paths.len(),
        "policies": policies.iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>(),
        "faults": faults.iter().map(fault).collect::<Vec<_>>(),
    });
    screen::show(context.json, &data, |_| person(policies.len(), &faults))?;
    Ok(if faults.is_empty() { exit::OK } else { exit::NO })
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
