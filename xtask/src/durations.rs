//! `cargo xtask durations`: how long databases take to save, on this machine.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::workplace::Workplace;
use crate::{report, tools};

/// What starts servers, fills them and flushes them by each strategy.
const SERVERS: [&str; 3] = ["postgres", "mysql", "redis"];

/// Measures with so many megabytes, and prints a table.
pub(crate) fn run(workplace: &Workplace, megabytes: &[u64]) -> Result<ExitCode> {
    tools::install(workplace)?;
    let mut rows: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for server in SERVERS {
        let (package, example) = (format!("{server}-plugins"), format!("{server}-durations"));
        report::progress(&format!("measuring {server}"));
        let mut cargo = workplace.cargo();
        cargo.args(["run", "--quiet", "--package", &package, "--example", &example, "--"]);
        let output = cargo.args(megabytes.iter().map(ToString::to_string)).output();
        let output = output.context("cannot start `cargo run`")?;
        if !output.status.success() {
            bail!("{package}: {}", String::from_utf8_lossy(&output.stderr));
        }
        for line in String::from_utf8_lossy(&output.stdout).lines().skip(1) {
            let [server, strategy, bytes, seconds] = line.split(',').collect::<Vec<_>>()[..] else {
                bail!("{package}: expected `server,strategy,bytes,seconds`: {line}");
            };
            let megabytes = bytes.parse::<f64>().context("bytes")? / 1e6;
            let row = rows.entry((server.to_owned(), strategy.to_owned())).or_default();
            row.push(format!("{megabytes:.0} MB: {seconds} s"));
        }
    }
    let names = megabytes.iter().map(|size| format!("filled with {size} MB"));
    report::say(&format!("| server | strategy | {} |", names.collect::<Vec<_>>().join(" | ")));
    report::say(&format!("|---|---{}|", "|---".repeat(megabytes.len())));
    for ((server, strategy), cells) in rows {
        report::say(&format!("| {server} | `{strategy}` | {} |", cells.join(" | ")));
    }
    Ok(ExitCode::SUCCESS)
}
