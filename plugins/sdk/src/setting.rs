//! What can be set, declared once: for `Info`, for the host that checks, for the plugin that reads.

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use crate::printable;

/// A setting of a plugin.
///
/// ```
/// use snooze_plugin::Setting;
///
/// let settings = [
///     Setting::text("url", "where the server is").default("http://127.0.0.1:8080").secret(),
///     Setting::choice("mode", &["fast", "full"], "how much is saved").default("fast"),
///     Setting::number("timeout_seconds", 0.1..=3600.0, "how long it may take").default(30),
/// ];
/// let given = serde_json::json!({ "mode": "fats" });
/// assert_eq!(
///     Setting::faults(&settings, given.as_object().unwrap()),
///     ["`mode`: expected `fast` or `full`"]
/// );
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// What its value may be.
    pub kind: Kind,
    /// What it means, in a few words.
    pub description: String,
    /// Its value where none is given.
    pub default: Option<Value>,
    /// A plugin cannot work without it.
    pub required: bool,
    /// Its value may be secret: it is given as a reference and shown to nobody.
    pub secret: bool,
}

/// What the value of a setting may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A text that is not empty.
    Text,
    /// One of some words.
    Choice(Vec<String>),
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds.
    Integer(RangeInclusive<i64>),
    /// A number within bounds, whole or broken.
    Number(RangeInclusive<f64>),
    /// A list of texts.
    List,
    /// A map of texts.
    Map,
    /// Anything: the plugin says nothing of it, or in words that are not known here.
    Any,
}

impl Setting {
    /// A text that is not empty.
    #[must_use]
    pub fn text(name: &str, description: &str) -> Self {
        Self::new(name, Kind::Text, description)
    }

    /// One of some words.
    #[must_use]
    pub fn choice(name: &str, words: &[&str], description: &str) -> Self {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Self::new(name, Kind::Choice(words), description)
    }

    /// `true` or `false`.
    #[must_use]
    pub fn flag(name: &str, description: &str) -> Self {
        Self::new(name, Kind::Flag, description)
    }

    /// A whole number within bounds.
    #[must_use]
    pub fn integer(name: &str, bounds: RangeInclusive<i64>, description: &str) -> Self {
        Self::new(name, Kind::Integer(bounds), description)
    }

    /// A number within bounds, whole or broken; by custom `NAME_seconds` is one of seconds.
    #[must_use]
    pub fn number(name: &str, bounds: RangeInclusive<f64>, description: &str) -> Self {
        Self::new(name, Kind::Number(bounds), description)
    }

    /// A list of texts.
    #[must_use]
    pub fn list(name: &str, description: &str) -> Self {
        Self::new(name, Kind::List, description)
    }

    /// A map of texts.
    #[must_use]
    pub fn map(name: &str, description: &str) -> Self {
        Self::new(name, Kind::Map, description)
    }

    /// Anything: the plugin itself looks at it.
    #[must_use]
    pub fn any(name: &str, description: &str) -> Self {
        Self::new(name, Kind::Any, description)
    }

    /// The setting that every plugin has which changes anything: with it the plugin says what it
    /// would do, and does nothing.
    #[must_use]
    pub fn dry_run() -> Self {
        Self::flag("dry_run", "say what would be done, and do nothing").default(false)
    }

    /// The same with the value that it has where none is given.
    #[must_use]
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// The same, and it must be given.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The same, and its value may be secret.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// The value of `config_schema` in the result of `Info`.
    #[must_use]
    pub fn schema(settings: &[Self]) -> Map<String, Value> {
        settings.iter().map(|setting| (setting.name.clone(), setting.to_value())).collect()
    }

    /// Reads a `config_schema`. Whatever is not understood limits nothing.
    #[must_use]
    pub fn read(schema: &Map<String, Value>) -> Vec<Self> {
        schema.iter().map(|(name, said)| Self::read_one(name, said)).collect()
    }

    /// What is wrong with a configuration by these settings, all of it. No value is shown, since
    /// it may be secret.
    #[must_use]
    pub fn faults(settings: &[Self], given: &Map<String, Value>) -> Vec<String> {
        let mut faults = Vec::new();
        for setting in settings {
            match given.get(&setting.name).filter(|value| !value.is_null()) {
                Some(value) if !setting.kind.takes(value) => {
                    faults.push(format!(
                        "`{}`: expected {}",
                        setting.name,
                        setting.kind.expected()
                    ));
                }
                None if setting.required => faults.push(format!("`{}` is missing", setting.name)),
                Some(_) | None => {}
            }
        }
        let known = || settings.iter().map(|setting| setting.name.as_str());
        for name in given.keys().filter(|name| !known().any(|known| known == name.as_str())) {
            let name = printable(name);
            let nearest = known().min_by_key(|known| distance(&name, known));
            faults.push(match nearest {
                Some(nearest) if distance(&name, nearest) <= 1 + nearest.len() / 3 => {
                    format!("`{name}` is no setting of this plugin; did you mean `{nearest}`?")
                }
                _ => format!("`{name}` is no setting of this plugin"),
            });
        }
        faults
    }

    fn new(name: &str, kind: Kind, description: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            description: description.to_owned(),
            default: None,
            required: false,
            secret: false,
        }
    }

    fn to_value(&self) -> Value {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
        let (kind, constraints) = self.kind.to_wire();
        put("type", kind.into());
        put("description", self.description.as_str().into());
        if let Some(value) = &self.default {
            put("default", value.clone());
        }
        if let Some(constraints) = constraints {
            put("constraints", constraints);
        }
        for (key, set) in [("required", self.required), ("secret", self.secret)] {
            if set {
                put(key, true.into());
            }
        }
        Value::Object(map)
    }

    fn read_one(name: &str, said: &Value) -> Self {
        let text = |key: &str| said.get(key).and_then(Value::as_str).map(printable);
        let flag = |key: &str| said.get(key).and_then(Value::as_bool).unwrap_or(false);
        let kind = Kind::read(&text("type").unwrap_or_default(), said.get("constraints"));
        Self {
            default: said.get("default").filter(|value| !value.is_null()).cloned(),
            required: flag("required"),
            secret: flag("secret"),
            ..Self::new(name, kind, &text("description").unwrap_or_default())
        }
    }
}

impl Kind {
    /// Whether a value is one of these.
    #[must_use]
    pub fn takes(&self, value: &Value) -> bool {
        match self {
            Self::Text => value.as_str().is_some_and(|text| !text.is_empty()),
            Self::Choice(words) => {
                value.as_str().is_some_and(|text| words.iter().any(|w| w == text))
            }
            Self::Flag => value.is_boolean(),
            Self::Integer(bounds) => value.as_i64().is_some_and(|number| bounds.contains(&number)),
            Self::Number(bounds) => value.as_f64().is_some_and(|number| bounds.contains(&number)),
            Self::List => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
            Self::Map => value.as_object().is_some_and(|map| map.values().all(Value::is_string)),
            Self::Any => true,
        }
    }

    /// What is expected, as it stands after "expected".
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::Text => "a text that is not empty".to_owned(),
            Self::Choice(words) => match words.split_last() {
                Some((last, [])) => format!("`{last}`"),
                Some((last, most)) => format!("`{}` or `{last}`", most.join("`, `")),
                None => "nothing".to_owned(),
            },
            Self::Flag => "`true` or `false`".to_owned(),
            Self::Integer(bounds) => {
                format!(
                    "a whole number{}",
                    span(bounds, *bounds.start() == i64::MIN, *bounds.end() == i64::MAX)
                )
            }
            Self::Number(bounds) => {
                format!(
                    "a number{}",
                    span(bounds, bounds.start().is_infinite(), bounds.end().is_infinite())
                )
            }
            Self::List => "a list of texts".to_owned(),
            Self::Map => "an object whose values are texts".to_owned(),
            Self::Any => "anything".to_owned(),
        }
    }

    fn to_wire(&self) -> (&'static str, Option<Value>) {
        match self {
            Self::Text => ("string", None),
            Self::Choice(words) => ("string", Some(json!({ "one_of": words }))),
            Self::Flag => ("boolean", None),
            Self::Integer(bounds) => {
                ("integer", Some(json!({ "min": bounds.start(), "max": bounds.end() })))
            }
            Self::Number(bounds) => {
                ("number", Some(json!({ "min": bounds.start(), "max": bounds.end() })))
            }
            Self::List => ("array", Some(json!({ "of": "string" }))),
            Self::Map => ("object", Some(json!({ "of": "string" }))),
            Self::Any => ("any", None),
        }
    }

    fn read(word: &str, constraints: Option<&Value>) -> Self {
        let bound = |name: &str| constraints.and_then(|map| map.get(name));
        match word.to_ascii_lowercase().as_str() {
            "string" | "str" | "text" => {
                let words = bound("one_of").or_else(|| bound("enum")).and_then(Value::as_array);
                match words
                    .map(|words| words.iter().map(|w| w.as_str().map(str::to_owned)).collect())
                {
                    Some(Some(words)) => Self::Choice(words),
                    Some(None) | None => Self::Text,
                }
            }
            "bool" | "boolean" => Self::Flag,
            "int" | "integer" => {
                let bound = |name, default| bound(name).and_then(Value::as_i64).unwrap_or(default);
                Self::Integer(bound("min", i64::MIN)..=bound("max", i64::MAX))
            }
            "float" | "number" => {
                let bound = |name, default| bound(name).and_then(Value::as_f64).unwrap_or(default);
                Self::Number(bound("min", f64::NEG_INFINITY)..=bound("max", f64::INFINITY))
            }
            "array" | "list" if bound("of").is_some_and(|of| of == "string") => Self::List,
            "object" | "map" if bound("of").is_some_and(|of| of == "string") => Self::Map,
            _ => Self::Any,
        }
    }
}

/// Bounds in words; open ends are left out.
fn span<T: std::fmt::Display>(
    bounds: &RangeInclusive<T>,
    is_open: bool,
    has_no_end: bool,
) -> String {
    match (is_open, has_no_end) {
        (true, true) => String::new(),
        (true, false) => format!(" of at most {}", bounds.end()),
        (false, true) => format!(" of at least {}", bounds.start()),
        (false, false) => format!(" from {} to {}", bounds.start(), bounds.end()),
    }
}

/// How many letters must be put in, taken out or changed to make one word of the other.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, a) in left.bytes().enumerate() {
        let mut next = vec![above + 1];
        for ((b, diagonal), up) in right.bytes().zip(&row).zip(row.iter().skip(1)) {
            let beside = next.last().copied().unwrap_or(0);
            next.push((diagonal + usize::from(a != b)).min(beside + 1).min(up + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Setting> {
        vec![
            Setting::text("url", "where").default("x").secret(),
            Setting::choice("mode", &["fast", "full", "no"], "how"),
            Setting::flag("verify", "whether").default(true),
            Setting::integer("retries", 0..=9, "how often").default(3),
            Setting::number("timeout_seconds", 0.1..=60.0, "how long").required(),
            Setting::list("units", "which"),
            Setting::map("headers", "what"),
        ]
    }

    // S1-11
    #[test]
    fn a_schema_survives_the_wire() {
        let mut read = Setting::read(&Setting::schema(&all()));
        let order = |setting: &Setting| all().iter().position(|s| s.name == setting.name);
        read.sort_by_key(order);
        assert_eq!(read, all());
    }

    // S1-11
    #[test]
    fn the_words_of_other_authors_are_understood_or_limit_nothing() {
        let schema = json!({
            "a": { "type": "int", "constraints": { "min": 1 } },
            "b": { "type": "bool" },
            "c": { "type": "float", "constraints": "a positive one" },
            "d": { "type": "str", "constraints": { "enum": ["x"] } },
            "e": { "type": "duration" },
            "f": "a text",
            "g": { "type": "list" },
        });
        let settings = Setting::read(schema.as_object().unwrap());
        let faults = |given: Value| Setting::faults(&settings, given.as_object().unwrap());
        let good = json!({ "a": 1, "b": true, "c": -1, "d": "x", "e": "5m", "f": [], "g": [1] });
        assert_eq!(faults(good), Vec::<String>::new());
        assert_eq!(
            faults(json!({ "a": 0, "b": 1, "c": "x", "d": "y" })),
            [
                "`a`: expected a whole number of at least 1",
                "`b`: expected `true` or `false`",
                "`c`: expected a number",
                "`d`: expected `x`",
            ]
        );
    }

    // S1-04
    #[test]
    fn every_fault_is_told_at_once_and_no_value_is_shown() {
        let given = json!({
            "url": "", "mode": "s3cret", "verify": "yes", "retries": 10, "units": "a",
            "headers": [1], "x": 1, "ur": 2,
        });
        assert_eq!(
            Setting::faults(&all(), given.as_object().unwrap()),
            [
                "`url`: expected a text that is not empty",
                "`mode`: expected `fast`, `full` or `no`",
                "`verify`: expected `true` or `false`",
                "`retries`: expected a whole number from 0 to 9",
                "`timeout_seconds` is missing",
                "`units`: expected a list of texts",
                "`headers`: expected an object whose values are texts",
                "`ur` is no setting of this plugin; did you mean `url`?",
                "`x` is no setting of this plugin",
            ]
        );
    }
}
