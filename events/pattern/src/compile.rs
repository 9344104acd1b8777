//! From JSON to a pattern.

use std::collections::BTreeMap;

use crate::address;
use crate::error::CompileError;
use crate::fold::Folded;
use crate::json::{DEPTH, Json};
use crate::matcher::{Like, Matcher};
use crate::number::Operand;
use crate::pattern::{Field, Pattern};
use crate::wildcard::{NotAWildcard, Wildcard};

mod numeric;

const OR: &str = "$or";
/// The bound that EventBridge sets.
const MOST_ALTERNATIVES: usize = 1000;
/// Keeps a small text with many alternatives from becoming a large pattern.
const MOST_FIELDS: usize = 100_000;

const OPERATORS: &str = "one of the operators `prefix`, `suffix`, `equals-ignore-case`, `wildcard`, \
                         `anything-but`, `numeric`, `cidr` and `exists`";
/// Names that mean something to EventBridge, or that it keeps for later.
const RESERVED: [&str; 24] = [
    "exactly",
    "equals-ignore-case",
    "prefix",
    "suffix",
    "anything-but",
    "exists",
    "wildcard",
    "numeric",
    "cidr",
    "=",
    "<",
    "<=",
    ">",
    ">=",
    "regex",
    "not-wildcard",
    "not-equals-ignore-case",
    "date-after",
    "date-on-or-after",
    "date-before",
    "date-on-or-before",
    "in-date-range",
    "ip-address-in-range",
    "ip-address-not-in-range",
];

pub(crate) fn compile(json: &Json<'_>) -> Result<Pattern, CompileError> {
    let mut draft = Draft { fields: Vec::new(), alternatives: vec![Alternative::new()] };
    let Json::Object(members) = json else {
        return Err(CompileError::at("", "a JSON object", json));
    };
    draft.object(members, Place::default())?;
    Ok(Pattern::new(draft.fields, &draft.alternatives))
}

/// Full path to the number of its field.
pub(crate) type Alternative = BTreeMap<Box<str>, usize>;

struct Draft {
    fields: Vec<Field>,
    /// What is read so far, once for each way through the `$or`s read so far.
    alternatives: Vec<Alternative>,
}

/// Where the compiler stands.
#[derive(Clone, Default)]
struct Place {
    /// The path in the pattern, for faults.
    shown: String,
    /// The path in events that it stands for; `None` at the top. A key may be empty.
    event: Option<String>,
    inside_or: bool,
}

impl Draft {
    fn object(
        &mut self,
        members: &[(impl AsRef<str>, Json<'_>)],
        place: Place,
    ) -> Result<(), CompileError> {
        if members.is_empty() {
            return Err(CompileError::at(&place.shown, "at least one field", "{}"));
        }
        for (key, value) in members {
            let key = key.as_ref();
            let shown = member(&place.shown, key);
            if key == OR {
                self.or(value, &Place { shown, ..place.clone() })?;
                continue;
            }
            if place.inside_or && RESERVED.contains(&key) {
                let expected = "a field that is not named like an operator";
                return Err(CompileError::at(&shown, expected, format!("`{key}`")));
            }
            let event = match &place.event {
                Some(path) => format!("{path}.{key}"),
                None => key.to_owned(),
            };
            match value {
                Json::Object(members) => {
                    let event = Some(event);
                    self.object(members, Place { shown, event, inside_or: place.inside_or })?;
                }
                Json::List(values) => self.field(values, &shown, event)?,
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => {
                    let expected = "an array of values, or an object of fields";
                    return Err(CompileError::at(&shown, expected, value));
                }
            }
        }
        Ok(())
    }

    fn or(&mut self, value: &Json<'_>, place: &Place) -> Result<(), CompileError> {
        let Json::List(choices) = value else {
            return Err(CompileError::at(&place.shown, "an array of objects", value));
        };
        if choices.len() < 2 {
            let found = if choices.is_empty() { "none" } else { "one" };
            return Err(CompileError::at(&place.shown, "two objects or more", found));
        }
        let before = std::mem::take(&mut self.alternatives);
        let mut after = Vec::new();
        for (index, choice) in choices.iter().enumerate() {
            let shown = element(&place.shown, index);
            let Json::Object(members) = choice else {
                return Err(CompileError::at(&shown, "an object", choice));
            };
            self.alternatives = before.clone();
            self.object(members, Place { shown, event: place.event.clone(), inside_or: true })?;
            after.append(&mut self.alternatives);
            if after.len() > MOST_ALTERNATIVES {
                let expected = format!("at most {MOST_ALTERNATIVES} alternatives in all");
                return Err(CompileError::at(&place.shown, expected, "more"));
            }
        }
        self.alternatives = after;
        self.within_bounds(&place.shown)
    }

    fn field(
        &mut self,
        values: &[Json<'_>],
        shown: &str,
        event: String,
    ) -> Result<(), CompileError> {
        if event.split('.').count() > DEPTH {
            let expected = format!("a path of at most {DEPTH} segments");
            return Err(CompileError::at(shown, expected, "more"));
        }
        if values.is_empty() {
            return Err(CompileError::at(shown, "at least one value", "[]"));
        }
        let read = |(index, value): (usize, &Json<'_>)| matcher(value, &element(shown, index));
        let matchers = values.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        let number = self.fields.len();
        for alternative in &mut self.alternatives {
            alternative.insert(event.as_str().into(), number);
        }
        self.fields.push(Field::new(event, matchers));
        self.within_bounds(shown)
    }

    fn within_bounds(&self, shown: &str) -> Result<(), CompileError> {
        let fields: usize = self.alternatives.iter().map(BTreeMap::len).sum();
        if fields > MOST_FIELDS {
            let expected = format!("at most {MOST_FIELDS} fields in all alternatives together");
            return Err(CompileError::at(shown, expected, "more"));
        }
        Ok(())
    }
}

fn member(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn element(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

fn matcher(value: &Json<'_>, shown: &str) -> Result<Matcher, CompileError> {
    match value {
        Json::Null => Ok(Matcher::Null),
        Json::Bool(flag) => Ok(Matcher::Bool(*flag)),
        Json::Number(number) => Ok(Matcher::Number(Operand::new(*number))),
        Json::Text(text) => Ok(match address::read(text) {
            Some(address) => Matcher::Address((**text).into(), address),
            None => Matcher::Text((**text).into()),
        }),
        Json::Object(members) => operator(members, shown),
        Json::List(_) => {
            let expected = "a string, a number, true, false, null or an operator";
            Err(CompileError::at(shown, expected, value))
        }
    }
}

fn operator(members: &[(impl AsRef<str>, Json<'_>)], shown: &str) -> Result<Matcher, CompileError> {
    let (name, operand) = only(members, shown, OPERATORS)?;
    let shown = &member(shown, name);
    match name {
        "exactly" => Ok(Matcher::Text(text(operand, shown)?.into())),
        "prefix" => text_or_folded(operand, shown, Like::Prefix, Like::FoldedPrefix),
        "suffix" => text_or_folded(operand, shown, Like::Suffix, Like::FoldedSuffix),
        "equals-ignore-case" => Ok(Matcher::Like(folded(text(operand, shown)?))),
        "wildcard" => Ok(Matcher::Like(wildcard(text(operand, shown)?, shown)?)),
        "anything-but" => anything_but(operand, shown).map(Matcher::But),
        "numeric" => numeric::read(operand, shown),
        "cidr" => address::Network::new(text(operand, shown)?).map(Matcher::Network).ok_or_else(
            || {
                let expected = "a network such as `10.0.0.0/8` or `2001:db8::/32`, of more than one \
                                address";
                CompileError::at(shown, expected, operand)
            },
        ),
        "exists" => {
            let Json::Bool(wanted) = operand else {
                return Err(CompileError::at(shown, "true or false", operand));
            };
            Ok(if *wanted { Matcher::Present } else { Matcher::Absent })
        }
        other => Err(CompileError::at(shown, OPERATORS, format!("`{other}`"))),
    }
}

/// The only member of an object.
fn only<'j, 'a, K: AsRef<str>>(
    members: &'j [(K, Json<'a>)],
    shown: &str,
    expected: &str,
) -> Result<(&'j str, &'j Json<'a>), CompileError> {
    match members {
        [(key, value)] => Ok((key.as_ref(), value)),
        [] => Err(CompileError::at(shown, expected, "{}")),
        [(first, _), (second, _), ..] => {
            let found = format!("`{}` and `{}`", first.as_ref(), second.as_ref());
            Err(CompileError::at(shown, expected, found))
        }
    }
}

fn text<'j>(value: &'j Json<'_>, shown: &str) -> Result<&'j str, CompileError> {
    let Json::Text(text) = value else {
        return Err(CompileError::at(shown, "a string", value));
    };
    Ok(text)
}

fn text_or_folded(
    operand: &Json<'_>,
    shown: &str,
    plain: fn(Box<str>) -> Like,
    fold: fn(Folded) -> Like,
) -> Result<Matcher, CompileError> {
    const EXPECTED: &str = "a string or `{\"equals-ignore-case\": string}`";
    if let Json::Text(text) = operand {
        return Ok(Matcher::Like(plain((**text).into())));
    }
    let Json::Object(members) = operand else {
        return Err(CompileError::at(shown, EXPECTED, operand));
    };
    let (name, operand) = only(members, shown, EXPECTED)?;
    let shown = &member(shown, name);
    if name != "equals-ignore-case" {
        return Err(CompileError::at(shown, "`equals-ignore-case`", format!("`{name}`")));
    }
    Ok(Matcher::Like(fold(Folded::new(text(operand, shown)?))))
}

fn folded(text: &str) -> Like {
    Like::Folded(Folded::new(text))
}

fn wildcard(text: &str, shown: &str) -> Result<Like, CompileError> {
    let found = || crate::json::quoted(text);
    Wildcard::new(text).map(Like::Wildcard).map_err(|fault| match fault {
        NotAWildcard::TwoStars => CompileError::at(shown, "no two stars in a row", found()),
        NotAWildcard::Escape => {
            CompileError::at(shown, "a backslash only before `*` or `\\`", found())
        }
    })
}

/// The matchers of which none may match.
fn anything_but(operand: &Json<'_>, shown: &str) -> Result<Vec<Matcher>, CompileError> {
    match operand {
        Json::Object(members) => {
            let expected = "one of `prefix`, `suffix`, `equals-ignore-case` and `wildcard`";
            let (name, operand) = only(members, shown, expected)?;
            let shown = &member(shown, name);
            let read: Read = match name {
                "prefix" => |text, shown| Ok(Like::Prefix(not_empty(text, shown)?.into())),
                "suffix" => |text, shown| Ok(Like::Suffix(not_empty(text, shown)?.into())),
                "equals-ignore-case" => |text, _| Ok(folded(text)),
                "wildcard" => wildcard,
                other => return Err(CompileError::at(shown, expected, format!("`{other}`"))),
            };
            likes(operand, shown, read)
        }
        Json::List(values) => literals(values, shown),
        // Unlike an exact string, one that looks like an address is only a text here.
        Json::Text(text) => Ok(vec![Matcher::Text((**text).into())]),
        Json::Number(number) => Ok(vec![Matcher::Number(Operand::new(*number))]),
        Json::Null | Json::Bool(_) => {
            let expected = "a string, a number, a list of them, or an operator";
            Err(CompileError::at(shown, expected, operand))
        }
    }
}

type Read = fn(&str, &str) -> Result<Like, CompileError>;

fn likes(operand: &Json<'_>, shown: &str, read: Read) -> Result<Vec<Matcher>, CompileError> {
    if let Json::Text(text) = operand {
        return Ok(vec![Matcher::Like(read(text, shown)?)]);
    }
    let expected = "a string or a list of strings";
    let Json::List(values) = operand else {
        return Err(CompileError::at(shown, expected, operand));
    };
    if values.is_empty() {
        return Err(CompileError::at(shown, expected, operand));
    }
    let read = |(index, value): (usize, &Json<'_>)| {
        let shown = element(shown, index);
        read(text(value, &shown)?, &shown).map(Matcher::Like)
    };
    values.iter().enumerate().map(read).collect()
}

fn literals(values: &[Json<'_>], shown: &str) -> Result<Vec<Matcher>, CompileError> {
    let Some(first) = values.first() else {
        return Err(CompileError::at(shown, "at least one value", "[]"));
    };
    let read = |(index, value): (usize, &Json<'_>)| match (first, value) {
        (Json::Text(_), Json::Text(text)) => Ok(Matcher::Text((**text).into())),
        (Json::Number(_), Json::Number(number)) => Ok(Matcher::Number(Operand::new(*number))),
        (first, value) => {
            let expected = match first {
                Json::Text(_) => "a string, like the first of the list",
                Json::Number(_) => "a number, like the first of the list",
                Json::Null | Json::Bool(_) | Json::List(_) | Json::Object(_) => {
                    "a string or a number"
                }
            };
            Err(CompileError::at(&element(shown, index), expected, value))
        }
    };
    values.iter().enumerate().map(read).collect()
}

fn not_empty<'t>(text: &'t str, shown: &str) -> Result<&'t str, CompileError> {
    if text.is_empty() {
        return Err(CompileError::at(shown, "a string that is not empty", "\"\""));
    }
    Ok(text)
}
