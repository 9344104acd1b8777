//! What one scalar may be.

use std::cmp::Ordering;
use std::fmt::{self, Display};
use std::net::IpAddr;

use crate::address::{self, Network};
use crate::fold::Folded;
use crate::json::quoted;
use crate::number::{Number, Operand};
use crate::wildcard::Wildcard;

/// A value of an event that holds no others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Bool(bool),
    Number(Number<'a>),
    Text(&'a str),
}

/// One of the things that a field may be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Matcher {
    Null,
    Bool(bool),
    Number(Operand),
    Text(Box<str>),
    /// A text that looked like an address, and the address.
    Address(Box<str>, IpAddr),
    Like(Like),
    Numeric(Range),
    Network(Network),
    /// Scalars that are none of these; none at all if there is no scalar.
    But(Vec<Matcher>),
    Present,
    /// True of no scalar; the search knows when there is none.
    Absent,
}

/// What a text may look like.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Like {
    Prefix(Box<str>),
    Suffix(Box<str>),
    Wildcard(Wildcard),
    Folded(Folded),
    FoldedPrefix(Folded),
    FoldedSuffix(Folded),
}

/// Between two bounds, at least one of which is there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Range {
    pub(crate) lower: Option<Bound>,
    pub(crate) upper: Option<Bound>,
}

/// The end of a range.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bound {
    pub(crate) operand: Operand,
    pub(crate) inclusive: bool,
}

impl Matcher {
    pub(crate) fn matches(&self, scalar: Scalar<'_>) -> bool {
        match (self, scalar) {
            (Matcher::Present, _) | (Matcher::Null, Scalar::Null) => true,
            (Matcher::But(others), scalar) => !others.iter().any(|other| other.matches(scalar)),
            (Matcher::Bool(flag), Scalar::Bool(found)) => *flag == found,
            (Matcher::Number(operand), Scalar::Number(found)) => operand.equals(found),
            (Matcher::Text(text), Scalar::Text(found)) => **text == *found,
            (Matcher::Address(_, wanted), Scalar::Text(found)) => {
                address::read(found) == Some(*wanted)
            }
            (Matcher::Like(like), Scalar::Text(found)) => like.matches(found),
            (Matcher::Numeric(range), Scalar::Number(found)) => range.contains(found),
            (Matcher::Network(network), Scalar::Text(found)) => network.contains(found),
            (
                Matcher::Null
                | Matcher::Bool(_)
                | Matcher::Number(_)
                | Matcher::Text(_)
                | Matcher::Address(..)
                | Matcher::Like(_)
                | Matcher::Numeric(_)
                | Matcher::Network(_)
                | Matcher::Absent,
                _,
            ) => false,
        }
    }
}

impl Like {
    fn matches(&self, text: &str) -> bool {
        match self {
            Like::Prefix(prefix) => text.starts_with(&**prefix),
            Like::Suffix(suffix) => text.ends_with(&**suffix),
            Like::Wildcard(wildcard) => wildcard.matches(text),
            Like::Folded(folded) => folded.equals(text),
            Like::FoldedPrefix(folded) => folded.starts(text),
            Like::FoldedSuffix(folded) => folded.ends(text),
        }
    }
}

impl Range {
    fn contains(&self, number: Number<'_>) -> bool {
        let inside = |bound: &Bound, side: Ordering| {
            let order = bound.operand.order_of(number);
            order == Some(side) || bound.inclusive && order == Some(Ordering::Equal)
        };
        self.lower.as_ref().is_none_or(|lower| inside(lower, Ordering::Greater))
            && self.upper.as_ref().is_none_or(|upper| inside(upper, Ordering::Less))
    }
}

/// Prints what is expected, for people.
impl Display for Matcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Matcher::Null => out.write_str("null"),
            Matcher::Bool(flag) => flag.fmt(out),
            Matcher::Number(operand) => operand.fmt(out),
            Matcher::Text(text) | Matcher::Address(text, _) => quoted(text).fmt(out),
            Matcher::Like(like) => like.fmt(out),
            Matcher::Numeric(range) => range.fmt(out),
            Matcher::Network(network) => write!(out, "an address in {network}"),
            Matcher::But(others) => {
                out.write_str("anything but ")?;
                write_list(out, others)
            }
            Matcher::Present => out.write_str("present"),
            Matcher::Absent => out.write_str("absent"),
        }
    }
}

impl Display for Like {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Like::Prefix(text) => write!(out, "prefix {}", quoted(text)),
            Like::Suffix(text) => write!(out, "suffix {}", quoted(text)),
            Like::Wildcard(wildcard) => write!(out, "wildcard {}", quoted(&wildcard.to_string())),
            Like::Folded(text) => write!(out, "{} in any case", quoted(&text.to_string())),
            Like::FoldedPrefix(text) => {
                write!(out, "prefix {} in any case", quoted(&text.to_string()))
            }
            Like::FoldedSuffix(text) => {
                write!(out, "suffix {} in any case", quoted(&text.to_string()))
            }
        }
    }
}

impl Display for Range {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Bound { operand, inclusive }) = &self.lower {
            write!(out, "{} {operand}", if *inclusive { ">=" } else { ">" })?;
        }
        if self.lower.is_some() && self.upper.is_some() {
            out.write_str(" and ")?;
        }
        if let Some(Bound { operand, inclusive }) = &self.upper {
            write!(out, "{} {operand}", if *inclusive { "<=" } else { "<" })?;
        }
        Ok(())
    }
}

/// Prints `a, b or c`.
pub(crate) fn write_list(out: &mut impl fmt::Write, items: &[impl Display]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        let before = match index {
            0 => "",
            _ if index + 1 == items.len() => " or ",
            _ => ", ",
        };
        write!(out, "{before}{item}")?;
    }
    Ok(())
}
