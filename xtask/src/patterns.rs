//! `cargo xtask patterns`: our matcher beside event-ruler, the engine of EventBridge, on the same
//! rules and events.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail, ensure};

use crate::workplace::{Workplace, done};
use crate::{report, tools};

/// How many rules a set has.
const SETS: [usize; 4] = [10, 100, 1_000, 10_000];
/// How long each engine matches; event-ruler warms up for as long before.
const SECONDS: &str = "3";

/// Measures, and prints a table. The exit code tells whether ours is the faster one throughout.
pub(crate) fn run(workplace: &Workplace) -> Result<ExitCode> {
    let (local, folder) = (workplace.local().join("ruler"), workplace.local().join("rules"));
    fs::create_dir_all(&folder).context("cannot make `.local/rules`")?;
    tools::install_ruler(workplace, &local)?;
    let example = ["build", "--release", "--package", "snooze-pattern", "--example", "rules"];
    done(workplace.cargo().args(example))?;
    let ours = workplace.built("release", "examples/rules");
    let events = "events a second";
    report::say(&format!(
        "| rules | bytes a rule | compiled in | ours: {events} | from text | event-ruler, from text |"
    ));
    report::say("|---|---|---|---|---|---|");
    let mut is_faster = true;
    for rules in SETS {
        report::progress(&format!("{rules} rules, which takes a quarter of a minute"));
        done(workplace.command(&ours).args(["--generate", &rules.to_string()]).arg(&folder))?;
        let own = figures(files(workplace.command(&ours), &folder, rules))?;
        let mut java = workplace.command("java");
        java.arg("-cp").arg(local.join("*")).arg("events/pattern/ruler/Ruler.java");
        let theirs = figures(files(java, &folder, rules))?;
        let ([parsed, text, matches, bytes, compiled], [other, same]) = (&own[..], &theirs[..])
        else {
            bail!("expected five figures of ours and two of event-ruler: {own:?} {theirs:?}");
        };
        ensure!(matches == same, "{rules} rules: ours match {matches} times, event-ruler {same}");
        is_faster &= text > other;
        report::say(&format!(
            "| {rules} | {bytes} | {compiled} ms | {parsed} | {text} | {other} |"
        ));
    }
    Ok(if is_faster { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn files(mut engine: Command, folder: &Path, rules: usize) -> Command {
    engine.arg(folder.join(format!("rules-{rules}.jsonl")));
    engine.arg(folder.join("events.jsonl")).arg(SECONDS);
    engine
}

/// The figures of the line that an engine prints.
fn figures(mut engine: Command) -> Result<Vec<u64>> {
    let name = engine.get_program().display().to_string();
    let output = engine.output().with_context(|| format!("cannot start `{name}`"))?;
    if !output.status.success() {
        bail!("`{name}` failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let line = String::from_utf8_lossy(&output.stdout);
    let figures = line.split_whitespace().map(str::parse).collect::<Result<_, _>>();
    figures.with_context(|| format!("`{name}` printed no figures: {line}"))
}
