//! `cargo xtask e2e`: the cloud side whole, on an emulator of AWS.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::workplace::Workplace;
use crate::{report, tools};

/// Installs the emulator, and runs the tests that deploy the template in it.
pub(crate) fn run(workplace: &Workplace, filter: &[String]) -> Result<ExitCode> {
    tools::install_cloud(workplace)?;
    report::progress("building the programs");
    workplace.build_programs()?;
    report::progress("deploying the template and running the tests");
    let mut cargo = workplace.cargo();
    cargo.args(["test", "--workspace", "--test", "e2e"]).env("SNOOZE_FULL", "1");
    let status = cargo.arg("--").args(filter).status().context("cannot start `cargo test`")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
