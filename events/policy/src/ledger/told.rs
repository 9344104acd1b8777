//! An event as an incident keeps it.

use std::ops::Deref;
use std::sync::OnceLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use snooze_event::wire::cloudevents;
use snooze_event::{Event, IncidentKey};

/// The text of a CloudEvent, and its value as soon as somebody looks: most incidents are written
/// down without that.
#[derive(Debug, Clone)]
pub struct Told {
    text: Box<RawValue>,
    value: OnceLock<Value>,
}

impl Told {
    pub(super) fn new(event: &Event, incident: &IncidentKey) -> Self {
        // Only keys that are no texts could make it fail.
        let text = to_raw_value(&cloudevents::written(event, Some(incident)));
        Self::of(text.unwrap_or_else(|_never| RawValue::NULL.to_owned()))
    }

    fn of(text: Box<RawValue>) -> Self {
        Self { text, value: OnceLock::new() }
    }
}

impl Deref for Told {
    type Target = Value;

    fn deref(&self) -> &Value {
        // Only what nests deeper than a reader takes is no value.
        self.value.get_or_init(|| serde_json::from_str(self.text.get()).unwrap_or_default())
    }
}

impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        self.text.get() == other.text.get() || **self == **other
    }
}

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self::of)
    }
}
