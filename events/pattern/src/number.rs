//! Numbers compared by value, with every digit they were written with.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};

/// A number of an event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number<'a> {
    /// As it stands in the JSON text.
    Written(&'a str),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
}

impl fmt::Display for Number<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Written(text) => out.write_str(text),
            Number::Signed(integer) => integer.fmt(out),
            Number::Unsigned(integer) => integer.fmt(out),
            // Plain notation of 1e300 would be 301 digits long.
            Number::Float(float) if (1e-6..1e16).contains(&float.abs()) => float.fmt(out),
            Number::Float(0.0) => out.write_str("0"),
            Number::Float(float) => write!(out, "{float:e}"),
        }
    }
}

/// A number of a pattern.
#[derive(Debug, Clone)]
pub(crate) struct Operand {
    text: Box<str>,
    nearest: f64,
    /// If it is written as an integer.
    integer: Option<i64>,
}

impl Operand {
    pub(crate) fn new(number: Number<'_>) -> Operand {
        let text = number.to_string();
        // JSON numbers are a subset of what `f64` reads; too large ones become infinite.
        let nearest = text.parse().unwrap_or(f64::NAN);
        let integer = text.parse().ok();
        Operand { text: text.into(), nearest, integer }
    }

    /// How a number of an event stands to this one; `None` only for what is not a number.
    pub(crate) fn order_of(&self, number: Number<'_>) -> Option<Ordering> {
        match number {
            Number::Written(text) => Some(Decimal::new(text).cmp(&self.decimal())),
            Number::Signed(integer) => Some(self.order_of_integer(integer.into())),
            Number::Unsigned(integer) => Some(self.order_of_integer(integer.into())),
            Number::Float(float) => float.partial_cmp(&self.nearest),
        }
    }

    /// The float nearest to it, `None` if there is none.
    pub(crate) fn nearest(&self) -> Option<f64> {
        (!self.nearest.is_nan()).then_some(self.nearest)
    }

    pub(crate) fn equals(&self, number: Number<'_>) -> bool {
        self.order_of(number) == Some(Ordering::Equal)
    }

    pub(crate) fn cmp(&self, other: &Operand) -> Ordering {
        self.decimal().cmp(&other.decimal())
    }

    fn order_of_integer(&self, integer: i128) -> Ordering {
        if let Some(own) = self.integer {
            return integer.cmp(&own.into());
        }
        let mut digits = Digits::default();
        // Twenty digits and a sign are all that 64 bits need, so the buffer takes them.
        let _ = write!(digits, "{integer}");
        Decimal::new(digits.as_str()).cmp(&self.decimal())
    }

    fn decimal(&self) -> Decimal<'_> {
        Decimal::new(&self.text)
    }
}

impl PartialEq for Operand {
    fn eq(&self, other: &Operand) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// A number read in place: `0.d₁d₂d₃… × 10^scale`, where d₁ and the last digit are not zero.
#[derive(Debug, Clone, Copy)]
struct Decimal<'a> {
    negative: bool,
    scale: i64,
    /// From the first digit that counts to the last, with the point if it lies between. Empty: zero.
    digits: &'a str,
}

impl<'a> Decimal<'a> {
    /// Reads a number in JSON notation.
    fn new(text: &'a str) -> Decimal<'a> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let point = mantissa.find('.').unwrap_or(mantissa.len());
        let counts = |c: char| matches!(c, '1'..='9');
        let (Some(first), Some(last)) = (mantissa.find(counts), mantissa.rfind(counts)) else {
            return Decimal { negative: false, scale: 0, digits: "" };
        };
        let leading =
            if first < point { distance(first, point) } else { 1 - distance(point, first) };
        Decimal {
            negative,
            scale: read_exponent(exponent).saturating_add(leading),
            digits: mantissa.get(first..=last).unwrap_or(""),
        }
    }

    fn cmp(&self, other: &Decimal<'_>) -> Ordering {
        match (self.sign(), other.sign()) {
            (1, 1) => self.magnitude_cmp(other),
            (-1, -1) => other.magnitude_cmp(self),
            (mine, theirs) => mine.cmp(&theirs),
        }
    }

    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }

    fn magnitude_cmp(&self, other: &Decimal<'_>) -> Ordering {
        self.scale.cmp(&other.scale).then_with(|| self.digits().cmp(other.digits()))
    }

    fn digits(&self) -> impl Iterator<Item = u8> {
        self.digits.bytes().filter(|&byte| byte != b'.')
    }
}

fn distance(from: usize, to: usize) -> i64 {
    i64::try_from(to - from).unwrap_or(i64::MAX)
}

/// An exponent too long for 64 bits is as good as the largest.
fn read_exponent(text: &str) -> i64 {
    let text = text.strip_prefix('+').unwrap_or(text);
    let endless = if text.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 };
    text.parse().unwrap_or(endless).clamp(i64::MIN / 2, i64::MAX / 2)
}

/// Room for an integer of 64 bits in decimal.
#[derive(Default)]
struct Digits {
    bytes: [u8; 24],
    length: usize,
}

impl Digits {
    fn as_str(&self) -> &str {
        let written = self.bytes.get(..self.length).unwrap_or_default();
        str::from_utf8(written).unwrap_or_default()
    }
}

impl fmt::Write for Digits {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let room = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_by_value_whatever_the_spelling() {
        let rising: [&[&str]; 12] = [
            &["-1e400"],
            &["-300", "-3e2", "-0.03e4", "-300.000"],
            &["-0.5", "-5e-1"],
            &["0", "-0", "0.0", "-0.0e9", "0e-99999999999999999999"],
            &["1e-400", "0.1e-399"],
            &["0.09", "9e-2"],
            &["0.1", "1e-1", "0.10"],
            &["1", "1.0", "10e-1", "0.01e2"],
            &["300", "300.0", "3.0e2", "3E+2"],
            &["9007199254740992"],
            &["9007199254740993", "9007199254740993.0", "9007199254.740993e6"],
            &["1e400", "0.1e401"],
        ];
        for (lower, left) in rising.iter().enumerate() {
            for (upper, right) in rising.iter().enumerate() {
                for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (a, b))) {
                    let order = Operand::new(Number::Written(b)).order_of(Number::Written(a));
                    assert_eq!(order, Some(lower.cmp(&upper)), "{a} against {b}");
                }
            }
        }
    }

    #[test]
    fn c10_no_number_goes_through_a_float_on_its_way() {
        let check = |pattern, number, order| {
            let operand = Operand::new(Number::Written(pattern));
            assert_eq!(operand.order_of(number), Some(order), "{number} against {pattern}");
        };
        check("18446744073709551615", Number::Unsigned(u64::MAX), Ordering::Equal);
        check("18446744073709551616", Number::Unsigned(u64::MAX), Ordering::Less);
        check("-9223372036854775808", Number::Signed(i64::MIN), Ordering::Equal);
        check("9223372036854775808", Number::Signed(i64::MAX), Ordering::Less);
        check("7e62", Number::Written("7e62"), Ordering::Equal);
        check("7e62", Number::Float(7e62), Ordering::Equal);
        check("1e400", Number::Float(f64::MAX), Ordering::Less);
        check("0", Number::Float(-0.0), Ordering::Equal);
    }
}
