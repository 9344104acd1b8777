//! The two layouts in which a configuration file names handlers: `event_handlers` by event type,
//! and `plugins.plugin_configs` by plugin. Both become one local policy for each event type.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use snooze_event::PluginName;
use snooze_pattern::Pattern;

use crate::Fault;
use crate::check::{dispatch, drill, known_type, reserve};
use crate::fault::{member, shown};
use crate::fields::{Fields, Unknown, broken_references, handler, timed};
use crate::policy::{DEFAULT_RESERVE, Dispatch, Drill, Handler, Policy};

/// The policies of a configuration file: `event_handlers`, and `plugin_configs` of its
/// `plugins`. Each is named for its event type: `local.cloud.spot.interrupt`.
///
/// What cannot be read is reported and the rest is there. An event type that is switched off
/// gives a policy that is switched off; a plugin that is switched off for an event type is not
/// among its handlers. A plugin that stands for the same event type in both is reported, and the
/// entry in `event_handlers` holds. The paths of faults begin at the root of the file.
#[must_use]
pub fn from_settings(
    event_handlers: Option<&Value>,
    plugin_configs: Option<&Value>,
) -> (Vec<Policy>, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut drafts: BTreeMap<String, Draft> = BTreeMap::new();
    if let Some(value) = event_handlers {
        by_event("$.event_handlers", value, &mut drafts, &mut faults);
    }
    if let Some(value) = plugin_configs {
        by_plugin("$.plugins.plugin_configs", value, &mut drafts, &mut faults);
    }
    let mut policies = Vec::new();
    for (kind, draft) in drafts {
        // An entry that only sets the poll interval names no handler and makes no policy.
        if !draft.handlers.is_empty() {
            policies.extend(draft.policy(&kind, &mut faults));
        }
    }
    (policies, faults)
}

/// What is known of one event type.
struct Draft {
    /// Where it was first named.
    path: String,
    enabled: bool,
    dispatch: Dispatch,
    reserve: Duration,
    drill: Drill,
    handlers: Vec<Handler>,
}

impl Draft {
    fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            enabled: true,
            dispatch: Dispatch::All,
            reserve: DEFAULT_RESERVE,
            drill: Drill::Run,
            handlers: Vec::new(),
        }
    }

    fn policy(self, kind: &str, faults: &mut Vec<Fault>) -> Option<Policy> {
        let mut report = |text: String| faults.push(Fault::new(&self.path, text));
        let name = format!("local.{kind}").parse();
        let name = name.map_err(|_long| report("the event type is too long".to_owned())).ok();
        let pattern = Pattern::compile_value(&json!({ "type": [kind] }));
        let pattern = pattern.map_err(|error| report(error.to_string())).ok();
        Some(Policy {
            name: name?,
            enabled: self.enabled,
            pattern: pattern?,
            dispatch: self.dispatch,
            reserve: self.reserve,
            drill: self.drill,
            handlers: self.handlers,
            undo: Vec::new(),
            actions: Vec::new(),
        })
    }
}

const EVENT_KEYS: [&str; 6] =
    ["enabled", "polling_interval_seconds", "plugins", "dispatch", "reserve_seconds", "drill"];

fn by_event(
    path: &str,
    value: &Value,
    drafts: &mut BTreeMap<String, Draft>,
    faults: &mut Vec<Fault>,
) {
    let Some(fields) = Fields::of(path, value, faults) else { return };
    for (kind, entry) in fields.members() {
        let path = member(path, kind);
        let Some(kind) = known_type(&path, kind, faults) else { continue };
        let Some(fields) = Fields::of(&path, entry, faults) else { continue };
        fields.expect(&EVENT_KEYS, Unknown::Refuse, faults);
        let plugins = fields.list("plugins", faults);
        let handlers = plugins
            .into_iter()
            .filter_map(|(path, value)| handler(&path, value, "name", Unknown::Refuse, faults));
        let handlers = handlers.collect();
        let draft = Draft {
            enabled: fields.flag("enabled", true, faults),
            dispatch: dispatch(&fields, faults),
            reserve: reserve(&fields, faults),
            drill: drill(&fields, faults),
            handlers,
            path,
        };
        drafts.insert(kind.as_str().to_owned(), draft);
    }
}

fn by_plugin(
    path: &str,
    value: &Value,
    drafts: &mut BTreeMap<String, Draft>,
    faults: &mut Vec<Fault>,
) {
    let Some(fields) = Fields::of(path, value, faults) else { return };
    // A plugin without events only votes; its configuration is none of a policy.
    let switched = fields.members().filter(|(_, entry)| entry.get("events").is_some());
    let mut added: Vec<(String, Handler)> = Vec::new();
    for (plugin, entry) in switched {
        let path = member(path, plugin);
        match plugin.parse::<PluginName>() {
            Err(error) => faults.push(Fault::new(&path, error.to_string())),
            Ok(plugin) => of_plugin(&path, &plugin, entry, drafts, &mut added, faults),
        }
    }
    for (kind, handler) in added {
        let draft = drafts.entry(kind.clone());
        let path = member(path, handler.plugin.as_str());
        draft.or_insert_with(|| Draft::new(&path)).handlers.push(handler);
    }
}

const SWITCH_KEYS: [&str; 6] =
    ["priority", "enabled", "timeout_seconds", "minimum_seconds", "repeatable", "instant"];

/// The handlers of one plugin, one for each of its `events`.
fn of_plugin(
    path: &str,
    plugin: &PluginName,
    entry: &Value,
    drafts: &BTreeMap<String, Draft>,
    added: &mut Vec<(String, Handler)>,
    faults: &mut Vec<Fault>,
) {
    let Some(fields) = Fields::of(path, entry, faults) else { return };
    let mut config: Map<String, Value> =
        fields.members().map(|(key, value)| (key.clone(), value.clone())).collect();
    let Some(events) = config.remove("events") else { return };
    for (key, value) in &config {
        broken_references(&member(path, key), value, faults);
    }
    let timeout = fields.timeout(faults);
    let path = member(path, "events");
    let Some(events) = Fields::of(&path, &events, faults) else { return };
    for (kind, switch) in events.members() {
        let path = member(&path, kind);
        let Some(kind) = known_type(&path, kind, faults) else { continue };
        let kind = kind.as_str();
        let Some(fields) = Fields::of(&path, switch, faults) else { continue };
        fields.expect(&SWITCH_KEYS, Unknown::Refuse, faults);
        let timeout = fields.timeout(faults).or(timeout);
        let handler = timed(&fields, timeout, faults)(plugin.clone(), config.clone());
        let same = |draft: &Draft| draft.handlers.iter().any(|other| other.plugin == *plugin);
        if drafts.get(kind).is_some_and(same) {
            let text = format!(
                "{} is a handler of {} in `event_handlers` too: keep one of the two entries",
                shown(plugin.as_str()),
                shown(kind)
            );
            faults.push(Fault::new(&path, text));
        } else if fields.flag("enabled", true, faults) {
            added.push((kind.to_owned(), handler));
        }
    }
}
