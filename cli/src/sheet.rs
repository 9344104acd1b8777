//! Lists as comma-separated values, for spreadsheets (RFC 4180).

use std::io;

use serde_json::Value;

use crate::daemon::Context;
use crate::failure::Failure;
use crate::{screen, text};

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A table for people
    Text,
    /// JSON, as with `--json`
    Json,
    /// Comma-separated values with a header
    Csv,
}

/// Prints a list in a format; `person` and `rows` say how the other two look.
pub(crate) fn show<const N: usize>(
    format: Option<Format>,
    context: &Context,
    data: &Value,
    person: impl FnOnce() -> String,
    rows: impl FnOnce() -> Vec<[String; N]>,
) -> Result<(), Failure> {
    match format.unwrap_or(if context.json { Format::Json } else { Format::Text }) {
        Format::Text if context.json => Err(Failure::usage("`--json` is not `--format text`")),
        Format::Csv if context.json => Err(Failure::usage("`--json` is not `--format csv`")),
        Format::Text => screen::say(&person()),
        Format::Json => screen::raw(text::json(data).as_bytes()),
        Format::Csv => {
            let sheet = sheet(&rows());
            screen::raw(&sheet.map_err(|source| Failure::system("write CSV", &source))?)
        }
    }
}

/// A member as a cell: empty where it is not there, and nothing that steers a terminal or that a
/// spreadsheet takes for a formula.
pub(crate) fn cell(value: &Value, name: &str) -> String {
    match value.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => words(text),
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
            text::shown(&other.to_string())
        }
    }
}

/// A text as a cell, like [`cell`]. A spreadsheet takes what begins so for a formula (OWASP, "CSV
/// Injection", checked 2026-11); an apostrophe makes it a text.
pub(crate) fn words(words: &str) -> String {
    let shown = text::shown(words);
    if shown.starts_with(['=', '+', '-', '@']) { format!("'{shown}") } else { shown }
}

fn sheet<const N: usize>(rows: &[[String; N]]) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row)?;
    }
    writer.into_inner().map_err(|error| io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_needs_quotes_has_them() {
        let rows = [["A", "B"], ["one, two", "say \"so\""]].map(|row| row.map(str::to_owned));
        let text = String::from_utf8(sheet(&rows).unwrap()).unwrap();
        assert_eq!(text, "A,B\n\"one, two\",\"say \"\"so\"\"\"\n");
    }

    #[test]
    fn c11_a_cell_is_no_formula_and_steers_nothing() {
        let value = json!({ "a": "=HYPERLINK(\"x\")", "b": "\u{1b}[2J\n", "c": -1.5, "d": null,
            "e": "@x", "f": "a-b" });
        let cells = ["a", "b", "c", "d", "e", "f", "g"].map(|name| cell(&value, name));
        assert_eq!(cells, ["'=HYPERLINK(\"x\")", "\\u{1b}[2J\\n", "-1.5", "", "'@x", "a-b", ""]);
    }
}
