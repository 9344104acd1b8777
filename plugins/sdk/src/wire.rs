//! The messages: one JSON object a line, UTF-8, ended by a line feed.
//!
//! ```text
//! host   -> plugin  {"method":"CheckIdle","params":{"metrics":{…}},"id":12345}
//! plugin -> host    {"result":{"is_idle":true,"reason":"…","details":{…}},"id":12345}
//! ```
//!
//! Everything here is a pure function of bytes. What to do about a stale id, a second reply or
//! one that never comes is the host's to decide.

mod lines;
mod reply;
mod request;

pub use lines::{LineBuffer, TooMuchOutput};
pub use reply::{Answer, BrokenReply, Reply, Wrong, failure_line, read_reply, result_line};
pub use request::{Method, NotAMethod, NotARequest, Request, read_request, request_line};

/// The longest reply line in bytes, its line feed not counted. A reply is a verdict, not a
/// transfer: one that needs more is a fault of the plugin.
pub const MAX_LINE: usize = 64 * 1024;

/// The most bytes that a plugin may write to stdout for one request.
pub const MAX_OUTPUT: usize = 1024 * 1024;

/// The longest request line in bytes. An event may be 1 MiB; its envelope is not counted there.
pub const MAX_REQUEST: usize = 1024 * 1024 + 64 * 1024;

/// The deepest nesting that is read.
pub const MAX_DEPTH: usize = 32;

/// The most bytes that an excerpt of a broken line takes, escaped.
pub const EXCERPT: usize = 200;

/// How a text of a plugin begins that says that it does not know a method.
const UNKNOWN_METHOD: &str = "Unknown method: ";

/// Whether a type that a plugin names is that of an event; `*` at its end stands for anything.
#[must_use]
pub fn covers(named: &str, kind: &str) -> bool {
    match named.strip_suffix('*') {
        Some(start) => kind.starts_with(start),
        None => kind == named,
    }
}

/// Whether the JSON text nests deeper than [`MAX_DEPTH`]; brackets in strings do not count.
fn too_deep(text: &str) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

/// The start of a line in printable ASCII, at most [`EXCERPT`] bytes.
fn excerpt(line: &[u8]) -> String {
    let mut text = String::new();
    for &byte in line {
        let escaped = byte.escape_ascii().to_string();
        if text.len() + escaped.len() > EXCERPT {
            break;
        }
        text.push_str(&escaped);
    }
    text
}
