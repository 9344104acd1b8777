//! Why a plugin does not run, and what to do about it.
//!
//! The file is looked at first, without running it; only what the daemon would run is started, in
//! the environment that the daemon gives it, and asked who it is.

mod directory;
mod file;
mod program;
mod start;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use snoozed::exit;
use snoozed::settings::USUAL_DIRECTORIES;

use crate::daemon::Context;
use crate::failure::Failure;
use crate::text::{cell, list};
use crate::{files, screen, text};

/// How many lines of a log are shown.
const LOG: usize = 5;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A plugin of this instance, a file, or a directory of plugins [default: all of this instance]
    #[arg(value_name = "NAME|PATH")]
    plugin: Option<String>,
    /// How many times as long as usual a start may take, on a slow machine
    #[arg(long, value_name = "FACTOR", env = "SNOOZE_PATIENCE", hide_env = true,
        default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    patience: u32,
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    text: String,
    /// What to do; empty where there is nothing to do.
    todo: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fine,
    /// It runs, but.
    Odd,
    /// It does not run, or must not.
    Bad,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Odd => "warn",
            Self::Bad => "FAIL",
        }
    }
}

impl Finding {
    fn fine(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fine, text: text.into(), todo: String::new() }
    }

    fn odd(check: &'static str, text: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Odd, text: text.into(), todo: todo.into() }
    }

    fn bad(check: &'static str, text: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Bad, text: text.into(), todo: todo.into() }
    }
}

/// A plugin that is looked at.
#[derive(Debug, Default)]
struct Patient {
    name: String,
    /// Its file; none when it is built in, or missing.
    path: Option<PathBuf>,
    is_builtin: bool,
    /// The daemon says that it may run.
    is_found: bool,
    findings: Vec<Finding>,
    /// The last lines that it wrote to stderr.
    log: Vec<String>,
}

impl Patient {
    fn of_file(path: PathBuf) -> Self {
        Self { name: stem(&path), path: Some(path), ..Self::default() }
    }

    fn is_bad(&self) -> bool {
        self.findings.iter().any(|finding| finding.verdict == Verdict::Bad)
    }

    fn examine(&mut self, patience: u32) -> Result<(), Failure> {
        let program = match &self.path {
            Some(path) => {
                self.findings.extend(file::look(path, self.is_found));
                vec![path.clone()]
            }
            None if self.is_builtin => vec![
                files::beside("snoozed")?,
                snoozed::launch::BUILTIN_VERB.into(),
                self.name.as_str().into(),
            ],
            None => return Ok(()),
        };
        if !self.is_bad() {
            let (findings, log) = start::shake_hands(&self.name, &program, patience);
            self.findings.extend(findings);
            if self.is_bad() {
                self.log = log;
            }
        }
        Ok(())
    }

    fn data(&self) -> Value {
        let findings = self.findings.iter().map(|finding| {
            json!({ "check": finding.check, "verdict": finding.verdict.as_str(),
                "text": finding.text, "do": finding.todo })
        });
        json!({
            "name": self.name,
            "path": self.path.as_ref().map(|path| path.display().to_string()),
            "findings": findings.collect::<Vec<_>>(),
            "log": self.log,
        })
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let mut patients = patients(args.plugin.as_deref(), context)?;
    for patient in &mut patients {
        patient.examine(args.patience)?;
    }
    let count = |verdict| {
        let findings = patients.iter().flat_map(|patient| &patient.findings);
        findings.filter(|finding| finding.verdict == verdict).count()
    };
    let (bad, odd) = (count(Verdict::Bad), count(Verdict::Odd));
    let data = json!({
        "plugins": patients.iter().map(Patient::data).collect::<Vec<_>>(),
        "faults": bad,
        "warnings": odd,
    });
    screen::show(context.json, &data, person)?;
    Ok(if bad == 0 { exit::OK } else { exit::NO })
}

fn person(data: &Value) -> String {
    let plugins = list(data, "plugins");
    let mut out = String::new();
    for plugin in plugins {
        let path = plugin.get("path").and_then(Value::as_str).map(text::shown);
        let path = path.map_or_else(String::new, |path| format!("  {path}"));
        out.push_str(&format!("{}{path}\n", cell(plugin, "name")));
        for finding in list(plugin, "findings") {
            let [verdict, check] = ["verdict", "check"].map(|key| cell(finding, key));
            out.push_str(&format!("  {verdict:4}  {check:12}  {}\n", whole(finding, "text")));
            let todo = whole(finding, "do");
            if !todo.is_empty() {
                out.push_str(&format!("        do            {todo}\n"));
            }
        }
        for line in list(plugin, "log").iter().filter_map(Value::as_str) {
            out.push_str(&format!(
                "        log           {}\n",
                text::cut(&text::shown(line), 160)
            ));
        }
    }
    let number = |key| data.get(key).and_then(Value::as_u64).unwrap_or(0);
    let [faults, warnings] = ["faults", "warnings"].map(|key| {
        text::counted(usize::try_from(number(key)).unwrap_or(usize::MAX), key.trim_end_matches('s'))
    });
    let plugins = text::counted(plugins.len(), "plugin");
    out.push_str(&format!("{plugins}: {faults}, {warnings}\n"));
    out
}

/// A text of a finding, which may hold a path that is to be copied: never cut.
fn whole(finding: &Value, key: &str) -> String {
    finding.get(key).and_then(Value::as_str).map(text::shown).unwrap_or_default()
}

fn patients(wanted: Option<&str>, context: &Context) -> Result<Vec<Patient>, Failure> {
    if let Some(given) = wanted.filter(|given| given.contains('/') || Path::new(given).exists()) {
        let path = Path::new(given);
        let status =
            path.symlink_metadata().map_err(|source| Failure::file(path.display(), source))?;
        if status.is_dir() {
            let found = directory::plugins(path);
            return found.map_err(|source| Failure::file(path.display(), source));
        }
        // The last part stays as it is: it may be a symbolic link, which the daemon refuses.
        let absolute = std::path::absolute(path);
        let absolute = absolute.map_err(|source| Failure::file(path.display(), source))?;
        return Ok(vec![Patient::of_file(absolute)]);
    }
    let mut patients = match context.ask("PLUGINS_LIST", json!({})) {
        Ok(plugins) => known(&plugins),
        Err(Failure::Said { code: exit::NO_DAEMON, .. }) => usual(wanted),
        Err(failure) => return Err(failure),
    };
    let Some(wanted) = wanted else { return Ok(patients) };
    patients.retain(|patient| patient.name == wanted);
    if patients.is_empty() {
        let text = "there is no such plugin; `snooze plugin list` names those there are";
        return Err(Failure::file(wanted, text));
    }
    Ok(patients)
}

/// What lies where plugins usually are: no daemon tells of more.
fn usual(wanted: Option<&str>) -> Vec<Patient> {
    let builtin = wanted.filter(|name| snoozed::builtins::find(name).is_some());
    let builtin = builtin.map(|name| Patient {
        name: name.to_owned(),
        is_builtin: true,
        ..Patient::default()
    });
    let found =
        USUAL_DIRECTORIES.iter().filter_map(|path| directory::plugins(Path::new(path)).ok());
    builtin.into_iter().chain(found.flatten()).collect()
}

/// The plugins that a daemon tells of, with what it knows.
fn known(plugins: &Value) -> Vec<Patient> {
    let mut patients = Vec::new();
    for found in list(plugins, "found") {
        let path = found.get("path").and_then(Value::as_str).map(PathBuf::from);
        patients.push(Patient {
            name: cell(found, "name"),
            is_builtin: path.is_none(),
            is_found: true,
            path,
            ..Patient::default()
        });
    }
    for refused in list(plugins, "refused") {
        let path = refused.get("path").and_then(Value::as_str).unwrap_or_default();
        let todo = "mend that, then `systemctl restart snoozed`";
        patients.push(Patient {
            findings: vec![Finding::bad("daemon", cell(refused, "reason"), todo)],
            ..Patient::of_file(path.into())
        });
    }
    for entry in super::missing(plugins) {
        let text = format!("the handler {} needs it, and it is nowhere", cell(entry, "id"));
        let todo = "put its file into one of `plugins.directories`, or mend the policy";
        patients.push(Patient {
            name: cell(entry, "plugin"),
            findings: vec![Finding::bad("daemon", text, todo)],
            ..Patient::default()
        });
    }
    for patient in &mut patients {
        let running = super::running(plugins, &patient.name);
        patient.findings.extend(running.iter().filter_map(|entry| handler(entry)));
        // The newest line comes first.
        let failed = running.iter().filter(|entry| cell(entry, "last_error") != "-");
        let log = failed.flat_map(|entry| list(entry, "log").iter().take(LOG).rev());
        patient.log = log.filter_map(|line| Some(line.as_str()?.to_owned())).collect();
    }
    patients
}

/// What the daemon knows of a handler that runs the plugin, if that is not as it should be.
fn handler(entry: &Value) -> Option<Finding> {
    let (id, state, error) = (cell(entry, "id"), cell(entry, "state"), cell(entry, "last_error"));
    match state.as_str() {
        "failed" => Some(Finding::bad(
            "handler",
            format!("{id} has failed: {error}"),
            "mend that; the next event or a restart of the daemon starts it again",
        )),
        "disabled" => Some(Finding::odd(
            "handler",
            format!("{id} is switched off"),
            format!("snooze plugin enable {}", cell(entry, "plugin")),
        )),
        _ if error != "-" => Some(Finding::odd(
            "handler",
            format!("{id} is {state}; its last error: {error}"),
            "look whether that is mended",
        )),
        _ => None,
    }
}

/// The name of the plugin that a file is.
fn stem(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    file.split_once('.').map_or(&*file, |(name, _)| name).to_owned()
}

/// A path as a word for a shell.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@".contains(c);
    match path.chars().all(plain) {
        true => path,
        false => format!("'{}'", path.replace('\'', "'\\''")),
    }
}
