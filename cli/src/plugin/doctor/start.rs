//! Starting a plugin as the daemon does, and asking who it is.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Map;
use snooze_plugin::wire::{Answer, Method, request_line};
use snooze_plugin::{Dependency, Info, PROTOCOL};
use snoozed::plugins::environment;

use super::{Finding, LOG, directory, program, quoted, stem};
use crate::plugin::child::Plugin;
use crate::text;

/// How long a start with its first answer may take, as in the daemon.
const START: Duration = Duration::from_secs(10);
/// How long an end may take until the plugin is killed.
const END: Duration = Duration::from_secs(5);

/// Where plugins of the daemon find programs.
pub(super) fn daemon_path() -> String {
    let [(_, path), ..] = environment("");
    path
}

/// What it says of itself, and the last lines of its log.
pub(super) fn shake_hands(
    name: &str,
    program: &[PathBuf],
    patience: u32,
) -> (Vec<Finding>, Vec<String>) {
    let Some((file, args)) = program.split_first() else { return Default::default() };
    let begun = Instant::now();
    let mut command = Command::new(file);
    command.args(args).env_clear().envs(environment(name)).current_dir("/");
    let mut plugin = match Plugin::start(command) {
        Ok(plugin) => plugin,
        Err(source) => return (vec![not_started(file, &source)], Vec::new()),
    };
    let limit = START.saturating_mul(patience);
    let line = request_line(Method::Info, Map::new(), 1, false);
    let findings = match plugin.ask(&line, 1, limit).map(|reply| reply.answer) {
        Ok(Answer::Result(value)) => match Info::read(&value) {
            Ok(info) => of_info(name, file, &info, begun.elapsed()),
            Err(fault) => vec![no_info(fault)],
        },
        Ok(Answer::NotSupported) => vec![no_info("it knows no `Info`")],
        Ok(Answer::Failed(text)) | Err(text) => vec![no_info(text)],
    };
    plugin.close();
    let _ = plugin.ended(END);
    let log = plugin.log();
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines.iter().skip(lines.len().saturating_sub(LOG));
    (findings, last.map(|line| (*line).to_owned()).collect())
}

fn not_started(file: &Path, source: &std::io::Error) -> Finding {
    if source.kind() == ErrorKind::ExecutableFileBusy {
        let text = "somebody has it open for writing, so that it cannot be run";
        let todo = format!("wait until it is copied; `fuser -v {}` tells who it is", quoted(file));
        return Finding::bad("start", text, todo);
    }
    Finding::bad("start", source.to_string(), "mend that")
}

fn no_info(why: impl std::fmt::Display) -> Finding {
    let todo = "answer `Info` with at least a `name`; its log tells more";
    Finding::bad("Info", why.to_string(), todo)
}

fn of_info(name: &str, file: &Path, info: &Info, took: Duration) -> Vec<Finding> {
    let took = text::took(took);
    let mut findings =
        vec![Finding::fine("Info", format!("{} {}, in {took}", info.name, info.version))];
    if info.name != name {
        findings.push(Finding::odd(
            "Info",
            format!("it calls itself `{}`; policies know it as `{name}`", info.name),
            "give the file the name that it says, or the other way round",
        ));
    }
    findings.push(match info.protocol.common(PROTOCOL) {
        Ok(version) => Finding::fine("protocol", version.to_string()),
        Err(fault) => Finding::bad("protocol", fault.to_string(), "use another version of it"),
    });
    if let Err(text) = info.host_is_new_enough(env!("CARGO_PKG_VERSION")) {
        let todo = "update CloudSnooze, or use an older version of the plugin";
        findings.push(Finding::bad("host", text, todo));
    }
    findings.extend(info.dependencies.iter().map(|needed| dependency(file, needed)));
    findings
}

/// A program that its plugins find, or another plugin. The version cannot be compared.
fn dependency(file: &Path, needed: &Dependency) -> Finding {
    let wanted = match needed.version.as_str() {
        "" => String::new(),
        version => format!(", version {version} (not compared)"),
    };
    let name = &needed.name;
    if let Some(path) = program::in_path(name) {
        return Finding::fine("needs", format!("`{}`{wanted}", path.display()));
    }
    let beside = file.parent().and_then(|folder| directory::plugins(folder).ok());
    let is_plugin = snoozed::builtins::find(name).is_some()
        || beside.into_iter().flatten().any(|other| other.path.is_some_and(|p| stem(&p) == *name));
    if is_plugin {
        return Finding::fine("needs", format!("the plugin `{name}`{wanted}"));
    }
    let text = format!("`{name}`{wanted} is neither a program in the daemon's PATH nor a plugin");
    Finding::odd("needs", text, format!("install `{name}`"))
}
