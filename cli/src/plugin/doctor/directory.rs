//! What lies in a directory of plugins, and who could put something there.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Finding, Patient, quoted};

/// Who may write to a file or directory.
const SHARED: u32 = 0o022;
/// In a directory with it only the owner of a file can put another one in its place.
const STICKY: u32 = 0o1000;

/// Every file that the daemon would take for a plugin, by name.
pub(super) fn plugins(directory: &Path) -> io::Result<Vec<Patient>> {
    let directory = std::path::absolute(directory)?;
    let entries = directory.read_dir()?.collect::<io::Result<Vec<_>>>()?;
    let mut paths: Vec<_> = entries
        .iter()
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .map(std::fs::DirEntry::path)
        .collect();
    paths.sort();
    Ok(paths.into_iter().map(Patient::of_file).collect())
}

/// The directory that the file is in and those above it, which the daemon checks, too.
pub(super) fn look(file: &Path) -> Vec<Finding> {
    let directory = match file.parent().map(Path::canonicalize) {
        Some(Ok(directory)) => directory,
        Some(Err(source)) => {
            return vec![Finding::bad("directory", source.to_string(), "mend the path")];
        }
        None => return vec![Finding::bad("directory", "it is in none", "move it into one")],
    };
    let mut findings = Vec::new();
    for (above, folder) in directory.ancestors().enumerate() {
        let Ok(status) = folder.metadata() else { continue };
        let Some((text, todo)) = who_else(folder, &status) else { continue };
        // Whoever can write above can exchange it, but where only owners may rename.
        if above == 0 || status.mode() & STICKY == 0 {
            findings.push(Finding::bad("directory", text, todo));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::fine("directory", "only its owner can write there and above"));
    }
    findings
}

/// Who else than root and the user of this process could write there, and what to do about it.
pub(super) fn who_else(path: &Path, status: &Metadata) -> Option<(String, String)> {
    let (shown, word) = (path.display(), quoted(path));
    let own = rustix::process::geteuid().as_raw();
    if status.uid() != 0 && status.uid() != own {
        let text = format!("`{shown}` belongs to user {}: expected 0 or {own}", status.uid());
        return Some((text, format!("chown root {word}, or ask as the user of the daemon")));
    }
    if status.mode() & SHARED != 0 {
        let mode = status.mode() & 0o7777;
        let text = format!("`{shown}` can be written by others: mode {mode:04o}");
        return Some((text, format!("chmod go-w {word}")));
    }
    None
}
