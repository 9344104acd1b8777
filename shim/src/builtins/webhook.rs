//! `webhook-notifier`: tells a web server of an event.

use std::time::Duration;

use aws_lc_rs::hmac;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use snooze_plugin::{Config, Handled, Info, Plugin, PluginError, PluginEvent, Setting};

use super::http::{Sender, place, target, told};
use super::notice::{budget, info};

/// News that takes longer than this is late anyway, and others wait for the time.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Carries `sha256=` and the HMAC-SHA256 of the body in lower-case hexadecimal digits.
const SIGNATURE_HEADER: HeaderName = HeaderName::from_static("x-cloudsnooze-signature");

/// Headers that the plugin and the HTTP client set themselves.
const OWN_HEADERS: [&str; 5] =
    ["content-length", "content-type", "host", "transfer-encoding", "x-cloudsnooze-signature"];

#[derive(Default)]
pub(super) struct WebhookNotifier {
    settings: Option<Settings>,
    sender: Option<Sender>,
}

struct Settings {
    url: Url,
    key: Option<hmac::Key>,
    headers: HeaderMap,
    timeout: Duration,
}

fn settings() -> [Setting; 4] {
    let secret = "key of the HMAC-SHA256 in X-CloudSnooze-Signature";
    [
        Setting::text("url", "where events are sent").required().secret(),
        Setting::text("secret", secret).secret(),
        Setting::map("headers", "headers to send beside, by name").secret(),
        Setting::number("timeout_seconds", 0.1..=600.0, "how long the server may take")
            .default(DEFAULT_TIMEOUT.as_secs()),
    ]
}

impl Plugin for WebhookNotifier {
    fn info(&self) -> Info {
        Info {
            config_schema: Setting::schema(&settings()),
            permissions: vec!["network".to_owned()],
            ..info(
                "webhook-notifier",
                "Webhook Notifier",
                "Posts events to a web server as JSON, signed if wanted",
                &["notify", "webhook", "http"],
            )
        }
    }

    fn configure(&mut self, given: &Map<String, Value>) -> Result<(), PluginError> {
        let settings = settings();
        let mut config = Config::new(&settings, given);
        let target = target(&mut config, "url");
        let secret = config.text("secret");
        let headers = check_headers(config.map("headers"), &mut config);
        let timeout = config.seconds("timeout_seconds").unwrap_or(DEFAULT_TIMEOUT);
        config.finish()?;
        let key = secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
        let settings = target.map(|url| Settings { url, key, headers, timeout });
        *self = Self { settings, sender: None };
        Ok(())
    }

    fn initialize(&mut self) -> Result<(), PluginError> {
        self.sender = Some(Sender::new(&self.settings()?.url)?);
        Ok(())
    }

    fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
        if self.sender.is_none() {
            self.initialize()?;
        }
        let settings = self.settings()?;
        let Some(sender) = &self.sender else { return Err(PluginError::new("no HTTP client")) };
        let body = event.raw.to_string();
        let mut headers = settings.headers.clone();
        if let Some(key) = &settings.key {
            headers.insert(SIGNATURE_HEADER, HeaderValue::from_str(&signature(key, &body))?);
        }
        let limit = budget(event, Duration::ZERO, settings.timeout);
        Ok(match sender.post(headers, body, limit) {
            Ok(response) if (200..300).contains(&response.status) => {
                Handled::with_status("webhook_sent").and("http_status", response.status)
            }
            Ok(response) => Handled::failed(format!(
                "the webhook at `{}` answered with status {}",
                place(&settings.url),
                response.status
            ))
            .and("http_status", response.status),
            Err(error) => Handled::failed(told(&error)),
        })
    }
}

impl WebhookNotifier {
    fn settings(&self) -> Result<&Settings, PluginError> {
        self.settings.as_ref().ok_or_else(|| PluginError::new("`url` is not configured"))
    }
}

/// The headers that can be sent; the others are faults.
fn check_headers(given: Vec<(String, String)>, config: &mut Config<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let own = OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str());
        match (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            (Ok(name), Ok(mut value)) if !own => {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            _ => {
                config.fault("headers", format!("`{}` cannot be sent", name.escape_debug()));
            }
        }
    }
    headers
}

fn signature(key: &hmac::Key, body: &str) -> String {
    let tag = hmac::sign(key, body.as_bytes());
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::http::tests::{Received, Server};
    use super::*;

    fn send(server: &Server, mut config: Value, event: Value) -> Handled {
        let mut plugin = WebhookNotifier::default();
        let map = config.as_object_mut().unwrap();
        map.insert("url".to_owned(), json!(format!("http://u:hunter2@{}/T0/B0", server.place)));
        plugin.configure(map).unwrap();
        plugin.handle_event(&PluginEvent::read(event)).unwrap()
    }

    // A peer pastes fields into a template, so that a quote in a tag breaks its body.
    #[test]
    fn a_webhook_body_is_valid_json_whatever_the_fields_hold() {
        let server = Server::answering("204 No Content", "");
        let event = json!({
            "type": "cloud.spot.interrupt", "id": "a\"b\\", "source": "line\nline\r\u{2028}",
            "data": { "tag \"Name\"": "\u{1b}[31mred\u{0}", "nested": ["{{.InstanceID}}", "\t"] },
        });
        let handled = send(&server, json!({}), event.clone());
        assert_eq!(handled, Handled::with_status("webhook_sent").and("http_status", 204));
        let Received { head, body } = server.received();
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), event);
        assert!(head.contains("content-type: application/json"), "{head}");
    }

    #[test]
    fn the_signature_is_the_hmac_of_the_very_bytes_that_are_sent() {
        // RFC 4231, test case 2.
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        assert_eq!(
            signature(&key, "what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let server = Server::answering("200 OK", "");
        let config = json!({ "secret": "Jefe", "headers": { "X-Team": "orders" } });
        send(&server, config, json!({ "type": "custom" }));
        let received = server.received();
        let expected = format!("x-cloudsnooze-signature: {}", signature(&key, &received.body));
        assert!(received.head.contains(&expected), "{}", received.head);
        assert!(received.head.contains("x-team: orders"));
    }

    #[test]
    fn a_bad_status_is_a_failure_that_shows_no_secret() {
        let server = Server::answering("503 Busy", "hunter2");
        let handled = send(&server, json!({}), json!({}));
        let error = format!("the webhook at `{}` answered with status 503", server.place);
        assert_eq!(handled, Handled::failed(error).and("http_status", 503));
    }

    #[test]
    fn a_header_cannot_smuggle_in_another_one() {
        let config = json!({ "headers": { "a b": "x", "x": "1\r\ny: 2", "Host": "z" } });
        let error = WebhookNotifier::default().configure(config.as_object().unwrap());
        assert_eq!(
            error.unwrap_err().to_string(),
            "`url` is missing; `headers`: `Host` cannot be sent; `headers`: `a b` cannot be sent; \
             `headers`: `x` cannot be sent"
        );
    }
}
