//! The values of secrets: found just before they are needed, and kept out of everything else.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use rustix::fs::{FileType, Mode, OFlags};
use serde_json::{Map, Value};

use super::Fetched;

/// The longest secret that is read.
const LONGEST: u64 = 64 * 1024;

/// The shortest line of a secret of several lines that counts as secret by itself: shorter ones
/// (`}`, say) are in every text.
const SECRET_LINE: usize = 8;

/// What stands where a secret was.
const HIDDEN: &str = "***";

/// Where the values of secrets come from.
#[derive(Clone, Default)]
pub struct SecretStore {
    /// The directory in which systemd puts credentials: `credential:NAME` is a file there.
    pub credentials_directory: Option<PathBuf>,
    /// The daemon's own environment: `env:NAME` is one of these.
    pub environment: BTreeMap<String, String>,
    /// What was fetched from AWS: `ssm:NAME` and `secretsmanager:NAME` are among these.
    pub fetched: Fetched,
}

impl fmt::Debug for SecretStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretStore")
            .field("credentials_directory", &self.credentials_directory)
            .finish_non_exhaustive()
    }
}

/// A reference does not lead to a secret. Its text never holds one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretFault {
    /// There are no credentials at all.
    #[error("`{0}`: this service has no credentials directory")]
    NoCredentials(String),
    /// The name could lead out of the directory.
    #[error("`{0}`: a credential's name has no `/` and does not start with `.`")]
    Name(String),
    /// The file cannot be used.
    #[error("`{0}`: {1}")]
    File(String, String),
    /// There is no such variable.
    #[error("`{0}`: the daemon's environment has no such variable")]
    NoVariable(String),
    /// It was not fetched from AWS.
    #[error("`{0}`: {1}")]
    Remote(String, String),
}

impl SecretStore {
    /// The configuration with every reference replaced by its value, and what hides these values
    /// again.
    ///
    /// # Errors
    /// [`SecretFault`] for the first reference that leads nowhere.
    pub fn resolve(
        &self,
        config: &Map<String, Value>,
    ) -> Result<(Map<String, Value>, Redactor), SecretFault> {
        let mut values = Vec::new();
        let mut resolved = Value::Object(config.clone());
        self.replace(&mut resolved, &mut values)?;
        let Value::Object(resolved) = resolved else { return Ok(Default::default()) };
        Ok((resolved, Redactor::new(&values)))
    }

    fn replace(&self, value: &mut Value, values: &mut Vec<String>) -> Result<(), SecretFault> {
        match value {
            Value::String(text) => {
                if let Some(secret) = self.value_of(text)? {
                    values.push(secret.clone());
                    *text = secret;
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.replace(item, values)?;
                }
            }
            Value::Object(map) => {
                for item in map.values_mut() {
                    self.replace(item, values)?;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        Ok(())
    }

    /// The value of a reference, `None` when the text is none.
    fn value_of(&self, text: &str) -> Result<Option<String>, SecretFault> {
        let Some((scheme, name)) = text.split_once(':') else { return Ok(None) };
        match scheme {
            "credential" => self.credential(text, name).map(Some),
            "env" => match self.environment.get(name) {
                Some(value) => Ok(Some(value.clone())),
                None => Err(SecretFault::NoVariable(text.to_owned())),
            },
            "ssm" | "secretsmanager" => {
                let fault = |why| SecretFault::Remote(text.to_owned(), why);
                self.fetched.value(text).map(Some).map_err(fault)
            }
            _ => Ok(None),
        }
    }

    fn credential(&self, text: &str, name: &str) -> Result<String, SecretFault> {
        let Some(directory) = &self.credentials_directory else {
            return Err(SecretFault::NoCredentials(text.to_owned()));
        };
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return Err(SecretFault::Name(text.to_owned()));
        }
        let fault = |why: String| SecretFault::File(text.to_owned(), why);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = rustix::fs::open(directory.join(name), flags, Mode::empty())
            .map_err(|source| fault(std::io::Error::from(source).to_string()))?;
        let stat = rustix::fs::fstat(&file).map_err(|source| fault(source.to_string()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(fault("not a regular file".to_owned()));
        }
        let mut value = String::new();
        let read = File::from(file).take(LONGEST + 1).read_to_string(&mut value);
        match read {
            Ok(length) if u64::try_from(length).is_ok_and(|length| length <= LONGEST) => {}
            Ok(_) => return Err(fault(format!("longer than {LONGEST} bytes"))),
            Err(source) => return Err(fault(source.to_string())),
        }
        // A file that was written with an editor ends in a line feed that is not meant.
        Ok(value.trim_end_matches(['\n', '\r']).to_owned())
    }
}

/// Hides secrets in texts.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, so that one secret within another leaves nothing over.
    secrets: Vec<String>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} secrets)", self.secrets.len())
    }
}

impl Redactor {
    /// Hides these values, each line of long ones, and the forms they have within JSON and within
    /// escaped excerpts.
    #[must_use]
    pub fn new(values: &[String]) -> Self {
        let mut secrets = Vec::new();
        for value in values {
            let lines = value.lines().filter(|line| line.len() >= SECRET_LINE);
            for plain in lines.chain([value.as_str()]) {
                let json = Value::from(plain).to_string();
                let json = json.trim_matches('"').to_owned();
                secrets.push(json.escape_default().to_string());
                secrets.push(plain.as_bytes().escape_ascii().to_string());
                secrets.push(json);
                secrets.push(plain.to_owned());
            }
        }
        secrets.retain(|secret| !secret.is_empty());
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        Self { secrets }
    }

    /// The text without secrets.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| {
            if text.contains(secret.as_str()) {
                text.replace(secret.as_str(), HIDDEN)
            } else {
                text
            }
        })
    }

    /// The start of a text that was cut, without secrets, not even the head of one at the cut.
    #[must_use]
    pub fn cut_text(&self, text: &str) -> String {
        let mut text = self.text(text);
        let longest_head = self
            .secrets
            .iter()
            .filter_map(|secret| {
                let ends = secret.char_indices().map(|(end, _)| end).rev();
                ends.take_while(|end| *end > 0)
                    .find(|end| secret.get(..*end).is_some_and(|head| text.ends_with(head)))
            })
            .max();
        if let Some(length) = longest_head {
            text.truncate(text.len() - length);
            text.push_str(HIDDEN);
        }
        text
    }

    /// The value without secrets, in keys and texts alike.
    #[must_use]
    pub fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(map) => Value::Object(self.map(map)),
            Value::Number(number) => {
                let text = number.to_string();
                if self.secrets.contains(&text) { HIDDEN.into() } else { value.clone() }
            }
            Value::Null | Value::Bool(_) => value.clone(),
        }
    }

    /// The map without secrets.
    #[must_use]
    pub fn map(&self, map: &Map<String, Value>) -> Map<String, Value> {
        map.iter().map(|(key, value)| (self.text(key), self.value(value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CANARY: &str = "S3CR3T-CANARY";

    #[test]
    fn references_are_replaced_at_any_depth_and_other_texts_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("dsn"), format!("{CANARY}\n")).unwrap();
        let store = SecretStore {
            credentials_directory: Some(dir.path().into()),
            environment: [("TOKEN".to_owned(), "t0ken".to_owned())].into(),
            fetched: Fetched::default(),
        };
        store.fetched.put("ssm:/slack/url", Ok("fetched".to_owned()));
        let config = json!({
            "dsn": "credential:dsn", "deep": [{ "token": "env:TOKEN" }], "slack": "ssm:/slack/url",
            "url": "http://localhost", "threshold": 5,
        });
        let (resolved, redactor) = store.resolve(config.as_object().unwrap()).unwrap();
        let expected = json!({
            "dsn": CANARY, "deep": [{ "token": "t0ken" }], "slack": "fetched",
            "url": "http://localhost", "threshold": 5,
        });
        assert_eq!(Value::Object(resolved), expected);
        let hidden = json!({
            "dsn": "***", "deep": [{ "token": "***" }], "slack": "***",
            "url": "http://localhost", "threshold": 5,
        });
        assert_eq!(redactor.value(&expected), hidden);
    }

    #[test]
    fn a_reference_that_leads_nowhere_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        let bare = SecretStore::default();
        let store = SecretStore { credentials_directory: Some(dir.path().into()), ..bare.clone() };
        let fails = |store: &SecretStore, text: &str| {
            let config = json!({ "key": text });
            store.resolve(config.as_object().unwrap()).unwrap_err().to_string()
        };
        assert!(fails(&bare, "credential:dsn").contains("no credentials directory"));
        for name in ["credential:../x", "credential:", "credential:.x", "credential:a/b"] {
            assert!(fails(&store, name).contains("has no `/`"), "{name}");
        }
        assert!(fails(&store, "credential:link").contains("symbolic link"));
        assert!(fails(&store, "credential:none").contains("No such file"));
        assert!(fails(&store, "env:NONE").contains("no such variable"));
        assert!(fails(&store, "ssm:/slack/url").contains("the setting `cloud`"));
        store.fetched.put("secretsmanager:x", Err("no such secret".to_owned()));
        assert_eq!(fails(&store, "secretsmanager:x"), "`secretsmanager:x`: no such secret");
    }

    #[test]
    fn g11_a_secret_is_hidden_in_every_form_it_comes_back_in() {
        let redactor = Redactor::new(&[
            CANARY.to_owned(),
            "a\"b\\c".to_owned(),
            "-----BEGIN-----\nQUJDREVGRw==\n}".to_owned(),
            "4711".to_owned(),
        ]);
        let check = |text: &str, expected: &str| assert_eq!(redactor.text(text), expected);
        check("no route to S3CR3T-CANARY@db", "no route to ***@db");
        check("plain a\"b\\c", "plain ***");
        check(r#"json a\"b\\c"#, "json ***");
        check(r#"excerpt a\\\"b\\\\c"#, "excerpt ***");
        check("key QUJDREVGRw== }", "key *** }");
        assert_eq!(redactor.value(&json!({ "S3CR3T-CANARY": [4711] })), json!({ "***": ["***"] }));
        assert_eq!(redactor.cut_text("dsn=S3CR3T-C"), "dsn=***");
        assert_eq!(redactor.cut_text("dsn=S3CR3T-CANARY"), "dsn=***");
        assert!(!format!("{redactor:?}").contains("S3CR3T"));
    }
}
