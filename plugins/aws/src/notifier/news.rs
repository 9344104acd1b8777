//! What is said of an event.

use serde_json::Value;
use snooze_cloud::objects::sha256;
use snooze_cloud::topic::{News, Order};
use snooze_plugin::PluginEvent;

use super::settings::{Format, Settings};

/// What may stand in braces in `subject` and `message`.
pub(crate) const PLACES: [&str; 8] =
    ["type", "instance", "instance_type", "action", "seconds", "deadline", "incident", "drill"];

/// The most characters of a field of an event that are shown.
const MAX_FIELD: usize = 200;

/// The news of an event.
pub(crate) fn of(settings: &Settings, event: &PluginEvent) -> News {
    let filled = |template: &Option<crate::template::Template>| {
        let fill = |name: &str| Some(field(event, name).unwrap_or_default());
        template.as_ref().and_then(|template| template.fill(fill).ok())
    };
    let text = match settings.format {
        Format::Json => event.raw.to_string(),
        Format::Text => filled(&settings.message).unwrap_or_else(|| told(event)),
    };
    let attributes = vec![
        ("type", plain(&event.kind)),
        ("instance", field(event, "instance").unwrap_or_default()),
        ("severity", event.severity.as_str().to_owned()),
        ("drill", event.drill.to_string()),
    ];
    let order = settings.topic.ordered.then(|| order(event));
    let subject = filled(&settings.subject).unwrap_or_else(|| headline(event));
    News { subject, text, attributes, order }
}

/// The same loss is told once, however often it was signalled and tried.
fn order(event: &PluginEvent) -> Order {
    let what = format!("{} {}", event.once_key().unwrap_or_default(), event.kind);
    let once = sha256(what.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let is_fine = |id: &String| id.len() <= 128 && id.chars().all(|c| c.is_ascii_graphic());
    let group = field(event, "instance").filter(is_fine);
    Order { group: group.unwrap_or_else(|| "cloudsnooze".to_owned()), once }
}

/// In one line: what happens to which machine, and when.
fn headline(event: &PluginEvent) -> String {
    let or = |name, other: &str| field(event, name).unwrap_or_else(|| other.to_owned());
    let instance = or("instance", "this instance");
    let what = match event.kind.as_str() {
        "cloud.spot.interrupt" => format!("EC2 will {} {instance}", or("action", "take")),
        "cloud.spot.rebalance" => format!("{instance} may be interrupted soon"),
        "cloud.instance.termination" => format!("{instance} is going away"),
        other => format!("{} on {instance}", plain(other)),
    };
    let left = field(event, "seconds").map(|seconds| format!(" in {seconds} s"));
    let drill = if event.drill { "[drill] " } else { "" };
    format!("{drill}{what}{}", left.unwrap_or_default())
}

/// What a person has to know: what happens, until when, and where to look.
fn told(event: &PluginEvent) -> String {
    let mut text = format!("{}.\n\n", headline(event));
    for (name, word) in [
        ("instance", "instance"),
        ("instance_type", "instance type"),
        ("deadline", "it goes at"),
        ("incident", "incident"),
    ] {
        if let Some(value) = field(event, name) {
            text.push_str(&format!("{word}: {value}\n"));
        }
    }
    text.push_str("\nWhat matters on it is being saved as its policies say. ");
    text.push_str(&match field(event, "incident") {
        Some(incident) => format!(
            "On the instance `snooze explain {incident}` tells how far that is; after it, \
             `snooze incidents` tells how it ended.\n"
        ),
        None => "On the instance `snooze history` tells how far that is.\n".to_owned(),
    });
    text
}

/// A field of an event as a text.
fn field(event: &PluginEvent, name: &str) -> Option<String> {
    let said = |key: &str| event.data.get(key).and_then(Value::as_str).map(plain);
    match name {
        "type" => Some(plain(&event.kind)),
        "instance" => said("instanceID"),
        "instance_type" => said("instanceType"),
        "action" => said("action"),
        "seconds" => event.time_remaining().map(|left| left.as_secs().to_string()),
        "deadline" => event.deadline.map(|deadline| format!("{deadline:.0}")),
        "incident" => event.incident.as_deref().map(plain),
        "drill" => Some(if event.drill { "[drill]".to_owned() } else { String::new() }),
        _ => None,
    }
}

/// A field as plain text: no line ends, not long.
fn plain(text: &str) -> String {
    text.chars().take(MAX_FIELD).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn news(config: Value, event: Value) -> News {
        let mut config = config;
        config["topic_arn"] = json!("arn:aws:sns:us-east-1:123456789012:news");
        let settings = Settings::read(config.as_object().unwrap());
        of(&settings.unwrap(), &PluginEvent::read(event))
    }

    fn notice() -> Value {
        json!({ "type": "cloud.spot.interrupt", "id": "e-1", "severity": 2,
            "deadline": "2026-03-01T12:02:00Z",
            "data": { "incident": "i-1/b/spot/terminate", "action": "terminate",
                "timeRemaining": 118.9, "instanceID": "i-1", "instanceType": "m5.large" } })
    }

    #[test]
    fn a_person_reads_what_happens_where_until_when_and_what_to_do() {
        let news = news(json!({}), notice());
        expect![[r#"
            EC2 will terminate i-1 in 118 s
            --
            EC2 will terminate i-1 in 118 s.

            instance: i-1
            instance type: m5.large
            it goes at: 2026-03-01T12:02:00Z
            incident: i-1/b/spot/terminate

            What matters on it is being saved as its policies say. On the instance `snooze explain i-1/b/spot/terminate` tells how far that is; after it, `snooze incidents` tells how it ended.
            --
            [("type", "cloud.spot.interrupt"), ("instance", "i-1"), ("severity", "urgent"), ("drill", "false")]"#]]
            .assert_eq(&format!("{}\n--\n{}--\n{:?}", news.subject, news.text, news.attributes));
        assert_eq!(news.order, None);
    }

    #[test]
    fn words_of_ones_own_have_their_places_filled() {
        let config = json!({ "subject": "{drill}{instance} goes", "message": "{seconds}|{deadline}|{type}" });
        let news = news(config, json!({ "type": "custom.x", "data": { "instanceID": "a\nb" } }));
        assert_eq!((news.subject.as_str(), news.text.as_str()), ("a b goes", "||custom.x"));
    }

    #[test]
    fn a_program_gets_the_event() {
        let news = news(json!({ "message_format": "json" }), notice());
        assert_eq!(serde_json::from_str::<Value>(&news.text).unwrap(), notice());
    }

    #[test]
    fn an_ordered_topic_hears_of_one_loss_once_and_of_another_again() {
        let of = |incident: &str, id: &str| {
            let mut event = notice();
            event["data"]["incident"] = json!(incident);
            event["id"] = json!(id);
            order(&PluginEvent::read(event))
        };
        assert_eq!(of("a", "e-1"), of("a", "e-2"));
        assert_ne!(of("a", "e-1").once, of("b", "e-1").once);
        assert_eq!((of("a", "e").group.as_str(), of("a", "e").once.len()), ("i-1", 64));
        assert_eq!(order(&PluginEvent::read(json!({}))).group, "cloudsnooze");
    }
}
