//! The certificate whose key SNS signs with.

use std::fmt;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;

use super::{Refused, shown};

/// What we need of a certificate.
pub(super) struct Certificate {
    /// PKCS #1, DER.
    key: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.validity())
    }
}

impl Certificate {
    /// Reads the first certificate of a PEM file, which must bear one of these names.
    pub(super) fn read(pem: &[u8], names: &[String]) -> Result<Self, Refused> {
        let bad = |text: &str| Refused::Certificate(text.to_owned());
        let (_, pem) = parse_x509_pem(pem).map_err(|_unreadable| bad("not a PEM file"))?;
        if pem.label != "CERTIFICATE" {
            return Err(bad("the PEM file does not begin with a certificate"));
        }
        let (_, x509) = X509Certificate::from_der(&pem.contents)
            .map_err(|_unreadable| bad("not an X.509 certificate"))?;
        let found: Vec<&str> =
            x509.subject().iter_common_name().filter_map(|name| name.as_str().ok()).collect();
        match found.as_slice() {
            [name] if names.iter().any(|known| known == name) => {}
            found => {
                let text = format!(
                    "issued to `{}`: expected one of `{}`",
                    shown(&found.join(", ")),
                    names.join("`, `")
                );
                return Err(Refused::Certificate(text));
            }
        }
        let moment = |seconds| Timestamp::from_second(seconds).ok();
        let validity = x509.validity();
        let not_before = moment(validity.not_before.timestamp());
        let not_after = moment(validity.not_after.timestamp());
        let (Some(not_before), Some(not_after)) = (not_before, not_after) else {
            return Err(bad("its validity is no time"));
        };
        let key = x509.public_key().subject_public_key.data.to_vec();
        Ok(Self { key, not_before, not_after })
    }

    /// Whether it is valid at this moment.
    pub(super) fn is_valid_at(&self, now: Timestamp) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// When it is valid, in words.
    pub(super) fn validity(&self) -> String {
        format!("valid from {} to {}", self.not_before, self.not_after)
    }

    /// Whether this key signed this text.
    pub(super) fn verify(&self, text: &str, signature: &[u8]) -> Result<(), Refused> {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.key)
            .verify(text.as_bytes(), signature)
            .map_err(|_unspecified| Refused::Signature)
    }
}
