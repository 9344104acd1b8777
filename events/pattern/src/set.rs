//! Many patterns at once.

use std::sync::OnceLock;

use serde_json::Value;

use crate::index::Index;
use crate::pattern::Pattern;

/// Patterns with a key each, matched together.
///
/// An [`Index`] over them is made when the set is first asked, and again after it was added to.
#[derive(Debug, Clone)]
pub struct PatternSet<K> {
    patterns: Vec<(K, Pattern)>,
    index: OnceLock<Index>,
}

impl<K> PatternSet<K> {
    /// A set without patterns.
    #[must_use]
    pub fn new() -> PatternSet<K> {
        PatternSet { patterns: Vec::new(), index: OnceLock::new() }
    }

    /// Adds a pattern. One key may have several.
    pub fn insert(&mut self, key: K, pattern: Pattern) {
        self.extend([(key, pattern)]);
    }

    /// The keys of the patterns that match, in the order they were added; a key once per pattern.
    pub fn matches(&self, event: &Value) -> impl Iterator<Item = &K> {
        let index = self.index.get_or_init(|| Index::new(self.patterns.iter().map(|(_, it)| it)));
        let candidates = index.candidates(event).into_iter();
        let patterns = candidates.filter_map(|number| self.patterns.get(number));
        patterns.filter(|(_, pattern)| pattern.matches(event)).map(|(key, _)| key)
    }
}

impl<K> Default for PatternSet<K> {
    fn default() -> PatternSet<K> {
        PatternSet::new()
    }
}

impl<K> Extend<(K, Pattern)> for PatternSet<K> {
    fn extend<I: IntoIterator<Item = (K, Pattern)>>(&mut self, patterns: I) {
        self.patterns.extend(patterns);
        self.index.take();
    }
}

impl<K> FromIterator<(K, Pattern)> for PatternSet<K> {
    fn from_iter<I: IntoIterator<Item = (K, Pattern)>>(patterns: I) -> PatternSet<K> {
        PatternSet { patterns: patterns.into_iter().collect(), index: OnceLock::new() }
    }
}
