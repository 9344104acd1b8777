//! A compiled pattern.

use serde_json::Value;

use crate::compile::{self, Alternative};
use crate::error::{CompileError, NotAnEvent};
use crate::explain::{self, Explanation};
use crate::json::{DEPTH, Fault, Json, Limit, VALUE_DEPTH};
use crate::matcher::Matcher;
use crate::search;
use crate::view::View;

/// An event pattern, compiled once to be matched many times.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    fields: Vec<Field>,
    /// One for each way through the `$or`s. One that holds is enough.
    alternatives: Vec<Node>,
}

/// What the values at one path may be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) path: Box<str>,
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) may_be_absent: bool,
}

/// What an object must hold: its members in the order of their full paths.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) members: Vec<Member>,
    /// How many fields there are in it and below.
    pub(crate) size: usize,
    /// The paths, seen from here, of the first fields that may be absent, up to one that may not.
    pub(crate) optional: Vec<Vec<Box<str>>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) name: Box<str>,
    pub(crate) wanted: Wanted,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wanted {
    /// By its number.
    Field(usize),
    Inside(Node),
}

impl Pattern {
    /// Compiles the JSON text of a pattern, of up to 64 KiB.
    ///
    /// # Errors
    /// The text is not JSON, or not a pattern: the first fault, with its place.
    pub fn compile(text: &str) -> Result<Pattern, CompileError> {
        compile::compile(&Json::read(text, Limit::PATTERN)?)
    }

    /// Compiles a pattern that is part of a document already read.
    ///
    /// Numbers have only the digits that the value could hold.
    ///
    /// # Errors
    /// The value is not a pattern: the first fault, with its place.
    pub fn compile_value(value: &Value) -> Result<Pattern, CompileError> {
        if !Json::fits(value, DEPTH) {
            return Err(CompileError::at("", format!("at most {DEPTH} levels of nesting"), "more"));
        }
        compile::compile(&Json::of(value, DEPTH))
    }

    /// Whether the event is one of those that the pattern is for. What is not an object never is.
    #[must_use]
    pub fn matches(&self, event: &Value) -> bool {
        search::matches(self, event).unwrap_or_else(|_dotted| self.matches_tidy(&tidy(event)))
    }

    /// Like [`Pattern::matches`], of an event made of parts.
    #[must_use]
    pub fn matches_view(&self, event: &View<'_>) -> bool {
        event.is_matched_by(self)
    }

    /// Like [`Pattern::matches`], with every digit of the numbers in the text, of up to 1 MiB.
    ///
    /// # Errors
    /// The text is not a JSON object, too long, or nested more than 32 deep.
    pub fn matches_text(&self, event: &str) -> Result<bool, NotAnEvent> {
        let event = Json::read(event, Limit::EVENT)?;
        if !matches!(event, Json::Object(_)) {
            let found = event.to_string();
            return Err(Fault { line: 1, column: 1, expected: "a JSON object", found }.into());
        }
        Ok(self.matches_tidy(&event.tidy()))
    }

    /// Says of each field of the pattern what was expected, what was found, and whether it passed.
    #[must_use]
    pub fn explain(&self, event: &Value) -> Explanation {
        explain::explain(self, &tidy(event))
    }

    /// Like [`Pattern::explain`], of an event made of parts.
    #[must_use]
    pub fn explain_view(&self, event: &View<'_>) -> Explanation {
        explain::explain(self, &event.json().clone().tidy())
    }

    /// The strings that the field at `path` (such as `detail.state`) is limited to; `None` when the
    /// pattern lets it be anything else, in any alternative of its `$or`s.
    #[must_use]
    pub fn exact_strings(&self, path: &str) -> Option<Vec<&str>> {
        let mut strings = Vec::new();
        for alternative in &self.alternatives {
            let field = self.field(alternative, path)?;
            for matcher in &field.matchers {
                let (Matcher::Text(text) | Matcher::Address(text, _)) = matcher else {
                    return None;
                };
                if !strings.contains(&&**text) {
                    strings.push(&**text);
                }
            }
        }
        Some(strings)
    }

    /// Whether a field is this member of events, or lies below it.
    #[must_use]
    pub fn names(&self, member: &str) -> bool {
        let below = |field: &Field| field.path.split('.').next() == Some(member);
        self.fields.iter().any(below)
    }

    pub(crate) fn new(fields: Vec<Field>, alternatives: &[Alternative]) -> Pattern {
        let node = |alternative: &Alternative| {
            let paths: Vec<_> = alternative
                .iter()
                .map(|(path, &number)| (path.split('.').collect(), number))
                .collect();
            Node::new(&paths, &fields)
        };
        let alternatives = alternatives.iter().map(node).collect();
        Pattern { fields, alternatives }
    }

    pub(crate) fn alternatives(&self) -> &[Node] {
        &self.alternatives
    }

    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The fields of one alternative, in order.
    pub(crate) fn fields_of<'p>(&'p self, node: &'p Node) -> Vec<&'p Field> {
        node.members
            .iter()
            .flat_map(|member| match &member.wanted {
                Wanted::Field(number) => self.fields.get(*number).into_iter().collect(),
                Wanted::Inside(node) => self.fields_of(node),
            })
            .collect()
    }

    fn field<'p>(&'p self, alternative: &'p Node, path: &str) -> Option<&'p Field> {
        self.fields_of(alternative).into_iter().find(|field| *field.path == *path)
    }

    fn matches_tidy(&self, event: &Json<'_>) -> bool {
        search::matches(self, event).unwrap_or(false)
    }
}

impl Field {
    pub(crate) fn new(path: String, matchers: Vec<Matcher>) -> Field {
        let may_be_absent = matchers.contains(&Matcher::Absent);
        Field { path: path.into(), matchers, may_be_absent }
    }
}

impl Node {
    /// Groups sorted paths by their first segment.
    fn new(paths: &[(Vec<&str>, usize)], fields: &[Field]) -> Node {
        let may_be_absent =
            |number: usize| fields.get(number).is_some_and(|field| field.may_be_absent);
        let mut members = Vec::new();
        for group in paths.chunk_by(|(one, _), (other, _)| {
            one.len() > 1 && other.len() > 1 && one.first() == other.first()
        }) {
            let Some(([name, rest @ ..], number)) =
                group.first().map(|(path, number)| (path.as_slice(), *number))
            else {
                continue;
            };
            let wanted = if rest.is_empty() {
                Wanted::Field(number)
            } else {
                let inner: Vec<_> = group
                    .iter()
                    .map(|(path, number)| (path.iter().skip(1).copied().collect(), *number))
                    .collect();
                Wanted::Inside(Node::new(&inner, fields))
            };
            members.push(Member { name: (*name).into(), wanted });
        }
        let optional = paths
            .iter()
            .take_while(|(_, number)| may_be_absent(*number))
            .map(|(path, _)| path.iter().map(|&segment| segment.into()).collect())
            .collect();
        Node { members, size: paths.len(), optional }
    }
}

impl Wanted {
    pub(crate) fn size(&self) -> usize {
        match self {
            Wanted::Field(_) => 1,
            Wanted::Inside(node) => node.size,
        }
    }
}

fn tidy(event: &Value) -> Json<'_> {
    Json::of(event, VALUE_DEPTH).tidy()
}
