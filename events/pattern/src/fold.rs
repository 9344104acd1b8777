//! Text compared without regard to case.

use std::fmt;

/// A text of which each character stands for its lower and its upper case.
///
/// The case of a character can be several characters (`ß` and `SS`), and of another length.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Folded {
    text: Box<str>,
}

impl Folded {
    pub(crate) fn new(text: &str) -> Folded {
        Folded { text: text.into() }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn equals(&self, text: &str) -> bool {
        self.after(text).is_some_and(str::is_empty)
    }

    pub(crate) fn starts(&self, text: &str) -> bool {
        self.after(text).is_some()
    }

    pub(crate) fn ends(&self, text: &str) -> bool {
        let mut characters = self.text.chars().rev();
        let before = characters.try_fold(text, |rest, character| {
            strip_end(rest, character.to_lowercase())
                .or_else(|| strip_end(rest, character.to_uppercase()))
                .or_else(|| rest.strip_suffix(character))
        });
        before.is_some()
    }

    /// What follows this text. A title case letter such as `ǅ` also stands for itself.
    fn after<'t>(&self, text: &'t str) -> Option<&'t str> {
        self.text.chars().try_fold(text, |rest, character| {
            strip_start(rest, character.to_lowercase())
                .or_else(|| strip_start(rest, character.to_uppercase()))
                .or_else(|| rest.strip_prefix(character))
        })
    }
}

fn strip_start(text: &str, mut characters: impl Iterator<Item = char>) -> Option<&str> {
    characters.try_fold(text, |rest, character| rest.strip_prefix(character))
}

fn strip_end(text: &str, characters: impl DoubleEndedIterator<Item = char>) -> Option<&str> {
    characters.rev().try_fold(text, |rest, character| rest.strip_suffix(character))
}

impl fmt::Display for Folded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_of_other_lengths_are_the_same_text() {
        assert!(Folded::new("straße").equals("STRASSE"));
        assert!(Folded::new("ⱥ").equals("Ⱥ"));
        assert!(Folded::new("ǅ").equals("ǅ") && Folded::new("ǅ").equals("ǆ"));
        assert!(Folded::new("été").starts("ÉTÉS") && Folded::new("été").ends("L'ÉTÉ"));
        assert!(!Folded::new("a").equals("aa") && !Folded::new("a").equals(""));
    }
}
