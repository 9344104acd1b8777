//! Text compared without regard to case.

use std::fmt;

/// A text of which each character stands for its lower and its upper case.
///
/// The case of a character can be several characters (`ß` and `SS`), and of another length.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Folded {
    text: Box<str>,
    characters: Vec<Cases>,
}

/// The ways to write one character.
#[derive(Debug, Clone, PartialEq)]
struct Cases {
    lower: Box<str>,
    upper: Box<str>,
    /// Neither of the two, for a title case letter such as `ǅ`.
    title: Option<Box<str>>,
}

impl Folded {
    pub(crate) fn new(text: &str) -> Folded {
        Folded { text: text.into(), characters: text.chars().map(Cases::new).collect() }
    }

    pub(crate) fn equals(&self, text: &str) -> bool {
        self.after(text).is_some_and(str::is_empty)
    }

    pub(crate) fn starts(&self, text: &str) -> bool {
        self.after(text).is_some()
    }

    pub(crate) fn ends(&self, text: &str) -> bool {
        let before = self
            .characters
            .iter()
            .rev()
            .try_fold(text, |rest, cases| cases.all().find_map(|way| rest.strip_suffix(way)));
        before.is_some()
    }

    fn after<'t>(&self, text: &'t str) -> Option<&'t str> {
        self.characters
            .iter()
            .try_fold(text, |rest, cases| cases.all().find_map(|way| rest.strip_prefix(way)))
    }
}

impl Cases {
    fn new(character: char) -> Cases {
        let lower: Box<str> = character.to_lowercase().collect::<String>().into();
        let upper: Box<str> = character.to_uppercase().collect::<String>().into();
        let given: Box<str> = String::from(character).into();
        let title = (given != lower && given != upper).then_some(given);
        Cases { lower, upper, title }
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        [&*self.lower, &*self.upper].into_iter().chain(self.title.as_deref())
    }
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
