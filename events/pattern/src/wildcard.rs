//! `*` stands for any text, also none; `\*` and `\\` for themselves.

use std::fmt;

/// A text with stars in it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wildcard {
    text: Box<str>,
    /// What stands between the stars; no star, one piece.
    first: Box<str>,
    middle: Vec<Box<str>>,
    /// `None`: there is no star, and `first` is all.
    last: Option<Box<str>>,
}

/// Why a text is no wildcard.
#[derive(Debug, PartialEq)]
pub(crate) enum NotAWildcard {
    TwoStars,
    Escape,
}

impl Wildcard {
    pub(crate) fn new(text: &str) -> Result<Wildcard, NotAWildcard> {
        let mut pieces = pieces(text)?.into_iter();
        let first = pieces.next().unwrap_or_default();
        let last = pieces.next_back();
        Ok(Wildcard { text: text.into(), first, middle: pieces.collect(), last })
    }

    /// What texts start with, and what they end with; the latter `None` when the former is all.
    pub(crate) fn ends(&self) -> (&str, Option<&str>) {
        (&self.first, self.last.as_deref())
    }

    /// Takes each piece at the first place where it is found, which is never worse than a later one;
    /// so there is nothing to go back to.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let Some(last) = &self.last else { return *self.first == *text };
        let Some(rest) = text.strip_prefix(&*self.first) else { return false };
        let Some(mut rest) = rest.strip_suffix(&**last) else { return false };
        for piece in &self.middle {
            let Some((_, behind)) = rest.split_once(&**piece) else { return false };
            rest = behind;
        }
        true
    }
}

impl fmt::Display for Wildcard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

fn pieces(text: &str) -> Result<Vec<Box<str>>, NotAWildcard> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '*' if characters.peek() == Some(&'*') => return Err(NotAWildcard::TwoStars),
            '*' => pieces.push(std::mem::take(&mut piece).into()),
            '\\' => match characters.next() {
                Some(escaped @ ('*' | '\\')) => piece.push(escaped),
                Some(_) | None => return Err(NotAWildcard::Escape),
            },
            plain => piece.push(plain),
        }
    }
    pieces.push(piece.into());
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pieces_do_not_overlap() {
        assert!(!Wildcard::new("ab*ba").unwrap().matches("aba"));
        assert!(Wildcard::new("ab*ba").unwrap().matches("abba"));
        assert!(!Wildcard::new("a*b*b").unwrap().matches("ab"));
    }

    #[test]
    fn many_stars_take_no_time() {
        let wildcard = Wildcard::new(&"*a".repeat(5_000)).unwrap();
        assert!(!wildcard.matches(&format!("{}b", "a".repeat(1_000_000))));
    }

    proptest! {
        #[test]
        fn wildcards_agree_with_the_obvious_definition(
            pattern in r"(\*?(a|b|é|\\\*|\\\\)){0,6}\*?",
            text in r"[abé*\\]{0,8}",
        ) {
            let wildcard = Wildcard::new(&pattern).unwrap();
            let text_characters: Vec<char> = text.chars().collect();
            prop_assert_eq!(
                wildcard.matches(&text),
                obvious(&pattern.chars().collect::<Vec<_>>(), &text_characters)
            );
        }
    }

    fn obvious(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => {
                obvious(rest, text) || !text.is_empty() && obvious(pattern, &text[1..])
            }
            (['\\', escaped, rest @ ..], [character, behind @ ..])
            | ([escaped, rest @ ..], [character, behind @ ..]) => {
                escaped == character && obvious(rest, behind)
            }
            _ => false,
        }
    }
}
