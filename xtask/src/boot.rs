//! `cargo xtask boot-test`: boots a Debian with systemd in a virtual machine, and looks whether the
//! daemon does there what it promises.
//!
//! ```text
//!  this program ── QMP ──────────> power button
//!               ── serial line ──> agent: runs a line, answers with its output and exit code
//!               <── disk image ─── what was saved, read when the machine is off
//! ```
//!
//! The guest lives in memory: a cached base of Debian, and over it our packages, which it installs
//! itself, and the files of `xtask/boot`. It has no network but its own loopback.

mod image;
mod machine;
mod points;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::workplace::Workplace;
use crate::{package, report, tools};
use image::Image;
use machine::Machine;
use points::Points;

/// A program and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 4] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("mmdebstrap", "mmdebstrap"),
    ("cpio", "cpio"),
    ("strip", "binutils"),
];

/// What is run in the guest, and where.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Install the packages that lie in this folder; without it, packages for debugging are made
    #[arg(long)]
    packages: Option<PathBuf>,
}

/// Boots, looks, and prints a line for each point; fails when one is not as promised.
pub(crate) fn run(workplace: &Workplace, args: &Args) -> Result<ExitCode> {
    let missing = PROGRAMS.iter().filter(|(program, _)| workplace.which(program).is_none());
    tools::system_packages(workplace, &missing.map(|(_, package)| *package).collect::<Vec<_>>())?;
    report::progress("building the programs");
    workplace.build_programs()?;
    let packages = match &args.packages {
        Some(folder) => workplace.root.join(folder),
        None => package::for_debugging(workplace, &image::OURS)?,
    };
    let image = Image::make(workplace, &packages)?;
    report::progress("booting");
    let mut points = Points::default();
    let mut machine = Machine::start(workplace, &image)?;
    let ended = points.go(&mut machine);
    told(&mut machine, ended, &points)?;
    drop(machine);
    report::progress("booting once more");
    let mut machine = Machine::start(workplace, &image)?;
    let ended = points.power(&mut machine, &image);
    told(&mut machine, ended, &points)?;
    report::say(&format!("{} points failed", points.failed()));
    Ok(if points.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows the console where something is not as promised.
fn told(machine: &mut Machine, ended: Result<()>, points: &Points) -> Result<()> {
    if ended.is_err() || points.failed() > 0 {
        report::complain(&format!("the console says at last:\n{}", machine.console()));
    }
    ended
}
