//! `cargo xtask demo`: builds what the demo needs, and runs it.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::report;
use crate::workplace::{Workplace, done};

/// The programs that the demo and the whole-process tests run, built in one go.
const PACKAGES: [&str; 3] = ["snoozed", "snooze", "redis-plugins"];

/// Builds and runs the demo; its exit code is the demo's.
pub(crate) fn run(workplace: &Workplace, args: &[String]) -> Result<ExitCode> {
    report::progress("building the daemon, the command and a plugin");
    build(workplace)?;
    report::progress("starting the demo");
    let mut demo = workplace.command(workplace.built("debug", "snooze"));
    let status = demo.arg("demo").args(args).status().context("cannot start `snooze demo`")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Builds the programs.
pub(crate) fn build(workplace: &Workplace) -> Result<()> {
    let mut cargo = workplace.cargo();
    cargo.args(["build", "--bins"]);
    for package in PACKAGES {
        cargo.args(["--package", package]);
    }
    done(&mut cargo)
}
