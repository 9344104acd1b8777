//! The layouts of settings files that came before ours, and what becomes of each of their keys.
//!
//! | layout | where it stood |
//! |---|---|
//! | CloudSnooze | `/etc/snooze/snooze.json` of the first CloudSnooze: `daemon/config.go` there |
//! | CamelCase | the same file, as its deployment templates wrote it |
//! | Snoozebot | `MonitorConfig` of Snoozebot's `pkg/core/monitor.go`, as Go writes it as JSON |
//! | Snoozebot agent | `agent.json` of Snoozebot's installation guide |
//!
//! All read in their public repositories, 2026-11. Nothing is read or written here.

mod rules;

use serde_json::{Map, Value};

use rules::{Rule, Went};

/// Who wrote a settings file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Ours.
    Own,
    /// The first CloudSnooze.
    CloudSnooze,
    /// The first CloudSnooze's deployment templates.
    CamelCase,
    /// Snoozebot's monitor.
    Snoozebot,
    /// Snoozebot's agent.
    Agent,
}

impl Layout {
    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Own => "CloudSnooze's own",
            Self::CloudSnooze => "the first CloudSnooze",
            Self::CamelCase => "the first CloudSnooze, in CamelCase",
            Self::Snoozebot => "Snoozebot",
            Self::Agent => "Snoozebot's agent",
        }
    }

    /// What a person should know of all files of this layout.
    fn note(self) -> Option<&'static str> {
        match self {
            Self::Own | Self::CloudSnooze => None,
            Self::CamelCase => Some(
                "the first CloudSnooze read no key that is spelt like this and ran with its \
                 defaults: look whether these values are what you want",
            ),
            Self::Snoozebot => Some(
                "Snoozebot measured network and disk in percent of 12.5 MB/s and of 512 MB/s, \
                 whatever the machine can do; they are converted by that",
            ),
            Self::Agent => {
                Some("nothing takes the place of the agent but the cloud side: docs/deploy.md")
            }
        }
    }

    fn of(root: &Map<String, Value>) -> Self {
        let has = |names: &[&str]| root.keys().any(|key| names.contains(&folded(key).as_str()));
        if has(&["thresholds", "agenturl"]) {
            Self::Snoozebot
        } else if has(&["listenaddress", "listenport", "plugindir", "idletimeout"]) {
            Self::Agent
        } else if root.keys().any(|key| is_camel_case(key)) {
            Self::CamelCase
        } else if root.keys().any(|key| rules::is_of_the_first(&folded(key))) {
            Self::CloudSnooze
        } else {
            Self::Own
        }
    }
}

/// What became of one key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// The key, with full stops between the levels, as the file spells it.
    pub(crate) key: String,
    /// What became of it.
    pub(crate) fate: Fate,
    /// What is set in our settings, with full stops between the levels, and to what.
    pub(crate) set: Option<(String, Value)>,
    /// Why, for a person.
    pub(crate) why: String,
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It stands in our settings as it was.
    Kept,
    /// Its value stands under another name.
    Renamed,
    /// Its value became another, since we count in another unit or have other words.
    Converted,
    /// It is known and we have nothing for it.
    LeftOut,
    /// Nobody knows it.
    Unknown,
    /// Its value cannot be what it says.
    Bad,
}

impl Fate {
    /// One word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Renamed => "renamed",
            Self::Converted => "converted",
            Self::LeftOut => "left out",
            Self::Unknown => "unknown",
            Self::Bad => "bad",
        }
    }
}

/// The older tools looked at memory, too.
const MEMORY: &str =
    "memory takes part in the decision only where `idle.monitors` names it; it always did there";

/// What a settings file says, in our terms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    /// Who wrote it.
    pub(crate) layout: Layout,
    /// All its keys.
    pub(crate) entries: Vec<Entry>,
}

impl Reading {
    /// What a person should know beyond what became of each key.
    pub(crate) fn notes(&self) -> Vec<String> {
        let has_memory = self.entries.iter().any(|entry| {
            entry.set.as_ref().is_some_and(|(key, _)| key == "memory_threshold_percent")
        });
        let memory = (has_memory && self.layout != Layout::Own).then_some(MEMORY);
        self.layout.note().into_iter().chain(memory).map(str::to_owned).collect()
    }

    /// Puts what was read into settings; what they have under other keys stays.
    pub(crate) fn put(&self, settings: &mut Map<String, Value>) {
        for (key, value) in self.entries.iter().filter_map(|entry| entry.set.clone()) {
            put(settings, &key, value);
        }
    }
}

/// Reads settings of any layout. `knows` tells which keys ours have at their root.
pub(crate) fn read(root: &Map<String, Value>, knows: fn(&str) -> bool) -> Reading {
    let layout = Layout::of(root);
    let mut entries = Vec::new();
    for (key, value) in root {
        let of_snoozebot = matches!(layout, Layout::Snoozebot | Layout::Agent);
        if knows(key) && !(of_snoozebot && rules::find(layout, &folded(key)).is_some()) {
            let set = Some((key.clone(), value.clone()));
            entries.push(Entry { key: key.clone(), fate: Fate::Kept, set, why: String::new() });
        } else if let (true, Some(members)) = (rules::is_group(&folded(key)), value.as_object()) {
            for (member, value) in members {
                let rule = rules::find(layout, &format!("{}.{}", folded(key), folded(member)));
                entries.push(entry(&format!("{key}.{member}"), value, rule));
            }
        } else {
            entries.push(entry(key, value, rules::find(layout, &folded(key))));
        }
    }
    Reading { layout, entries }
}

/// The key of ours that a name means, with full stops between the levels: `cpu-threshold`,
/// `CPUThresholdPercent` and `cpu_threshold_percent` are one. Any other name stays as it is.
pub(crate) fn meant(name: &str) -> String {
    match rules::find(Layout::CloudSnooze, &folded(name)) {
        Some(Rule::To(key)) => (*key).to_owned(),
        Some(_) | None => name.to_owned(),
    }
}

/// Sets a member below the levels that a key names.
pub(crate) fn put(settings: &mut Map<String, Value>, key: &str, value: Value) {
    let Some((level, below)) = key.split_once('.') else {
        settings.insert(key.to_owned(), value);
        return;
    };
    let member = settings.entry(level).or_insert_with(|| Value::Object(Map::new()));
    if !member.is_object() {
        *member = Value::Object(Map::new());
    }
    if let Some(members) = member.as_object_mut() {
        put(members, below, value);
    }
}

/// The member below the levels that a key names.
pub(crate) fn look<'a>(settings: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        None => settings.get(key),
        Some((level, below)) => look(settings.get(level)?.as_object()?, below),
    }
}

/// A key without its manner of writing: `cpu_threshold_percent` as `cputhresholdpercent`.
fn folded(key: &str) -> String {
    let letters = key.chars().filter(|c| !matches!(c, '_' | '-'));
    letters.flat_map(char::to_lowercase).collect()
}

/// Whether it is a key of the first CloudSnooze that is spelt as its deployment templates do.
fn is_camel_case(key: &str) -> bool {
    let folded = folded(key);
    key.starts_with(|c: char| c.is_ascii_uppercase())
        && (rules::is_group(&folded) || rules::find(Layout::CamelCase, &folded).is_some())
}

fn entry(key: &str, value: &Value, rule: Option<&Rule>) -> Entry {
    let blank = |fate, why: &str| Entry { key: key.to_owned(), fate, set: None, why: why.into() };
    let Some(rule) = rule else {
        return blank(Fate::Unknown, "nothing is done with it");
    };
    match rule.carry(value) {
        Went::To(to, value_of_ours, why) => {
            let fate = if value_of_ours != *value {
                Fate::Converted
            } else if to == key {
                Fate::Kept
            } else {
                Fate::Renamed
            };
            Entry { set: Some((to.to_owned(), value_of_ours)), ..blank(fate, why) }
        }
        Went::Nowhere(why) => blank(Fate::LeftOut, why),
        Went::Wrong(expected) => blank(Fate::Bad, expected),
    }
}

#[cfg(test)]
mod tests;
