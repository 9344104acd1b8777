//! JSON that keeps what `serde_json::Value` loses: numbers as written, and keys in their order.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::number::Number;

/// Nesting of a text, and segments of a path. Events of AWS services are less than ten deep.
pub(crate) const DEPTH: usize = 32;
/// How deep an event given as a value is looked into where that takes a copy of it.
pub(crate) const VALUE_DEPTH: usize = 128;

/// What an object holds.
pub(crate) type Members<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

/// A JSON value that borrows from its text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Number(Number<'a>),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    /// In the order of the text, with keys written twice; [`Json::tidy`] mends both.
    Object(Members<'a>),
}

/// Where a text stops being what it should.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) line: usize,
    /// Counted in characters, from 1.
    pub(crate) column: usize,
    pub(crate) expected: &'static str,
    pub(crate) found: String,
}

impl<'a> Json<'a> {
    /// Reads a whole text of at most `limit` bytes.
    pub(crate) fn read(text: &'a str, limit: Limit) -> Result<Json<'a>, Fault> {
        if text.len() > limit.bytes {
            let found = format!("{} bytes", text.len());
            return Err(Fault { line: 1, column: 1, expected: limit.words, found });
        }
        let mut reader = Reader { text, at: 0, depth: 0 };
        reader.whole().map_err(|expected| reader.fault(expected))
    }

    /// Whether the value is nested at most `depth` levels deep.
    pub(crate) fn fits(value: &Value, depth: usize) -> bool {
        match value {
            Value::Array(values) => {
                depth > 0 && values.iter().all(|value| Json::fits(value, depth - 1))
            }
            Value::Object(members) => {
                depth > 0 && members.values().all(|value| Json::fits(value, depth - 1))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        }
    }

    /// Looks at most `depth` levels deep; what lies below is left out. Keys are in order.
    pub(crate) fn of(value: &'a Value, depth: usize) -> Json<'a> {
        match value {
            Value::Null => Json::Null,
            Value::Bool(flag) => Json::Bool(*flag),
            Value::Number(number) => Json::Number(number_of(number)),
            Value::String(text) => Json::Text(Cow::Borrowed(text)),
            Value::Array(_) | Value::Object(_) if depth == 0 => Json::List(Vec::new()),
            Value::Array(values) => {
                Json::List(values.iter().map(|value| Json::of(value, depth - 1)).collect())
            }
            Value::Object(members) => {
                let of = |(key, value): (&'a String, &'a Value)| {
                    (Cow::Borrowed(key.as_str()), Json::of(value, depth - 1))
                };
                Json::Object(in_order(members.iter().map(of).collect()))
            }
        }
    }

    /// Makes an event of it: keys sorted, of a key written twice the last, dotted keys taken apart.
    pub(crate) fn tidy(self) -> Json<'a> {
        match self {
            Json::List(values) => Json::List(values.into_iter().map(Json::tidy).collect()),
            Json::Object(members) => {
                let once: BTreeMap<_, _> = members.into_iter().collect();
                let dotted = once.keys().any(|key| key.contains('.'));
                let tidied = once.into_iter().map(|(key, value)| (key, value.tidy()));
                if dotted { merge(tidied.map(take_apart)) } else { Json::Object(tidied.collect()) }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => self,
        }
    }
}

/// Members by their keys; of a key that is there twice the last one.
pub(crate) fn in_order<'a>(members: Members<'a>) -> Members<'a> {
    if members.is_sorted_by(|(one, _), (other, _)| one < other) {
        return members;
    }
    members.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect()
}

pub(crate) fn number_of(number: &serde_json::Number) -> Number<'static> {
    let integer = number.as_u64().map(Number::Unsigned).or(number.as_i64().map(Number::Signed));
    integer.unwrap_or_else(|| Number::Float(number.as_f64().unwrap_or(f64::NAN)))
}

/// `{"a.b": 1}` is `{"a": {"b": 1}}`. A pattern names no path longer than [`DEPTH`], so what is
/// beyond that stays in one piece.
fn take_apart<'a>((key, value): (Cow<'a, str>, Json<'a>)) -> (Cow<'a, str>, Json<'a>) {
    let mut segments: Vec<&str> = key.splitn(DEPTH + 1, '.').collect();
    let first = if segments.is_empty() { "" } else { segments.remove(0) };
    let value = segments
        .into_iter()
        .rev()
        .fold(value, |inner, segment| Json::Object(vec![(Cow::Owned(segment.to_owned()), inner)]));
    (Cow::Owned(first.to_owned()), value)
}

fn merge<'a>(members: impl Iterator<Item = (Cow<'a, str>, Json<'a>)>) -> Json<'a> {
    let mut merged: BTreeMap<Cow<'a, str>, Json<'a>> = BTreeMap::new();
    for (key, value) in members {
        let both = match merged.remove(&key) {
            Some(earlier) => join(earlier, value),
            None => value,
        };
        merged.insert(key, both);
    }
    Json::Object(merged.into_iter().collect())
}

/// A path that two keys lead to holds what both of them hold.
fn join<'a>(one: Json<'a>, other: Json<'a>) -> Json<'a> {
    match (one, other) {
        (Json::Object(one), Json::Object(other)) => merge(one.into_iter().chain(other)),
        (Json::List(mut one), Json::List(other)) => {
            one.extend(other);
            Json::List(one)
        }
        (Json::List(mut many), one) | (one, Json::List(mut many)) => {
            many.push(one);
            Json::List(many)
        }
        (one, other) => Json::List(vec![one, other]),
    }
}

/// Prints compact JSON for people: what is long is cut short.
impl fmt::Display for Json<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => out.write_str("null"),
            Json::Bool(flag) => flag.fmt(out),
            Json::Number(number) => out.write_str(&shortened(&number.to_string())),
            Json::Text(text) => quoted(text).fmt(out),
            Json::List(values) if values.is_empty() => out.write_str("[]"),
            Json::List(_) => out.write_str("an array"),
            Json::Object(members) if members.is_empty() => out.write_str("{}"),
            Json::Object(_) => out.write_str("an object"),
        }
    }
}

/// A text as JSON, cut short when it is long.
pub(crate) fn quoted(text: &str) -> String {
    harmless(Value::from(shortened(text)).to_string().chars())
}

/// A text for logs and people: JSON leaves some characters that move a terminal's cursor as they
/// are.
pub(crate) fn harmless(text: impl Iterator<Item = char>) -> String {
    let mut shown = String::new();
    for character in text {
        if character.is_control() {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// How long a text may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    bytes: usize,
    words: &'static str,
}

impl Limit {
    pub(crate) const PATTERN: Limit = Limit { bytes: 64 << 10, words: "at most 64 KiB" };
    pub(crate) const EVENT: Limit = Limit { bytes: 1 << 20, words: "at most 1 MiB" };
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// What was expected at the place where the reader stands.
type Expected = &'static str;

impl<'a> Reader<'a> {
    fn whole(&mut self) -> Result<Json<'a>, Expected> {
        let value = self.value()?;
        self.space();
        if self.at == self.text.len() { Ok(value) } else { Err("the end of the text") }
    }

    fn value(&mut self) -> Result<Json<'a>, Expected> {
        self.space();
        match self.peek() {
            Some(b'{') => self.nested(Reader::object),
            Some(b'[') => self.nested(Reader::list),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Json::Number),
            _ => self.word(),
        }
    }

    fn nested(
        &mut self,
        read: fn(&mut Reader<'a>) -> Result<Json<'a>, Expected>,
    ) -> Result<Json<'a>, Expected> {
        if self.depth == DEPTH {
            return Err("at most 32 levels of nesting");
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Json<'a>, Expected> {
        let mut members = Vec::new();
        self.space();
        if self.take(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err("a key in quotes");
            }
            let key = self.string()?;
            self.space();
            if !self.take(b':') {
                return Err("`:`");
            }
            members.push((key, self.value()?));
            self.space();
            if self.take(b'}') {
                return Ok(Json::Object(members));
            }
            if !self.take(b',') {
                return Err("`,` or `}`");
            }
        }
    }

    fn list(&mut self) -> Result<Json<'a>, Expected> {
        let mut values = Vec::new();
        self.space();
        if self.take(b']') {
            return Ok(Json::List(values));
        }
        loop {
            values.push(self.value()?);
            self.space();
            if self.take(b']') {
                return Ok(Json::List(values));
            }
            if !self.take(b',') {
                return Err("`,` or `]`");
            }
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Expected> {
        self.at += 1;
        let plain = self.plain();
        if self.take(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => return Err("a character other than a control character"),
                None => return Err("`\"`"),
            }
            text.push_str(self.plain());
        }
    }

    /// Characters that stand for themselves, up to a quote, an escape or a control character.
    fn plain(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let ends = |byte: u8| matches!(byte, b'"' | b'\\' | 0..0x20);
        let length = rest.bytes().position(ends).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn escape(&mut self) -> Result<char, Expected> {
        let letter = self.text.as_bytes().get(self.at + 1);
        let character = match letter {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.code_point(),
            Some(_) | None => return Err("an escape that JSON knows"),
        };
        self.at += 2;
        Ok(character)
    }

    fn code_point(&mut self) -> Result<char, Expected> {
        const DIGITS: Expected = "four hexadecimal digits after `\\u`";
        const PAIR: Expected = "a surrogate only as half of a pair";
        let first = self.code_unit(self.at).ok_or(DIGITS)?;
        if let Some(character) = char::from_u32(first) {
            self.at += 6;
            return Ok(character);
        }
        let second = self.code_unit(self.at + 6).ok_or(PAIR)?;
        if !(0xd800..0xdc00).contains(&first) || !(0xdc00..0xe000).contains(&second) {
            return Err(PAIR);
        }
        self.at += 12;
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(PAIR)
    }

    fn code_unit(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 6)?.strip_prefix("\\u")?;
        let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        hexadecimal.then(|| u32::from_str_radix(digits, 16).ok())?
    }

    fn number(&mut self) -> Result<Number<'a>, Expected> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(Number::Written(self.text.get(start..self.at).unwrap_or_default()))
    }

    fn digits(&mut self) -> Result<(), Expected> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err("a digit") }
    }

    fn word(&mut self) -> Result<Json<'a>, Expected> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let words =
            [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))];
        for (word, value) in words {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err("a JSON value")
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn fault(&self, expected: Expected) -> Fault {
        let before = self.text.get(..self.at).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let character = self.text.get(self.at..).unwrap_or_default().chars().next();
        Fault {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            expected,
            found: match character {
                Some('\u{feff}') => "a byte order mark".to_owned(),
                Some(character) if character.is_control() => character.escape_default().to_string(),
                Some(character) => format!("`{character}`"),
                None => "the end".to_owned(),
            },
        }
    }
}
