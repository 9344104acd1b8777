//! What is told to the person at the terminal.

use std::io::Write as _;

/// A line of a result, on stdout.
pub(crate) fn say(text: &str) {
    // Whoever closed our output does not want it.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Progress, on stderr.
pub(crate) fn progress(text: &str) {
    // As above.
    let _ = writeln!(std::io::stderr().lock(), "==> {text}");
}

/// What went wrong, on stderr.
pub(crate) fn complain(text: &str) {
    // As above.
    let _ = writeln!(std::io::stderr().lock(), "xtask: {text}");
}
