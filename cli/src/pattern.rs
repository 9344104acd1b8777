//! `snooze pattern`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use snooze_pattern::suite::{Report, Suite};
use snooze_pattern::{Explanation, Pattern};
use snoozed::exit;

use crate::daemon::Context;
use crate::failure::Failure;
use crate::{files, screen, text};

/// Both ways to call it.
const FORMS: &str = "name `--pattern FILE` and `--event FILE`, or `--suite FILE`";

/// Try event patterns out
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Say whether an event matches a pattern, or hold many to the answers that are right
    #[command(after_help = "\
Examples: snooze pattern test --pattern rule.json --event event.json --explain
          snooze pattern test --suite cases.json

Exit codes: 0 it matches, 1 it does not (or a case failed), 3 a file cannot be used.")]
    Test(Test),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// A file with an event pattern
    #[arg(long, value_name = "FILE", requires = "event")]
    pattern: Option<PathBuf>,
    /// A file with an event
    #[arg(long, value_name = "FILE", requires = "pattern")]
    event: Option<PathBuf>,
    /// Say of each field what was expected and what was found
    #[arg(long, requires = "pattern")]
    explain: bool,
    /// A file with many patterns, events and the right answers
    #[arg(long, value_name = "FILE", conflicts_with = "pattern")]
    suite: Option<PathBuf>,
}

pub(crate) fn run(verb: &Verb, context: &Context) -> Result<u8, Failure> {
    let Verb::Test(test) = verb;
    match (&test.suite, &test.pattern, &test.event) {
        (Some(suite), _, _) => run_suite(suite, context),
        (None, Some(pattern), Some(event)) => one(pattern, event, test.explain, context),
        (None, _, _) => Err(Failure::usage(FORMS)),
    }
}

fn one(
    pattern_file: &Path,
    event_file: &Path,
    explain: bool,
    context: &Context,
) -> Result<u8, Failure> {
    let bad = |file: &Path, why: String| Failure::file(file.display(), why);
    let pattern = Pattern::compile(&files::read(pattern_file)?)
        .map_err(|fault| bad(pattern_file, fault.to_string()))?;
    let event = files::read(event_file)?;
    let matches =
        pattern.matches_text(&event).map_err(|fault| bad(event_file, fault.to_string()))?;
    let explanation = match explain {
        true => Some(pattern.explain(&files::read_json(event_file)?)),
        false => None,
    };
    let data = data(matches, explanation.as_ref());
    screen::show(context.json, &data, |_| match &explanation {
        Some(explanation) => explanation.to_string(),
        None if matches => "matches\n".to_owned(),
        None => "does not match\n".to_owned(),
    })?;
    Ok(if matches { exit::OK } else { exit::NO })
}

fn data(matches: bool, explanation: Option<&Explanation>) -> Value {
    let mut data = json!({ "matches": matches });
    if let (Some(members), Some(explanation)) = (data.as_object_mut(), explanation) {
        let alternatives = explanation.branches.iter().map(|branch| {
            let fields = branch.leaves.iter().map(|leaf| {
                json!({
                    "path": leaf.path,
                    "expected": leaf.expected,
                    "found": leaf.found,
                    "passed": leaf.passed,
                })
            });
            json!({ "matches": branch.matched, "fields": fields.collect::<Vec<_>>() })
        });
        members.insert("alternatives".to_owned(), alternatives.collect());
    }
    data
}

fn run_suite(file: &Path, context: &Context) -> Result<u8, Failure> {
    let suite = Suite::read(&files::read(file)?).map_err(|fault| {
        let chain = format!("{:#}", anyhow::Error::from(fault));
        Failure::file(file.display(), chain)
    })?;
    let report = suite.run();
    let data = json!({
        "passed": report.passed,
        "failed": report.failed,
        "disagreements": report.disagreements,
    });
    screen::show(context.json, &data, |_| person(&report))?;
    Ok(if report.failed == 0 { exit::OK } else { exit::NO })
}

fn person(report: &Report) -> String {
    let mut out = String::new();
    for disagreement in &report.disagreements {
        out.push_str(&text::shown(disagreement));
        out.push('\n');
    }
    out.push_str(&format!("{} passed, {} failed\n", report.passed, report.failed));
    out
}
