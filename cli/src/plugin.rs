//! `snooze plugin`.

mod child;
mod doctor;
mod install;
mod package;
mod scaffold;
mod trial;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use snoozed::exit;

use crate::daemon::Context;
use crate::failure::Failure;
use crate::text::{cell, list};
use crate::{files, screen, text};

/// Look after the plugins of this instance
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// List the plugins, what they do now, and what is refused and why
    #[command(after_help = "Example: snooze plugin list")]
    List,
    /// Show all that is known of a plugin
    #[command(after_help = "Example: snooze plugin info app-checkpointer")]
    Info(Named),
    /// Write a new plugin: a project that works, with its own test
    #[command(after_help = "\
Examples: snooze plugin new backup --lang python
          snooze plugin new backup --lang rust --dir ~/backup --sdk ~/cloudsnooze/plugins/sdk

Nothing that is there is written over.")]
    New(scaffold::Args),
    /// Drive a plugin through its whole life, and judge each point of the contract
    #[command(after_help = "\
Examples: snooze plugin test ./backup.py
          snooze plugin test ./backup.py --config '{\"path\": \"/tmp/x\"}' --event custom.deploy

The plugin gets good requests, wrong settings, an event of another type, one without time, and
lines that are no requests. Events are marked as drills; it may really act on them.
`none` is what it does not offer, which is no fault.
With --without-service, `skip` is what it cannot do here and says why.
Exit codes: 0 every point is kept, 1 one is not, 3 there is no such plugin.")]
    Test(Test),
    /// Install a plugin from an archive, if it is signed by a key of this instance
    #[command(after_help = "\
Examples: snooze plugin install backup-1.2.0.tar.gz
          snooze plugin install backup-1.2.0.tar.gz --unsigned backup --approve

What the plugin may do is shown and has to be approved; the daemon runs the very file that was.
Exit codes: 0 installed, 1 not approved or there already, 2 nobody can be asked,
3 the archive, its signature or a key cannot be used, 5 the system refused.")]
    Install(install::Install),
    /// Replace an installed plugin by another version of it
    #[command(after_help = "Example: snooze plugin update backup-1.3.0.tar.gz")]
    Update(install::Update),
    /// Remove a plugin and its approval
    #[command(after_help = "Example: snooze plugin uninstall backup")]
    Uninstall(install::Uninstall),
    /// Say why a plugin does not run, and what to do about it
    #[command(after_help = "\
Examples: snooze plugin doctor
          snooze plugin doctor backup
          snooze plugin doctor ./backup.py

A file that the daemon would run is started, with the environment that the daemon gives it.
Exit codes: 0 nothing keeps it from running, 1 something does, 3 there is no such plugin.")]
    Doctor(doctor::Args),
    /// Switch a plugin on again
    #[command(after_help = "Example: snooze plugin enable app-checkpointer")]
    Enable(Named),
    /// Switch a plugin off until the daemon starts anew: its processes end, its steps fail
    #[command(after_help = "Example: snooze plugin disable app-checkpointer")]
    Disable(Named),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// Its name
    name: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// The file of a plugin, or the name of one of this instance
    #[arg(value_name = "NAME|PATH")]
    plugin: String,
    /// The configuration that it gets: a JSON object, or a file with one
    #[arg(long, value_name = "JSON|FILE")]
    config: Option<String>,
    /// The type of the event that it gets
    #[arg(long, value_name = "TYPE", default_value = "cloud.spot.interrupt")]
    event: String,
    /// How long it may take for the event
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    seconds: u64,
    /// How many times as long as the contract says each answer may take, on a slow machine
    #[arg(long, value_name = "FACTOR", env = "SNOOZE_PATIENCE", hide_env = true,
        default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    patience: u32,
    /// What it acts on, as a database, is not on this machine: an answer that says so is no fault
    #[arg(long)]
    without_service: bool,
}

pub(crate) fn run(verb: &Verb, context: &Context) -> Result<u8, Failure> {
    match verb {
        Verb::List => {
            let plugins = context.ask("PLUGINS_LIST", json!({}))?;
            screen::show(context.json, &plugins, person)?;
            Ok(exit::OK)
        }
        Verb::Info(Named { name }) => info(name, context),
        Verb::New(new) => scaffold::run(new, context),
        Verb::Test(test) => try_out(test, context),
        Verb::Install(args) => install::install(args, context),
        Verb::Update(args) => install::update(args, context),
        Verb::Uninstall(args) => install::uninstall(args, context),
        Verb::Doctor(args) => doctor::run(args, context),
        Verb::Enable(Named { name }) => switch("PLUGIN_ENABLE", name, context),
        Verb::Disable(Named { name }) => switch("PLUGIN_DISABLE", name, context),
    }
}

fn switch(command: &str, name: &str, context: &Context) -> Result<u8, Failure> {
    let switched = context.ask(command, json!({ "name": name }))?;
    screen::show(context.json, &switched, |switched| {
        let on = switched.get("enabled").and_then(Value::as_bool).unwrap_or_default();
        let state = if on { "on" } else { "off, until the daemon starts anew" };
        format!("{} is switched {state}\n", cell(switched, "name"))
    })?;
    Ok(exit::OK)
}

// S1-70
fn person(plugins: &Value) -> String {
    let head = ["PLUGIN", "KIND", "VERSION", "RUNS", "STATE", "CALLS", "FAILED"];
    let mut rows = vec![head.map(str::to_owned)];
    for found in list(plugins, "found") {
        let name = cell(found, "name");
        let running = running(plugins, &name);
        if running.is_empty() {
            let idle = ["-", "-", "not used", "-", "-"].map(str::to_owned);
            let [version, runs, state, calls, failed] = idle;
            rows.push([name.clone(), cell(found, "kind"), version, runs, state, calls, failed]);
        }
        for entry in running {
            rows.push([
                name.clone(),
                cell(found, "kind"),
                entry.get("info").map_or_else(|| "-".to_owned(), |info| cell(info, "version")),
                cell(entry, "id"),
                cell(entry, "state"),
                cell(entry, "calls"),
                cell(entry, "failures"),
            ]);
        }
    }
    let mut out = match rows.len() {
        1 => "no plugins\n".to_owned(),
        _ => text::table(&rows),
    };
    for failed in failed(plugins) {
        out.push_str(&format!("failed {}: {}\n", cell(failed, "id"), cell(failed, "last_error")));
    }
    for missing in missing(plugins) {
        out.push_str(&format!(
            "missing {}: the handler {} needs it\n",
            cell(missing, "plugin"),
            cell(missing, "id")
        ));
    }
    for refused in list(plugins, "refused") {
        out.push_str(&format!("refused {}: {}\n", cell(refused, "path"), cell(refused, "reason")));
    }
    out
}

/// The handlers that a plugin runs for.
fn running<'a>(plugins: &'a Value, name: &str) -> Vec<&'a Value> {
    list(plugins, "running").iter().filter(|entry| cell(entry, "plugin") == name).collect()
}

/// The handlers that cannot run, and tell why.
fn failed(plugins: &Value) -> impl Iterator<Item = &Value> {
    let is = |entry: &&Value| cell(entry, "state") == "failed" && cell(entry, "last_error") != "-";
    list(plugins, "running").iter().filter(is)
}

/// The handlers whose plugin is not there.
fn missing(plugins: &Value) -> impl Iterator<Item = &Value> {
    let found: Vec<String> =
        list(plugins, "found").iter().map(|found| cell(found, "name")).collect();
    list(plugins, "running").iter().filter(move |entry| !found.contains(&cell(entry, "plugin")))
}

// S1-71
fn info(name: &str, context: &Context) -> Result<u8, Failure> {
    let plugins = context.ask("PLUGINS_LIST", json!({}))?;
    let found = list(&plugins, "found").iter().find(|found| cell(found, "name") == name);
    let Some(found) = found else {
        let text = format!("no plugin `{name}`; `snooze plugin list` names those there are");
        return Err(Failure::new(exit::NO, text));
    };
    let data = json!({ "plugin": found, "running": running(&plugins, name) });
    screen::show(context.json, &data, described)?;
    Ok(exit::OK)
}

fn described(data: &Value) -> String {
    let plugin = data.get("plugin").unwrap_or(data);
    let mut rows: Vec<[String; 2]> =
        ["name", "kind", "path"].map(|key| [key.to_owned(), cell(plugin, key)]).into();
    rows.extend(sandbox(plugin));
    let running = list(data, "running");
    let said = running.iter().find_map(|entry| entry.get("info").and_then(Value::as_object));
    for (key, value) in said.into_iter().flatten().filter(|(key, _)| *key != "name") {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if *key != "config_schema" && !["", "[]"].contains(&value.as_str()) {
            rows.push([text::shown(key), text::shown(&value)]);
        }
    }
    let mut out = text::table(&rows);
    let schema = said.and_then(|info| info.get("config_schema")).and_then(Value::as_object);
    for (key, value) in schema.into_iter().flatten() {
        let needed = value.get("required").and_then(Value::as_bool) == Some(true);
        let needed = if needed { ", required" } else { "" };
        let (kind, told) = (cell(value, "type"), cell(value, "description"));
        out.push_str(&format!("setting {} ({kind}{needed}): {told}\n", text::shown(key)));
    }
    for entry in running {
        out.push_str(&format!("\nhandler {}: {}\n", cell(entry, "id"), cell(entry, "state")));
        let figures = ["pid", "calls", "failures", "restarts", "last_error", "last_seconds"];
        for figure in figures.map(|name| (name, cell(entry, name))) {
            if figure.1 != "-" {
                out.push_str(&format!("  {} {}\n", figure.0, figure.1));
            }
        }
        // The newest line comes first.
        let log: Vec<&str> = list(entry, "log").iter().filter_map(Value::as_str).take(5).collect();
        log.iter().rev().for_each(|line| {
            out.push_str(&format!("  log: {}\n", text::cut(&text::shown(line), 200)));
        });
    }
    out
}

/// As whom it runs, what it may, and what of that is not enforced.
fn sandbox(plugin: &Value) -> Vec<[String; 2]> {
    let Some(sandbox) = plugin.get("sandbox") else { return Vec::new() };
    let texts = |key: &str| {
        let texts = list(sandbox, key).iter().filter_map(Value::as_str);
        texts.map(text::shown).collect::<Vec<_>>()
    };
    let may = match sandbox.get("permissions") {
        Some(Value::String(_)) => "all that its user may".to_owned(),
        _ if texts("permissions").is_empty() => "nothing beyond its own process".to_owned(),
        _ => texts("permissions").join(", "),
    };
    let limits = sandbox.get("limits").and_then(Value::as_object).into_iter().flatten();
    let limits = limits.filter(|(_, limit)| limit.as_u64() != Some(0));
    let limits: Vec<String> = limits.map(|(key, limit)| format!("{key} {limit}")).collect();
    let user = cell(sandbox, "user");
    let user = if user == "-" { "the daemon's".to_owned() } else { user };
    let mut rows = vec![["user".to_owned(), user], ["may".to_owned(), may]];
    rows.push(["limits".to_owned(), limits.join(", ")]);
    rows.extend(texts("not_enforced").into_iter().map(|gap| ["not enforced".to_owned(), gap]));
    rows
}

// S0-13
fn try_out(test: &Test, context: &Context) -> Result<u8, Failure> {
    let config = config(test.config.as_deref())?;
    let program = program(&test.plugin, context)?;
    let Test { event, seconds, patience, without_service, .. } = test;
    let trial = trial::Trial {
        program,
        config,
        event: event.clone(),
        seconds: *seconds,
        patience: *patience,
        without_service: *without_service,
    };
    let points = trial.run()?;
    let failed = points.iter().filter(|point| point.verdict == trial::Verdict::Broken).count();
    let data = json!({
        "plugin": test.plugin,
        "points": points.iter().map(trial::Point::data).collect::<Vec<_>>(),
        "failed": failed,
    });
    screen::show(context.json, &data, |_| trial::person(&points))?;
    Ok(if failed == 0 { exit::OK } else { exit::NO })
}

fn config(given: Option<&str>) -> Result<Map<String, Value>, Failure> {
    let value = match given {
        None => return Ok(Map::new()),
        Some(text) if text.trim_start().starts_with('{') => serde_json::from_str(text)
            .map_err(|fault| Failure::usage(format!("--config is not JSON: {fault}")))?,
        Some(file) => files::read_json(Path::new(file))?,
    };
    match value {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(Failure::usage("--config is not a JSON object"))
        }
    }
}

/// What is to be started, with its arguments.
fn program(plugin: &str, context: &Context) -> Result<Vec<PathBuf>, Failure> {
    if plugin.contains('/') || Path::new(plugin).is_file() {
        let path =
            Path::new(plugin).canonicalize().map_err(|source| Failure::file(plugin, source))?;
        return Ok(vec![path]);
    }
    if snoozed::builtins::find(plugin).is_some() {
        let verb = snoozed::launch::BUILTIN_VERB;
        return Ok(vec![files::beside("snoozed")?, verb.into(), plugin.into()]);
    }
    let plugins = context.ask("PLUGINS_LIST", json!({}))?;
    let found = list(&plugins, "found").iter().find(|found| cell(found, "name") == plugin);
    let path = found.and_then(|found| found.get("path")?.as_str());
    path.map(|path| vec![path.into()]).ok_or_else(|| {
        let text = "there is no such plugin; give its path, such as `./NAME`";
        Failure::file(plugin, text)
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn plugins() -> Value {
        json!({
            "found": [
                { "name": "app-checkpointer", "kind": "built-in", "path": null, "sandbox": {
                    "user": null, "permissions": ["network"],
                    "limits": { "processes": 64, "memory_mb": 0 },
                    "not_enforced": ["limits.processes: it has no `user` of its own"] } },
                { "name": "hello", "kind": "external", "path": "/p/hello.sh" }
            ],
            "refused": [{ "path": "/p/x\u{1b}", "reason": "it is a symbolic link" }],
            "running": [
                { "id": "orders/app-checkpointer", "plugin": "app-checkpointer", "state": "ready",
                  "info": { "name": "app-checkpointer", "version": "1.0.0", "description": "Asks",
                    "config_schema": { "app_endpoint": { "type": "string", "required": true,
                        "description": "where" } } },
                  "calls": 2, "failures": 0, "last_error": null,
                  "log": ["two\u{1b}[2J", "one"] },
                { "id": "orders/gone", "plugin": "gone", "state": "failed",
                  "calls": 0, "failures": 5, "last_error": "no\nsuch plugin" }
            ]
        })
    }

    // S1-70
    #[test]
    fn c11_the_list_tells_states_and_refusals() {
        expect![[r#"
            PLUGIN            KIND      VERSION  RUNS                     STATE     CALLS  FAILED
            app-checkpointer  built-in  1.0.0    orders/app-checkpointer  ready     2      0
            hello             external  -        -                        not used  -      -
            failed orders/gone: no\nsuch plugin
            missing gone: the handler orders/gone needs it
            refused /p/x\u{1b}: it is a symbolic link
        "#]]
        .assert_eq(&person(&plugins()));
    }

    // S1-71
    #[test]
    fn the_details_tell_settings_figures_and_log() {
        let plugins = plugins();
        let data = json!({ "plugin": plugins["found"][0],
            "running": running(&plugins, "app-checkpointer") });
        expect![[r#"
            name          app-checkpointer
            kind          built-in
            path          -
            user          the daemon's
            may           network
            limits        processes 64
            not enforced  limits.processes: it has no `user` of its own
            description   Asks
            version       1.0.0
            setting app_endpoint (string, required): where

            handler orders/app-checkpointer: ready
              calls 2
              failures 0
              log: one
              log: two\u{1b}[2J
        "#]]
        .assert_eq(&described(&data));
    }
}
