//! A plugin that says when it read an event, by the monotonic clock.

use std::io::{BufRead as _, Write as _};

use serde_json::{Value, json};
use snooze_tests::promises::monotonic;

fn main() -> std::io::Result<()> {
    let mut line = String::new();
    while std::io::stdin().lock().read_line(&mut line)? > 0 {
        let read_ns = monotonic();
        let request: Value = serde_json::from_str(&line)?;
        let result = match request.get("method").and_then(Value::as_str) {
            Some("Info") => json!({ "name": "stamp", "version": "1.0.0" }),
            Some("HandleEvent") => json!({ "handled": true, "read_ns": read_ns }),
            other => json!({ "error": format!("Unknown method: {}", other.unwrap_or_default()) }),
        };
        let reply = json!({ "result": result, "id": request.get("id") });
        writeln!(std::io::stdout(), "{reply}")?;
        line.clear();
    }
    Ok(())
}
