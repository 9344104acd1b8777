//! The values of secrets, from the parameter store and from Secrets Manager.

use std::fmt;
use std::ops::Deref;

use serde_json::{Value, json};
use snooze_policy::SecretRef;

use crate::error::Kind;
use crate::signed::{Client, JSON_1_1, Service};
use crate::{Aws, CloudError};

/// The longest secret that is taken, in bytes: as long as Secrets Manager has them.
pub const LONGEST: usize = 64 << 10;

/// Both stores.
#[derive(Debug, Clone)]
pub struct Secrets {
    parameters: Client,
    manager: Client,
}

static PARAMETERS: Service =
    Service { name: "SSM", host: "ssm", target: "AmazonSSM", content: JSON_1_1 };
static MANAGER: Service = Service {
    name: "Secrets Manager",
    host: "secretsmanager",
    target: "secretsmanager",
    content: JSON_1_1,
};

/// The value of a secret: a text that is never shown by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl Secrets {
    /// The stores by these settings.
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        Self { parameters: Client::new(aws, &PARAMETERS), manager: Client::new(aws, &MANAGER) }
    }

    /// Reads what a reference names: a parameter, decrypted; or a secret's text, or the member of
    /// it that follows the `#`.
    ///
    /// # Errors
    /// It cannot be read, is longer than [`LONGEST`], has no such member, or is not of these
    /// stores.
    pub async fn read(&self, reference: &SecretRef) -> Result<Secret, CloudError> {
        match reference {
            SecretRef::Ssm(name) => self.parameter(name).await,
            SecretRef::SecretsManager(name) => match name.split_once('#') {
                Some((name, key)) => member(&self.secret(name).await?, key),
                None => self.secret(name).await,
            },
            SecretRef::Credential(_) | SecretRef::Env(_) => {
                let text = "credentials and variables are read on the instance itself";
                Err(CloudError::new("GetSecretValue", Kind::Invalid, "NotRemote", text))
            }
        }
    }

    async fn parameter(&self, name: &str) -> Result<Secret, CloudError> {
        const CALL: &str = "GetParameter";
        let body = json!({ "Name": name, "WithDecryption": true });
        let answer = self.parameters.call(CALL, &body).await?;
        text(CALL, answer.pointer("/Parameter/Value"))
    }

    async fn secret(&self, name: &str) -> Result<Secret, CloudError> {
        let answer = self.manager.call(SECRET, &json!({ "SecretId": name })).await?;
        text(SECRET, answer.get("SecretString"))
    }
}

const SECRET: &str = "GetSecretValue";

/// The text of an answer. Nothing of it gets into an error.
fn text(call: &'static str, value: Option<&Value>) -> Result<Secret, CloudError> {
    match value {
        Some(Value::String(value)) if value.len() <= LONGEST => Ok(Secret(value.clone())),
        Some(Value::String(_)) => {
            let text = format!("the value is longer than {LONGEST} bytes");
            Err(CloudError::new(call, Kind::Invalid, "TooLong", &text))
        }
        Some(Value::Null) | None => {
            Err(CloudError::new(call, Kind::Missing, "NoText", "it holds no text"))
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(CloudError::bad_answer(call, "the value is no text"))
        }
    }
}

/// A member of a secret that is a JSON object. Nothing of the secret gets into an error.
fn member(secret: &Secret, key: &str) -> Result<Secret, CloudError> {
    let bad = |kind, text: &str| CloudError::new(SECRET, kind, "NoMember", text);
    let Ok(Value::Object(members)) = serde_json::from_str(secret) else {
        return Err(bad(Kind::Invalid, "the secret is no JSON object, so it has no members"));
    };
    match members.get(key) {
        Some(Value::String(text)) => Ok(Secret(text.clone())),
        Some(Value::Number(number)) => Ok(Secret(number.to_string())),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
            Err(bad(Kind::Invalid, &format!("member `{key}` is neither a text nor a number")))
        }
        None => Err(bad(Kind::Missing, &format!("the secret has no member `{key}`"))),
    }
}

#[cfg(test)]
mod tests;
