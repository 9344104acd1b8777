//! What is wrong with a document, and where.

/// One thing that is wrong with a document.
///
/// It never shows a value of a `config`; keys and names are shown cut and escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {text}")]
pub struct Fault {
    /// Where in the document, as a JSON path: `$.handlers[0].timeout_seconds`.
    pub path: String,
    /// What is wrong and what was expected.
    pub text: String,
}

impl Fault {
    /// The fault `text` at `path`.
    #[must_use]
    pub fn new(path: &str, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), text: text.into() }
    }
}

impl Fault {
    /// The fault as it is seen from a document in which this one stands at `path`.
    #[must_use]
    pub fn below(self, path: &str) -> Self {
        let inner = self.path.strip_prefix('$').unwrap_or(&self.path);
        Self { path: format!("{path}{inner}"), text: self.text }
    }
}

/// The longest piece of a document that a fault repeats, in characters.
const EXCERPT: usize = 64;

/// A piece of a document, cut and escaped.
pub(crate) fn shown(text: &str) -> String {
    let excerpt: String = text.chars().take(EXCERPT).flat_map(char::escape_debug).collect();
    format!("`{excerpt}`")
}

/// The path of a member of the object at `path`.
pub(crate) fn member(path: &str, key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !key.is_empty() && key.len() <= EXCERPT && key.chars().all(plain) {
        return format!("{path}.{key}");
    }
    let key: String = key.chars().take(EXCERPT).collect();
    format!("{path}[{key:?}]")
}

/// The path of an element of the list at `path`.
pub(crate) fn element(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// What to say about a word that is none of the known ones: the one that was meant, where one is
/// near enough, else all of them.
pub(crate) fn hint<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    match nearest(word, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => {
            let all: Vec<_> = known.iter().map(|word| format!("`{word}`")).collect();
            format!("expected one of {}", all.join(", "))
        }
    }
}

/// The known word that `word` was most likely meant to be.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if length > EXCERPT {
        return None;
    }
    let near = |candidate: &&str| {
        let distance = distance(word, candidate);
        let begins = length >= 3 && candidate.starts_with(word);
        (distance <= length.div_ceil(4).max(2) && distance < length || begins).then_some(distance)
    };
    known
        .filter_map(|word| near(&word).map(|distance| (distance, word)))
        .min()
        .map(|(_, word)| word)
}

/// How many letters must be put in, taken out, replaced, or swapped with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    let mut left_letter = None;
    for (row, letter) in from.chars().enumerate() {
        let mut line = vec![row + 1];
        let mut target_before = None;
        for (column, target) in to.iter().enumerate() {
            let at =
                |line: &[usize], column: usize| line.get(column).copied().unwrap_or(usize::MAX);
            let replaced = at(&above, column) + usize::from(letter != *target);
            let shifted = at(&above, column + 1).min(at(&line, column)) + 1;
            let swapped = target_before == Some(letter) && left_letter == Some(*target);
            let swap = match column.checked_sub(1) {
                Some(column) if swapped => at(&before, column) + 1,
                _ => usize::MAX,
            };
            line.push(replaced.min(shifted).min(swap));
            target_before = Some(*target);
        }
        left_letter = Some(letter);
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_letters() {
        let count = |from, to| distance(from, to);
        assert_eq!(count("match", "match"), 0);
        assert_eq!(count("mtach", "match"), 1);
        assert_eq!(count("handler", "handlers"), 1);
        assert_eq!(count("", "abc"), 3);
        assert_eq!(count("abc", ""), 3);
        assert_eq!(count("kitten", "sitting"), 3);
    }

    #[test]
    fn a_near_word_is_named_and_a_far_one_lists_all() {
        let known = || ["plugin", "priority", "timeout_seconds", "config"].into_iter();
        assert_eq!(hint("prioritiy", known()), "did you mean `priority`?");
        assert_eq!(hint("timeout", known()), "did you mean `timeout_seconds`?");
        assert_eq!(
            hint("zebra", known()),
            "expected one of `plugin`, `priority`, `timeout_seconds`, `config`"
        );
        assert!(hint(&"x".repeat(100_000), known()).starts_with("expected one of"));
    }

    // C11
    #[test]
    fn hostile_keys_are_shown_cut_and_escaped() {
        assert_eq!(shown("a\n\u{1b}[31m"), "`a\\n\\u{1b}[31m`");
        assert_eq!(member("$", "a b\n"), "$[\"a b\\n\"]");
        assert!(member("$", &"k".repeat(64 * 1024)).len() < 100);
        assert_eq!(element(&member("$", "cloud.x"), 2), "$[\"cloud.x\"][2]");
    }
}
