//! Which of many patterns could match an event, without a look at each.
//!
//! Of every alternative of a pattern one field is chosen that all events it matches must have: the
//! one whose values the fewest patterns name. A walk over the event then looks up what it finds
//! there. What is named that way is still to be matched: the index only rules out.

mod key;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::Value;

use self::key::{Key, Sought};
use crate::pattern::{Field, Pattern};
use crate::search::{ARRAYS, Seen, Tree};
use crate::view::View;

/// So many members of an object are looked up one by one.
const FEW: usize = 3;

/// An index over patterns, which go by their numbers in the order in which they were given.
///
/// It takes memory for the chosen values of each pattern and for the paths to them, and never
/// changes once it is made.
///
/// ```
/// use serde_json::json;
/// use snooze_pattern::{Index, Pattern};
///
/// let compile = |state: &str| Pattern::compile(&json!({ "state": [state] }).to_string());
/// let patterns = [compile("stopping")?, compile("running")?];
/// let index = Index::new(&patterns);
/// assert_eq!(index.candidates(&json!({ "state": "running" })), [1]);
/// # Ok::<(), snooze_pattern::CompileError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Index {
    /// Where the walk goes, from the top.
    top: Place,
    /// What is looked up, by its hash, and a pattern that needs it; sorted.
    entries: Box<[(u64, usize)]>,
    /// The patterns that may match whatever the event holds.
    always: Vec<usize>,
}

/// A path of events at which something is looked up, or below which it is.
#[derive(Debug, Clone, Default, PartialEq)]
struct Place {
    below: BTreeMap<Box<str>, Place>,
    sought: Option<Sought>,
}

impl Index {
    /// Makes the index of some patterns.
    #[must_use]
    pub fn new<'p>(patterns: impl IntoIterator<Item = &'p Pattern>) -> Index {
        let patterns: Vec<&Pattern> = patterns.into_iter().collect();
        let named = Named::new(&patterns);
        let (mut top, mut entries, mut always) = (Place::default(), Vec::new(), Vec::new());
        for (number, pattern) in patterns.iter().enumerate() {
            for alternative in pattern.alternatives() {
                let fields = pattern.fields_of(alternative).into_iter();
                let needed = fields.filter(|field| !field.may_be_absent);
                let Some(field) = needed.min_by_key(|field| named.patterns_like(field)) else {
                    always.push(number);
                    continue;
                };
                let sought = top.at(&field.path).sought_at(&field.path);
                for key in key::of(field) {
                    sought.add(&key);
                    entries.push((sought.hash(&key), number));
                }
            }
        }
        entries.sort_unstable();
        entries.dedup();
        always.dedup();
        Index { top, entries: entries.into(), always }
    }

    /// The numbers of the patterns that could match the event, in order: all that do, and few that
    /// do not.
    #[must_use]
    pub fn candidates(&self, event: &Value) -> Vec<usize> {
        self.candidates_of(event)
    }

    /// Like [`Index::candidates`], of an event made of parts.
    #[must_use]
    pub fn candidates_in_view(&self, event: &View<'_>) -> Vec<usize> {
        self.candidates_of(event.json())
    }

    fn candidates_of(&self, event: &impl Tree) -> Vec<usize> {
        let mut hashes = Vec::new();
        self.top.walk(event, ARRAYS, &mut hashes);
        // An event that holds a value a thousand times is still looked up once.
        hashes.sort_unstable();
        hashes.dedup();
        let mut found = self.always.clone();
        for hash in hashes {
            let start = self.entries.partition_point(|(known, _)| *known < hash);
            let entries = self.entries.iter().skip(start).take_while(|(known, _)| *known == hash);
            found.extend(entries.map(|(_, number)| number));
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl Place {
    /// Collects the hashes of what is found here and below.
    fn walk<T: Tree>(&self, value: &T, arrays: usize, hashes: &mut Vec<u64>) {
        match value.seen() {
            // A few members are asked for faster than all are gone through.
            Seen::Object
                if self.below.len() <= FEW
                    && !self.below.keys().any(|name| value.has_dotted(name)) =>
            {
                for (name, place) in &self.below {
                    if let Some(value) = value.member(name) {
                        place.walk(value, ARRAYS, hashes);
                    }
                }
            }
            Seen::Object => value.each_member(&mut |key, value| {
                if let Some(place) = self.find(key) {
                    place.walk(value, ARRAYS, hashes);
                }
            }),
            Seen::List(_) if arrays == 0 => {}
            Seen::List(values) => {
                values.iter().for_each(|value| self.walk(value, arrays - 1, hashes));
            }
            Seen::Scalar(scalar) => {
                if let Some(sought) = &self.sought {
                    sought.keys_of(scalar, |key| hashes.push(sought.hash(&key)));
                }
            }
        }
    }

    /// The place that a path of a pattern leads to.
    fn at(&mut self, path: &str) -> &mut Place {
        path.split('.').fold(self, |place, name| place.below.entry(name.into()).or_default())
    }

    fn sought_at(&mut self, path: &str) -> &mut Sought {
        self.sought.get_or_insert_with(|| Sought::at(path))
    }

    /// The place that a key of an event leads to; a key with dots is a path.
    fn find(&self, key: &str) -> Option<&Place> {
        let dotted = || {
            let mut names = key.bytes().any(|byte| byte == b'.').then(|| key.split('.'))?;
            names.try_fold(self, |place, name| place.below.get(name))
        };
        self.below.get(key).or_else(dotted)
    }
}

/// How many patterns name what, for the choice of fields.
struct Named {
    /// Each value that a pattern names, with the pattern; sorted, each once.
    all: Vec<(u64, usize)>,
}

impl Named {
    fn new(patterns: &[&Pattern]) -> Named {
        let mut all = Vec::new();
        for (number, pattern) in patterns.iter().enumerate() {
            for field in pattern.fields().iter().filter(|field| !field.may_be_absent) {
                let sought = Sought::at(&field.path);
                // A pattern that names a value names its place, too.
                let keys = key::of(field).into_iter().chain([Key::Present]);
                all.extend(keys.map(|key| (sought.hash(&key), number)));
            }
        }
        all.sort_unstable();
        all.dedup();
        Named { all }
    }

    /// How many patterns name the values of the field, those named by several counted as often;
    /// of equals the one that says more is less.
    fn patterns_like(&self, field: &Field) -> (usize, Reverse<bool>) {
        let sought = Sought::at(&field.path);
        let keys = key::of(field);
        let is_exact = !keys.contains(&Key::Present);
        (keys.iter().map(|key| self.count(sought.hash(key))).sum(), Reverse(is_exact))
    }

    fn count(&self, hash: u64) -> usize {
        let start = self.all.partition_point(|(known, _)| *known < hash);
        let end = self.all.partition_point(|(known, _)| *known <= hash);
        end.saturating_sub(start)
    }
}
