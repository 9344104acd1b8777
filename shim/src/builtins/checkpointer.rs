//! `app-checkpointer`: asks an application over HTTP to save its state.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};
use snooze_plugin::wire::covers;
use snooze_plugin::{Config, Handled, Info, Plugin, PluginError, PluginEvent, Setting};

use super::http::{Response, Sender, target, told, url};
use super::notice::{budget, info, time_remaining};

/// Where the application listens when nobody says otherwise.
const DEFAULT_ENDPOINT: &str = "http://localhost:8080/api/checkpoint";

/// How long the application may take when nobody says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest answer of an application that is passed on, in bytes of JSON: a reply line of a
/// plugin is 64 KiB.
const MAX_APP_RESPONSE: usize = 32 * 1024;

/// Tells an application that it is an exercise.
const DRILL_HEADER: HeaderName = HeaderName::from_static("x-cloudsnooze-drill");

/// The events on which an application saves, each with the reason that it is told.
const REASONS: [(&str, &str); 6] = [
    ("cloud.spot.interrupt", "spot_termination"),
    ("cloud.spot.rebalance", "spot_rebalance"),
    ("cloud.instance.termination", "instance_termination"),
    ("cloud.autoscaling.scale", "autoscaling_scale"),
    ("instance.idle", "instance_idle"),
    ("custom*", "custom"),
];

#[derive(Default)]
pub(super) struct AppCheckpointer {
    settings: Settings,
    sender: Option<Sender>,
}

struct Settings {
    endpoint: Option<Url>,
    verify: bool,
    timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { endpoint: url(DEFAULT_ENDPOINT), verify: false, timeout: DEFAULT_TIMEOUT }
    }
}

fn settings() -> [Setting; 3] {
    let endpoint = "where the application takes the request to save";
    let verify = "the answer must say that the checkpoint succeeded";
    [
        Setting::text("app_endpoint", endpoint).default(DEFAULT_ENDPOINT),
        Setting::flag("verify_success", verify).default(false),
        Setting::number("timeout_seconds", 0.1..=3600.0, "how long the application may take")
            .default(DEFAULT_TIMEOUT.as_secs()),
    ]
}

impl Plugin for AppCheckpointer {
    fn info(&self) -> Info {
        Info {
            config_schema: Setting::schema(&settings()),
            permissions: vec!["network".to_owned()],
            ..info(
                "app-checkpointer",
                "Application Checkpointer",
                "Asks an application over HTTP to save its state",
                &["checkpoint", "http"],
            )
        }
    }

    fn supported_events(&self) -> Option<Vec<String>> {
        Some(REASONS.iter().map(|(kind, _)| (*kind).to_owned()).collect())
    }

    fn configure(&mut self, given: &Map<String, Value>) -> Result<(), PluginError> {
        let settings = settings();
        let mut config = Config::new(&settings, given);
        let settings = Settings {
            endpoint: target(&mut config, "app_endpoint"),
            verify: config.flag("verify_success"),
            timeout: config.seconds("timeout_seconds").unwrap_or(DEFAULT_TIMEOUT),
        };
        config.finish()?;
        *self = Self { settings, sender: None };
        Ok(())
    }

    fn initialize(&mut self) -> Result<(), PluginError> {
        self.sender()?;
        Ok(())
    }

    fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
        let known = REASONS.iter().find(|(named, _)| covers(named, &event.kind));
        let Some((_, reason)) = known else { return Ok(Handled::not_mine()) };
        let verify = self.settings.verify;
        let limit = budget(event, Duration::ZERO, self.settings.timeout);
        let body = json!({ "reason": reason, "time_remaining": time_remaining(event) });
        let mut headers = HeaderMap::new();
        if event.drill {
            headers.insert(DRILL_HEADER, HeaderValue::from_static("true"));
        }
        Ok(match self.sender()?.post(headers, body.to_string(), limit) {
            Ok(response) => judge(&response, verify),
            Err(error) => Handled::failed(told(&error)),
        })
    }
}

impl AppCheckpointer {
    fn sender(&mut self) -> Result<&Sender, PluginError> {
        let endpoint = self.settings.endpoint.as_ref();
        let endpoint = endpoint.ok_or_else(|| PluginError::new("`app_endpoint` is not usable"))?;
        if self.sender.is_none() {
            self.sender = Some(Sender::new(endpoint)?);
        }
        self.sender.as_ref().ok_or_else(|| PluginError::new("no HTTP client"))
    }
}

/// What the answer of the application means.
fn judge(response: &Response, verify: bool) -> Handled {
    if response.status != 200 {
        return Handled::failed(format!("Checkpoint API returned status {}", response.status));
    }
    let said = serde_json::from_slice(&response.body)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&response.body)));
    let succeeded = says_success(&said);
    let passed_on = match said.to_string().len() {
        length if length <= MAX_APP_RESPONSE => said,
        length => Value::from(format!("{length} bytes, too long to pass on")),
    };
    let handled = match (verify, succeeded) {
        (false, _) => Handled::with_status("checkpoint_triggered"),
        (true, true) => Handled::with_status("checkpoint_triggered").verified(true),
        (true, false) => Handled::failed(
            "the application answered 200 but not that its checkpoint succeeded; expected \
             `\"success\": true` or a `status` such as `saved`",
        )
        .verified(false),
    };
    handled.and("app_response", passed_on)
}

/// Whether an answer says that the checkpoint is done: `"success": true`, or a `status` that means
/// so.
fn says_success(said: &Value) -> bool {
    const DONE: [&str; 7] =
        ["ok", "success", "succeeded", "saved", "done", "complete", "completed"];
    match said.get("success").and_then(Value::as_bool) {
        Some(success) => success,
        None => said.get("status").and_then(Value::as_str).is_some_and(|word| DONE.contains(&word)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::http::tests::Server;
    use super::*;

    fn checkpoint(server: &Server, mut config: Value, event: Value) -> Handled {
        let mut plugin = AppCheckpointer::default();
        let map = config.as_object_mut().unwrap();
        map.insert("app_endpoint".to_owned(), json!(format!("http://{}/save", server.place)));
        plugin.configure(map).unwrap();
        plugin.initialize().unwrap();
        snooze_plugin::handle(&mut plugin, &PluginEvent::read(event)).unwrap()
    }

    fn notice(remaining: Value) -> Value {
        json!({ "type": "cloud.spot.interrupt", "data": { "timeRemaining": remaining } })
    }

    #[test]
    fn s0_61_the_body_and_the_result_are_those_of_the_sample() {
        let server = Server::answering("200 OK", r#"{"saved_orders": 7}"#);
        let handled = checkpoint(&server, json!({}), notice(json!(118.25)));
        let received = server.received();
        assert!(received.head.starts_with("POST /save HTTP/1.1"), "{}", received.head);
        assert_eq!(received.body, r#"{"reason":"spot_termination","time_remaining":118.25}"#);
        assert_eq!(
            handled.to_value(),
            json!({ "handled": true, "status": "checkpoint_triggered",
                "app_response": { "saved_orders": 7 } })
        );
        checkpoint(&server, json!({}), notice(json!(90)));
        assert_eq!(server.received().body, r#"{"reason":"spot_termination","time_remaining":90}"#);
        checkpoint(&server, json!({}), notice(json!(null)));
        assert_eq!(server.received().body, r#"{"reason":"spot_termination","time_remaining":120}"#);
    }

    #[test]
    fn s0_61_any_other_status_is_not_handled() {
        for status in ["500 Broken", "202 Later", "301 Moved"] {
            let server = Server::answering(status, "{}");
            let handled = checkpoint(&server, json!({}), notice(json!(60)));
            let number = &status[..3];
            let error = format!("Checkpoint API returned status {number}");
            assert_eq!(handled.to_value(), json!({ "handled": false, "error": error }));
        }
    }

    // S0-50
    #[test]
    fn with_verify_success_the_answer_must_say_that_it_succeeded() {
        let table = [
            (r#"{"success": true}"#, true),
            (r#"{"status": "saved"}"#, true),
            (r#"{"success": false, "status": "ok"}"#, false),
            (r#"{"status": "started"}"#, false),
            ("OK", false),
        ];
        for (answer, good) in table {
            let server = Server::answering("200 OK", answer);
            let config = json!({ "verify_success": true });
            let handled = checkpoint(&server, config, notice(json!(60)));
            assert_eq!((handled.handled, handled.verified), (good, Some(good)), "{answer}");
        }
    }

    #[test]
    fn an_application_that_hangs_costs_what_is_left_and_no_more() {
        let server = Server::raw("");
        let handled = checkpoint(&server, json!({}), notice(json!(0.1)));
        assert_eq!(
            handled,
            Handled::failed(format!("`{}` did not answer within 0.1 s", server.place))
        );
    }

    #[test]
    fn the_application_is_told_what_for() {
        let server = Server::answering("200 OK", "{}");
        for (kind, reason) in [
            ("cloud.autoscaling.scale", "autoscaling_scale"),
            ("instance.idle", "instance_idle"),
            ("custom.deploy", "custom"),
        ] {
            assert!(checkpoint(&server, json!({}), json!({ "type": kind })).handled, "{kind}");
            let expected = json!({ "reason": reason, "time_remaining": 120 }).to_string();
            assert_eq!(server.received().body, expected);
        }
    }

    // S0-60
    #[test]
    fn events_of_other_kinds_are_left_alone() {
        let server = Server::answering("200 OK", "{}");
        let handled = checkpoint(&server, json!({}), json!({ "type": "system.disk.low" }));
        assert_eq!(handled, Handled::not_mine());
        assert!(server.heard_nothing());
    }

    #[test]
    fn a_drill_is_told_to_the_application() {
        let server = Server::answering("200 OK", "plain text");
        let event = json!({ "type": "custom.deploy", "data": { "drill": true } });
        let handled = checkpoint(&server, json!({}), event);
        assert_eq!(handled.more["app_response"], "plain text");
        let received = server.received();
        assert!(received.head.contains("x-cloudsnooze-drill: true"), "{}", received.head);
        assert!(received.body.contains(r#""reason":"custom""#));
    }

    // D-7
    #[test]
    fn the_configured_endpoint_wins_and_the_sample_is_the_default() {
        let default = AppCheckpointer::default().settings.endpoint.unwrap();
        assert_eq!(default.as_str(), DEFAULT_ENDPOINT);
        let mut plugin = AppCheckpointer::default();
        let config = json!({ "app_endpoint": "http://localhost:8080/checkpoint" });
        plugin.configure(config.as_object().unwrap()).unwrap();
        assert_eq!(plugin.settings.endpoint.unwrap().path(), "/checkpoint");
        let config = json!({ "app_endpoint": "unix:hunter2" });
        let error = AppCheckpointer::default().configure(config.as_object().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "`app_endpoint`: expected an HTTP URL");
    }

    #[test]
    fn an_answer_too_long_for_a_reply_line_is_not_passed_on() {
        let server = Server::answering("200 OK", &format!("\"{}\"", "x".repeat(60_000)));
        let handled = checkpoint(&server, json!({}), notice(json!(60)));
        assert_eq!(handled.more["app_response"], "60002 bytes, too long to pass on");
    }
}
