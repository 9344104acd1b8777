//! `cargo xtask bench`: builds the daemon as it is released, and measures it.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::workplace::{Workplace, done};
use crate::{report, tools};

/// Builds and measures. The exit code tells whether every promise is kept.
pub(crate) fn run(workplace: &Workplace, json: bool) -> Result<ExitCode> {
    tools::install_measures(workplace)?;
    report::progress("building the daemon as it is released");
    done(workplace.cargo().args(["build", "--release", "--package", "snoozed", "--bins"]))?;
    report::progress("building the functions as they are released");
    done(workplace.cargo().args([
        "build",
        "--release",
        "--package",
        "snooze-functions",
        "--bins",
    ]))?;
    let planning = ["build", "--release", "--package", "snooze-policy", "--example", "planning"];
    done(workplace.cargo().args(planning))?;
    report::progress("building what measures them");
    workplace.build_programs()?;
    report::progress("measuring, which takes about four minutes");
    let mut measure = workplace.command(workplace.built("debug", "promises"));
    measure.arg(workplace.built("release", "snoozed"));
    measure.arg("--functions").arg(workplace.built("release", ""));
    measure.arg("--planning").arg(workplace.built("release", "examples/planning"));
    if json {
        measure.arg("--json");
    }
    let status = measure.status().context("cannot start `promises`")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
