//! `cargo xtask soak`: the kill loop of the tests, for as long as one wants.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::report;
use crate::workplace::Workplace;

/// The test, by the row of the fault matrix that it closes.
const LOOP: &str = "g1_a_daemon_killed_at_any_moment";

/// Kills the daemon so often.
pub(crate) fn run(workplace: &Workplace, kills: u64, seed: Option<u64>) -> Result<ExitCode> {
    report::progress("building the programs");
    workplace.build_programs()?;
    report::progress(&format!("{kills} kills, which takes some {} minutes", kills / 1500 + 1));
    let mut cargo = workplace.cargo();
    cargo.args(["test", "--workspace", "--test", "daemon", LOOP, "--", "--nocapture"]);
    cargo.env("SNOOZE_KILLS", kills.to_string());
    cargo.envs(seed.map(|seed| ("SNOOZE_SEED", seed.to_string())));
    let status = cargo.status().context("cannot start `cargo test`")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
