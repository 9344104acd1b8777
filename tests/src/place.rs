//! Where the workspace is, and what stands in it.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the crate is a folder of the workspace").to_owned()
}

/// A variable of the environment.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    let (_, value) = std::env::vars_os().find(|(key, _)| key == name)?;
    value.into_string().ok()
}

/// Whether nothing may be skipped.
#[must_use]
pub fn full() -> bool {
    variable("SNOOZE_FULL").is_some_and(|value| value == "1")
}

/// Whether a program is on the search path.
///
/// # Panics
/// When it is not, and nothing may be skipped.
#[must_use]
pub fn has(program: &str) -> bool {
    let path = variable("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path);
    there(program, folders.any(|folder| folder.join(program).is_file()))
}

/// Whether what a test needs is there, given that; a test that does without says so.
///
/// # Panics
/// When it is not, and nothing may be skipped.
#[must_use]
pub fn there(what: &str, found: bool) -> bool {
    assert!(found || !full(), "there is no `{what}`: `cargo xtask test` installs it");
    if !found {
        let text = format!("not tested: there is no `{what}`\n");
        // Whoever closed our output does not want it.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
    found
}

/// Whether this process may do what only root may, up to mounts of its own; a test that needs it
/// says so where it is left out.
#[must_use]
pub fn as_root() -> bool {
    let may_mount = || {
        let status =
            Command::new("unshare").args(["--mount", "true"]).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let root = rustix::process::geteuid().is_root() && may_mount();
    if !root {
        // Whoever closed our output does not want it.
        let _ = std::io::stdout().write_all(b"skipped: needs root\n");
    }
    root
}

/// The cargo that built this, in the root, without network.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root()).arg("--offline");
    command
}

/// What a command writes on its standard output.
///
/// # Panics
/// When it fails.
#[must_use]
pub fn output(command: &mut Command) -> String {
    let output = command.output().expect("the command starts");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {log}");
    String::from_utf8(output.stdout).expect("the output is UTF-8")
}

/// Copies a program, or the text that stands for `/dev/stdin`.
///
/// A process of its own does it: a file that is open for writing cannot be run, and whatever
/// another thread starts at that moment would inherit it open.
///
/// # Panics
/// When it cannot be done.
pub fn install(from: &Path, to: &Path, text: Option<&str>) {
    let mut command = Command::new("install");
    command.args(["-D", "-m", "755"]).args([from, to]).stdin(Stdio::piped());
    let mut child = command.spawn().expect("coreutils are there");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    stdin.write_all(text.unwrap_or_default().as_bytes()).expect("it reads what it copies");
    drop(stdin);
    assert!(child.wait().is_ok_and(|status| status.success()), "{} cannot be made", to.display());
}

/// All files with an ending, in the folders that belong to the project, sorted.
///
/// # Panics
/// When a folder cannot be read.
#[must_use]
pub fn files(ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().expect("a folder of the project can be read") {
            let entry = entry.expect("a folder of the project can be read");
            let path = entry.path();
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if !hidden && entry.file_name() != "target" {
                    folders.push(path);
                }
            } else if path.extension() == Some(OsStr::new(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
