//! The event-pattern language of Amazon EventBridge: compile, match, explain.
//!
//! A pattern is a JSON object that looks like the events it is for. Each field holds an array of
//! what its value may be; fields are joined by "and", the values of one array by "or".
//!
//! ```
//! use serde_json::json;
//! use snooze_pattern::Pattern;
//!
//! let pattern = Pattern::compile(
//!     r#"{
//!         "source": ["aws.ec2"],
//!         "detail": { "state": [{ "prefix": "st" }, { "anything-but": ["running", "pending"] }] }
//!     }"#,
//! )?;
//! let event = json!({ "source": "aws.ec2", "detail": { "state": "stopping" } });
//! assert!(pattern.matches(&event));
//!
//! let fault = Pattern::compile(r#"{ "detail": { "state": ["running", { "prefix": 1 }] } }"#).unwrap_err();
//! assert_eq!(
//!     fault.to_string(),
//!     "`detail.state[1].prefix`: expected a string or `{\"equals-ignore-case\": string}`, found 1"
//! );
//! # Ok::<(), snooze_pattern::CompileError>(())
//! ```
//!
//! The measure is the matcher that AWS publishes (`aws/event-ruler`); a file of answers that it gave
//! is kept with the samples and passes whole.
//!
//! # Invariants
//!
//! - No I/O, no clock, no threads. A [`Pattern`] never changes once it is compiled.
//! - No text makes this crate panic, whether it is a pattern or an event, and the time to answer
//!   grows with the size of the event times the size of the pattern and no faster.
//! - [`Pattern::matches`] allocates nothing, unless a key of the event contains a dot and could
//!   therefore stand for a path that the pattern names.
//! - A [`PatternSet`] and an [`Index`] answer as their patterns do one by one. The time to answer
//!   grows with the event and with the number of patterns that name the same values.
//!
//! # Limits
//!
//! | what | limit |
//! |---|---|
//! | text of a pattern | 64 KiB |
//! | text of an event ([`Pattern::matches_text`]) | 1 MiB |
//! | nesting of a pattern or an event given as text, segments of a path | 32 |
//! | alternatives that the `$or` of a pattern multiply to | 1000 |
//! | fields of all these alternatives together | 100,000 |
//! | arrays directly inside arrays of an event given as a value | 128; deeper ones are not looked into |
//!
//! # Numbers
//!
//! Numbers compare by value and not by spelling: `300`, `300.0` and `3.0e2` are one number.
//! A pattern keeps every digit it was written with, and so does an event given as text, however long
//! the number is: `9007199254740993` is not `9007199254740992`, and `1e400` is a number like others.
//! An event given as a [`serde_json::Value`] has only what the value could hold: integers of up to
//! 64 bits are exact, and any other number is the nearest `f64`, which equals each number of a
//! pattern that has the same nearest `f64`.
//! Numbers in patterns are not held to the bounds that EventBridge sets (15 digits, -5e9 to 5e9).
//!
//! # Arrays, absence, and where the reference is peculiar
//!
//! - A field that holds an array matches when any element does. Fields under an array of objects
//!   must be satisfied by the same element. Arrays of arrays are flattened; an empty array is the
//!   same as an absent field.
//! - Only scalars exist: `{"exists": false}` is true of an object and of an empty array.
//! - Under an array, fields are tried in the order of their full paths. Until one of them has settled
//!   on an element, `{"exists": false}` means that no element has the field; afterwards it means that
//!   the settled element lacks it. EventBridge does the same.
//! - `{"cidr": "10.1.2.3/24"}` starts at the address written: it spans `10.1.2.3` to `10.1.2.255`.
//! - A dotted key of an event that leads to where an array is adds an element to the array.
//! - A field of a pattern written twice, also by way of a dotted key or as a sibling of `$or`: the
//!   last one wins. A key of an event written twice in one object: the last one wins.

mod address;
mod compile;
mod error;
mod explain;
mod fold;
mod index;
mod json;
mod matcher;
mod number;
mod pattern;
mod search;
mod set;
pub mod suite;
mod view;
mod wildcard;

pub use error::{CompileError, NotAnEvent};
pub use explain::{Branch, Explanation, LeafReport};
pub use index::Index;
pub use pattern::Pattern;
pub use set::PatternSet;
pub use view::View;
