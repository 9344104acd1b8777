//! What is looked up in an index: a value, or what can be said of one.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use crate::address;
use crate::matcher::{Bound, Like, Matcher, Range, Scalar};
use crate::number::Number;
use crate::pattern::Field;

/// The lengths of starts and ends of texts that are looked up, in bytes: few, since each that is in
/// use is looked up in each text.
const LENGTHS: [usize; 12] = [64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1];

/// In how many stretches a range may lie: with more they are shorter, and less that is not in the
/// range is found by them.
const STRETCHES: u64 = 8;

/// What an event must have at a place so that a matcher can be true.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key<'a> {
    Null,
    Bool(bool),
    /// The bits of the nearest float: numbers that are equal have the same.
    Number(u64),
    Text(&'a str),
    Address(IpAddr),
    /// A text of ASCII characters, in lower case.
    Folded(Cow<'a, str>),
    Start(&'a [u8]),
    End(&'a [u8]),
    /// A stretch of the numbers: the upper bits of those in it, and how many are left out.
    Stretch(u64, u32),
    /// Any scalar.
    Present,
}

/// The keys of a field that must be there: an event that passes it has at least one of them.
pub(super) fn of(field: &Field) -> Vec<Key<'_>> {
    let keys: Option<Vec<Vec<Key<'_>>>> = field.matchers.iter().map(of_matcher).collect();
    keys.map_or_else(|| vec![Key::Present], |keys| keys.concat())
}

fn of_matcher(matcher: &Matcher) -> Option<Vec<Key<'_>>> {
    let key = match matcher {
        Matcher::Null => Some(Key::Null),
        Matcher::Bool(flag) => Some(Key::Bool(*flag)),
        Matcher::Number(operand) => Some(Key::Number(bits(operand.nearest()?))),
        Matcher::Text(text) => Some(Key::Text(text)),
        Matcher::Address(_, address) => Some(Key::Address(*address)),
        Matcher::Like(like) => of_like(like),
        Matcher::Numeric(range) => return of_range(range),
        Matcher::Network(_) | Matcher::But(_) | Matcher::Present | Matcher::Absent => None,
    };
    key.map(|key| vec![key])
}

/// The few stretches of one length that a range lies in; `None` of a range without an end.
fn of_range(range: &Range) -> Option<Vec<Key<'static>>> {
    let rank_of = |bound: &Option<Bound>| Some(rank(bound.as_ref()?.operand.nearest()?));
    let (first, last) = (rank_of(&range.lower)?, rank_of(&range.upper)?);
    let few = |bits: &u32| (last >> bits).saturating_sub(first >> bits) < STRETCHES;
    let bits = (0..u64::BITS).step_by(4).find(few)?;
    Some((first >> bits..=last >> bits).map(|upper| Key::Stretch(upper, bits)).collect())
}

fn of_like(like: &Like) -> Option<Key<'_>> {
    match like {
        Like::Prefix(text) => start(text),
        Like::Suffix(text) => end(text),
        Like::Wildcard(wildcard) => match wildcard.ends() {
            (text, None) => Some(Key::Text(text)),
            (first, Some(last)) if first.len() < last.len() => end(last),
            (first, Some(_)) => start(first),
        },
        // Only of ASCII letters is it certain that each has two cases, of one byte each.
        Like::Folded(folded) if folded.text().is_ascii() => {
            Some(Key::Folded(folded.text().to_ascii_lowercase().into()))
        }
        Like::Folded(_) | Like::FoldedPrefix(_) | Like::FoldedSuffix(_) => None,
    }
}

fn start(text: &str) -> Option<Key<'_>> {
    text.as_bytes().get(..length(text)?).map(Key::Start)
}

fn end(text: &str) -> Option<Key<'_>> {
    let from = text.len().checked_sub(length(text)?)?;
    text.as_bytes().get(from..).map(Key::End)
}

/// How much of a text is looked up; `None` of an empty one.
fn length(text: &str) -> Option<usize> {
    LENGTHS.into_iter().find(|length| *length <= text.len())
}

/// A number that is in the order of the floats.
fn rank(float: f64) -> u64 {
    let bits = bits(float);
    if float < 0.0 { !bits } else { bits | 1 << 63 }
}

/// Zero has two forms that are equal.
fn bits(float: f64) -> u64 {
    (float + 0.0).to_bits()
}

/// What is sought at one place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sought {
    /// Stands for the path.
    seed: u64,
    exact: bool,
    address: bool,
    folded: bool,
    present: bool,
    /// How many bits the stretches leave out.
    stretches: Vec<u32>,
    /// Lengths of starts and ends.
    starts: Vec<usize>,
    ends: Vec<usize>,
}

impl Sought {
    pub(super) fn at(path: &str) -> Sought {
        Sought {
            seed: hash(path),
            exact: false,
            address: false,
            folded: false,
            present: false,
            stretches: Vec::new(),
            starts: Vec::new(),
            ends: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, key: &Key<'_>) {
        fn add<T: PartialEq>(known: &mut Vec<T>, new: T) {
            if !known.contains(&new) {
                known.push(new);
            }
        }
        match key {
            Key::Null | Key::Bool(_) | Key::Number(_) | Key::Text(_) => self.exact = true,
            Key::Address(_) => self.address = true,
            Key::Folded(_) => self.folded = true,
            Key::Start(start) => add(&mut self.starts, start.len()),
            Key::End(end) => add(&mut self.ends, end.len()),
            Key::Stretch(_, bits) => add(&mut self.stretches, *bits),
            Key::Present => self.present = true,
        }
    }

    /// Keys that hash alike are taken for one another, which costs a needless look and no more.
    pub(super) fn hash(&self, key: &Key<'_>) -> u64 {
        hash((self.seed, key))
    }

    /// The keys of a scalar, of the kinds that are sought.
    pub(super) fn keys_of<'v>(&self, scalar: Scalar<'v>, mut found: impl FnMut(Key<'v>)) {
        if self.present {
            found(Key::Present);
        }
        match scalar {
            Scalar::Text(text) => self.keys_of_text(text, found),
            Scalar::Number(number) => {
                let float = nearest(number);
                if self.exact {
                    found(Key::Number(bits(float)));
                }
                let stretches = self.stretches.iter();
                stretches.for_each(|bits| found(Key::Stretch(rank(float) >> bits, *bits)));
            }
            Scalar::Null if self.exact => found(Key::Null),
            Scalar::Bool(flag) if self.exact => found(Key::Bool(flag)),
            Scalar::Null | Scalar::Bool(_) => {}
        }
    }

    fn keys_of_text<'v>(&self, text: &'v str, mut found: impl FnMut(Key<'v>)) {
        if self.exact {
            found(Key::Text(text));
        }
        if self.address
            && let Some(address) = address::read(text)
        {
            found(Key::Address(address));
        }
        if self.folded {
            found(Key::Folded(text.to_ascii_lowercase().into()));
        }
        let starts = self.starts.iter().filter_map(|length| text.as_bytes().get(..*length));
        starts.for_each(|start| found(Key::Start(start)));
        let ends = self.ends.iter().filter_map(|length| text.len().checked_sub(*length));
        let ends = ends.filter_map(|from| text.as_bytes().get(from..));
        ends.for_each(|end| found(Key::End(end)));
    }
}

fn nearest(number: Number<'_>) -> f64 {
    #[expect(clippy::as_conversions, reason = "rounded to the nearest, as in a text")]
    match number {
        Number::Written(text) => text.parse().unwrap_or(f64::NAN),
        Number::Signed(integer) => integer as f64,
        Number::Unsigned(integer) => integer as f64,
        Number::Float(float) => float,
    }
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    value.hash(&mut hasher);
    hasher.finish()
}

/// FNV-1a by words, which is short for short texts and the same each time. Who writes rules that hash alike
/// slows nobody down more than with rules that ask for the same.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let word = chunk.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
            self.write_u64(word);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x100_0000_01b3);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
