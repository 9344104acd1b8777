//! The values of secrets that another task fetches ahead of time, so that no network stands
//! between an event and its handler.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use serde_json::{Map, Value};
use snooze_policy::{SecretRef, secret_reference};

/// Values by reference, in memory only. A clone is the same shelf.
#[derive(Clone, Default)]
pub struct Fetched(Arc<RwLock<BTreeMap<String, Shelved>>>);

#[derive(Default)]
struct Shelved {
    value: Option<String>,
    /// Why it could not be fetched the last time.
    fault: Option<String>,
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.read().keys()).finish()
    }
}

impl Fetched {
    /// The value of a reference.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn value(&self, reference: &str) -> Result<String, String> {
        let shelf = self.read();
        let shelved = shelf.get(reference);
        if let Some(value) = shelved.and_then(|shelved| shelved.value.as_ref()) {
            return Ok(value.clone());
        }
        let fault = shelved.and_then(|shelved| shelved.fault.as_deref());
        Err(fault.unwrap_or("not fetched; that takes the setting `cloud`, and a moment").to_owned())
    }

    /// Shelves what was fetched, or why it was not; an older value stays then, since a secret
    /// that worked is better than none. Answers with whether there is another value than before.
    pub fn put(&self, reference: &str, fetched: Result<String, String>) -> bool {
        let mut shelf = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let shelved = shelf.entry(reference.to_owned()).or_default();
        match fetched {
            Ok(value) => {
                shelved.fault = None;
                let is_other = shelved.value.as_ref() != Some(&value);
                shelved.value = Some(value);
                is_other
            }
            Err(fault) => {
                shelved.fault = Some(fault);
                false
            }
        }
    }

    /// Forgets all but these.
    pub fn keep(&self, references: &BTreeSet<String>) {
        let mut shelf = self.0.write().unwrap_or_else(PoisonError::into_inner);
        shelf.retain(|reference, _| references.contains(reference));
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Shelved>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The references in a configuration whose values have to be fetched.
#[must_use]
pub fn remote_references(config: &Map<String, Value>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    config.values().for_each(|value| collect(value, &mut found));
    found
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => match secret_reference(text) {
            Some(SecretRef::Ssm(_) | SecretRef::SecretsManager(_)) => {
                found.insert(text.clone());
            }
            Some(SecretRef::Credential(_) | SecretRef::Env(_)) | None => {}
        },
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(members) => members.values().for_each(|item| collect(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const URL: &str = "ssm:/slack/url";

    #[test]
    fn a_value_stays_when_it_cannot_be_fetched_again() {
        let fetched = Fetched::default();
        assert!(fetched.value(URL).unwrap_err().contains("the setting `cloud`"));
        assert!(!fetched.put(URL, Err("no network".to_owned())));
        assert_eq!(fetched.value(URL), Err("no network".to_owned()));
        assert!(fetched.put(URL, Ok("one".to_owned())), "there is one");
        assert!(!fetched.put(URL, Ok("one".to_owned())), "it is the same");
        assert!(!fetched.put(URL, Err("no network".to_owned())));
        assert_eq!(fetched.value(URL), Ok("one".to_owned()));
        assert!(fetched.put(URL, Ok("two".to_owned())), "it is another");
        assert_eq!(fetched.clone().value(URL), Ok("two".to_owned()));
        fetched.keep(&BTreeSet::new());
        assert!(fetched.value(URL).is_err());
    }

    #[test]
    fn g11_values_are_not_shown() {
        let fetched = Fetched::default();
        fetched.put(URL, Ok("S3CR3T".to_owned()));
        assert_eq!(format!("{fetched:?}"), r#"{"ssm:/slack/url"}"#);
    }

    #[test]
    fn the_references_that_have_to_be_fetched_are_found_at_any_depth() {
        let config = json!({
            "a": URL, "b": [{ "c": "secretsmanager:orders#password" }, URL],
            "d": "credential:x", "e": "env:X", "f": "ssm:", "g": "http://localhost", "h": 1,
        });
        let found = remote_references(config.as_object().unwrap());
        assert_eq!(Vec::from_iter(found), ["secretsmanager:orders#password", URL]);
    }
}
