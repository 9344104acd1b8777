//! Captured events of AWS, as if they happened now to an instance of a test.

use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;
use serde_json::Value;
use snooze_imds::fake::INSTANCE_ID;

use crate::place;

/// The token of the captured lifecycle actions.
const TOKEN: &str = "00000000-0000-4000-8000-000000000023";

static NUMBERS: AtomicU32 = AtomicU32::new(1);

/// A captured event, by its file without `event-` and `.json`: of this moment, about this
/// instance, with ids of its own.
///
/// # Panics
/// When there is no such event.
#[must_use]
pub fn captured(name: &str, instance: &str) -> Value {
    let path = place::root().join(format!("events/samples/event-{name}.json"));
    let text = std::fs::read_to_string(&path).expect("the event was captured");
    let text = text.replace(INSTANCE_ID, instance).replace(TOKEN, &token(instance));
    let mut event: Value = serde_json::from_str(&text).expect("a captured event is JSON");
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    event["id"] = format!(
        "0e2e0000-0000-4000-8000-{:012x}",
        (u64::from(std::process::id()) << 16) + u64::from(number)
    )
    .into();
    event["time"] = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
    event
}

/// The token of the lifecycle action of an instance of a test.
#[must_use]
pub fn token(instance: &str) -> String {
    let digits = instance.trim_start_matches("i-");
    format!("{}-0000-4000-8000-000000000023", digits.get(digits.len() - 8..).unwrap_or_default())
}
