//! The envelope that SNS puts around a command, as it stands in the body of a queue's message:
//! opened only when SNS signed it, for our topic, just now.
//!
//! A queue's policy already says who may send. The signature is a second, independent proof: it
//! holds when somebody widens that policy.
//!
//! What is checked, in this order, cheapest first: the form and its limits, the type, the version
//! of the signature (2 only: SHA-256), the topic, the age, the address of the certificate, the
//! certificate, the signature. Nothing is fetched for a message that fails before; no address in
//! a message is ever fetched but that of the certificate.
//!
//! The chain of the certificate itself is not checked, as no validator of the vendor does: who it
//! comes from is proven by the TLS chain of the server, whose name is fixed by our Region. (Amazon
//! SNS Developer Guide, "Verifying the signatures of Amazon SNS messages", checked 2026-11.)

mod address;
mod certificate;
mod fetch;
#[cfg(any(test, feature = "fake"))]
mod forge;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use certificate::Certificate;
use fetch::Source;
#[cfg(any(test, feature = "fake"))]
pub use forge::Signer;
use read::Envelope;

/// A message older than this is refused: a command is worth nothing by then, and it bounds how
/// long message ids must be remembered.
pub const MAX_AGE: Duration = Duration::from_secs(10 * 60);
/// A message that comes from further ahead than this is refused. Clocks differ by less.
pub const MAX_AHEAD: Duration = Duration::from_secs(5 * 60);
/// The longest body that is read, in bytes: as much as SNS takes. Commands are shorter.
pub const MAX_BODY: usize = 256 << 10;

/// So many certificates are remembered. SNS uses one at a time in each Region.
const CERTIFICATES: usize = 8;
/// After a certificate could not be had, messages that need it wait no more than once in this
/// time, so that a full queue in front of a dead network costs one wait and not one for each.
const PAUSE: Duration = Duration::from_secs(5);

/// What a message must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The ARN of the topic of commands.
    pub topic_arn: String,
    /// The Region of the topic.
    pub region: String,
    /// A directory of certificates, each under the name that ends its address
    /// (`SimpleNotificationService-….pem`): they are taken from there and never fetched. For
    /// networks without a way to SNS's public address, and for tests.
    pub certificates: Option<PathBuf>,
}

/// The rules cannot be met by any message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRules {
    /// The Region has not the shape of one.
    #[error("`{0}` is no Region: expected the like of `eu-central-1`")]
    Region(String),
    /// The topic is none, or one of another Region.
    #[error(
        "`{topic_arn}` is no topic of `{region}`: expected `arn:aws:sns:{region}:ACCOUNT:NAME`"
    )]
    Topic {
        /// What was given.
        topic_arn: String,
        /// The Region it should be in.
        region: String,
    },
}

/// A message that SNS signed for our topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Stays the same when SNS delivers the message again. Whoever remembers it for [`MAX_AGE`]
    /// plus [`MAX_AHEAD`] sees every replay.
    pub message_id: String,
    /// What was published.
    pub text: String,
}

/// A message was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no envelope.
    #[error("not an SNS envelope: {0}")]
    Unreadable(String),
    /// It is an envelope of a kind that brings no command: a confirmation. Its address is never
    /// fetched.
    #[error("`{0}` brings no command")]
    NoCommand(String),
    /// It is signed in a way that is not taken.
    #[error(
        "signature version `{0}`: expected `2`; set `SignatureVersion` of the topic to 2, since 1 \
         signs with SHA-1"
    )]
    Version(String),
    /// It was published to another topic. SNS signs for everybody.
    #[error("published to `{0}`, which is not our topic")]
    Topic(String),
    /// It was published too long ago.
    #[error("published at {0}, more than 10 minutes ago")]
    Old(Timestamp),
    /// It was published in the future.
    #[error("published at {0}, more than 5 minutes ahead of the clock of this machine")]
    Ahead(Timestamp),
    /// Its certificate is said to be where no certificate of SNS is.
    #[error("`{0}` is not the address of a certificate of SNS in our Region")]
    Address(String),
    /// Its certificate cannot be had for now.
    #[error("the certificate cannot be had for now: {0}")]
    Unreachable(String),
    /// Its certificate is of no use.
    #[error("the certificate is of no use: {0}")]
    Certificate(String),
    /// It was changed, or signed by another.
    #[error("the signature does not fit")]
    Signature,
}

impl Refused {
    /// Whether the same message may be opened later. If not, it never will be, and is best
    /// deleted.
    #[must_use]
    pub fn again(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }
}

/// Opens messages.
#[derive(Debug)]
pub struct Verifier {
    rules: Rules,
    source: Source,
    known: BTreeMap<String, Certificate>,
    missed: Option<(String, Timestamp)>,
}

impl Verifier {
    /// Opens messages that fit these rules. Touches neither network nor disk.
    ///
    /// # Errors
    /// [`BadRules`] where no message could ever fit.
    pub fn new(rules: Rules) -> Result<Self, BadRules> {
        let Rules { topic_arn, region, certificates } = &rules;
        if !address::is_region(region) {
            return Err(BadRules::Region(region.clone()));
        }
        if !address::is_topic(topic_arn, region) {
            let (topic_arn, region) = (topic_arn.clone(), region.clone());
            return Err(BadRules::Topic { topic_arn, region });
        }
        let source = certificates.clone().map_or_else(Source::web, Source::Directory);
        Ok(Self { rules, source, known: BTreeMap::new(), missed: None })
    }

    /// Opens one message. Ends within [`fetch::LIMIT`], however slow the certificate's server is.
    ///
    /// # Errors
    /// [`Refused`] when it is not to be trusted, or its certificate cannot be had for now.
    pub async fn verify(&mut self, body: &str, now: Timestamp) -> Result<Opened, Refused> {
        let envelope = Envelope::read(body)?;
        envelope.fits(&self.rules.topic_arn, now)?;
        let Some(file) = address::file(&envelope.certificate_url, &self.rules.region) else {
            return Err(Refused::Address(shown(&envelope.certificate_url)));
        };
        let certificate = self.certificate(file, now).await?;
        certificate.verify(&envelope.string_to_sign(), &envelope.signature)?;
        Ok(Opened { message_id: envelope.message_id, text: envelope.message })
    }

    /// The certificate of this file name, within its validity.
    async fn certificate(&mut self, file: &str, now: Timestamp) -> Result<&Certificate, Refused> {
        self.known.retain(|_, certificate| certificate.is_valid_at(now));
        if !self.known.contains_key(file) {
            let certificate = self.fetched(file, now).await?;
            if self.known.len() >= CERTIFICATES {
                self.known.pop_first();
            }
            self.known.insert(file.to_owned(), certificate);
        }
        self.known.get(file).ok_or(Refused::Signature)
    }

    async fn fetched(&mut self, file: &str, now: Timestamp) -> Result<Certificate, Refused> {
        if let Some((missed, at)) = &self.missed
            && missed == file
            && now.duration_since(*at).unsigned_abs() < PAUSE
        {
            return Err(Refused::Unreachable("it could not be had a moment ago".to_owned()));
        }
        let region = &self.rules.region;
        let pem = self.source.get(file, region).await.inspect_err(|refused| {
            if refused.again() {
                self.missed = Some((file.to_owned(), now));
            }
        })?;
        self.missed = None;
        let certificate = Certificate::read(&pem, &address::names(region))?;
        if certificate.is_valid_at(now) {
            return Ok(certificate);
        }
        Err(Refused::Certificate(certificate.validity()))
    }
}

/// A text from outside as it may be shown: its start, escaped.
fn shown(text: &str) -> String {
    const SHOWN: usize = 200;
    text.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}
