//! The checkout, its cargo and its target directory.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The checkout, its cargo and its target directory.
#[derive(Debug)]
pub(crate) struct Workplace {
    /// The root of the workspace.
    pub(crate) root: PathBuf,
    /// `SOURCE_DATE_EPOCH`, where somebody set it.
    pub(crate) epoch: Option<String>,
    cargo: PathBuf,
    target: PathBuf,
    search: Vec<PathBuf>,
}

impl Workplace {
    /// Reads what cargo says to a program that it runs.
    pub(crate) fn find(
        variables: impl Iterator<Item = (OsString, OsString)>,
        own: io::Result<PathBuf>,
    ) -> Result<Self> {
        let variables: BTreeMap<OsString, OsString> = variables.collect();
        let path = |name: &str| variables.get(OsStr::new(name)).map(PathBuf::from);
        let started = "start it as `cargo xtask`";
        let manifest = path("CARGO_MANIFEST_DIR").context(started)?;
        let root = manifest.parent().context(started)?.to_owned();
        // This program is `<target>/<profile>/xtask`.
        let own = own.context("cannot tell where this program is")?;
        let target = own.ancestors().nth(2).context(started)?.to_owned();
        let search = variables.get(OsStr::new("PATH")).map(std::env::split_paths);
        let mut search: Vec<PathBuf> = search.into_iter().flatten().collect();
        search.insert(0, root.join(".local/bin"));
        let cargo = path("CARGO").unwrap_or_else(|| PathBuf::from("cargo"));
        let epoch = variables.get(OsStr::new("SOURCE_DATE_EPOCH"));
        let epoch = epoch.and_then(|epoch| epoch.to_str()).map(str::to_owned);
        Ok(Self { root, epoch, cargo, target, search })
    }

    /// Cargo, in the root, with the one target directory.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = self.command(&self.cargo);
        command.env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// Cargo with the subcommands of a folder.
    pub(crate) fn cargo_with(&self, folder: &Path) -> Command {
        let mut command = self.cargo();
        let search = std::iter::once(folder).chain(self.search.iter().map(PathBuf::as_path));
        // Only a folder with a colon in its name cannot be joined.
        if let Ok(path) = std::env::join_paths(search) {
            command.env("PATH", path);
        }
        command
    }

    /// Builds all programs, for debugging, with the very crates that the tests are built with:
    /// what cargo selects decides the features of what they stand on, so that another selection
    /// would build much of it a second time. A test target in the selection brings the features
    /// of tests.
    pub(crate) fn build_programs(&self) -> Result<()> {
        done(self.cargo().args(["build", "--workspace", "--bins", "--test", "workspace"]))
    }

    /// A program, in the root.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// A program of this workspace.
    pub(crate) fn built(&self, profile: &str, program: &str) -> PathBuf {
        self.target.join(profile).join(program)
    }

    /// Where a program is, if it is on the search path or in `.local/bin`.
    pub(crate) fn which(&self, program: &str) -> Option<PathBuf> {
        self.search.iter().map(|directory| directory.join(program)).find(|path| path.is_file())
    }

    /// A folder of the project that git does not see.
    pub(crate) fn local(&self) -> PathBuf {
        self.root.join(".local")
    }
}

/// Runs a command whose output the person sees.
///
/// # Errors
/// When it cannot be started or fails.
pub(crate) fn done(command: &mut Command) -> Result<()> {
    let name = Path::new(command.get_program()).file_name().map(OsStr::to_owned);
    let name = name.unwrap_or_default().display().to_string();
    let status = command.status().with_context(|| format!("cannot start `{name}`"))?;
    if !status.success() {
        let first = command.get_args().next().unwrap_or_default().display().to_string();
        bail!("`{name} {first}` failed: {status}");
    }
    Ok(())
}
