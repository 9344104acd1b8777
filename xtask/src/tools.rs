//! What the whole suite needs beside a Rust toolchain, and how it gets here.
//!
//! System packages come from `apt-get` where that is there and allowed; all else goes to `.local`
//! in the checkout.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::report;
use crate::workplace::{Workplace, done};

/// The version of the checker of dependencies.
const CARGO_DENY: &str = "cargo-deny@0.20.2";
/// The Redis client that the Python plugin of the contract is written for.
const PYTHON_REDIS: &str = "redis==5.2.1";

/// A program and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 3] =
    [("redis-server", "redis-server"), ("faketime", "faketime"), ("python3", "python3")];

/// Brings everything that is missing.
pub(crate) fn install(workplace: &Workplace) -> Result<()> {
    let missing = PROGRAMS.iter().filter(|(program, _)| workplace.which(program).is_none());
    let packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    system_packages(workplace, &packages)?;
    python_redis(workplace)?;
    cargo_deny(workplace)?;
    Ok(())
}

/// The checker of dependencies.
pub(crate) fn cargo_deny(workplace: &Workplace) -> Result<PathBuf> {
    if let Some(found) = workplace.which("cargo-deny") {
        return Ok(found);
    }
    report::progress(&format!("installing {CARGO_DENY} in .local, which takes some minutes"));
    let root = workplace.local();
    let mut cargo = workplace.cargo();
    cargo.env_remove("CARGO_TARGET_DIR");
    cargo.args(["install", "--locked", CARGO_DENY, "--no-default-features", "--root"]).arg(&root);
    done(&mut cargo)?;
    workplace.which("cargo-deny").context("cargo-deny was installed, but is not in `.local/bin`")
}

fn system_packages(workplace: &Workplace, packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    let by_hand =
        format!("the tests need {names}: install them, as with `apt-get install {names}`");
    let root = workplace.command("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let Some(apt) = workplace.which("apt-get").filter(|_| root) else { bail!(by_hand) };
    report::progress(&format!("installing {names}"));
    let run = |args: &[&str]| {
        let mut command = workplace.command(&apt);
        done(command.args(args).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let install = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    // The lists of a fresh machine are empty, so that a first try may fail.
    run(&install).or_else(|_| run(&["update"]).and_then(|()| run(&install))).context(by_hand)
}

fn python_redis(workplace: &Workplace) -> Result<()> {
    let folder = workplace.local().join("python");
    if folder.join("redis/__init__.py").is_file() {
        return Ok(());
    }
    let pip = |args: &[&str]| {
        let mut command = workplace.command("python3");
        command.args(["-m", "pip"]).args(args);
        command
    };
    if !pip(&["--version"]).output().is_ok_and(|output| output.status.success()) {
        system_packages(workplace, &["python3-pip"])?;
    }
    report::progress(&format!("installing {PYTHON_REDIS} in .local/python"));
    let options = ["install", "--quiet", "--disable-pip-version-check", "--target"];
    done(pip(&options).arg(&folder).arg(PYTHON_REDIS))
}
