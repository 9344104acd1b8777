//! JSON text from outside, with bounds.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::Fault;
use crate::fault::shown;

/// The longest policy document, in bytes.
pub const SIZE: usize = 64 * 1024;

/// How many lists and objects may stand inside one another in a policy document.
pub const DEPTH: usize = 32;

/// The value of a text that is at most [`SIZE`] long, at most [`DEPTH`] deep, and in which no
/// object has a key twice: two readers would disagree about which one holds.
/// # Errors
/// The one fault that makes it unreadable.
pub fn parse(text: &str) -> Result<Value, Fault> {
    if text.len() > SIZE {
        let text = format!("{} bytes are too long: at most {SIZE} are allowed", text.len());
        return Err(Fault::new("$", text));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Bounded { depth: DEPTH }.deserialize(&mut reader);
    value
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| Fault::new("$", format!("not readable as JSON: {error}")))
}

/// Reads a value that may be `depth` deep.
#[derive(Clone, Copy)]
struct Bounded {
    depth: usize,
}

impl Bounded {
    fn inside<E: Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth }),
            None => Err(E::custom(format!("more than {DEPTH} lists and objects in one another"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Bounded {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(inside)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut members = Map::new();
        while let Some(key) = object.next_key::<String>()? {
            if members.contains_key(&key) {
                return Err(A::Error::custom(format!("the key {} stands twice", shown(&key))));
            }
            let value = object.next_value_seed(inside)?;
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_through_as_they_are() {
        let text = r#"{"a":[null,true,-1,18446744073709551615,1.5,"x"],"b":{"c":{}}}"#;
        assert_eq!(parse(text).unwrap().to_string(), text);
    }

    #[test]
    fn c9_bombs_are_refused_with_a_reason() {
        let deep = |open: &str, close: &str, depth| open.repeat(depth) + "1" + &close.repeat(depth);
        assert!(parse(&deep("[", "]", 32)).is_ok());
        assert!(parse(&deep("{\"a\":", "}", 32)).is_ok());
        let bombs = [
            (deep("[", "]", 33), "more than 32 lists and objects"),
            (deep("{\"a\":", "}", 33), "more than 32 lists and objects"),
            (deep("[", "]", 10_000), "more than 32 lists and objects"),
            (format!("\"{}\"", "x".repeat(SIZE)), "too long"),
            ("9".repeat(10_000_000), "too long"),
            ("9".repeat(60_000), "number out of range"),
            ("1e400".to_owned(), "number out of range"),
            (r#"{"a":1,"a":2}"#.to_owned(), "the key `a` stands twice"),
            (r#"{"a":1,"\u0061":2}"#.to_owned(), "the key `a` stands twice"),
            (r#""\ud800""#.to_owned(), "not readable"),
            ("\"\0\"".to_owned(), "control character"),
            ("\u{feff}{}".to_owned(), "expected value"),
            (String::new(), "EOF"),
            ("{} {}".to_owned(), "trailing"),
        ];
        for (bomb, reason) in bombs {
            let fault = parse(&bomb).unwrap_err().to_string();
            let start: String = bomb.chars().take(20).collect();
            assert!(fault.contains(reason) && fault.len() < 200, "{start}: {fault}");
        }
    }
}
