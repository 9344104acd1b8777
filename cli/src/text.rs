//! Texts for people: escaped, cut, aligned.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

/// The widest cell of a table, in characters.
const CELL: usize = 160;

/// A text that came from outside, on one line and without characters that steer a terminal or
/// turn the reading direction.
pub(crate) fn shown(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if steers(c) {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
        out
    })
}

/// Lines as they stand, each of them escaped.
pub(crate) fn shown_lines(text: &str) -> String {
    text.split('\n').map(shown).collect::<Vec<_>>().join("\n")
}

/// JSON on several lines; in a JSON text such characters can only stand in strings.
pub(crate) fn json(value: &Value) -> String {
    escaped_json(&format!("{value:#}"))
}

/// JSON on one line.
pub(crate) fn json_line(value: &Value) -> String {
    escaped_json(&value.to_string())
}

/// A text that is JSON, with its own white space.
pub(crate) fn json_as_it_stands(text: &str) -> String {
    let plain = text.replace("\r\n", "\n").replace('\r', "\n");
    plain.trim_end().split('\t').map(escaped).collect::<Vec<_>>().join("\t") + "\n"
}

fn escaped_json(text: &str) -> String {
    escaped(text) + "\n"
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if c != '\n' && steers(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

fn steers(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    c.is_control() || turns
}

/// At most `most` characters.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// A member as a text for a cell: `-` where it is not there.
pub(crate) fn cell(value: &Value, name: &str) -> String {
    match value.get(name) {
        None | Some(Value::Null) => word(""),
        Some(Value::String(text)) => word(text),
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
            word(&other.to_string())
        }
    }
}

/// A text for a cell: `-` where it is empty.
pub(crate) fn word(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { cut(&shown(text), CELL) }
}

/// The members of a list.
pub(crate) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Rows in columns of equal width, two spaces between them.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Each line moved to the right.
pub(crate) fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}

/// A duration with at most two units.
pub(crate) fn took(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds, duration.as_millis()) {
        (_, millis @ 0..1000) => format!("{millis} ms"),
        (0..60, _) => format!("{:.1} s", duration.as_secs_f64()),
        (60..3600, _) => format!("{} min {} s", seconds / 60, seconds % 60),
        (3600..86_400, _) => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Like [`took`], of a member with a number of seconds.
pub(crate) fn seconds(value: &Value, name: &str) -> String {
    let seconds = value.get(name).and_then(Value::as_f64);
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.map_or_else(|| "-".to_owned(), took)
}

/// A member with a moment, to the millisecond.
pub(crate) fn moment(value: &Value, name: &str) -> String {
    let moment = value.get(name).and_then(Value::as_str).and_then(|text| text.parse().ok());
    moment.map_or_else(|| cell(value, name), at)
}

/// A moment, to the millisecond.
pub(crate) fn at(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Like [`took`], of a member with a number of milliseconds.
pub(crate) fn milliseconds(value: &Value, name: &str) -> String {
    let millis = value.get(name).and_then(Value::as_u64);
    millis.map_or_else(|| "-".to_owned(), |millis| took(Duration::from_millis(millis)))
}

/// A count with its noun.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn c11_what_steers_a_terminal_is_escaped() {
        let hostile = "a\u{1b}[2J\r\n\u{7f}\u{9b}0m\u{202e}b${jndi:x}ä";
        let safe = "a\\u{1b}[2J\\r\\n\\u{7f}\\u{9b}0m\\u{202e}b${jndi:x}ä";
        assert_eq!(shown(hostile), safe);
        assert_eq!(shown_lines("a\n\u{7}"), "a\n\\u{7}");
    }

    #[test]
    fn c11_json_stays_the_same_json_and_steers_nothing() {
        let hostile = json!({ "a\u{9b}": "\u{1b}\u{7f}\u{2028}\n" });
        for text in [json(&hostile), json_line(&hostile)] {
            assert!(!text.trim_end().chars().any(|c| c != '\n' && steers(c)), "{text}");
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), hostile);
        }
    }

    #[test]
    fn c11_a_stored_document_keeps_its_form_and_steers_nothing() {
        let stored = "{\r\n\t\"a\": \"\u{9b}2J\u{202e}\"\r\n}\r\n\n";
        let text = json_as_it_stands(stored);
        assert_eq!(text, "{\n\t\"a\": \"\\u009b2J\\u202e\"\n}\n");
        let values = [&text, stored].map(|text| serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(values[0], values[1]);
    }

    #[test]
    fn c11_a_name_of_64_kib_takes_one_cell() {
        let value = json!({ "name": "x".repeat(64 << 10) });
        assert_eq!(cell(&value, "name").chars().count(), CELL);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["A", "B"], ["longer", "x"], ["ä", "yy"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "A       B\nlonger  x\nä       yy\n");
    }

    #[test]
    fn durations_have_the_units_that_fit() {
        let texts = [0.0, 0.0204, 1.25, 59.9, 61.0, 3_725.0, 90_000.0]
            .map(|seconds| took(Duration::from_secs_f64(seconds)));
        assert_eq!(
            texts,
            ["0 ms", "20 ms", "1.2 s", "59.9 s", "1 min 1 s", "1 h 2 min", "1 d 1 h"]
        );
    }
}
