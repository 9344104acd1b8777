//! `plugins`: which may run, from where, and with what.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use snooze_event::{NotAPluginName, PluginName};
use snooze_policy::Fault;
use snooze_policy::strict::{Fields, Unknown};

use super::sandbox;

/// Where plugins are looked for when the settings do not say.
pub const USUAL_DIRECTORIES: [&str; 3] = [
    "/usr/lib/cloudsnooze/plugins",
    "/etc/cloudsnooze/plugins",
    "/usr/local/share/cloudsnooze/plugins",
];

/// What the settings say of plugins.
#[derive(Debug, Clone)]
pub(super) struct Plugins {
    pub(super) enabled: bool,
    pub(super) directories: Vec<PathBuf>,
    pub(super) allowed: Option<Vec<PluginName>>,
    pub(super) unsigned: Vec<PluginName>,
    pub(super) sha256: BTreeMap<PluginName, String>,
    pub(super) sandbox: sandbox::Wanted,
    pub(super) configs: Option<Value>,
}

/// Reads `plugins`.
pub(super) fn read(root: &Fields<'_>, faults: &mut Vec<Fault>) -> Plugins {
    let mut plugins = Plugins {
        enabled: true,
        directories: USUAL_DIRECTORIES.into_iter().map(PathBuf::from).collect(),
        allowed: None,
        unsigned: Vec::new(),
        sha256: BTreeMap::new(),
        sandbox: sandbox::Wanted::default(),
        configs: None,
    };
    let Some(fields) = root.object("plugins", faults) else { return plugins };
    let known = [
        "enabled",
        "directories",
        "allowed",
        "unsigned",
        "sha256",
        "limits",
        "sandbox",
        "plugin_configs",
        "external_repositories",
    ];
    fields.expect(&known, Unknown::Refuse, faults);
    plugins.enabled = fields.flag("enabled", true, faults);
    if fields.get("directories").is_some() {
        plugins.directories.clear();
    }
    for (path, value) in fields.list("directories", faults) {
        match value.as_str().filter(|text| text.starts_with('/')) {
            Some(text) => plugins.directories.push(PathBuf::from(text)),
            None => faults.push(Fault::new(&path, "expected an absolute path")),
        }
    }
    if fields.get("allowed").is_some() {
        plugins.allowed = Some(names(&fields, "allowed", faults));
    }
    plugins.unsigned = names(&fields, "unsigned", faults);
    if let Some(pins) = fields.object("sha256", faults) {
        plugins.sha256 = pinned(&pins, faults);
    }
    plugins.sandbox = sandbox::read(&fields, faults);
    plugins.configs = fields.get("plugin_configs").cloned();
    plugins
}

fn names(fields: &Fields<'_>, key: &str, faults: &mut Vec<Fault>) -> Vec<PluginName> {
    let mut names = Vec::new();
    for (path, value) in fields.list(key, faults) {
        match value.as_str().map(str::parse) {
            Some(Ok(name)) => names.push(name),
            Some(Err(error)) => {
                let error: NotAPluginName = error;
                faults.push(Fault::new(&path, error.to_string()));
            }
            None => faults.push(Fault::new(&path, "expected the name of a plugin")),
        }
    }
    names
}

fn pinned(pins: &Fields<'_>, faults: &mut Vec<Fault>) -> BTreeMap<PluginName, String> {
    let mut sums = BTreeMap::new();
    for (key, value) in pins.members() {
        let hex = |text: &&str| text.len() == 64 && text.bytes().all(|c| c.is_ascii_hexdigit());
        match (key.parse(), value.as_str().filter(hex)) {
            (Ok(name), Some(sum)) => {
                sums.insert(name, sum.to_ascii_lowercase());
            }
            (Err(error), _) => {
                let error: NotAPluginName = error;
                faults.push(Fault::new("$.plugins.sha256", error.to_string()));
            }
            (Ok(_), None) => {
                faults.push(pins.fault(key, "expected a SHA-256 sum of 64 hexadecimal digits"));
            }
        }
    }
    sums
}
