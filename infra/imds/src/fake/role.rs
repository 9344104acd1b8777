//! The role of the instance: credentials under `iam/security-credentials/`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::Reply;
use super::stage::{from_now, seconds};

/// Where the name of the role stands, and below it the credentials.
pub const ROLE_PATH: &str = "/latest/meta-data/iam/security-credentials/";

/// A role whose credentials the fake hands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name: the last part of the path of its credentials.
    pub name: String,
    /// How long the credentials of each answer live, from that answer on.
    pub life: Duration,
    /// The credentials; without them each answer has new ones, made up: their key is
    /// `ASIAFAKE` and the number of the answer in eight digits.
    pub keys: Option<Keys>,
}

/// The credentials of a session.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// The id of the access key.
    pub id: String,
    /// The secret of the access key.
    pub secret: String,
    /// The token of the session.
    pub token: String,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Role {
    /// A role whose credentials live so long and are made up.
    #[must_use]
    pub fn lasting(name: &str, life: Duration) -> Self {
        Self { name: name.to_owned(), life, keys: None }
    }

    /// The answer to a path; `None` where it is none of the role's. `count` numbers the answers.
    pub(super) fn answer(&self, path: &str, count: u64) -> Option<Reply> {
        let rest = path.strip_prefix(ROLE_PATH.trim_end_matches('/'))?;
        if matches!(rest, "" | "/") {
            return Some(Reply::ok(self.name.as_str()));
        }
        if rest.strip_prefix('/')? != self.name {
            return None;
        }
        let keys = self.keys.clone().unwrap_or_else(|| Keys {
            id: format!("ASIAFAKE{count:08}"),
            secret: format!("fake-secret-{count}"),
            token: format!("fake-session-{count}"),
        });
        let body = json!({
            "Code": "Success",
            "LastUpdated": seconds(Timestamp::now()),
            "Type": "AWS-HMAC",
            "AccessKeyId": keys.id,
            "SecretAccessKey": keys.secret,
            "Token": keys.token,
            "Expiration": seconds(from_now(self.life)),
        });
        Some(Reply::ok(body.to_string()))
    }
}
