//! `cargo xtask bench`: builds the daemon as it is released, and measures it.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::report;
use crate::workplace::{Workplace, done};

/// Builds and measures. The exit code tells whether every promise is kept.
pub(crate) fn run(workplace: &Workplace, json: bool) -> Result<ExitCode> {
    report::progress("building the daemon as it is released");
    done(workplace.cargo().args(["build", "--release", "--package", "snoozed", "--bins"]))?;
    report::progress("building what measures it");
    done(workplace.cargo().args(["build", "--package", "snooze-tests", "--bins"]))?;
    report::progress("measuring, which takes about two minutes");
    let mut measure = workplace.command(workplace.built("debug", "promises"));
    measure.arg(workplace.built("release", "snoozed"));
    if json {
        measure.arg("--json");
    }
    let status = measure.status().context("cannot start `promises`")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
