//! Standard output.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::failure::Failure;
use crate::text;

/// Prints lines; whatever they hold, they steer no terminal.
pub(crate) fn say(lines: &str) -> Result<(), Failure> {
    raw(text::shown_lines(lines).as_bytes())
}

/// Prints data as JSON, or for people as `person` tells it.
pub(crate) fn show(
    json: bool,
    data: &Value,
    person: impl FnOnce(&Value) -> String,
) -> Result<(), Failure> {
    match json {
        true => raw(text::json(data).as_bytes()),
        false => say(&person(data)),
    }
}

/// Prints lines on standard error.
pub(crate) fn complain(lines: &str) {
    // There is no better place to tell that it cannot be told.
    let _ = io::stderr().write_all(text::shown_lines(lines).as_bytes());
}

/// Whether the person at the terminal says yes. Where nobody is, `instead` says what does without
/// asking.
pub(crate) fn agreed(question: &str, instead: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!("nobody is there to agree: {instead}")));
    }
    complain(&format!("{question} [y/N] "));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|source| Failure::system("read your answer", &source))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Prints bytes as they are.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|source| Failure::output(&source))
}

/// Lets time pass, between two looks at something.
pub(crate) fn pause(time: Duration) {
    let (_silent, nobody) = mpsc::channel::<()>();
    // The sender lives, so only the time ends the wait.
    let _ = nobody.recv_timeout(time);
}
