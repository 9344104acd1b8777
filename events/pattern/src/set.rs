//! Many patterns at once.

use serde_json::Value;

use crate::pattern::Pattern;

/// Patterns with a key each, matched together.
#[derive(Debug, Clone)]
pub struct PatternSet<K> {
    patterns: Vec<(K, Pattern)>,
}

impl<K> PatternSet<K> {
    /// A set without patterns.
    #[must_use]
    pub fn new() -> PatternSet<K> {
        PatternSet { patterns: Vec::new() }
    }

    /// Adds a pattern. One key may have several.
    pub fn insert(&mut self, key: K, pattern: Pattern) {
        self.patterns.push((key, pattern));
    }

    /// The keys of the patterns that match, in the order they were added; a key once per pattern.
    pub fn matches(&self, event: &Value) -> impl Iterator<Item = &K> {
        self.patterns.iter().filter(|(_, pattern)| pattern.matches(event)).map(|(key, _)| key)
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
    }
}

impl<K> FromIterator<(K, Pattern)> for PatternSet<K> {
    fn from_iter<I: IntoIterator<Item = (K, Pattern)>>(patterns: I) -> PatternSet<K> {
        PatternSet { patterns: patterns.into_iter().collect() }
    }
}
