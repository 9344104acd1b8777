//! `snooze config`.

mod change;
mod file;
mod layout;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use snooze_policy::Fault;
use snoozed::{exit, settings};

use crate::daemon::Context;
use crate::failure::Failure;
use crate::{screen, text};

/// Look settings over, change them, and take those of older tools
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Say all that is wrong with a settings file and its policies, and end with 1 if there is
    /// anything
    #[command(after_help = "Example: snooze config check ./snoozed.json")]
    Check(Check),
    /// Show the settings that the daemon runs with, without what may be secret
    #[command(after_help = "Example: snooze config list --json")]
    List,
    /// Show one setting that the daemon runs with
    #[command(after_help = "Example: snooze config get sources.imds.enabled")]
    Get(Get),
    /// Set one key of the settings file, which keeps its mode and owner; what it was is kept
    /// beside it
    #[command(after_help = "\
Examples: snooze config set naptime_minutes 20
          snooze config set cpu-threshold 5
          snooze config set plugins.allowed '[\"redis-flusher\"]'")]
    Set(change::Set),
    /// Take settings from a file of any layout, and say key by key what became of them
    #[command(after_help = "Example: snooze config import snooze.json --dry-run")]
    Import(change::Import),
    /// Print the settings file, secrets included, or write it to a new file
    #[command(after_help = "Example: snooze config export backup.json")]
    Export(change::Export),
    /// Take the settings of the first CloudSnooze or of Snoozebot from where they stood
    #[command(after_help = "Example: snooze config migrate --dry-run")]
    Migrate(change::Migrate),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Which file; without it, the daemon's own
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    /// Its key, with full stops between the levels
    key: String,
}

pub(crate) fn run(verb: &Verb, context: &Context) -> Result<u8, Failure> {
    match verb {
        Verb::Check(args) => check(args.file.as_deref(), context),
        Verb::List => {
            let settings = context.ask("CONFIG_GET", json!({}))?;
            screen::show(context.json, &settings, |settings| lines("", settings))?;
            Ok(exit::OK)
        }
        Verb::Get(get) => {
            let setting = context.ask("CONFIG_GET", json!({ "key": get.key }))?;
            screen::show(context.json, &setting, |setting| match setting.is_object() {
                true => lines(&get.key, setting),
                false => format!("{}\n", plain(setting)),
            })?;
            Ok(exit::OK)
        }
        Verb::Set(args) => change::set(args, context),
        Verb::Import(args) => change::import(args, context),
        Verb::Export(args) => change::export(args),
        Verb::Migrate(args) => change::migrate(args, context),
    }
}

// S0-46, S4-11
fn check(file: Option<&Path>, context: &Context) -> Result<u8, Failure> {
    if let Some(file) = file
        && let Err(source) = std::fs::File::open(file)
    {
        return Err(Failure::file(file.display(), source));
    }
    let (policies, faults) = match settings::read(file) {
        Ok(settings) => {
            let (policies, faults) = settings.policies();
            (policies.len(), faults)
        }
        Err(faults) => (0, faults.iter().map(Fault::to_string).collect()),
    };
    let name = file.unwrap_or(Path::new(settings::FILE)).display().to_string();
    let is_there = file.is_some() || Path::new(settings::FILE).exists();
    let name = if is_there { name } else { format!("the defaults ({name} is not there)") };
    let data = json!({ "file": name, "policies": policies, "faults": faults });
    screen::show(context.json, &data, |_| person(&name, policies, &faults))?;
    Ok(if faults.is_empty() { exit::OK } else { exit::NO })
}

fn person(file: &str, policies: usize, faults: &[String]) -> String {
    if faults.is_empty() {
        return format!("no fault in {file}; policies: {policies}\n");
    }
    let lines: Vec<String> = faults.iter().map(|fault| text::shown(fault)).collect();
    format!("{}\n{} in {file}\n", lines.join("\n"), text::counted(faults.len(), "fault"))
}

/// A line for each setting.
fn lines(path: &str, value: &Value) -> String {
    let members = value.as_object().filter(|members| !members.is_empty());
    let Some(members) = members else { return format!("{path} = {}\n", plain(value)) };
    let below = |key: &String| match path {
        "" => text::shown(key),
        path => format!("{path}.{}", text::shown(key)),
    };
    members.iter().map(|(key, value)| lines(&below(key), value)).collect()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| text::shown(&value.to_string()), text::shown)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn settings_are_shown_by_their_keys() {
        expect![[r#"
            file = null
            plugins.allowed = ["a","b"]
            plugins.enabled = true
            plugins.plugin_configs = {}
            socket.path = /run/\u{1b}x
        "#]]
        .assert_eq(&lines(
            "",
            &json!({ "file": null, "socket": { "path": "/run/\u{1b}x" },
                "plugins": { "enabled": true, "allowed": ["a", "b"], "plugin_configs": {} } }),
        ));
    }
}
