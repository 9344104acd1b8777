//! `cargo xtask walk`: the random walk over the fault matrix, for as long as one wants.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::report;
use crate::workplace::Workplace;

/// Lives stories until there were enough incidents, or the one of a file.
pub(crate) fn run(
    workplace: &Workplace,
    seed: Option<u64>,
    incidents: u64,
    scenario: Option<PathBuf>,
) -> Result<ExitCode> {
    report::progress("building the walk");
    workplace.build_programs()?;
    let mut walk = workplace.command(workplace.built("debug", "walk"));
    match scenario {
        Some(file) => drop(walk.arg(std::path::absolute(file).context("no such file")?)),
        None => drop(walk.args(["--incidents", &incidents.to_string()])),
    }
    if let Some(seed) = seed {
        walk.args(["--seed", &seed.to_string()]);
    }
    let status = walk.status().context("cannot start `walk`")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
