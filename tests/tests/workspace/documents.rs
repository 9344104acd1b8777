//! What the documents show must work: policies, settings, links, verbs.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use snooze_tests::{place, programs};

#[test]
fn every_policy_and_all_settings_shown_in_a_document_are_accepted() {
    let mut shown = 0;
    for (path, text) in documents() {
        for block in blocks(&text, "json") {
            let value: Value = serde_json::from_str(&block)
                .unwrap_or_else(|error| panic!("{}: {error}:\n{block}", path.display()));
            let faults = match kind(&value) {
                Kind::Policy => snooze_policy::check(&block).err().map(|faults| told(&faults)),
                Kind::Settings => {
                    snoozed::settings::check(&block).err().map(|faults| told(&faults))
                }
                Kind::Other => continue,
            };
            shown += 1;
            assert_eq!(faults, None, "{}:\n{block}", path.display());
        }
    }
    assert!(shown > 0, "no document shows a policy");
}

#[test]
fn every_link_of_a_document_leads_to_a_file() {
    for (path, text) in documents() {
        for link in links(&text) {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
                continue;
            }
            let target = path.parent().unwrap().join(file);
            assert!(target.exists(), "{}: {link} leads nowhere", path.display());
        }
    }
}

#[test]
fn every_verb_of_cargo_xtask_that_a_document_names_is_there() {
    let help = place::output(Command::new(programs::path("xtask")).arg("--help"));
    for (path, verb) in verbs("cargo xtask ") {
        assert!(has_verb(&help, &verb), "{}: cargo xtask {verb}", path.display());
    }
}

#[test]
fn every_verb_of_snooze_that_a_document_names_is_there() {
    let help = place::output(Command::new(programs::path("snooze")).arg("--help"));
    for (path, verb) in verbs("`snooze ").into_iter().chain(verbs("\nsnooze ")) {
        assert!(has_verb(&help, &verb), "{}: snooze {verb}", path.display());
    }
}

enum Kind {
    Policy,
    Settings,
    Other,
}

/// What a shown document is, by its members.
fn kind(value: &Value) -> Kind {
    let has = |key: &str| value.get(key).is_some();
    let settings = ["plugins", "event_handlers", "sources", "state_directory", "socket"];
    if has("match") && (has("handlers") || has("actions")) {
        Kind::Policy
    } else if settings.iter().any(|key| has(key)) || has("polling_interval_seconds") {
        Kind::Settings
    } else {
        Kind::Other
    }
}

fn told(faults: &[snooze_policy::Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// All documents of the project.
pub(super) fn documents() -> Vec<(PathBuf, String)> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    };
    place::files("md").into_iter().map(read).collect()
}

/// The fenced blocks of a language.
pub(super) fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, Some(named)) if named.trim() == language => open = Some(String::new()),
            // A block of another language is read and left out.
            (None, Some(_)) | (None, None) => {}
        }
    }
    blocks
}

/// The targets of `[text](target)`.
fn links(text: &str) -> Vec<String> {
    let parts = text.split("](").skip(1);
    parts.filter_map(|part| Some(part.split_once(')')?.0.to_owned())).collect()
}

/// The words that follow a command's name, where they are written as verbs are.
fn verbs(command: &str) -> BTreeSet<(PathBuf, String)> {
    let mut verbs = BTreeSet::new();
    for (path, text) in documents() {
        for part in text.split(command).skip(1) {
            let end =
                part.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '-');
            let verb = part.get(..end.unwrap_or(part.len())).unwrap_or_default();
            if !verb.is_empty() && !verb.starts_with('-') {
                verbs.insert((path.clone(), verb.to_owned()));
            }
        }
    }
    verbs
}

fn has_verb(help: &str, verb: &str) -> bool {
    help.lines().any(|line| line.trim_start().split(' ').next() == Some(verb))
}
