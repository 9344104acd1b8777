//! The envelope as text: reading it, what of it is signed, and whether it is for us and fresh.

use jiff::Timestamp;
use serde::Deserialize;
use snooze_event::wire::base64;

use super::{MAX_AGE, MAX_AHEAD, MAX_BODY, Refused, shown};

/// The only version of the signature that is taken: RSA with SHA-256.
pub(super) const VERSION: &str = "2";
/// The only type that brings a command.
pub(super) const NOTIFICATION: &str = "Notification";

/// A notification whose form is in order. Nothing in it is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) message_id: String,
    pub(super) message: String,
    pub(super) certificate_url: String,
    pub(super) signature: Vec<u8>,
    subject: Option<String>,
    topic_arn: String,
    /// As it was signed, and as it is read.
    timestamp: (String, Timestamp),
}

/// Members that are not named here (`UnsubscribeURL`, `MessageAttributes`) are not signed, and
/// not looked at.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawEnvelope {
    r#type: String,
    message_id: Option<String>,
    topic_arn: Option<String>,
    subject: Option<String>,
    message: Option<String>,
    timestamp: Option<String>,
    signature_version: Option<String>,
    signature: Option<String>,
    #[serde(rename = "SigningCertURL")]
    signing_cert_url: Option<String>,
}

impl Envelope {
    /// Reads a notification.
    pub(super) fn read(body: &str) -> Result<Self, Refused> {
        if body.len() > MAX_BODY {
            let text = format!("{} bytes, of which at most {MAX_BODY} are read", body.len());
            return Err(Refused::Unreadable(text));
        }
        if !body.trim_start().starts_with('{') {
            return Err(Refused::Unreadable("not a JSON object".to_owned()));
        }
        let raw: RawEnvelope = serde_json::from_str(body)
            .map_err(|error| Refused::Unreadable(shown(&error.to_string())))?;
        if raw.r#type != NOTIFICATION {
            return Err(Refused::NoCommand(shown(&raw.r#type)));
        }
        let version = given(raw.signature_version, "SignatureVersion")?;
        if version != VERSION {
            return Err(Refused::Version(shown(&version)));
        }
        let message_id = given(raw.message_id, "MessageId")?;
        let plain = message_id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if message_id.is_empty() || message_id.len() > 100 || !plain {
            let text = format!("`MessageId` is `{}`: expected a UUID", shown(&message_id));
            return Err(Refused::Unreadable(text));
        }
        let signed_at = given(raw.timestamp, "Timestamp")?;
        let Some(timestamp) = moment(&signed_at) else {
            let text = format!(
                "`Timestamp` is `{}`: expected the like of `2026-03-14T09:26:53.655Z`",
                shown(&signed_at)
            );
            return Err(Refused::Unreadable(text));
        };
        let Some(signature) = base64::decode(&given(raw.signature, "Signature")?) else {
            return Err(Refused::Unreadable("`Signature` is not base64".to_owned()));
        };
        Ok(Self {
            message_id,
            message: given(raw.message, "Message")?,
            certificate_url: given(raw.signing_cert_url, "SigningCertURL")?,
            signature,
            subject: raw.subject,
            topic_arn: given(raw.topic_arn, "TopicArn")?,
            timestamp: (signed_at, timestamp),
        })
    }

    /// Whether it is of our topic, and neither old nor of the future.
    pub(super) fn fits(&self, topic_arn: &str, now: Timestamp) -> Result<(), Refused> {
        if self.topic_arn != topic_arn {
            return Err(Refused::Topic(shown(&self.topic_arn)));
        }
        let at = self.timestamp.1;
        let apart = at.duration_since(now).unsigned_abs();
        if at < now && apart > MAX_AGE {
            return Err(Refused::Old(at));
        }
        if at > now && apart > MAX_AHEAD {
            return Err(Refused::Ahead(at));
        }
        Ok(())
    }

    /// What SNS signs: each member's name and value, each with a line feed, in byte order.
    ///
    /// A line feed in the message or the subject cannot make another topic of it: what follows
    /// them is the end of the text, holds no line feed, and is compared with what we expect.
    pub(super) fn string_to_sign(&self) -> String {
        let members = [
            ("Message", Some(self.message.as_str())),
            ("MessageId", Some(&self.message_id)),
            ("Subject", self.subject.as_deref()),
            ("Timestamp", Some(&self.timestamp.0)),
            ("TopicArn", Some(&self.topic_arn)),
            ("Type", Some(NOTIFICATION)),
        ];
        let given = members.into_iter().filter_map(|(name, value)| Some((name, value?)));
        given.flat_map(|(name, value)| [name, "\n", value, "\n"]).collect()
    }
}

fn given(value: Option<String>, name: &str) -> Result<String, Refused> {
    value.ok_or_else(|| Refused::Unreadable(format!("`{name}` is missing")))
}

/// A moment as SNS writes it, in UTC; no other form has ever been signed.
fn moment(text: &str) -> Option<Timestamp> {
    let fine = (20..=30).contains(&text.len())
        && text.ends_with('Z')
        && text.bytes().all(|b| b.is_ascii_digit() || b"-:.TZ".contains(&b));
    if fine { text.parse().ok() } else { None }
}
