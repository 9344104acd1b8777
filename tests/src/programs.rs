//! The programs of this workspace, as cargo builds them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::place;

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Where a program is; the first call builds all of them.
///
/// # Panics
/// When they cannot be built.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    FOLDER.get_or_init(build).join(name)
}

/// A program of this very package, which cargo has built already.
///
/// # Panics
/// When this program's own path cannot be told.
#[must_use]
pub fn beside(name: &str) -> PathBuf {
    folder().join(name)
}

fn build() -> PathBuf {
    let folder = folder();
    let profile = folder.file_name().and_then(|name| name.to_str()).unwrap_or("debug");
    let target = folder.parent().expect("the folder of a profile is in the target directory");
    let profile = if profile == "debug" { "dev" } else { profile };
    let mut cargo = place::cargo();
    // The same selection as `cargo xtask` has, so that nothing is built twice.
    cargo.args(["build", "--quiet", "--workspace", "--bins", "--test", "workspace"]);
    cargo.args(["--profile", profile]).arg("--target-dir").arg(target);
    let _nothing = place::output(&mut cargo);
    folder
}

/// The folder of the profile that this was built with: `<target>/debug`.
fn folder() -> PathBuf {
    let own = std::env::current_exe().expect("this program has a path");
    let folder = own.parent().expect("a program is in a folder");
    let is_test = folder.file_name().is_some_and(|name| name == "deps");
    if is_test { folder.parent().map(Path::to_owned) } else { Some(folder.to_owned()) }
        .expect("cargo puts tests two folders deep")
}
