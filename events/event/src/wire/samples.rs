//! The captured payloads, and ways to spoil them.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::Event;

/// The names of the samples that begin with a text, sorted.
pub(super) fn names(start: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(start)).collect();
    names.sort();
    names
}

pub(super) fn text(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

/// An event for comparison with an expected text.
pub(super) fn printed(event: &Event) -> String {
    let mut out = String::new();
    let (kind, severity) = (&event.kind, event.severity.as_str());
    writeln!(out, "{kind} {severity} from {} at {}", event.source, event.time).unwrap();
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let instance = event.instance.as_ref().map_or("-", |id| id.as_str());
    writeln!(out, "{instance} in {} of {}", text(&event.region), text(&event.account)).unwrap();
    if let (Some(cause), Some(action)) = (event.cause, &event.action) {
        let deadline = event.deadline.map_or_else(|| "-".to_owned(), |time| time.to_string());
        let (cause, action) = (cause.as_str(), action.as_str());
        writeln!(out, "loses by {cause} {action} until {deadline}").unwrap();
    }
    writeln!(out, "{}", Value::Object(event.data.clone())).unwrap();
    out
}

/// A text with each of its fields, one at a time, dropped, null, of a wrong type, of a hostile
/// text, and written twice.
pub(super) fn mutations(text: &str) -> Vec<String> {
    let sample: Value = serde_json::from_str(text).unwrap();
    let mut paths = Vec::new();
    collect_paths(&sample, "", &mut paths);
    let spoilers = [
        json!(null),
        json!(7),
        json!(-1.5),
        json!(true),
        json!([]),
        json!({}),
        json!(""),
        json!("\u{0}\u{1b}[31m${jndi:x}\n../../etc"),
        json!("x".repeat(300)),
    ];
    let mut spoiled = Vec::new();
    for path in &paths {
        for spoiler in &spoilers {
            let mut copy = sample.clone();
            *copy.pointer_mut(path).unwrap() = spoiler.clone();
            spoiled.push(copy.to_string());
        }
        let (parent, key) = path.rsplit_once('/').unwrap();
        let mut copy = sample.clone();
        let parent_value = copy.pointer_mut(parent).unwrap();
        if let Some(members) = parent_value.as_object_mut() {
            members.remove(key);
        } else {
            parent_value.as_array_mut().unwrap().remove(key.parse().unwrap());
        }
        spoiled.push(copy.to_string());
        spoiled.push(doubled(&sample, path, parent, key));
    }
    spoiled
}

/// The sample with one member written a second time, as a number.
fn doubled(sample: &Value, path: &str, parent: &str, key: &str) -> String {
    const MARK: &str = "<doubled>";
    let mut copy = sample.clone();
    if !copy.pointer(parent).unwrap().is_object() {
        return copy.to_string();
    }
    let value = sample.pointer(path).unwrap();
    *copy.pointer_mut(path).unwrap() = json!(MARK);
    copy.to_string().replace(&format!("\"{MARK}\""), &format!("{value},\"{key}\":7"))
}

fn collect_paths(value: &Value, at: &str, paths: &mut Vec<String>) {
    let members = value.as_object().into_iter().flatten();
    let members = members.map(|(key, child)| (key.replace('~', "~0").replace('/', "~1"), child));
    let items = value.as_array().into_iter().flatten().enumerate();
    let children = members.chain(items.map(|(at, child)| (at.to_string(), child)));
    for (key, child) in children {
        let path = format!("{at}/{key}");
        collect_paths(child, &path, paths);
        paths.push(path);
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../samples")
}
