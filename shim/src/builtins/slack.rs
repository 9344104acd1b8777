//! `slack-notifier`: tells a Slack channel what happens, in words that a person can act on.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value, json};
use snooze_plugin::{Config, Handled, Info, Plugin, PluginError, PluginEvent, Setting};

use super::http::{Response, Sender, target, told};
use super::notice::{budget, info};

/// News that takes longer than this is late anyway.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The most characters of a field of an event that are shown.
const MAX_FIELD: usize = 100;

#[derive(Default)]
pub(super) struct SlackNotifier {
    settings: Option<Settings>,
    sender: Option<Sender>,
}

struct Settings {
    url: Url,
    channel: Option<String>,
    timeout: Duration,
}

fn settings() -> [Setting; 3] {
    let channel = "where to write, such as `#cloud-events`; the webhook's own if absent";
    [
        Setting::text("webhook_url", "the incoming webhook").required().secret(),
        Setting::text("channel", channel),
        Setting::number("timeout_seconds", 0.1..=600.0, "how long Slack may take")
            .default(DEFAULT_TIMEOUT.as_secs()),
    ]
}

impl Plugin for SlackNotifier {
    fn info(&self) -> Info {
        Info {
            config_schema: Setting::schema(&settings()),
            permissions: vec!["network".to_owned()],
            ..info(
                "slack-notifier",
                "Slack Notifier",
                "Tells a Slack channel what happens to the instance",
                &["notify", "slack"],
            )
        }
    }

    fn configure(&mut self, given: &Map<String, Value>) -> Result<(), PluginError> {
        let settings = settings();
        let mut config = Config::new(&settings, given);
        let target = target(&mut config, "webhook_url");
        let channel = config.text("channel");
        let timeout = config.seconds("timeout_seconds").unwrap_or(DEFAULT_TIMEOUT);
        config.finish()?;
        *self =
            Self { settings: target.map(|url| Settings { url, channel, timeout }), sender: None };
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
        let mut body = json!({ "text": text(event) });
        if let (Some(map), Some(channel)) = (body.as_object_mut(), &settings.channel) {
            map.insert("channel".to_owned(), json!(channel));
        }
        let limit = budget(event, Duration::ZERO, settings.timeout);
        let answer = sender.post(HeaderMap::new(), body.to_string(), limit);
        Ok(answer.map_or_else(|error| Handled::failed(told(&error)), |answer| judge(&answer)))
    }
}

impl SlackNotifier {
    fn settings(&self) -> Result<&Settings, PluginError> {
        self.settings.as_ref().ok_or_else(|| PluginError::new("`webhook_url` is not configured"))
    }
}

/// Slack says what is wrong in a word such as `channel_not_found`.
fn judge(answer: &Response) -> Handled {
    if answer.status == 200 {
        return Handled::with_status("slack_sent");
    }
    let word: String = String::from_utf8_lossy(&answer.body).chars().take(MAX_FIELD).collect();
    Handled::failed(format!(
        "Slack answered with status {}: `{}`; check `webhook_url` and `channel`",
        answer.status,
        word.escape_debug()
    ))
}

/// What a person has to know: what happens to which machine, until when, and where to look.
fn text(event: &PluginEvent) -> String {
    let said = |key: &str| event.data.get(key).and_then(Value::as_str).map(plain);
    let instance = said("instanceID").unwrap_or_else(|| "this instance".to_owned());
    let kind = said("instanceType").map_or_else(String::new, |kind| format!(" ({kind})"));
    let action = said("action").unwrap_or_else(|| "take".to_owned());
    let what = match event.kind.as_str() {
        "cloud.spot.interrupt" => format!("EC2 will {action} Spot instance {instance}{kind}"),
        "cloud.spot.rebalance" => {
            format!("Spot instance {instance}{kind} may be interrupted soon")
        }
        "cloud.instance.termination" => format!("Instance {instance}{kind} is going away"),
        other => format!("{} on instance {instance}{kind}", plain(other)),
    };
    let mut text = if event.drill { format!("[drill] {what}") } else { what };
    match (event.time_remaining(), event.deadline) {
        (Some(left), Some(deadline)) => {
            text.push_str(&format!(" in {} s, at {deadline:.0}", left.as_secs()));
        }
        (Some(left), None) => text.push_str(&format!(" in {} s", left.as_secs())),
        (None, Some(deadline)) => text.push_str(&format!(" at {deadline:.0}")),
        (None, None) => {}
    }
    text.push_str(". What matters on it is being saved as its policies say");
    match &event.incident {
        Some(incident) => {
            text.push_str(&format!(
                "; `snooze explain {}` tells how far that is.",
                plain(incident)
            ));
        }
        None => text.push_str("; `snooze history` tells how far that is."),
    }
    text
}

/// A field as plain text of a Slack message: no mark-up, no line ends, not long.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars().take(MAX_FIELD) {
        match c {
            '&' => plain.push_str("&amp;"),
            '<' => plain.push_str("&lt;"),
            '>' => plain.push_str("&gt;"),
            '`' => plain.push('\''),
            c if c.is_control() => plain.push(' '),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::http::tests::Server;
    use super::*;

    fn send(server: &Server, event: Value) -> Handled {
        let mut plugin = SlackNotifier::default();
        let url = format!("http://{}/services/T0/B0/hunter2", server.place);
        let config = json!({ "webhook_url": url, "channel": "#cloud-events" });
        plugin.configure(config.as_object().unwrap()).unwrap();
        plugin.handle_event(&PluginEvent::read(event)).unwrap()
    }

    // S0-51
    #[test]
    fn the_message_says_what_happens_where_and_until_when() {
        let server = Server::answering("200 OK", "ok");
        let handled = send(
            &server,
            json!({
                "type": "cloud.spot.interrupt", "deadline": "2026-03-01T12:02:00Z",
                "data": { "incident": "i-0123456789abcdef0/b/spot/terminate", "action": "terminate", "timeRemaining": 118.9,
                    "instanceID": "i-0123456789abcdef0", "instanceType": "m5.large" },
            }),
        );
        assert_eq!(handled, Handled::with_status("slack_sent"));
        let body: Value = serde_json::from_str(&server.received().body).unwrap();
        assert_eq!(body["channel"], "#cloud-events");
        expect![[r#"EC2 will terminate Spot instance i-0123456789abcdef0 (m5.large) in 118 s, at 2026-03-01T12:02:00Z. What matters on it is being saved as its policies say; `snooze explain i-0123456789abcdef0/b/spot/terminate` tells how far that is."#]]
        .assert_eq(body["text"].as_str().unwrap());
    }

    #[test]
    fn fields_cannot_mention_the_channel_or_break_the_message() {
        let event = json!({ "type": "custom.<!channel>",
            "data": { "drill": true, "instanceID": "a\nb`c`\u{1b}" } });
        expect!["[drill] custom.&lt;!channel&gt; on instance a b'c' . What matters on it is being saved as its policies say; `snooze history` tells how far that is."]
            .assert_eq(&text(&PluginEvent::read(event)));
    }

    #[test]
    fn what_slack_refuses_is_told_without_the_secret_of_the_url() {
        let server = Server::answering("404 Not Found", "no_service");
        let error = send(&server, json!({})).error.unwrap();
        expect!["Slack answered with status 404: `no_service`; check `webhook_url` and `channel`"]
            .assert_eq(&error);
        let config = json!({ "webhook_url": "hooks.slack.com/hunter2", "chanel": "x" });
        let error = SlackNotifier::default().configure(config.as_object().unwrap()).unwrap_err();
        expect!["`chanel` is no setting of this plugin; did you mean `channel`?; `webhook_url`: expected an HTTP URL"]
            .assert_eq(&error.to_string());
    }
}
