//! Signatures of policies: who said so, of which version, for which instances, and until when.
//!
//! A signature is one of minisign over the bytes of the document as they stand. What it says
//! beyond that stands as JSON in its trusted comment, which it covers too: see [`Statement`].

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use minisign_verify::{Error, PublicKey, Signature};
use serde_json::{Value, json};
use snooze_pattern::Pattern;

use crate::check::members;
use crate::fields::{Fields, Unknown};
use crate::select::{Facts, INSTANCE_MEMBERS, known};
use crate::{Fault, PolicyName, json};

/// The longest signature, in bytes: minisign's longest comments are 8 KiB and 1 KiB.
pub const LONGEST_SIGNATURE: usize = 16 << 10;

/// A public key that may sign policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The name of its file.
    pub name: String,
    /// The key as minisign writes it.
    text: String,
    key: PublicKey,
}

impl Key {
    /// The key of a file `*.pub` of minisign: a comment, then the key.
    ///
    /// # Errors
    /// It is none.
    pub fn read(name: &str, text: &str) -> Result<Self, Fault> {
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        let key = PublicKey::from_base64(line)
            .map_err(|_why| Fault::new(name, "it is no public key of minisign"))?;
        Ok(Self { name: name.to_owned(), text: line.to_owned(), key })
    }
}

/// What does not count any more, though it is signed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    /// The version of the list, which only rises.
    pub version: u64,
    /// Keys, as minisign writes them.
    pub keys: BTreeSet<String>,
    /// Policies, up to the version of theirs that stands here.
    pub policies: BTreeMap<PolicyName, u64>,
}

impl Revocations {
    /// Reads the list: `{"version": 3, "keys": ["RW…"], "policies": {"orders-db": 11}}`.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(text: &str) -> Result<Self, Vec<Fault>> {
        let value = json::parse(text).map_err(|fault| vec![fault])?;
        let mut faults = Vec::new();
        let mut read = Self::default();
        if let Some(fields) = Fields::of("$", &value, &mut faults) {
            fields.expect(&["version", "keys", "policies"], Unknown::Refuse, &mut faults);
            read.version = version(&fields, &mut faults);
            for (path, key) in fields.list("keys", &mut faults) {
                match key.as_str().filter(|text| PublicKey::from_base64(text).is_ok()) {
                    Some(key) => {
                        read.keys.insert(key.to_owned());
                    }
                    None => faults.push(Fault::new(&path, "expected a public key of minisign")),
                }
            }
            let policies = fields.object("policies", &mut faults);
            for (name, version) in policies.iter().flat_map(Fields::members) {
                match (name.parse(), version.as_u64()) {
                    (Ok(name), Some(version)) => {
                        read.policies.insert(name, version);
                    }
                    (Ok(_) | Err(_), _) => faults.push(Fault::new(
                        "$.policies",
                        format!("{name:?}: expected the name of a policy with a version"),
                    )),
                }
            }
        }
        if faults.is_empty() { Ok(read) } else { Err(faults) }
    }
}

/// What a signature says of its document: `{"version": 7, "expires": "2027-03-01T00:00:00Z",
/// "scope": {"account": ["123456789012"]}}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// The version of the policy, which only rises.
    pub version: u64,
    /// Until when it may be taken.
    pub expires: Timestamp,
    /// The instances it is for, as a pattern over what is known of one; `None` for all.
    pub scope: Option<Pattern>,
    /// The name of the key that signed it; empty where nobody verified it.
    pub key: String,
}

impl Statement {
    /// Reads the trusted comment of a signature.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(comment: &str) -> Result<Self, Vec<Fault>> {
        let value = json::parse(comment).map_err(|fault| vec![fault])?;
        let mut faults = Vec::new();
        let read = Self::of(&value, &mut faults);
        read.filter(|_| faults.is_empty()).ok_or(faults)
    }

    fn of(value: &Value, faults: &mut Vec<Fault>) -> Option<Self> {
        let fields = Fields::of("$", value, faults)?;
        fields.expect(&["version", "expires", "scope"], Unknown::Refuse, faults);
        let version = version(&fields, faults);
        let expires = fields.text("expires", faults).and_then(|text| text.parse().ok());
        if expires.is_none() {
            let text = "expected a moment as `2027-03-01T00:00:00Z`";
            faults.push(Fault::new("$.expires", text));
        }
        let scope = fields.get("scope").map(|scope| {
            members("$.scope", scope, &INSTANCE_MEMBERS, faults);
            let compiled = Pattern::compile_value(scope);
            compiled.map_err(|error| faults.push(Fault::new("$.scope", error.to_string())))
        });
        let scope = scope.transpose().ok()?;
        Some(Self { version, expires: expires?, scope, key: String::new() })
    }

    /// The comment to sign that says so.
    #[must_use]
    pub fn comment(version: u64, expires: Timestamp, scope: Option<&Value>) -> String {
        match scope {
            Some(scope) => json!({ "version": version, "expires": expires, "scope": scope }),
            None => json!({ "version": version, "expires": expires }),
        }
        .to_string()
    }

    /// Whether it is for an instance of which this is known.
    #[must_use]
    pub fn is_for(&self, facts: &Facts) -> bool {
        self.scope.as_ref().is_none_or(|scope| scope.matches_view(&known(facts)))
    }

    /// Whether a document that newly came with this signature may be taken, after `seen`: the
    /// version that was last taken under its name, and whether it was this very text.
    ///
    /// # Errors
    /// Why not.
    pub fn admits(
        &self,
        seen: Option<(u64, bool)>,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let version = self.version;
        match seen {
            Some((seen, _)) if version < seen => return Err(Refusal::Older { version, seen }),
            Some((seen, false)) if version == seen => return Err(Refusal::Changed(version)),
            Some(_) | None => {}
        }
        if !self.is_for(facts) {
            return Err(Refusal::OtherScope);
        }
        if self.expires <= now {
            return Err(Refusal::Expired(self.expires));
        }
        Ok(())
    }
}

/// Why a policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has no signature.
    #[error("it is not signed; `snooze policy sign` signs it")]
    Unsigned,
    /// What should be the signature is none.
    #[error("its signature cannot be read: {0}")]
    Unreadable(String),
    /// No key that is here made the signature.
    #[error("none of the keys that are here signed it ({0})")]
    UnknownKey(String),
    /// A key that is here made the signature, of another text.
    #[error("its signature by `{0}` is that of another text: it was changed")]
    Forged(String),
    /// The key is revoked.
    #[error("`{0}` signed it, and that key is revoked")]
    RevokedKey(String),
    /// This version of the policy is revoked.
    #[error("its version {0} is revoked")]
    Revoked(u64),
    /// It stands under another name than its own.
    #[error("the text that is signed names another policy")]
    OtherName,
    /// The trusted comment is not what we need.
    #[error("what its signature says cannot be used: {0}")]
    Statement(String),
    /// A newer version was there already.
    #[error("its version {version} is older than {seen}, which was seen")]
    Older {
        /// Its version.
        version: u64,
        /// The version that was seen.
        seen: u64,
    },
    /// This version was there already, with another text.
    #[error("its version {0} was seen with another text: a change needs a higher version")]
    Changed(u64),
    /// It is for other instances.
    #[error("it was signed for other instances")]
    OtherScope,
    /// It may not be taken any more.
    #[error("its signature expired at {0}")]
    Expired(Timestamp),
}

/// What the signature of a document says, once it is known to be one of these keys.
///
/// # Errors
/// Why the document is not to be trusted.
pub fn verify(
    name: &PolicyName,
    text: &str,
    signature: Option<&str>,
    keys: &[Key],
    revocations: &Revocations,
) -> Result<Statement, Refusal> {
    let signature = signature.ok_or(Refusal::Unsigned)?;
    if signature.len() > LONGEST_SIGNATURE {
        let text = format!("longer than {LONGEST_SIGNATURE} bytes");
        return Err(Refusal::Unreadable(text));
    }
    let signature = Signature::decode(signature)
        .map_err(|_why| Refusal::Unreadable("it is no signature of minisign".to_owned()))?;
    let key = signer(text, &signature, keys)?;
    if revocations.keys.contains(&key.text) {
        return Err(Refusal::RevokedKey(key.name.clone()));
    }
    let statement = Statement::read(signature.trusted_comment()).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(Fault::to_string).collect();
        Refusal::Statement(faults.join("; "))
    })?;
    if revocations.policies.get(name).is_some_and(|up_to| statement.version <= *up_to) {
        return Err(Refusal::Revoked(statement.version));
    }
    let named = json::parse(text).ok();
    let named = named.as_ref().and_then(|document| document.get("name")?.as_str());
    if named != Some(name.as_str()) {
        return Err(Refusal::OtherName);
    }
    Ok(Statement { key: key.name.clone(), ..statement })
}

fn signer<'a>(text: &str, signature: &Signature, keys: &'a [Key]) -> Result<&'a Key, Refusal> {
    let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    let mut refusal = Refusal::UnknownKey(names.join(", "));
    for key in keys {
        // Signatures of the old kind are over the bytes and not over their sum; they are refused.
        match key.key.verify(text.as_bytes(), signature, false) {
            Ok(()) => return Ok(key),
            Err(Error::UnexpectedKeyId) => {}
            Err(Error::UnexpectedAlgorithm) => {
                let why = "it is of the old kind; sign again with `snooze policy sign`";
                refusal = Refusal::Unreadable(why.to_owned());
            }
            Err(_wrong) => refusal = Refusal::Forged(key.name.clone()),
        }
    }
    Err(refusal)
}

/// A version that has to be there: a whole number from 1.
fn version(fields: &Fields<'_>, faults: &mut Vec<Fault>) -> u64 {
    let version = fields.get("version").and_then(Value::as_u64).filter(|version| *version > 0);
    version.unwrap_or_else(|| {
        faults.push(Fault::new("$.version", "expected a whole number from 1"));
        0
    })
}

#[cfg(test)]
mod tests;
