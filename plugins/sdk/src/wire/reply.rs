//! What a plugin answers, and every form of it that is tolerated.

use serde_json::{Value, json};

use super::{MAX_LINE, UNKNOWN_METHOD, excerpt, too_deep};
use crate::printable;

/// One reply line.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The id it answers to; `None` when it is absent, null or no whole number. A plugin may
    /// answer a line that it could not read with the id of the line before.
    pub id: Option<u64>,
    /// What it says.
    pub answer: Answer,
}

/// What a plugin says.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It did what it was asked; the value of `result`.
    Result(Value),
    /// It does not know the method, which is a normal answer and no failure.
    NotSupported,
    /// It tried and failed, and this is why. Never empty.
    Failed(String),
}

/// A line on stdout that is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("broken reply: {wrong}: `{excerpt}`")]
#[non_exhaustive]
pub struct BrokenReply {
    /// What is wrong with it.
    pub wrong: Wrong,
    /// The start of the line, escaped, at most 200 bytes.
    pub excerpt: String,
}

/// What is wrong with a line that is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is told by its text")]
#[non_exhaustive]
pub enum Wrong {
    #[error("longer than {MAX_LINE} bytes")]
    TooLong,
    #[error("UTF-16, expected UTF-8")]
    Utf16,
    #[error("not UTF-8")]
    NotUtf8,
    #[error("nested too deep")]
    TooDeep,
    #[error("not JSON")]
    NotJson,
    #[error("not a JSON object")]
    NotAnObject,
    #[error("neither `result` nor `error`")]
    SaysNothing,
}

/// Reads one line that a plugin wrote, without its line feed.
///
/// # Errors
/// [`BrokenReply`] when the line is no reply at all. A reply that tells of a failure is a reply.
pub fn read_reply(line: &[u8]) -> Result<Reply, BrokenReply> {
    parse(line).map_err(|wrong| BrokenReply { wrong, excerpt: excerpt(line) })
}

fn parse(line: &[u8]) -> Result<Reply, Wrong> {
    if line.len() > MAX_LINE {
        return Err(Wrong::TooLong);
    }
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let looks_wide = line.starts_with(b"\xff\xfe")
        || line.starts_with(b"\xfe\xff")
        || line.starts_with(b"{\0")
        || line.starts_with(b"\0{");
    if looks_wide {
        return Err(Wrong::Utf16);
    }
    let Ok(text) = std::str::from_utf8(line) else { return Err(Wrong::NotUtf8) };
    if too_deep(text) {
        return Err(Wrong::TooDeep);
    }
    let Ok(mut value) = serde_json::from_str::<Value>(text) else { return Err(Wrong::NotJson) };
    if !value.is_object() {
        return Err(Wrong::NotAnObject);
    }
    let mut member = |name: &str| value.get_mut(name).map(Value::take);
    let id = member("id").as_ref().and_then(whole);
    let answer = match (member("error"), member("result")) {
        (None | Some(Value::Null), Some(result)) => of_result(result),
        (None | Some(Value::Null), None) => return Err(Wrong::SaysNothing),
        (Some(error), _) => of_error(&error),
    };
    Ok(Reply { id, answer })
}

/// The whole number of an id; `7`, `7.0` and `"7"` are all 7.
fn whole(id: &Value) -> Option<u64> {
    let text = match id {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    text.strip_suffix(".0").unwrap_or(&text).parse().ok()
}

/// A result with an `error` and no `handled` tells of a failure; with `handled` it is the reply
/// of a handler, in which `error` is one of the keys.
fn of_result(result: Value) -> Answer {
    match result.get("error") {
        None | Some(Value::Null) => Answer::Result(result),
        Some(_) if result.get("handled").is_some() => Answer::Result(result),
        Some(error) => of_error(error),
    }
}

/// JSON-RPC's number for a method that does not exist.
const METHOD_NOT_FOUND: i64 = -32601;

fn of_error(error: &Value) -> Answer {
    let message = error.as_str().or_else(|| error.get("message")?.as_str());
    let text = message.map_or_else(|| error.to_string(), str::to_owned);
    let not_found = error.get("code").and_then(Value::as_i64) == Some(METHOD_NOT_FOUND);
    if not_found || text.starts_with(UNKNOWN_METHOD.trim_end()) {
        return Answer::NotSupported;
    }
    let text = printable(text.trim());
    Answer::Failed(if text.is_empty() { "no reason given".to_owned() } else { text })
}

/// The line of a reply with a result, its line feed included.
#[must_use]
pub fn result_line(result: &Value, id: &Value) -> String {
    format!("{}\n", json!({ "result": result, "id": id }))
}

/// The line of a reply to something that could not be read or done, its line feed included.
#[must_use]
pub fn failure_line(text: &str, id: &Value) -> String {
    format!("{}\n", json!({ "error": text, "id": id }))
}

impl Answer {
    /// The answer of a plugin that does not know `method`, as the value of `result`.
    #[must_use]
    pub fn unknown_method(method: &str) -> Value {
        json!({ "error": format!("{UNKNOWN_METHOD}{method}") })
    }

    /// Whether what was asked is done, where the answer says no more than that: `Configure`,
    /// `Initialize`, `Health`, `Shutdown`. A plugin that does not know the method has nothing to
    /// do there.
    ///
    /// # Errors
    /// Why it is not done.
    pub fn done(&self) -> Result<(), String> {
        let value = match self {
            Self::NotSupported => return Ok(()),
            Self::Failed(text) => return Err(text.clone()),
            Self::Result(value) => value,
        };
        let refusal = ["success", "healthy"]
            .into_iter()
            .find(|key| value.get(key).and_then(Value::as_bool) == Some(false));
        let reason = ["reason", "message"].into_iter().find_map(|key| value.get(key)?.as_str());
        match (refusal, reason) {
            (None, _) => Ok(()),
            (Some(_), Some(reason)) => Err(printable(reason)),
            (Some(key), None) => Err(format!("the plugin answered `{key}: false`")),
        }
    }

    /// The events in an answer to `GetSupportedEvents`; `None` when it names none, which leaves
    /// the choice to the policies.
    #[must_use]
    pub fn supported_events(&self) -> Option<Vec<String>> {
        let Self::Result(value) = self else { return None };
        let list = value.as_array().or_else(|| value.get("events")?.as_array())?;
        Some(list.iter().filter_map(Value::as_str).map(printable).collect())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;
    use crate::wire::EXCERPT;

    fn check(line: &[u8], expected: Expect) {
        expected.assert_eq(&match read_reply(line) {
            Ok(Reply { id, answer }) => format!("{id:?} {answer:?}"),
            Err(broken) => broken.to_string(),
        });
    }

    #[test]
    fn s1_19_a_result_is_handed_over_with_its_id() {
        check(
            br#"{"result":{"is_idle":true},"id":12345}"#,
            expect![[r#"Some(12345) Result(Object {"is_idle": Bool(true)})"#]],
        );
        check(b"{\"result\":null,\"error\":null,\"id\":1}\r", expect!["Some(1) Result(Null)"]);
    }

    #[test]
    fn s1_26_an_unknown_method_is_no_failure() {
        let expected = || expect!["Some(3) NotSupported"];
        check(br#"{"result":{"error":"Unknown method: Health"},"id":3}"#, expected());
        check(br#"{"error":"Unknown method: Health","id":3}"#, expected());
        check(br#"{"error":{"code":-32601,"message":"Method not found"},"id":3}"#, expected());
    }

    // S1-27
    #[test]
    fn errors_are_texts_or_objects_and_their_id_may_be_null_or_stale() {
        check(br#"{"error":"boom","id":null}"#, expect![[r#"None Failed("boom")"#]]);
        check(br#"{"error":"boom"}"#, expect![[r#"None Failed("boom")"#]]);
        check(br#"{"error":"boom","id":2}"#, expect![[r#"Some(2) Failed("boom")"#]]);
        check(
            br#"{"jsonrpc":"2.0","error":{"code":-1,"message":"boom"},"id":"2"}"#,
            expect![[r#"Some(2) Failed("boom")"#]],
        );
        check(br#"{"error":{},"id":2.0}"#, expect![[r#"Some(2) Failed("{}")"#]]);
        check(br#"{"error":" ","id":[]}"#, expect![[r#"None Failed("no reason given")"#]]);
    }

    // S1-28
    #[test]
    fn an_error_inside_a_result_is_a_failure() {
        check(
            br#"{"result":{"error":"connection refused"},"id":9}"#,
            expect![[r#"Some(9) Failed("connection refused")"#]],
        );
    }

    // S0-62
    #[test]
    fn a_handler_reply_may_carry_an_error_beside_handled() {
        check(
            br#"{"result":{"handled":false,"error":"Checkpoint API returned status 500"},"id":9}"#,
            expect![[
                r#"Some(9) Result(Object {"error": String("Checkpoint API returned status 500"), "handled": Bool(false)})"#
            ]],
        );
    }

    // S1-24
    #[test]
    fn done_is_anything_that_does_not_say_otherwise() {
        let done = |value| Answer::Result(value).done();
        assert_eq!(done(json!({ "success": true })), Ok(()));
        assert_eq!(done(json!(null)), Ok(()));
        assert_eq!(Answer::NotSupported.done(), Ok(()));
        assert!(done(json!({ "success": false })).is_err());
        assert_eq!(done(json!({ "healthy": false, "reason": "x" })), Err("x".to_owned()));
        assert_eq!(Answer::Failed("x".to_owned()).done(), Err("x".to_owned()));
    }

    // S1-42
    #[test]
    fn supported_events_are_a_list_or_nothing() {
        let events = Some(vec!["cloud.spot.interrupt".to_owned()]);
        let answer = |value| Answer::Result(value).supported_events();
        assert_eq!(answer(json!(["cloud.spot.interrupt", 3])), events);
        assert_eq!(answer(json!({ "events": ["cloud.spot.interrupt"] })), events);
        assert_eq!(answer(json!(true)), None);
        assert_eq!(Answer::NotSupported.supported_events(), None);
    }

    #[test]
    fn f12_garbage_is_named_and_shown_escaped() {
        check(b"hello\x1b[31m", expect![[r#"broken reply: not JSON: `hello\x1b[31m`"#]]);
        check(b"{\"result\":", expect![[r#"broken reply: not JSON: `{\"result\":`"#]]);
        check(b"{} {}", expect!["broken reply: not JSON: `{} {}`"]);
        check(b"[1]", expect!["broken reply: not a JSON object: `[1]`"]);
        check(
            b"{\"id\":1}",
            expect![[r#"broken reply: neither `result` nor `error`: `{\"id\":1}`"#]],
        );
        check(b"\x80\x00", expect![[r#"broken reply: not UTF-8: `\x80\x00`"#]]);
        check(
            b"\xff\xfe{\0}\0",
            expect![[r#"broken reply: UTF-16, expected UTF-8: `\xff\xfe{\x00}\x00`"#]],
        );
        check(b"{\0}\0", expect![[r#"broken reply: UTF-16, expected UTF-8: `{\x00}\x00`"#]]);
        check(b"\xef\xbb\xbf{\"result\":1}", expect!["None Result(Number(1))"]);
    }

    #[test]
    fn c9_bombs_are_refused_by_size_and_depth() {
        let deep = format!("{{\"result\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(read_reply(deep.as_bytes()).unwrap_err().wrong, Wrong::TooDeep);
        let long = format!("{{\"result\":\"{}\"}}", "x".repeat(MAX_LINE));
        assert_eq!(read_reply(long.as_bytes()).unwrap_err().wrong, Wrong::TooLong);
        let digits = format!("{{\"result\":{}}}", "9".repeat(60_000));
        assert_eq!(read_reply(digits.as_bytes()).unwrap_err().wrong, Wrong::NotJson);
        let surrogate = br#"{"result":"\ud800"}"#;
        assert_eq!(read_reply(surrogate).unwrap_err().wrong, Wrong::NotJson);
        let quoted = format!("{{\"result\":\"\\\"{}\"}}", "[".repeat(100));
        assert!(read_reply(quoted.as_bytes()).is_ok());
    }

    #[test]
    fn texts_of_a_plugin_cannot_paint_a_terminal() {
        check(br#"{"error":"a\u001b[2Jb\u0000"}"#, expect![[r#"None Failed("a?[2Jb?")"#]]);
    }

    proptest! {
        #[test]
        fn f12_no_bytes_make_the_reader_panic(line in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Err(broken) = read_reply(&line) {
                prop_assert!(broken.excerpt.len() <= EXCERPT && broken.excerpt.is_ascii());
            }
        }

        #[test]
        fn f12_a_good_line_cut_anywhere_is_broken_or_read(cut in 0usize..70) {
            let line = br#"{"result":{"handled":true,"status":"x","error":{"message":"y"}},"id":1}"#;
            let cut = cut.min(line.len() - 1);
            prop_assert!(read_reply(&line[..cut]).is_err());
        }
    }
}
