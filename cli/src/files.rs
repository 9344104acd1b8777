//! Files that the user named.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use snooze_policy::{Fault, Policy};
use snoozed::exit;

use crate::failure::Failure;
use crate::text;

/// The text of a file.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|source| Failure::file(path.display(), source))
}

/// Where the signature of a file stands: its name with `.minisig`.
pub(crate) fn signature_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".minisig");
    name.into()
}

/// The signature that stands beside a file, if there is one.
pub(crate) fn signature_of(path: &Path) -> Result<Option<String>, Failure> {
    let beside = signature_path(path);
    match fs::read_to_string(&beside) {
        Ok(text) => Ok(Some(text)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Failure::file(beside.display(), source)),
    }
}

/// The JSON of a file.
pub(crate) fn read_json(path: &Path) -> Result<Value, Failure> {
    let text = read(path)?;
    serde_json::from_str(&text)
        .map_err(|source| Failure::file(path.display(), format!("is not JSON: {source}")))
}

/// Each of the paths, a directory as the `.json` files in it, by name.
pub(crate) fn json_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).map_err(|source| Failure::file(path.display(), source))?;
        let found = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut found: Vec<PathBuf> =
            found.filter(|path| path.extension().is_some_and(|kind| kind == "json")).collect();
        found.sort();
        if found.is_empty() {
            return Err(Failure::file(path.display(), "holds no file `*.json`"));
        }
        files.extend(found);
    }
    Ok(files)
}

/// What is wrong with a file.
#[derive(Debug)]
pub(crate) struct FileFault {
    /// Which file.
    pub(crate) file: String,
    /// What.
    pub(crate) fault: Fault,
}

/// The policies of files, strictly: each holds one policy, or the settings of a daemon with
/// policies in them.
pub(crate) fn policies(files: &[PathBuf]) -> Result<(Vec<Policy>, Vec<FileFault>), Failure> {
    let mut policies: Vec<Policy> = Vec::new();
    let mut faults = Vec::new();
    for path in files {
        let file = path.display().to_string();
        match policies_of(&read(path)?) {
            Ok(more) => {
                for policy in more {
                    if policies.iter().any(|known| known.name == policy.name) {
                        let text = format!("another file has a policy `{}` too", policy.name);
                        let fault = Fault::new("$.name", text);
                        faults.push(FileFault { file: file.clone(), fault });
                    }
                    policies.push(policy);
                }
            }
            Err(found) => faults
                .extend(found.into_iter().map(|fault| FileFault { file: file.clone(), fault })),
        }
    }
    Ok((policies, faults))
}

fn policies_of(text: &str) -> Result<Vec<Policy>, Vec<Fault>> {
    if !is_settings(text) {
        return snooze_policy::check(text).map(|policy| vec![policy]);
    }
    let (policies, faults) = snoozed::settings::check(text)?.policies();
    match faults.is_empty() {
        true => Ok(policies),
        false => Err(faults.into_iter().map(|text| Fault::new("$", text)).collect()),
    }
}

/// Only settings have handlers by event, plugins, or several policies.
fn is_settings(text: &str) -> bool {
    let value: Option<Value> = serde_json::from_str(text).ok();
    let has = |key: &&str| value.as_ref().is_some_and(|value| value.get(key).is_some());
    ["event_handlers", "plugins", "policies"].iter().any(has)
}

/// Policies, or the failure that names all their faults.
pub(crate) fn usable_policies(paths: &[PathBuf]) -> Result<Vec<Policy>, Failure> {
    let (policies, faults) = policies(&json_files(paths)?)?;
    if faults.is_empty() {
        return Ok(policies);
    }
    let mut text = format!("{} in the policies", text::counted(faults.len(), "fault"));
    for FileFault { file, fault } in faults {
        text.push_str(&format!("\n  {file}: {fault}"));
    }
    Err(Failure::new(exit::BAD_SETTINGS, text))
}

/// The program of that name in the directory of this one.
pub(crate) fn beside(name: &str) -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().map_err(|source| Failure::system("find itself", &source))?;
    let path = own.with_file_name(name);
    match path.is_file() {
        true => Ok(path),
        false => {
            let text =
                format!("`{}` is missing: `cargo build -p {name}` builds it", path.display());
            Err(Failure::new(exit::SYSTEM, text))
        }
    }
}
