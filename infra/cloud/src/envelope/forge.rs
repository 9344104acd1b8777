//! A stand-in for SNS: a key, its certificate, and envelopes that are signed with it.
//!
//! The certificate says whatever a test wants. It is made here, byte by byte, since that takes
//! less than the crates that could do it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::address;
use super::read::{NOTIFICATION, VERSION};

/// A day, in seconds.
const DAY: i64 = 86_400;

/// Signs as SNS does, for tests and rehearsals without AWS. A verifier takes what it signs only
/// when [`Rules::certificates`](super::Rules::certificates) names the directory in which it was
/// [pinned](Signer::pin).
#[derive(Debug, Clone)]
pub struct Signer {
    key: Arc<KeyPair>,
    region: String,
    file: String,
    name: String,
    validity: (Timestamp, Timestamp),
}

impl Signer {
    /// Makes a key, and a certificate that was valid from yesterday on, for 30 days.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(region: &str, now: Timestamp) -> io::Result<Self> {
        let key = KeyPair::generate(KeySize::Rsa2048).map_err(io::Error::other)?;
        let after = |days: i64| Timestamp::from_second(now.as_second() + days * DAY);
        let from = after(-1).map_err(io::Error::other)?;
        let to = after(30).map_err(io::Error::other)?;
        // As with SNS, another key has another address.
        let tail = key.public_key().as_ref().iter().rev().skip(8).take(16);
        let hex: String = tail.map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            key: Arc::new(key),
            region: region.to_owned(),
            file: format!("SimpleNotificationService-{hex}.pem"),
            name: "sns.amazonaws.com".to_owned(),
            validity: (from, to),
        })
    }

    /// The same key with a certificate that is issued to another name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// The same key with a certificate of another validity.
    #[must_use]
    pub fn valid(self, from: Timestamp, to: Timestamp) -> Self {
        Self { validity: (from, to), ..self }
    }

    /// The address that envelopes name for the certificate.
    #[must_use]
    pub fn certificate_url(&self) -> String {
        format!("{}{}", address::base(&self.region), self.file)
    }

    /// The certificate, as PEM.
    #[must_use]
    pub fn certificate(&self) -> String {
        let text = base64(&self.der(&address::host(&self.region)));
        let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
        for (index, digit) in text.chars().enumerate() {
            if index > 0 && index % 64 == 0 {
                pem.push('\n');
            }
            pem.push(digit);
        }
        pem + "\n-----END CERTIFICATE-----\n"
    }

    /// Puts the certificate where a verifier looks for it, and says where that is.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn pin(&self, directory: &Path) -> io::Result<PathBuf> {
        let path = directory.join(&self.file);
        std::fs::write(&path, self.certificate())?;
        Ok(path)
    }

    /// The envelope of a notification: the body of a message in a queue.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn notification(
        &self,
        topic_arn: &str,
        message_id: &str,
        text: &str,
        at: Timestamp,
    ) -> io::Result<String> {
        let members = json!({
            "Type": NOTIFICATION,
            "MessageId": message_id,
            "TopicArn": topic_arn,
            "Message": text,
            "Timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
            "UnsubscribeURL": format!("{}?Action=Unsubscribe", address::base(&self.region)),
        });
        let Value::Object(members) = members else { return Ok(String::new()) };
        self.envelope(members)
    }

    /// Any envelope: these members, signed by the rules of their type; version of the signature
    /// and address of the certificate are added where they are missing.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn envelope(&self, mut members: Map<String, Value>) -> io::Result<String> {
        // In byte order. A notification has no token, and a confirmation no subject.
        let names = [
            "Message",
            "MessageId",
            "Subject",
            "SubscribeURL",
            "Timestamp",
            "Token",
            "TopicArn",
            "Type",
        ];
        let text: String = names
            .into_iter()
            .filter_map(|name| Some(format!("{name}\n{}\n", members.get(name)?.as_str()?)))
            .collect();
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(io::Error::other)?;
        members.insert("Signature".to_owned(), base64(&signature).into());
        members.entry("SignatureVersion").or_insert_with(|| VERSION.into());
        members.entry("SigningCertURL").or_insert_with(|| self.certificate_url().into());
        Ok(Value::Object(members).to_string())
    }

    /// The key, as PKCS #8 in DER: for a server of TLS with [`Signer::der`].
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn key(&self) -> io::Result<Vec<u8>> {
        let der: Pkcs8V1Der<'_> = self.key.as_der().map_err(io::Error::other)?;
        Ok(der.as_ref().to_vec())
    }

    /// The certificate in DER, also good for a server of this name.
    #[must_use]
    pub fn der(&self, server: &str) -> Vec<u8> {
        let name = name(&self.name);
        let (from, to) = self.validity;
        let algorithm = || sequence(&[&SHA256_WITH_RSA, &NULL]);
        let key = bits(self.key.public_key().as_ref());
        let to_sign = sequence(&[
            &tagged(0xa0, &[&[0x02, 0x01, 0x02]]),
            &[0x02, 0x01, 0x01],
            &algorithm(),
            &name,
            &sequence(&[&time(from), &time(to)]),
            &name,
            &sequence(&[&sequence(&[&RSA, &NULL]), &key]),
            &tagged(0xa3, &[&sequence(&[&alternative_name(server)])]),
        ]);
        let mut signature = vec![0; self.key.public_modulus_len()];
        // A certificate without a good signature is one that tests can use as well.
        let _signed =
            self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &to_sign, &mut signature);
        sequence(&[&to_sign, &algorithm(), &bits(&signature)])
    }
}

const NULL: [u8; 2] = [0x05, 0x00];
/// 1.2.840.113549.1.1.1
const RSA: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.113549.1.1.11
const SHA256_WITH_RSA: [u8; 11] =
    [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
/// 2.5.4.3
const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
/// 2.5.29.17
const ALTERNATIVE_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x11];

fn name(common: &str) -> Vec<u8> {
    let text = tagged(0x0c, &[common.as_bytes()]);
    sequence(&[&tagged(0x31, &[&sequence(&[&COMMON_NAME, &text])])])
}

fn alternative_name(server: &str) -> Vec<u8> {
    let names = sequence(&[&tagged(0x82, &[server.as_bytes()])]);
    sequence(&[&ALTERNATIVE_NAME, &tagged(0x04, &[&names])])
}

fn time(at: Timestamp) -> Vec<u8> {
    tagged(0x18, &[at.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes()])
}

fn bits(bytes: &[u8]) -> Vec<u8> {
    tagged(0x03, &[&[0], bytes])
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(0x30, parts)
}

/// A value of DER: tag, length, content.
fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len().to_be_bytes();
    let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut value = vec![tag];
    match length.as_slice() {
        [] => value.push(0),
        [short @ 0..=0x7f] => value.push(*short),
        // No length has more than 8 bytes.
        long => {
            value.push(0x80 | u8::try_from(long.len()).unwrap_or(0));
            value.extend_from_slice(long);
        }
    }
    value.extend(content);
    value
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let held = three.iter().fold(0_usize, |held, byte| held << 8 | usize::from(*byte));
        let held = held << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS.get(held >> (18 - 6 * place) & 63).copied().unwrap_or(b'=');
            text.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
