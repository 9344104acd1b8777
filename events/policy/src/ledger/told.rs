//! An event as an incident keeps it.

use std::ops::Deref;
use std::sync::OnceLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use snooze_event::wire::cloudevents;
use snooze_event::{Event, IncidentKey};

/// A CloudEvent, which becomes a JSON value as soon as somebody looks: most incidents are written
/// down without that.
#[derive(Debug, Clone)]
pub struct Told {
    form: Form,
    value: OnceLock<Value>,
}

#[derive(Debug, Clone)]
enum Form {
    /// An event, and the incident it opened.
    Heard(Box<(Event, IncidentKey)>),
    /// What was stored, as it stood there.
    Stored(Box<RawValue>),
}

impl Told {
    pub(super) fn new(event: &Event, incident: IncidentKey) -> Self {
        Self::of(Form::Heard(Box::new((event.clone(), incident))))
    }

    fn of(form: Form) -> Self {
        Self { form, value: OnceLock::new() }
    }
}

impl Deref for Told {
    type Target = Value;

    fn deref(&self) -> &Value {
        self.value.get_or_init(|| match &self.form {
            Form::Heard(heard) => cloudevents::write(&heard.0, Some(&heard.1)),
            // Only what nests deeper than a reader takes is no value.
            Form::Stored(text) => serde_json::from_str(text.get()).unwrap_or_default(),
        })
    }
}

impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        match (&self.form, &other.form) {
            (Form::Heard(one), Form::Heard(other)) if one == other => true,
            (Form::Stored(one), Form::Stored(other)) if one.get() == other.get() => true,
            _ => **self == **other,
        }
    }
}

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.form {
            Form::Heard(heard) => {
                cloudevents::written(&heard.0, Some(&heard.1)).serialize(serializer)
            }
            Form::Stored(text) => text.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|text| Self::of(Form::Stored(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::spot;

    #[test]
    fn what_is_stored_is_what_was_heard() {
        let heard = Told::new(&spot(), IncidentKey::stored("i-1/spot"));
        let text = serde_json::to_string(&heard).unwrap();
        let value = serde_json::to_value(&heard).unwrap();
        assert_eq!(text, value.to_string());
        assert_eq!(*heard, value);
        assert_eq!(heard["correlationid"], "i-1/spot");
        let stored: Told = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&stored).unwrap(), text);
        let from_value: Told = serde_json::from_value(value).unwrap();
        assert!(stored == heard && from_value == stored && heard == heard.clone());
        let other = Told::new(&Event { drill: true, ..spot() }, IncidentKey::stored("i-1/spot"));
        assert!(other != heard && other != stored);
    }
}
