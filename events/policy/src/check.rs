//! From the text of a policy document to a checked policy.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};
use snooze_event::EventType;
use snooze_pattern::Pattern;

use crate::fault::{element, hint, member, shown};
use crate::fields::{Fields, Unknown, handler};
use crate::json;
use crate::policy::{
    Action, ActionName, DEFAULT_RESERVE, Dispatch, Drill, Handler, Policy, PolicyName, When,
};
use crate::{Fault, select};

/// The version of the format, major and minor, of documents that do not say theirs.
const FORMAT: (u32, u32) = (1, 0);

const KEYS: [&str; 10] = [
    "version",
    "name",
    "enabled",
    "match",
    "dispatch",
    "reserve_seconds",
    "drill",
    "handlers",
    "undo",
    "actions",
];

/// Reads a policy for a person who can mend it.
///
/// # Errors
/// Everything that is wrong with it, at once: also keys and event types that are not known, with
/// the nearest known one named.
pub fn check(text: &str) -> Result<Policy, Vec<Fault>> {
    read(text, Reader::Strict)
}

/// Reads policies when nobody can mend them: one that cannot be read is reported with its
/// origin, and the others are there.
///
/// A document that says that it is of a newer minor version is read without the parts that are
/// not known; one of another major version is refused. Of two policies with one name the first
/// holds.
pub fn read_all<'a>(
    documents: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> (Vec<Policy>, Vec<(String, Fault)>) {
    let mut policies: Vec<Policy> = Vec::new();
    let mut faults = Vec::new();
    let mut taken: BTreeMap<PolicyName, &str> = BTreeMap::new();
    for (origin, text) in documents {
        let mut report = |fault| faults.push((origin.to_owned(), fault));
        match read(text, Reader::Tolerant) {
            Err(all) => all.into_iter().for_each(report),
            Ok(policy) => match taken.get(&policy.name) {
                Some(first) => report(Fault::new(
                    "$.name",
                    format!("{} is already the name of the policy from {}", policy.name, first),
                )),
                None => {
                    taken.insert(policy.name.clone(), origin);
                    policies.push(policy);
                }
            },
        }
    }
    (policies, faults)
}

/// For whom a document is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Strict,
    Tolerant,
}

fn read(text: &str, reader: Reader) -> Result<Policy, Vec<Fault>> {
    let value = json::parse(text).map_err(|fault| vec![fault])?;
    let mut faults = Vec::new();
    let policy = policy(&value, reader, &mut faults);
    match policy {
        Some(policy) if faults.is_empty() => Ok(policy),
        Some(_) | None => Err(faults),
    }
}

fn policy(value: &Value, reader: Reader, faults: &mut Vec<Fault>) -> Option<Policy> {
    let fields = Fields::of("$", value, faults)?;
    let (major, minor) = version(&fields, faults)?;
    if major != FORMAT.0 {
        let text = format!("version {major}.{minor} is not read here: expected {}.x", FORMAT.0);
        faults.push(Fault::new("$.version", text));
        return None;
    }
    let unknown = match reader {
        Reader::Tolerant if minor > FORMAT.1 => Unknown::LeaveOut,
        Reader::Tolerant | Reader::Strict => Unknown::Refuse,
    };
    fields.expect(&KEYS, unknown, faults);
    let name = fields.required("name", faults);
    let pattern = pattern(&fields, unknown, faults);
    let handlers = all_handlers(&fields, "handlers", unknown, faults);
    let undo = all_handlers(&fields, "undo", unknown, faults);
    let actions = all_actions(&fields, unknown, faults);
    if ["handlers", "undo", "actions"].iter().all(|key| is_empty(&fields, key)) {
        let text = "no `handlers`, no `undo` and no `actions`: the policy would do nothing";
        faults.push(Fault::new("$", text));
    }
    Some(Policy {
        enabled: fields.flag("enabled", true, faults),
        dispatch: dispatch(&fields, faults),
        reserve: reserve(&fields, faults),
        drill: drill(&fields, faults),
        name: name?,
        pattern: pattern?,
        handlers,
        undo,
        actions,
    })
}

fn version(fields: &Fields<'_>, faults: &mut Vec<Fault>) -> Option<(u32, u32)> {
    if fields.get("version").is_none() {
        return Some(FORMAT);
    }
    let text = fields.text("version", faults)?;
    let parsed = text
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    if parsed.is_none() {
        let text = format!("{} is not a version: expected such as \"1.0\"", shown(text));
        faults.push(Fault::new("$.version", text));
    }
    parsed
}

fn pattern(fields: &Fields<'_>, unknown: Unknown, faults: &mut Vec<Fault>) -> Option<Pattern> {
    let Some(value) = fields.get("match") else {
        faults.push(Fault::new("$", "the key `match` is missing"));
        return None;
    };
    if unknown == Unknown::Refuse {
        members("$.match", value, &select::MEMBERS, faults);
    }
    Pattern::compile_value(value)
        .map_err(|error| faults.push(Fault::new("$.match", error.to_string())))
        .ok()
}

/// A fault for each member that no event ever has, at which a pattern would silently fail.
fn members(path: &str, value: &Value, known: &[&str], faults: &mut Vec<Fault>) {
    let Value::Object(object) = value else { return };
    for (key, value) in object {
        let path = member(path, key);
        // A key with dots is a path of its own.
        let (head, rest) = key.split_once('.').map_or((key.as_str(), None), |(h, r)| (h, Some(r)));
        match (head, rest, value) {
            ("$or", None, Value::Array(choices)) => {
                for (index, choice) in choices.iter().enumerate() {
                    members(&element(&path, index), choice, known, faults);
                }
            }
            (head, ..) if !known.contains(&head) => {
                let hint = hint(head, known.iter().copied());
                faults.push(Fault::new(&path, format!("events have no such member: {hint}")));
            }
            ("type", None, Value::Array(types)) if known == select::MEMBERS => types
                .iter()
                .enumerate()
                .for_each(|(index, kind)| event_type(&element(&path, index), kind, faults)),
            ("instance", None, value) => {
                members(&path, value, &select::INSTANCE_MEMBERS, faults);
            }
            ("instance", Some(rest), value) => {
                let inner = Map::from_iter([(rest.to_owned(), value.clone())]);
                members(&path, &Value::Object(inner), &select::INSTANCE_MEMBERS, faults);
            }
            _ => {}
        }
    }
}

/// A fault for an exact type that no event ever has.
fn event_type(path: &str, kind: &Value, faults: &mut Vec<Fault>) {
    if let Value::String(text) = kind {
        known_type(path, text, faults);
    }
}

/// The type of a text; a fault when it is not a known one and not the user's own.
pub(crate) fn known_type(path: &str, text: &str, faults: &mut Vec<Fault>) -> Option<EventType> {
    let problem = match text.parse() {
        Ok(EventType::Unknown(text)) => {
            let hint = hint(&text, EventType::names());
            format!("unknown event type {}: {hint}, or your own as `custom.NAME`", shown(&text))
        }
        Ok(kind) => return Some(kind),
        Err(error) => error.to_string(),
    };
    faults.push(Fault::new(path, problem));
    None
}

pub(crate) fn dispatch(fields: &Fields<'_>, faults: &mut Vec<Fault>) -> Dispatch {
    fields.word("dispatch", &Dispatch::WORDS, faults).unwrap_or(Dispatch::All)
}

pub(crate) fn drill(fields: &Fields<'_>, faults: &mut Vec<Fault>) -> Drill {
    fields.word("drill", &Drill::WORDS, faults).unwrap_or(Drill::Run)
}

pub(crate) fn reserve(fields: &Fields<'_>, faults: &mut Vec<Fault>) -> Duration {
    fields.seconds("reserve_seconds", Duration::ZERO, faults).unwrap_or(DEFAULT_RESERVE)
}

fn is_empty(fields: &Fields<'_>, key: &str) -> bool {
    fields.get(key).is_none_or(|value| value.as_array().is_some_and(Vec::is_empty))
}

fn all_handlers(
    fields: &Fields<'_>,
    key: &str,
    unknown: Unknown,
    faults: &mut Vec<Fault>,
) -> Vec<Handler> {
    let entries = fields.list(key, faults);
    entries
        .into_iter()
        .filter_map(|(path, value)| handler(&path, value, "plugin", unknown, faults))
        .collect()
}

fn all_actions(fields: &Fields<'_>, unknown: Unknown, faults: &mut Vec<Fault>) -> Vec<Action> {
    let entries = fields.list("actions", faults);
    entries
        .into_iter()
        .filter_map(|(path, value)| {
            let fields = Fields::of(&path, value, faults)?;
            action(&fields, unknown, faults)
        })
        .collect()
}

fn action(fields: &Fields<'_>, unknown: Unknown, faults: &mut Vec<Fault>) -> Option<Action> {
    fields.expect(&["action", "when", "config"], unknown, faults);
    if fields.get("action").is_none() {
        faults.push(Fault::new(&fields.path, "the key `action` is missing"));
    }
    let config = fields.config(faults);
    // Words of a newer minor version are not faults; what they ask for is left out.
    let mut strange = Vec::new();
    let name = fields.word("action", &ActionName::WORDS, &mut strange);
    let when = fields.word("when", &When::WORDS, &mut strange);
    let when = when.or_else(|| fields.get("when").is_none().then_some(When::Now));
    if unknown == Unknown::Refuse {
        faults.append(&mut strange);
    }
    Some(Action { name: name?, when: when?, config })
}
