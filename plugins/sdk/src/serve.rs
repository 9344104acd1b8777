//! The loop of a plugin process.

use std::io::{self, BufRead, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::wire::{
    Answer, MAX_LINE, MAX_REQUEST, Method, Request, covers, failure_line, read_request, result_line,
};
use crate::{Handled, Metrics, Plugin, PluginError, PluginEvent};

/// Serves a plugin over stdin and stdout until the host says `Shutdown` or is gone. All of `main`.
///
/// Write logs to stderr: stdout is the protocol's.
pub fn serve(mut plugin: impl Plugin) -> ExitCode {
    serve_dyn(&mut plugin)
}

/// As [`serve`], for a plugin that was chosen at run time.
pub fn serve_dyn(plugin: &mut dyn Plugin) -> ExitCode {
    match serve_on(plugin, io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Serves a plugin over any two streams, until `Shutdown` or the end of `requests`; in either
/// case the plugin is shut down.
///
/// # Errors
/// When a stream fails: the host is gone.
pub fn serve_on(
    plugin: &mut dyn Plugin,
    mut requests: impl BufRead,
    mut replies: impl Write,
) -> io::Result<()> {
    while let Some(line) = next_line(&mut requests)? {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let request = match read_request(&line) {
            Ok(request) => request,
            Err(error) => {
                send(&mut replies, &failure_line(&error.to_string(), &Value::Null))?;
                continue;
            }
        };
        let last = request.method == Method::Shutdown.as_str();
        let id = request.id.clone();
        let reply = match catch_unwind(AssertUnwindSafe(|| answer(plugin, request))) {
            Ok(Ok(result)) => match result_line(&result, &id) {
                line if line.len() <= MAX_LINE => line,
                _ => failure_line("the plugin's answer is too long for one line", &id),
            },
            Ok(Err(error)) => failure_line(&error.to_string(), &id),
            Err(_) => failure_line("the plugin panicked; its log has the reason", &id),
        };
        send(&mut replies, &reply)?;
        if last {
            return Ok(());
        }
    }
    // Nobody is left to hear of a failure or a panic.
    drop(catch_unwind(AssertUnwindSafe(|| plugin.shutdown())));
    Ok(())
}

/// What a plugin answers to one request: the value of `result`.
///
/// # Errors
/// What the plugin says went wrong.
pub fn answer(plugin: &mut dyn Plugin, request: Request) -> Result<Value, PluginError> {
    let Ok(method) = request.method.parse::<Method>() else {
        return Ok(Answer::unknown_method(&request.method));
    };
    let mut params = request.params;
    let mut param = |name: &str| params.remove(name).unwrap_or(Value::Null);
    let done = |()| json!({ "success": true });
    let result = match method {
        Method::Info => Ok(plugin.info().to_value()),
        Method::Configure => {
            let config = param("config");
            plugin.configure(config.as_object().unwrap_or(&serde_json::Map::new())).map(done)
        }
        Method::Initialize => plugin.initialize().map(done),
        Method::CheckIdle => {
            plugin.check_idle(&Metrics::read(&param("metrics"))).map(|vote| vote.to_value())
        }
        Method::HandleEvent => {
            handle(plugin, &PluginEvent::read(param("event"))).map(|done| done.to_value())
        }
        Method::GetSupportedEvents => plugin
            .supported_events()
            .map(|events| json!(events))
            .ok_or(PluginError::not_supported()),
        Method::Health => plugin.health().map(|()| json!({ "healthy": true })),
        Method::Shutdown => plugin.shutdown().map(done),
    };
    match result {
        Err(error) if error.is_not_supported() => Ok(Answer::unknown_method(method.as_str())),
        result => result,
    }
}

/// Hands an event to the plugin, if it is of a type that the plugin handles.
///
/// # Errors
/// What the plugin says went wrong.
pub fn handle(plugin: &mut dyn Plugin, event: &PluginEvent) -> Result<Handled, PluginError> {
    let supported = plugin.supported_events();
    match supported.is_none_or(|names| names.iter().any(|named| covers(named, &event.kind))) {
        true => plugin.handle_event(event),
        false => Ok(Handled::not_mine()),
    }
}

/// The next line without its line feed; of one that is too long just so much that it is seen to
/// be too long. `None` at the end.
fn next_line(requests: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let limit = u64::try_from(MAX_REQUEST + 2).unwrap_or(u64::MAX);
    if requests.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_none() && line.len() > MAX_REQUEST {
        requests.skip_until(b'\n')?;
    }
    Ok(Some(line))
}

fn send(replies: &mut impl Write, line: &str) -> io::Result<()> {
    replies.write_all(line.as_bytes())?;
    replies.flush()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::Map;

    use super::*;
    use crate::{Info, Vote};

    #[derive(Default)]
    struct Sample {
        threshold: u64,
        ended: u32,
    }

    impl Plugin for Sample {
        fn info(&self) -> Info {
            Info::new("sample", "1.0.0")
        }

        fn configure(&mut self, config: &Map<String, Value>) -> Result<(), PluginError> {
            let given =
                config.get("threshold").ok_or(PluginError::new("`threshold` is missing"))?;
            self.threshold = given.as_str().unwrap_or_default().parse()?;
            Ok(())
        }

        fn check_idle(&mut self, metrics: &Metrics) -> Result<Vote, PluginError> {
            assert!(metrics.cpu_usage < 1000.0, "impossible");
            Ok(Vote::idle(format!("{} {}", metrics.cpu_usage, self.threshold)))
        }

        fn shutdown(&mut self) -> Result<(), PluginError> {
            self.ended += 1;
            Ok(())
        }
    }

    fn check(requests: &[u8], expected: Expect) {
        let mut plugin = Sample::default();
        let mut replies = Vec::new();
        serve_on(&mut plugin, requests, &mut replies).unwrap();
        expected.assert_eq(&String::from_utf8(replies).unwrap());
        assert_eq!(plugin.ended, 1, "shut down once, whether asked or left alone");
    }

    // S1-02, S1-24, S1-26, S1-42
    #[test]
    fn a_plugin_lives_from_info_to_shutdown() {
        check(
            br#"
                {"method":"Info","params":{},"id":1}
                {"method":"Configure","params":{"config":{"threshold":"7"}},"id":2}
                {"method":"Initialize","params":{},"id":3}
                {"method":"GetSupportedEvents","params":{},"id":4}
                {"method":"CheckIdle","params":{"metrics":{"cpu_usage":1.5}},"id":5}
                {"method":"HandleEvent","params":{"event":{}},"id":6}
                {"method":"Dance","params":{},"id":7}
                {"method":"Health","id":"8"}
                {"method":"Shutdown","params":{},"id":9}
                {"method":"Info","params":{},"id":10}
            "#,
            expect![[r#"
                {"id":1,"result":{"author":"","category":"","description":"","display_name":"sample","name":"sample","protocol":{"max":1,"min":1},"tags":[],"version":"1.0.0"}}
                {"id":2,"result":{"success":true}}
                {"id":3,"result":{"success":true}}
                {"id":4,"result":{"error":"Unknown method: GetSupportedEvents"}}
                {"id":5,"result":{"is_idle":true,"reason":"1.5 7"}}
                {"id":6,"result":{"error":"Unknown method: HandleEvent"}}
                {"id":7,"result":{"error":"Unknown method: Dance"}}
                {"id":"8","result":{"healthy":true}}
                {"id":9,"result":{"success":true}}
            "#]],
        );
    }

    // S1-27
    #[test]
    fn what_cannot_be_read_or_done_is_an_error_reply_and_the_plugin_goes_on() {
        check(
            b"hello\n{\"id\":1}\n{\"method\":\"Configure\",\"id\":2}\n\
              {\"method\":\"Configure\",\"params\":{\"config\":{\"threshold\":\"x\"}},\"id\":3}\n\
              {\"method\":\"CheckIdle\",\"params\":{\"metrics\":{\"cpu_usage\":5000}},\"id\":4}\n\
              {\"method\":\"Health\",\"id\":5}",
            expect![[r#"
                {"error":"request is not JSON: expected value at line 1 column 1","id":null}
                {"error":"request has no method","id":null}
                {"error":"`threshold` is missing","id":2}
                {"error":"invalid digit found in string","id":3}
                {"error":"the plugin panicked; its log has the reason","id":4}
                {"id":5,"result":{"healthy":true}}
            "#]],
        );
    }

    #[test]
    fn c9_a_request_that_is_too_long_or_too_deep_is_refused_and_the_next_is_read() {
        let mut requests = vec![b'x'; 2 * MAX_REQUEST];
        requests.extend_from_slice(b"\n{\"params\":");
        requests.extend(std::iter::repeat_n(b'[', 10_000));
        requests.extend_from_slice(b"\n{\"method\":\"Health\",\"id\":5}\n");
        check(
            &requests,
            expect![[r#"
                {"error":"request line longer than 1114112 bytes","id":null}
                {"error":"request nested too deep","id":null}
                {"id":5,"result":{"healthy":true}}
            "#]],
        );
    }

    // S0-60, S1-41
    #[test]
    fn a_ten_line_plugin_handles_its_event() {
        struct Saver;
        impl Plugin for Saver {
            fn info(&self) -> Info {
                Info::new("saver", "1.0.0")
            }

            fn supported_events(&self) -> Option<Vec<String>> {
                Some(vec!["cloud.spot.*".to_owned()])
            }

            fn handle_event(&mut self, _event: &PluginEvent) -> Result<Handled, PluginError> {
                Ok(Handled::with_status("saved").verified(true))
            }
        }
        let mut replies = Vec::new();
        let requests =
            br#"{"method":"HandleEvent","params":{"event":{"type":"cloud.spot.interrupt"}},"id":1}
            {"method":"HandleEvent","params":{"event":{"type":"system.disk.low"}},"id":2}"#;
        serve_on(&mut Saver, &requests[..], &mut replies).unwrap();
        expect![[r#"
            {"id":1,"result":{"handled":true,"status":"saved","verified":true}}
            {"id":2,"result":{"handled":false}}
        "#]]
        .assert_eq(&String::from_utf8(replies).unwrap());
    }
}
