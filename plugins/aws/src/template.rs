//! Texts with names in braces, such as `{instance}`.

use std::fmt::Write as _;

/// A text with places that are filled for each event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(String),
}

impl Template {
    /// Reads one in which only these names may stand; braces that are meant are doubled.
    ///
    /// # Errors
    /// What was expected.
    pub(crate) fn read(text: &str, names: &[&str]) -> Result<Self, String> {
        let expected = || format!("expected no other braces than `{{{}}}`", names.join("}`, `{"));
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
                plain.push_str(from.get(..1).unwrap_or_default());
                rest = after;
                continue;
            }
            let (name, after) = from
                .strip_prefix('{')
                .and_then(|from| from.split_once('}'))
                .ok_or_else(expected)?;
            if !names.contains(&name) {
                return Err(expected());
            }
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Name(name.to_owned()));
            rest = after;
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        Ok(Self(pieces))
    }

    /// The text with its places filled.
    ///
    /// # Errors
    /// The name for which there is nothing.
    pub(crate) fn fill(&self, value: impl Fn(&str) -> Option<String>) -> Result<String, &str> {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                // Writing to a string does not fail.
                Piece::Name(name) => {
                    let _ = write!(filled, "{}", value(name).ok_or(name.as_str())?);
                }
            }
        }
        Ok(filled)
    }

    /// What stands before the first place.
    pub(crate) fn start(&self) -> &str {
        match self.0.first() {
            Some(Piece::Text(text)) => text,
            Some(Piece::Name(_)) | None => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_and_doubled_braces_stay() {
        let template = Template::read("a/{instance}/{{x}}/{date}", &["instance", "date"]).unwrap();
        assert_eq!(template.start(), "a/");
        let filled = template.fill(|name| Some(name.to_uppercase()));
        assert_eq!(filled.as_deref(), Ok("a/INSTANCE/{x}/DATE"));
        assert_eq!(template.fill(|name| (name == "date").then(String::new)), Err("instance"));
    }

    #[test]
    fn a_place_that_nobody_fills_is_refused_before_it_is_needed() {
        for text in ["{instanc}", "{", "}", "{}", "a{instance"] {
            let error = Template::read(text, &["instance", "date"]).unwrap_err();
            assert_eq!(error, "expected no other braces than `{instance}`, `{date}`", "{text}");
        }
    }
}
