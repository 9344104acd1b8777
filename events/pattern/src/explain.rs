//! Why an event matches a pattern, or does not.

use std::fmt;

use crate::json::Json;
use crate::matcher::{Scalar, write_list};
use crate::pattern::{Field, Pattern};
use crate::search::{self, Seen, Tree};

/// What was expected of an event, and what was found. Prints as text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Whether the event matches.
    pub matched: bool,
    /// One for each way through the `$or`s of the pattern; one that matches is enough.
    pub branches: Vec<Branch>,
}

/// One way through the `$or`s of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Whether all of its fields pass, and, under arrays, in the same element.
    pub matched: bool,
    /// Its fields, in the order of their paths.
    pub leaves: Vec<LeafReport>,
}

/// One field of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafReport {
    /// Where the field is, such as `detail.state`.
    pub path: String,
    /// What it may be, in words.
    pub expected: String,
    /// What it is: JSON values, or words when there are none.
    pub found: String,
    /// Whether the field alone, anywhere in the event, is as expected.
    pub passed: bool,
}

pub(crate) fn explain(pattern: &Pattern, event: &Json<'_>) -> Explanation {
    let branches: Vec<Branch> = pattern
        .alternatives()
        .iter()
        .map(|alternative| Branch {
            matched: search::holds(pattern, alternative, event),
            leaves: pattern
                .fields_of(alternative)
                .iter()
                .map(|field| report(field, event))
                .collect(),
        })
        .collect();
    Explanation { matched: branches.iter().any(|branch| branch.matched), branches }
}

fn report(field: &Field, event: &Json<'_>) -> LeafReport {
    let mut values = Vec::new();
    let segments: Vec<&str> = field.path.split('.').collect();
    collect(event, &segments, &mut values);
    let none = !values.iter().any(|value| search::any_scalar(*value, |_| true));
    let passed = values.iter().any(|value| search::found(field, Some(*value)));
    let mut expected = String::new();
    // Writing to a string cannot fail.
    let _ = write_list(&mut expected, &field.matchers);
    LeafReport {
        path: field.path.clone().into(),
        expected,
        found: words(&values),
        passed: passed || none && field.may_be_absent,
    }
}

/// The values at a path, in all elements of the arrays on the way.
fn collect<'e, 'a>(value: &'e Json<'a>, path: &[&str], values: &mut Vec<&'e Json<'a>>) {
    let Some((name, rest)) = path.split_first() else {
        values.push(value);
        return;
    };
    if let Json::List(elements) = value {
        elements.iter().for_each(|element| collect(element, path, values));
    } else if let Some(member) = value.member(name) {
        collect(member, rest, values);
    }
}

fn words(values: &[&Json<'_>]) -> String {
    const SHOWN: usize = 3;
    let mut shown = Vec::new();
    let mut count = 0;
    for value in values {
        search::any_scalar(*value, |scalar| {
            count += 1;
            if count <= SHOWN {
                shown.push(print(scalar));
            }
            false
        });
    }
    match (count, values.first().map(|value| value.seen())) {
        (0, None) => "nothing".to_owned(),
        (0, Some(Seen::Object)) => "an object".to_owned(),
        (0, Some(Seen::List(_) | Seen::Scalar(_))) => "an array without values".to_owned(),
        (count, _) if count > SHOWN => format!("{} and {} more", shown.join(", "), count - SHOWN),
        _ => shown.join(", "),
    }
}

fn print(scalar: Scalar<'_>) -> String {
    match scalar {
        Scalar::Null => Json::Null,
        Scalar::Bool(flag) => Json::Bool(flag),
        Scalar::Number(number) => Json::Number(number),
        Scalar::Text(text) => Json::Text(text.into()),
    }
    .to_string()
}

impl fmt::Display for Explanation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", if self.matched { "matches" } else { "does not match" })?;
        for (index, branch) in self.branches.iter().enumerate() {
            if self.branches.len() > 1 {
                let verdict = if branch.matched { "matches" } else { "does not match" };
                writeln!(out, "alternative {} of {}: {verdict}", index + 1, self.branches.len())?;
            }
            branch.fmt(out)?;
        }
        Ok(())
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for leaf in &self.leaves {
            writeln!(out, "  {leaf}")?;
        }
        if !self.matched && self.leaves.iter().all(|leaf| leaf.passed) {
            writeln!(out, "  each passes alone, but not in the same element of an array")?;
        }
        Ok(())
    }
}

impl fmt::Display for LeafReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed { "ok  " } else { "fail" };
        write!(out, "{verdict} {}: expected {}, found {}", self.path, self.expected, self.found)
    }
}
