//! The files of a package, laid out in a folder as they will lie below `/`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::crates::Crates;
use super::description::Package;
use super::floor;
use crate::functions::Arch;
use crate::tools;
use crate::workplace::{Workplace, done};

/// What all packages of one run are made from.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) workplace: &'a Workplace,
    /// Where the programs are.
    pub(super) programs: &'a Path,
    pub(super) arch: Arch,
    pub(super) crates: &'a Crates,
}

/// Lays out `package` in `folder`, which must not be there.
pub(super) fn lay_out(source: &Source<'_>, package: &Package, folder: &Path) -> Result<()> {
    for (path, mode) in &package.directories {
        let mode = u32::from_str_radix(mode, 8)
            .with_context(|| format!("`{path}`: the mode `{mode}` is not octal"))?;
        let path = below(folder, path);
        directory(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    for (program, place) in &package.programs {
        let path = below(folder, place).join(program);
        copy(&source.programs.join(program), &path, 0o755)?;
        // Scripts have nothing to take out.
        if floor::is_binary(&path)? {
            let mut strip = source.workplace.command(tools::strip(source.workplace, source.arch));
            done(strip.arg("--strip-unneeded").arg(&path))?;
        }
    }
    for (place, from) in package.files.iter().chain(&package.settings) {
        tree(&source.workplace.root.join(from), &below(folder, place))?;
    }
    let documents = below(folder, &format!("/usr/share/doc/{}", package.name));
    let licence = source.workplace.root.join("LICENSE");
    copy(&licence, &documents.join("copyright"), 0o644)?;
    let own = fs::read_to_string(&licence).context("cannot read LICENSE")?;
    let programs = package.programs.keys().map(String::as_str);
    let licences = source.crates.licences(programs, &own)?;
    write(&documents.join("THIRD-PARTY-LICENCES"), licences.as_bytes())?;
    if package.programs.contains_key("snooze") {
        command_pages(source, folder)?;
    }
    Ok(())
}

/// What the command tells of itself: its manual and the completions of shells.
fn command_pages(source: &Source<'_>, folder: &Path) -> Result<()> {
    let snooze = source.programs.join("snooze");
    let manual = below(folder, "/usr/share/man/man1");
    directory(&manual)?;
    done(source.workplace.command(&snooze).arg("manual").arg(&manual))
        .context("the programs of another processor cannot be asked for their manual")?;
    for entry in fs::read_dir(&manual)? {
        fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o644))?;
    }
    for (shell, place) in [
        ("bash", "/usr/share/bash-completion/completions/snooze"),
        ("zsh", "/usr/share/zsh/site-functions/_snooze"),
        ("fish", "/usr/share/fish/vendor_completions.d/snooze.fish"),
    ] {
        let mut command = source.workplace.command(&snooze);
        let output = command.args(["completions", shell]).output();
        let output = output.context("cannot ask `snooze` for completions")?;
        write(&below(folder, place), &output.stdout)?;
    }
    Ok(())
}

/// A place of the machine, below the folder.
pub(super) fn below(folder: &Path, place: &str) -> PathBuf {
    folder.join(place.trim_start_matches('/'))
}

/// Copies a file, or a folder of files.
fn tree(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        return copy(from, to, 0o644);
    }
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        tree(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    directory(to.parent().unwrap_or(to))?;
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    directory(path.parent().unwrap_or(path))?;
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    Ok(())
}

/// Makes a directory, and those above it, with a mode that does not hang on who builds.
pub(super) fn directory(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    directory(path.parent().unwrap_or(path))?;
    fs::create_dir(path).with_context(|| format!("cannot make {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
