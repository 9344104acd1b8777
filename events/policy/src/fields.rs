//! Objects of a document, read key by key. What is wrong is collected and reading goes on, so
//! that a person sees every fault at once.

use std::str::FromStr;
use std::time::Duration;

use serde_json::{Map, Value};
use snooze_event::PluginName;

use crate::Fault;
use crate::fault::{element, hint, member, shown};
use crate::policy::{Band, DEFAULT_MINIMUM, DEFAULT_PRIORITY, Handler, LONGEST};
use crate::secret::is_broken_reference;

/// What becomes of keys and words that are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// They are faults.
    Refuse,
    /// They are left out: the document says that it is of a newer minor version.
    LeaveOut,
}

/// The shortest time that a handler can have.
const SHORTEST: Duration = Duration::from_millis(1);

/// One object of a document.
#[derive(Debug)]
pub struct Fields<'a> {
    pub(crate) path: String,
    object: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The object at `path`; a fault when it is none.
    pub fn of(path: &str, value: &'a Value, faults: &mut Vec<Fault>) -> Option<Self> {
        let Value::Object(object) = value else {
            faults.push(wrong_kind(path, "an object", value));
            return None;
        };
        Some(Self { path: path.to_owned(), object })
    }

    /// A fault for each key that is not `known`.
    pub fn expect(&self, known: &[&str], unknown: Unknown, faults: &mut Vec<Fault>) {
        if unknown == Unknown::LeaveOut {
            return;
        }
        for key in self.object.keys().filter(|key| !known.contains(&key.as_str())) {
            let hint = hint(key, known.iter().copied());
            faults.push(Fault::new(&self.path, format!("unknown key {}: {hint}", shown(key))));
        }
    }

    /// A member, `None` when it is missing.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key)
    }

    /// All members.
    pub fn members(&self) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
        self.object.iter()
    }

    /// Whether an entry that can be switched off is on.
    pub fn flag(&self, key: &str, default: bool, faults: &mut Vec<Fault>) -> bool {
        let Some(value) = self.get(key) else { return default };
        value.as_bool().unwrap_or_else(|| {
            faults.push(wrong_kind(&member(&self.path, key), "true or false", value));
            default
        })
    }

    /// A string; a fault when it is something else.
    pub fn text(&self, key: &str, faults: &mut Vec<Fault>) -> Option<&'a str> {
        let value = self.get(key)?;
        if !value.is_string() {
            faults.push(wrong_kind(&member(&self.path, key), "a string", value));
        }
        value.as_str()
    }

    /// A string with rules, which must be there.
    pub(crate) fn required<T>(&self, key: &str, faults: &mut Vec<Fault>) -> Option<T>
    where
        T: FromStr<Err: std::fmt::Display>,
    {
        if self.get(key).is_none() {
            faults.push(Fault::new(&self.path, format!("the key `{key}` is missing")));
        }
        let parsed = self.text(key, faults)?.parse();
        parsed
            .map_err(|error: T::Err| {
                faults.push(Fault::new(&member(&self.path, key), error.to_string()));
            })
            .ok()
    }

    /// One of a few words.
    pub fn word<T: Copy>(
        &self,
        key: &str,
        words: &[(&'static str, T)],
        faults: &mut Vec<Fault>,
    ) -> Option<T> {
        let text = self.text(key, faults)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let hint = hint(text, words.iter().map(|(word, _)| *word));
            let path = member(&self.path, key);
            faults.push(Fault::new(&path, format!("unknown word {}: {hint}", shown(text))));
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// A number of seconds, whole or not, from `least` to [`LONGEST`].
    pub fn seconds(&self, key: &str, least: Duration, faults: &mut Vec<Fault>) -> Option<Duration> {
        let value = self.get(key)?;
        let seconds = value.as_f64().and_then(|number| Duration::try_from_secs_f64(number).ok());
        let fine = seconds.filter(|seconds| (least..=LONGEST).contains(seconds));
        if fine.is_none() {
            let (least, longest) = (least.as_secs_f64(), LONGEST.as_secs());
            faults.push(Fault::new(
                &member(&self.path, key),
                format!("expected a number of seconds from {least} to {longest}"),
            ));
        }
        fine
    }

    pub(crate) fn timeout(&self, faults: &mut Vec<Fault>) -> Option<Duration> {
        self.seconds("timeout_seconds", SHORTEST, faults)
    }

    fn priority(&self, faults: &mut Vec<Fault>) -> i64 {
        let Some(value) = self.get("priority") else { return DEFAULT_PRIORITY };
        let fine = value.as_i64().filter(|number| i32::try_from(*number).is_ok());
        fine.unwrap_or_else(|| {
            let text = "expected a whole number from -2147483648 to 2147483647";
            faults.push(Fault::new(&member(&self.path, "priority"), text));
            DEFAULT_PRIORITY
        })
    }

    /// An object; `None` when it is missing, with a fault when it is something else.
    pub fn object(&self, key: &str, faults: &mut Vec<Fault>) -> Option<Fields<'a>> {
        Fields::of(&member(&self.path, key), self.get(key)?, faults)
    }

    /// A number within bounds.
    pub fn number(
        &self,
        key: &str,
        (least, most): (f64, f64),
        faults: &mut Vec<Fault>,
    ) -> Option<f64> {
        let fine = self.get(key)?.as_f64().filter(|number| (least..=most).contains(number));
        if fine.is_none() {
            faults.push(self.fault(key, &format!("expected a number from {least} to {most}")));
        }
        fine
    }

    /// A fault of the member `key`.
    #[must_use]
    pub fn fault(&self, key: &str, text: &str) -> Fault {
        Fault::new(&member(&self.path, key), text)
    }

    /// The elements of a list with their paths; none when the key is missing.
    pub fn list(&self, key: &str, faults: &mut Vec<Fault>) -> Vec<(String, &'a Value)> {
        let path = member(&self.path, key);
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(values) = value.as_array() else {
            faults.push(wrong_kind(&path, "a list", value));
            return Vec::new();
        };
        (0..).map(|index| element(&path, index)).zip(values).collect()
    }

    /// The parameters of a handler or an action.
    pub(crate) fn config(&self, faults: &mut Vec<Fault>) -> Map<String, Value> {
        let Some(value) = self.get("config") else { return Map::new() };
        let path = member(&self.path, "config");
        let Some(fields) = Fields::of(&path, value, faults) else { return Map::new() };
        broken_references(&path, value, faults);
        fields.object.clone()
    }
}

/// The keys that a handler has whatever the layout.
pub(crate) const HANDLER_KEYS: [&str; 6] =
    ["priority", "timeout_seconds", "minimum_seconds", "repeatable", "instant", "config"];

/// The handler of an entry. The key of the plugin's name is another in each layout.
pub(crate) fn handler(
    path: &str,
    value: &Value,
    name_key: &str,
    unknown: Unknown,
    faults: &mut Vec<Fault>,
) -> Option<Handler> {
    let fields = Fields::of(path, value, faults)?;
    let known: Vec<&str> = [name_key].into_iter().chain(HANDLER_KEYS).collect();
    fields.expect(&known, unknown, faults);
    let plugin = fields.required(name_key, faults);
    let config = fields.config(faults);
    let timeout = fields.timeout(faults);
    let entry = timed(&fields, timeout, faults);
    Some(entry(plugin?, config))
}

/// What an entry says about order and time; the plugin and its parameters come from the caller.
pub(crate) fn timed(
    fields: &Fields<'_>,
    timeout: Option<Duration>,
    faults: &mut Vec<Fault>,
) -> impl FnOnce(PluginName, Map<String, Value>) -> Handler + use<> {
    let priority = fields.priority(faults);
    let timeout = timeout.unwrap_or_else(|| Band::of(priority).timeout());
    let minimum = fields.seconds("minimum_seconds", SHORTEST, faults);
    if minimum.is_some_and(|minimum| minimum > timeout) {
        let path = member(&fields.path, "minimum_seconds");
        let text = format!("longer than the time-out of {timeout:?}, so that it would never fit");
        faults.push(Fault::new(&path, text));
    }
    let minimum = minimum.unwrap_or(DEFAULT_MINIMUM).min(timeout);
    let repeatable = fields.flag("repeatable", false, faults);
    let instant = fields.flag("instant", false, faults);
    move |plugin, config| Handler {
        plugin,
        priority,
        timeout,
        minimum,
        repeatable,
        instant,
        config,
    }
}

/// A fault for each parameter that was meant to be a reference to a secret and names none.
pub(crate) fn broken_references(path: &str, value: &Value, faults: &mut Vec<Fault>) {
    match value {
        Value::String(text) if is_broken_reference(text) => {
            let text = "begins like a reference to a secret, and what follows is no name of one";
            faults.push(Fault::new(path, text));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                broken_references(&element(path, index), value, faults);
            }
        }
        Value::Object(members) => {
            for (key, value) in members {
                broken_references(&member(path, key), value, faults);
            }
        }
    }
}

/// The fault of a value of the wrong kind; it names the kind and never the value.
pub(crate) fn wrong_kind(path: &str, expected: &str, found: &Value) -> Fault {
    let kind = match found {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Fault::new(path, format!("expected {expected}, found {kind}"))
}
