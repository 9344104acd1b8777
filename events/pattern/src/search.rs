//! Looking for what a pattern wants in an event.
//!
//! The fields of a pattern are settled in the order of their paths. The first of them that is found
//! in one element of an array settles the element for the rest of the fields below that array.

use std::cell::Cell;

use serde_json::Value;

use crate::json::{Json, number_of};
use crate::matcher::Scalar;
use crate::pattern::{Field, Node, Pattern, Wanted};

/// Arrays directly inside arrays. A text cannot come near it; a value made in memory could go so
/// deep that the stack would not hold the search.
pub(crate) const ARRAYS: usize = 128;

/// Keys with dots could stand for paths that the pattern names: the event is to be tidied first.
#[derive(Debug)]
pub(crate) struct Dotted;

pub(crate) fn matches<T: Tree>(pattern: &Pattern, event: &T) -> Result<bool, Dotted> {
    if !matches!(event.seen(), Seen::Object) {
        return Ok(false);
    }
    let search = Search { fields: pattern.fields(), dotted: Cell::new(false) };
    let found = pattern.alternatives().iter().any(|node| search.anywhere(node, Some(event)));
    if search.dotted.get() { Err(Dotted) } else { Ok(found) }
}

/// Whether one alternative holds, for an event without dotted keys.
pub(crate) fn holds(pattern: &Pattern, alternative: &Node, event: &Json<'_>) -> bool {
    let search = Search { fields: pattern.fields(), dotted: Cell::new(false) };
    matches!(event.seen(), Seen::Object) && search.anywhere(alternative, Some(event))
}

/// A JSON value to look into.
pub(crate) trait Tree: Sized {
    fn seen(&self) -> Seen<'_, Self>;

    /// The value of a key, if this is an object that has it.
    fn member(&self, key: &str) -> Option<&Self>;

    /// Shows each key of this object with its value.
    fn each_member(&self, see: &mut dyn FnMut(&str, &Self));

    /// Whether this is an object with a key that begins with `name` and a dot.
    fn has_dotted(&self, name: &str) -> bool;
}

/// A JSON value, looked at from outside.
pub(crate) enum Seen<'t, T> {
    Scalar(Scalar<'t>),
    List(&'t [T]),
    Object,
}

struct Search<'p> {
    fields: &'p [Field],
    dotted: Cell<bool>,
}

impl Search<'_> {
    /// Whether the node holds in one of the objects that a value is or contains, or in none because
    /// all that it wants is absence.
    fn anywhere<T: Tree>(&self, node: &Node, value: Option<&T>) -> bool {
        let absent = node.optional.iter().take_while(|path| !self.present(path, value)).count();
        absent == node.size
            || value
                .is_some_and(|value| any_object(value, |object| self.holds(node, object, absent)))
    }

    /// Whether the node holds in this object, given that its field number `first` is to be found here
    /// and that those before it are settled.
    fn holds<T: Tree>(&self, node: &Node, object: &T, first: usize) -> bool {
        let mut end = 0;
        node.members.iter().all(|member| {
            let start = end;
            end += member.wanted.size();
            if end <= first {
                return true;
            }
            let value = object.member(&member.name);
            match &member.wanted {
                Wanted::Field(number) => self.fields.get(*number).is_some_and(|field| {
                    found(field, value) || start != first && field.may_be_absent && !exists(value)
                }),
                Wanted::Inside(node) => {
                    self.note_dotted(object, &member.name);
                    if start <= first {
                        value.is_some_and(|value| {
                            any_object(value, |object| self.holds(node, object, first - start))
                        })
                    } else {
                        self.anywhere(node, value)
                    }
                }
            }
        })
    }

    /// Whether there is a scalar at the path in any of the objects.
    fn present<T: Tree>(&self, path: &[Box<str>], value: Option<&T>) -> bool {
        let Some((name, rest)) = path.split_first() else { return exists(value) };
        value.is_some_and(|value| {
            any_object(value, |object| {
                if !rest.is_empty() {
                    self.note_dotted(object, name);
                }
                self.present(rest, object.member(name))
            })
        })
    }

    fn note_dotted<T: Tree>(&self, object: &T, name: &str) {
        if object.has_dotted(name) {
            self.dotted.set(true);
        }
    }
}

/// Whether a scalar of the value is one of those that the field may be.
pub(crate) fn found<T: Tree>(field: &Field, value: Option<&T>) -> bool {
    value.is_some_and(|value| {
        any_scalar(value, |scalar| field.matchers.iter().any(|matcher| matcher.matches(scalar)))
    })
}

fn exists<T: Tree>(value: Option<&T>) -> bool {
    value.is_some_and(|value| any_scalar(value, |_| true))
}

fn any_object<T: Tree>(value: &T, mut is: impl FnMut(&T) -> bool) -> bool {
    any_leaf(value, ARRAYS, &mut |leaf| matches!(leaf.seen(), Seen::Object) && is(leaf))
}

/// Whether the value is, or contains in arrays, a scalar that passes.
pub(crate) fn any_scalar<T: Tree>(value: &T, mut is: impl FnMut(Scalar<'_>) -> bool) -> bool {
    any_leaf(value, ARRAYS, &mut |leaf| match leaf.seen() {
        Seen::Scalar(scalar) => is(scalar),
        Seen::List(_) | Seen::Object => false,
    })
}

/// Whether the value, or one in its arrays that is not an array itself, passes.
fn any_leaf<T: Tree>(value: &T, depth: usize, is: &mut dyn FnMut(&T) -> bool) -> bool {
    match value.seen() {
        Seen::List(_) if depth == 0 => false,
        Seen::List(values) => values.iter().any(|value| any_leaf(value, depth - 1, is)),
        Seen::Scalar(_) | Seen::Object => is(value),
    }
}

impl Tree for Value {
    fn seen(&self) -> Seen<'_, Value> {
        match self {
            Value::Null => Seen::Scalar(Scalar::Null),
            Value::Bool(flag) => Seen::Scalar(Scalar::Bool(*flag)),
            Value::Number(number) => Seen::Scalar(Scalar::Number(number_of(number))),
            Value::String(text) => Seen::Scalar(Scalar::Text(text)),
            Value::Array(values) => Seen::List(values),
            Value::Object(_) => Seen::Object,
        }
    }

    fn member(&self, key: &str) -> Option<&Value> {
        self.get(key)
    }

    fn has_dotted(&self, name: &str) -> bool {
        let dotted =
            |key: &String| key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        self.as_object().is_some_and(|members| members.keys().any(dotted))
    }

    fn each_member(&self, see: &mut dyn FnMut(&str, &Value)) {
        if let Value::Object(members) = self {
            members.iter().for_each(|(key, value)| see(key, value));
        }
    }
}

/// One whose keys are in order.
impl<'a> Tree for Json<'a> {
    fn seen(&self) -> Seen<'_, Json<'a>> {
        match self {
            Json::Null => Seen::Scalar(Scalar::Null),
            Json::Bool(flag) => Seen::Scalar(Scalar::Bool(*flag)),
            Json::Number(number) => Seen::Scalar(Scalar::Number(*number)),
            Json::Text(text) => Seen::Scalar(Scalar::Text(text)),
            Json::List(values) => Seen::List(values),
            Json::Object(_) => Seen::Object,
        }
    }

    fn member(&self, key: &str) -> Option<&Json<'a>> {
        let Json::Object(members) = self else { return None };
        let at = members.binary_search_by(|(name, _)| (**name).cmp(key)).ok()?;
        members.get(at).map(|(_, value)| value)
    }

    fn has_dotted(&self, name: &str) -> bool {
        let Json::Object(members) = self else { return false };
        // The keys that begin with the name stand together.
        let start = members.partition_point(|(key, _)| **key < *name);
        let mut rest = members.iter().skip(start).map_while(|(key, _)| key.strip_prefix(name));
        rest.any(|rest| rest.starts_with('.'))
    }

    fn each_member(&self, see: &mut dyn FnMut(&str, &Json<'a>)) {
        if let Json::Object(members) = self {
            members.iter().for_each(|(key, value)| see(key, value));
        }
    }
}
