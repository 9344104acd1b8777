//! Which policies of the table count: those that somebody signed whose key is here.
//!
//! The table is untrusted storage. [`Trust::read`] reads keys and revocations, `judge` decides what
//! of the table is taken; the reasons are those of [`snooze_policy::signed`].

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use snooze_policy::signed::{Key, Refusal, Revocations, Statement, verify};
use snooze_policy::strict::{Fields, Unknown};
use snooze_policy::{Facts, Fault, PolicyName};

use super::snapshot::Kept;
use crate::launch::read_beside;

/// Where the keys are when the settings do not say.
const KEYS: &str = "/etc/cloudsnooze/keys";
/// The list of what is revoked, beside the keys.
const REVOKED: &str = "revoked.json";
/// The longest key and the longest list, in bytes.
const LONGEST: usize = 256 << 10;
/// How long a policy that was taken in time serves after its signature expired: a signature that
/// is forgotten over a holiday must not cost data.
const GRACE_DAYS: f64 = 14.0;
/// The longest such time.
const LONGEST_GRACE_DAYS: f64 = 366.0;
const SECONDS_A_DAY: f64 = 86_400.0;

/// What the settings say of signatures.
#[derive(Debug, Clone, PartialEq)]
pub struct Signatures {
    /// Policies of the table count only where they are signed.
    pub required: bool,
    /// The directory of the keys that may sign policies.
    pub keys: PathBuf,
    /// How long a policy that was taken in time serves after its signature expired.
    pub grace: Duration,
}

impl Signatures {
    /// The settings under `policy_signatures`.
    pub(crate) fn read(root: &Fields<'_>, faults: &mut Vec<Fault>) -> Self {
        let mut read = Self {
            required: false,
            keys: PathBuf::from(KEYS),
            grace: Duration::from_secs_f64(GRACE_DAYS * SECONDS_A_DAY),
        };
        let Some(fields) = root.object("policy_signatures", faults) else { return read };
        fields.expect(&["required", "keys", "expired_days"], Unknown::Refuse, faults);
        read.required = fields.flag("required", false, faults);
        match fields.text("keys", faults) {
            Some(path) if path.starts_with('/') => read.keys = PathBuf::from(path),
            Some(_) => faults.push(fields.fault("keys", "expected an absolute path")),
            None => {}
        }
        if let Some(days) = fields.number("expired_days", (0.0, LONGEST_GRACE_DAYS), faults) {
            read.grace = Duration::from_secs_f64(days * SECONDS_A_DAY);
        }
        read
    }

    /// What counts by these settings; `None` where everything does.
    pub(super) fn trust(&self, known: Option<&str>) -> Option<Trust> {
        self.required.then(|| Trust::read(&self.keys, known))
    }

    /// As they stand in the file.
    #[must_use]
    pub fn shown(&self) -> Value {
        json!({
            "required": self.required,
            "keys": self.keys.display().to_string(),
            "expired_days": self.grace.as_secs_f64() / SECONDS_A_DAY,
        })
    }
}

/// The keys of a directory, and what is wrong with the others.
#[must_use]
pub fn keys(directory: &Path) -> (Vec<Key>, Vec<String>) {
    let files = match fs::read_dir(directory) {
        Ok(files) => files,
        Err(source) => {
            let text = format!("there are no keys in `{}`: {source}", directory.display());
            return (Vec::new(), vec![text]);
        }
    };
    let mut names: Vec<String> = files
        .filter_map(|file| file.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".pub"))
        .collect();
    names.sort();
    let mut keys = Vec::new();
    let mut faults = Vec::new();
    if names.is_empty() {
        faults.push(format!("there is no key `*.pub` in `{}`", directory.display()));
    }
    for name in names {
        let text = read_beside(directory, OsStr::new(&name), LONGEST);
        let key = text.map_err(|refusal| format!("key `{name}`: {refusal}")).and_then(|text| {
            Key::read(&name, &text.unwrap_or_default()).map_err(|fault| format!("key {fault}"))
        });
        match key {
            Ok(key) => keys.push(key),
            Err(fault) => faults.push(fault),
        }
    }
    (keys, faults)
}

/// What counts here.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    keys: Vec<Key>,
    revocations: Revocations,
    /// The text of the list in force, to be kept: its version must not fall.
    pub(super) list: Option<String>,
    /// What is wrong with keys and list.
    pub faults: Vec<String>,
}

/// The version that was last taken of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    version: u64,
    sha256: String,
}

/// What became of the documents of the table.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) taken: Vec<Kept>,
    pub(super) seen: BTreeMap<String, Seen>,
    pub(super) refused: Vec<Refused>,
}

/// A policy that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its name in the table.
    pub policy: String,
    /// Why, and what is in force in its place.
    pub why: String,
    /// It is signed, and for other instances, which is no fault.
    pub is_elsewhere: bool,
}

impl Trust {
    /// The keys and the revocations of a directory. `known` is the list of revocations that was in
    /// force last: one of a lower version does not take its place.
    #[must_use]
    pub fn read(directory: &Path, known: Option<&str>) -> Self {
        let (keys, mut faults) = keys(directory);
        let known = known.and_then(|text| Some((text, Revocations::read(text).ok()?)));
        let found = read_beside(directory, OsStr::new(REVOKED), LONGEST);
        let found = found.map_err(|refusal| refusal.to_string()).and_then(|text| match text {
            None => Ok(None),
            Some(text) => match Revocations::read(&text) {
                Ok(list) => Ok(Some((text, list))),
                Err(all) => Err(all.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ")),
            },
        });
        let kept = known.map(|(text, list)| (text.to_owned(), list));
        let held = kept.as_ref().map_or(0, |(_, list)| list.version);
        let list = match found {
            Ok(Some((text, list))) if list.version >= held => Some((text, list)),
            Ok(Some((_, list))) => {
                let version = list.version;
                faults.push(format!(
                    "`{REVOKED}` is refused: its version {version} is lower than {held}, which \
                     stays in force"
                ));
                kept
            }
            Ok(None) => kept,
            Err(why) => {
                faults.push(format!("`{REVOKED}` cannot be used: {why}"));
                kept
            }
        };
        let (list, revocations) = list.unzip();
        Self { keys, revocations: revocations.unwrap_or_default(), list, faults }
    }

    /// What the signature of a policy says, where it counts.
    ///
    /// # Errors
    /// Why it does not.
    pub fn verify(
        &self,
        name: &PolicyName,
        text: &str,
        signature: Option<&str>,
    ) -> Result<Statement, Refusal> {
        verify(name, text, signature, &self.keys, &self.revocations)
    }

    pub(super) fn verify_kept(&self, kept: &Kept) -> Result<Statement, Refusal> {
        let name = kept.name.parse().map_err(|_no_name| Refusal::OtherName)?;
        self.verify(&name, &kept.text, kept.signature.as_deref())
    }

    /// What of the documents of the table is taken. Of a policy that is refused, the one that was
    /// there before stays, if that still counts.
    pub(super) fn judge(
        &self,
        documents: Vec<Kept>,
        before: &[Kept],
        seen: BTreeMap<String, Seen>,
        facts: &Facts,
        now: Timestamp,
    ) -> Judged {
        let mut judged = Judged { seen, ..Judged::default() };
        for document in documents {
            let seen = judged.seen.get(&document.name);
            let seen = seen.map(|seen| (seen.version, seen.sha256 == document.sha256));
            let admitted = self.verify_kept(&document).and_then(|said| {
                said.admits(seen, facts, now)?;
                Ok(said)
            });
            let refusal = match admitted {
                Ok(Statement { version, .. }) => {
                    let taken = Seen { version, sha256: document.sha256.clone() };
                    judged.seen.insert(document.name.clone(), taken);
                    judged.taken.push(document);
                    continue;
                }
                Err(refusal) => refusal,
            };
            let last = before.iter().find(|kept| kept.name == document.name);
            let last = last.and_then(|last| Some((last, self.verify_kept(last).ok()?)));
            // The very one that is in force, and has expired meanwhile: that is told by itself.
            let is_last = last.as_ref().is_some_and(|(last, _)| {
                last.text == document.text && last.signature == document.signature
            });
            if !(is_last && matches!(refusal, Refusal::Expired(_))) {
                let stays = match &last {
                    Some((_, said)) => format!("version {} stays in force", said.version),
                    None => "none of that name is in force".to_owned(),
                };
                judged.refused.push(Refused {
                    policy: document.name,
                    why: format!("refused: {refusal}; {stays}"),
                    is_elsewhere: refusal == Refusal::OtherScope,
                });
            }
            judged.taken.extend(last.map(|(last, _)| last.clone()));
        }
        judged
    }
}

#[cfg(test)]
mod tests;
