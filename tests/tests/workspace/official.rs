//! The official plugins, their pages, and what both say of the same thing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use snooze_event::{Event, EventType};
use snooze_plugin::wire::{Answer, Method, covers, read_reply, request_line};
use snooze_plugin::{Info, Setting};
use snooze_policy::Policy;
use snooze_tests::{place, programs};
use snoozed::builtins;

use super::documents::{blocks, documents};

#[test]
fn every_official_plugin_has_a_page_and_is_listed() {
    let index = fs::read_to_string(place::root().join("docs/plugins.md")).unwrap();
    let pages = pages();
    assert_eq!(pages.keys().cloned().collect::<Vec<_>>(), names());
    for name in names() {
        assert!(index.contains(&format!("\n| [{name}](plugins/{name}.md) |")), "{name}");
    }
}

#[test]
fn a_plugin_says_who_it_is_and_its_page_tells_each_setting() {
    let pages = pages();
    for name in names() {
        let info = info(&name);
        assert_eq!(info.name, name);
        assert!(info.official && !info.description.is_empty(), "{name}");
        assert!(!info.tags.is_empty() && !info.display_name.is_empty(), "{name}");
        let rows: String = pages[&name].lines().filter(|line| line.starts_with("| `")).collect();
        for setting in Setting::read(&info.config_schema) {
            assert!(rows.contains(&format!("`{}`", setting.name)), "{name}: {}", setting.name);
            assert!(!setting.description.is_empty(), "{name}: {}", setting.name);
        }
    }
}

#[test]
fn a_handlers_page_shows_a_policy_whose_configuration_it_takes() {
    for (name, page) in pages() {
        let info = info(&name);
        let settings = Setting::read(&info.config_schema);
        let handlers: Vec<Map<String, Value>> = blocks(&page, "json")
            .iter()
            .filter_map(|block| serde_json::from_str::<Value>(block).ok())
            .flat_map(|policy| policy["handlers"].as_array().cloned().unwrap_or_default())
            .filter(|handler| handler["plugin"] == *name)
            .map(|handler| handler["config"].as_object().cloned().unwrap_or_default())
            .collect();
        assert!(!handlers.is_empty() || info.category == "idle", "{name} shows no policy");
        for config in handlers {
            // A reference stands for a text, whatever that is.
            let is_plain =
                |value: &Value| value.as_str().and_then(snooze_policy::secret_reference).is_none();
            let faults = Setting::faults(&settings, &config);
            assert_eq!(faults, Vec::<String>::new(), "{name}: {config:?}");
            for setting in settings.iter().filter(|setting| setting.secret) {
                let shown = config.get(&setting.name).filter(|value| is_plain(value));
                let secret = shown.and_then(Value::as_str).filter(|text| text.contains('@'));
                assert_eq!(secret, None, "{name}: a password stands in a policy");
            }
        }
    }
}

#[test]
fn every_recipe_fits_into_a_spot_notice_with_settings_that_its_plugins_take() {
    let id = "e-1".parse().unwrap();
    let event = Event::new(EventType::SpotInterrupt, "", Timestamp::UNIX_EPOCH, id);
    for (recipe, page) in pages_of("docs/recipes") {
        let policies: Vec<Policy> = blocks(&page, "json")
            .iter()
            .map(|block| snooze_policy::check(block).unwrap())
            .collect();
        assert!(!policies.is_empty(), "{recipe} shows no policy");
        let steps = snooze_policy::steps(&policies.iter().collect::<Vec<_>>(), &event);
        let misfits = snooze_policy::misfits(&steps, Duration::from_secs(120));
        assert_eq!(misfits, Vec::<String>::new(), "{recipe}");
        for handler in policies.iter().flat_map(|policy| &policy.handlers) {
            let settings = Setting::read(&info(handler.plugin.as_str()).config_schema);
            let faults = Setting::faults(&settings, &handler.config);
            assert_eq!(faults, Vec::<String>::new(), "{recipe}: {}", handler.plugin);
        }
    }
}

#[test]
fn a_policy_that_is_shown_gives_a_plugin_no_event_that_it_leaves_alone() {
    let supported: BTreeMap<String, Vec<String>> = names()
        .into_iter()
        .filter_map(|name| {
            let types = ask(&name, Method::GetSupportedEvents).supported_events()?;
            Some((name, types))
        })
        .collect();
    assert!(supported.len() > 10, "{supported:?}");
    let mut shown = 0;
    for (path, text) in documents() {
        for policy in blocks(&text, "json") {
            let policy: Value = serde_json::from_str(&policy).unwrap();
            let listed = |list: &Value| list.as_array().cloned().unwrap_or_default();
            for handler in listed(&policy["handlers"]) {
                let (name, config) = (&handler["plugin"], &handler["config"]);
                let name = match (name.as_str(), config["db_type"].as_str()) {
                    (Some("database-flusher"), Some(db_type)) => &format!("{db_type}-flusher"),
                    (name, _) => name.unwrap(),
                };
                let Some(types) = supported.get(name) else { continue };
                for kind in listed(&policy["match"]["type"]) {
                    let Some(kind) = kind.as_str() else { continue };
                    let is_taken = types.iter().any(|named| covers(named, kind));
                    assert!(is_taken, "{}: {name} leaves {kind} alone", path.display());
                    shown += 1;
                }
            }
        }
    }
    assert!(shown > 20, "{shown}");
}

/// The programs below `plugins`, and what is built in.
pub(super) fn names() -> Vec<String> {
    let mut names: Vec<String> = builtins::NAMES.map(str::to_owned).into();
    for entry in fs::read_dir(place::root().join("plugins")).unwrap() {
        let Ok(programs) = fs::read_dir(entry.unwrap().path().join("src/bin")) else { continue };
        names.extend(
            programs.filter_map(|program| {
                Some(program.unwrap().path().file_stem()?.to_str()?.to_owned())
            }),
        );
    }
    names.sort();
    names
}

fn pages() -> BTreeMap<String, String> {
    pages_of("docs/plugins")
}

fn pages_of(folder: &str) -> BTreeMap<String, String> {
    let folder = place::root().join(folder);
    let read = |path: PathBuf| {
        let name = path.file_stem()?.to_str()?.to_owned();
        (name != "durations").then(|| (name, fs::read_to_string(&path).unwrap()))
    };
    fs::read_dir(folder).unwrap().filter_map(|entry| read(entry.unwrap().path())).collect()
}

/// What a plugin says of itself.
fn info(name: &str) -> Info {
    match ask(name, Method::Info) {
        Answer::Result(value) => Info::read(&value).unwrap(),
        other @ (Answer::Failed(_) | Answer::NotSupported) => panic!("{name}: {other:?}"),
    }
}

/// What a plugin answers as a process that was asked nothing else.
fn ask(name: &str, method: Method) -> Answer {
    let mut command = match builtins::NAMES.contains(&name) {
        true => {
            let mut command = Command::new(programs::path("snoozed"));
            command.args(["builtin", name]);
            command
        }
        false => Command::new(programs::path(name)),
    };
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let line = request_line(method, Map::new(), 1, false);
    child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    let mut reply = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut reply).unwrap();
    child.wait().unwrap();
    read_reply(reply.trim_end().as_bytes()).unwrap().answer
}
