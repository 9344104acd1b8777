//! `cargo xtask test`: every test and check, none left out.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::workplace::{Workplace, done};
use crate::{report, template, tools};

/// What the daemon may not be built with, as its tree begins a line.
const UNWANTED: [&str; 5] =
    ["aws-sdk-ec2 ", "lambda_runtime ", "ring ", "openssl-sys ", "native-tls "];

/// How many incidents random stories live through at each run, always the same ones; `cargo xtask
/// walk` draws others.
const INCIDENTS: u64 = 100_000;

/// How many tests and checks passed, and how many did not.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Totals {
    passed: u64,
    failed: u64,
    /// Ignored or filtered out; none may be.
    skipped: u64,
}

/// Runs everything; the last line on stdout is `N passed, N failed`.
pub(crate) fn run(workplace: &Workplace) -> Result<ExitCode> {
    tools::install(workplace)?;
    template::install(workplace)?;
    let mut totals = Totals::default();
    totals.check("formatting", format(workplace));
    totals.check("lints", lints(workplace));
    totals.check("programs", workplace.build_programs());
    let walk = walk(workplace);
    let tests = tests(workplace, &mut totals);
    totals.check("tests", tests);
    totals.check("walk", walk.and_then(walked));
    totals.check("dependencies", dependencies(workplace));
    totals.check("tree of the daemon", tree(workplace));
    totals.check("template", template::check(workplace));
    report::say(&rows(workplace)?);
    report::say(&format!("{} passed, {} failed", totals.passed, totals.failed));
    Ok(if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many rows of the fault matrix are closed: a test sees to it that all are which are not said
/// to be open.
fn rows(workplace: &Workplace) -> Result<String> {
    let count = |name: &str| {
        let file = workplace.root.join("tests").join(name);
        let text = fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
        let rows = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        anyhow::Ok(rows.count())
    };
    let (all, open) = (count("fault-matrix.txt")?, count("open-rows.txt")?);
    Ok(format!("{} of {all} rows of the fault matrix closed", all.saturating_sub(open)))
}

/// Lives random stories beside the tests, on what processors these leave.
fn walk(workplace: &Workplace) -> Result<Child> {
    let mut walk = workplace.command("chrt");
    walk.args(["--idle", "0"]).arg(workplace.built("debug", "walk"));
    walk.args(["--seed", "0", "--incidents", &INCIDENTS.to_string()]);
    walk.stdout(Stdio::piped()).spawn().context("cannot start `walk`")
}

fn walked(walk: Child) -> Result<()> {
    report::progress("waiting for the walk");
    let ended = walk.wait_with_output().context("cannot wait for `walk`")?;
    report::say(String::from_utf8_lossy(&ended.stdout).trim_end());
    if ended.status.success() { Ok(()) } else { bail!("`walk` failed: {}", ended.status) }
}

fn format(workplace: &Workplace) -> Result<()> {
    done(workplace.cargo().args(["fmt", "--all", "--check"]))
}

fn lints(workplace: &Workplace) -> Result<()> {
    let mut cargo = workplace.cargo();
    cargo.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    done(&mut cargo)
}

/// Runs all tests, those in documents included, and counts them.
fn tests(workplace: &Workplace, totals: &mut Totals) -> Result<()> {
    report::progress("running the tests");
    let mut cargo = workplace.cargo();
    cargo.args(["test", "--workspace", "--no-fail-fast"]).env("SNOOZE_FULL", "1");
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot start `cargo test`")?;
    let lines = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
    let before = *totals;
    for line in lines.into_iter().flatten() {
        let line = line.context("cannot read what `cargo test` says")?;
        totals.count(&line);
        report::say(&line);
    }
    let status = child.wait().context("cannot wait for `cargo test`")?;
    if totals.skipped > 0 {
        bail!("{} tests were skipped; none may be", totals.skipped);
    }
    // What failed is counted already, unless it was no test.
    if !status.success() && totals.failed == before.failed {
        bail!("`cargo test` failed: {status}");
    }
    Ok(())
}

fn dependencies(workplace: &Workplace) -> Result<()> {
    let mut deny = workplace.command(tools::cargo_deny(workplace)?);
    done(deny.args(["check", "bans", "licenses", "sources"]))
}

fn tree(workplace: &Workplace) -> Result<()> {
    let mut cargo = workplace.cargo();
    cargo.args(["tree", "--package", "snoozed", "--edges", "normal", "--prefix", "none"]);
    let output = cargo.output().context("cannot start `cargo tree`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !text.starts_with("snoozed ") {
        bail!("`cargo tree` failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    match text.lines().find(|line| UNWANTED.iter().any(|name| line.starts_with(name))) {
        Some(line) => bail!("the daemon is built with `{line}`"),
        None => Ok(()),
    }
}

impl Totals {
    /// Counts a check as one.
    fn check(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => self.passed = self.passed.saturating_add(1),
            Err(error) => {
                self.failed = self.failed.saturating_add(1);
                report::complain(&format!("{name}: {error:#}"));
            }
        }
    }

    /// Counts what a line of a test harness tells:
    /// `test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; ...`.
    fn count(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|l| l.split_once(". "))
        else {
            return;
        };
        for part in counts.split("; ") {
            let mut words = part.split(' ');
            let Some(number) = words.next().and_then(|word| word.parse::<u64>().ok()) else {
                continue;
            };
            let total = match words.next() {
                Some("passed") => &mut self.passed,
                Some("failed") => &mut self.failed,
                Some("ignored" | "filtered") => &mut self.skipped,
                Some(_) | None => continue,
            };
            *total = total.saturating_add(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_test_harnesses_are_summed_up() {
        let mut totals = Totals::default();
        for line in [
            "running 4 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test a_sentence ... ok",
            "test result: FAILED. 2 passed; 5 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.20s",
        ] {
            totals.count(line);
        }
        assert_eq!(totals, Totals { passed: 5, failed: 5, skipped: 8 });
    }
}
