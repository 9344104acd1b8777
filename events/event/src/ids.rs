//! Identifiers: strings that have rules.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::{Cause, LossAction};

macro_rules! text_id {
    ($name:ident) => {
        impl $name {
            /// The text of the identifier.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// The id of an EC2 instance: `i-` and 8 to 17 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(String);
text_id!(InstanceId);

/// The text is not the id of an EC2 instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an instance id: expected `i-` and 8 to 17 lower-case hexadecimal digits")]
pub struct NotAnInstanceId(String);

impl FromStr for InstanceId {
    type Err = NotAnInstanceId;

    fn from_str(text: &str) -> Result<Self, NotAnInstanceId> {
        let is_hex = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        match text.strip_prefix("i-") {
            Some(digits) if (8..=17).contains(&digits.len()) && digits.bytes().all(is_hex) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(NotAnInstanceId(excerpt(text))),
        }
    }
}

/// The id of one boot of one machine, as in `/proc/sys/kernel/random/boot_id`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(String);
text_id!(BootId);

/// The text is not a boot id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a boot id: expected 1 to 36 letters, digits and hyphens")]
pub struct NotABootId(String);

impl FromStr for BootId {
    type Err = NotABootId;

    fn from_str(text: &str) -> Result<Self, NotABootId> {
        let fine = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
        if (1..=36).contains(&text.len()) && text.bytes().all(fine) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotABootId(excerpt(text)))
        }
    }
}

/// The id of one event: 1 to 256 printable ASCII characters, no space.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(String);
text_id!(EventId);

/// The text is not an event id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an event id: expected 1 to 256 printable ASCII characters without a space")]
pub struct NotAnEventId(String);

impl FromStr for EventId {
    type Err = NotAnEventId;

    fn from_str(text: &str) -> Result<Self, NotAnEventId> {
        if (1..=256).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAnEventId(excerpt(text)))
        }
    }
}

/// The name of a plugin: a lower-case letter, then up to 31 lower-case letters, digits, hyphens.
///
/// Names become file names and log fields, so nothing else may stand in them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginName(Arc<str>);
text_id!(PluginName);

/// The text is not the name of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a plugin name: expected a lower-case letter, then up to 31 lower-case letters, \
     digits and hyphens"
)]
pub struct NotAPluginName(String);

impl FromStr for PluginName {
    type Err = NotAPluginName;

    fn from_str(text: &str) -> Result<Self, NotAPluginName> {
        let fine = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let starts = text.bytes().next().is_some_and(|c| c.is_ascii_lowercase());
        if starts && text.len() <= 32 && text.bytes().all(fine) {
            Ok(Self(text.into()))
        } else {
            Err(NotAPluginName(excerpt(text)))
        }
    }
}

/// What makes two signals the same loss: on an instance, its id, its boot, the cause and the
/// action. Never the id of an event, since each channel gives its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncidentKey(String);
text_id!(IncidentKey);

impl IncidentKey {
    /// The key of a loss as one instance knows it.
    #[must_use]
    pub fn of_loss(
        instance: &InstanceId,
        boot: &BootId,
        cause: Cause,
        action: &LossAction,
    ) -> Self {
        Self(format!("{instance}/{boot}/{}/{}", cause.as_str(), action.as_str()))
    }

    /// The key of an event that is no loss: each event is its own incident.
    #[must_use]
    pub fn of_event(instance: &InstanceId, boot: &BootId, event: &EventId) -> Self {
        Self(format!("{instance}/{boot}/event/{event}"))
    }

    /// A key read back from where one was stored.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// The start of a text that was refused, short enough for an error.
fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn c11_hostile_texts_are_no_ids() {
        for text in [
            "",
            "i-",
            "i-0a1b2c3",
            "i-0a1b2c3d4e5f607189",
            "i-0A1B2C3D",
            "i-0a1b2c3d ",
            "i-0a1b2c3d\n",
            "i-0a1b2c3d/..",
            "\u{1b}[2Ji-0a1b2c3d",
            "${jndi:ldap://x}",
            "ｉ-0a1b2c3d",
        ] {
            assert!(text.parse::<InstanceId>().is_err(), "{text:?}");
        }
        for text in ["", "../x", "a b", "a\0"] {
            assert!(text.parse::<BootId>().is_err(), "{text:?}");
            assert!(text.parse::<PluginName>().is_err(), "{text:?}");
        }
        for text in ["", "a b", "a\u{1b}[2J", "é", &"x".repeat(257)] {
            assert!(text.parse::<EventId>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn c11_an_error_never_carries_control_characters(text in "[\\x00-\\x1f\\x7f]{1,100}") {
            let errors = [
                text.parse::<InstanceId>().unwrap_err().to_string(),
                text.parse::<EventId>().unwrap_err().to_string(),
                text.parse::<PluginName>().unwrap_err().to_string(),
            ];
            for error in errors {
                prop_assert!(!error.contains(char::is_control), "{error:?}");
            }
        }

        #[test]
        fn every_id_of_the_documented_form_is_one(text in "i-[0-9a-f]{8,17}") {
            prop_assert_eq!(text.parse::<InstanceId>().unwrap().to_string(), text);
        }
    }
}
