//! What the built-ins read from an event alike.

use std::time::Duration;

use serde_json::Value;
use snooze_plugin::{Info, PluginEvent};

/// What is left where an event does not say, in seconds: a Spot notice comes two minutes before.
const UNSAID_SECONDS: u32 = 120;

/// How long a step may take: what is left, less `reserve`, and `limit` at most. After an event that
/// does not say what is left, the instance may stay, unless it is of a Spot loss.
pub(super) fn budget(event: &PluginEvent, reserve: Duration, limit: Duration) -> Duration {
    let left = match event.time_remaining() {
        None if event.kind == "cloud.spot.interrupt" => Duration::from_secs(UNSAID_SECONDS.into()),
        None => return limit,
        Some(left) => left,
    };
    left.saturating_sub(reserve).min(limit)
}

/// The number in `data.timeRemaining` as it came, whole or broken.
pub(super) fn time_remaining(event: &PluginEvent) -> Value {
    let said = event.data.get("timeRemaining").filter(|value| value.is_number());
    said.cloned().unwrap_or(UNSAID_SECONDS.into())
}

/// What all built-ins say of themselves.
pub(super) fn info(name: &str, display_name: &str, description: &str, tags: &[&str]) -> Info {
    Info {
        display_name: display_name.to_owned(),
        author: "CloudSnooze Team".to_owned(),
        description: description.to_owned(),
        category: "cloud-event".to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        official: true,
        kind: Some("native".to_owned()),
        language: Some("rust".to_owned()),
        ..Info::new(name, "1.0.0")
    }
}
