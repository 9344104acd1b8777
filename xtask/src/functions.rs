//! `cargo xtask functions`: builds the Lambda functions, and lays them out as the template finds
//! them: `target/functions/<name>/bootstrap`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::workplace::{Workplace, done};
use crate::{report, tools};

/// The functions, as their programs are called.
pub(crate) const FUNCTIONS: [&str; 4] = ["dispatch", "perform", "record", "sweep"];

/// The processors that Lambda has, as the parameter `Architecture` of the template names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    /// Graviton
    #[value(name = "arm64")]
    Arm64,
    /// Intel and AMD
    #[value(name = "x86_64")]
    X86_64,
}

/// Builds and lays out. For a processor that is not this machine's, a cross-compiler is needed.
pub(crate) fn run(workplace: &Workplace, release: bool, arch: Option<Arch>) -> Result<ExitCode> {
    let arch =
        arch.or(Arch::own()).context("Lambda has no such processor: name one by `--arch`")?;
    report::progress("building the functions");
    let built = if release || Some(arch) != Arch::own() {
        alone(workplace, release, arch)?
    } else {
        workplace.build_programs()?;
        workplace.built("debug", "")
    };
    let folder = workplace.root.join("target/functions");
    for name in FUNCTIONS {
        let place = folder.join(name);
        fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
        let mut strip = workplace.command(tools::strip(workplace, arch));
        done(strip.arg("-o").arg(place.join("bootstrap")).arg(built.join(name)))?;
    }
    report::say(&format!(
        "{} holds the functions for {}: deploy them with Architecture={}",
        folder.display(),
        arch.name(),
        arch.name(),
    ));
    Ok(ExitCode::SUCCESS)
}

/// Builds the functions and no more, as they are deployed.
fn alone(workplace: &Workplace, release: bool, arch: Arch) -> Result<PathBuf> {
    let profile = if release { "release" } else { "debug" };
    let mut cargo = workplace.cargo();
    cargo.args(["build", "--package", "snooze-functions", "--bins"]);
    if release {
        cargo.arg("--release");
    }
    if Some(arch) == Arch::own() {
        done(&mut cargo)?;
        return Ok(workplace.built(profile, ""));
    }
    let triple = arch.triple();
    let compiler = format!("{}-gcc", arch.prefix());
    let variable = triple.to_ascii_uppercase().replace('-', "_");
    cargo.args(["--target", triple]);
    cargo.env(format!("CARGO_TARGET_{variable}_LINKER"), &compiler);
    cargo.env(format!("CC_{}", triple.replace('-', "_")), &compiler);
    done(&mut cargo).with_context(|| {
        format!(
            "building for {0} takes `rustup target add {triple}` and the compiler `{compiler}`, \
             which Debian's package `gcc-{1}` brings",
            arch.name(),
            arch.prefix(),
        )
    })?;
    Ok(workplace.built(&format!("{triple}/{profile}"), ""))
}

impl Arch {
    /// That of this machine.
    pub(crate) fn own() -> Option<Self> {
        match std::env::consts::ARCH {
            "aarch64" => Some(Self::Arm64),
            "x86_64" => Some(Self::X86_64),
            _ => None,
        }
    }

    /// As the template names it.
    fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86_64 => "x86_64",
        }
    }

    /// The target of the compiler.
    pub(crate) fn triple(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-unknown-linux-gnu",
            Self::X86_64 => "x86_64-unknown-linux-gnu",
        }
    }

    /// What the names of the GNU tools for it begin with.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-linux-gnu",
            Self::X86_64 => "x86_64-linux-gnu",
        }
    }
}
