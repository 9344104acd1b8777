//! Orders: what stands in the queue of actions, one message for each task of an incident.
//!
//! ```json
//! { "version": 1, "incident": "i-0123456789abcdef0/spot/terminate/20261121T100000Z",
//!   "task": "orders-db/notify", "expires_at": "2026-11-21T11:00:00Z" }
//! ```
//!
//! An order says only where to look: whoever gets it reads the incident, takes the task, and
//! finds there what is to be done and whether it still is. So it may come twice, or late.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of the form. Members are added without a new one.
pub const VERSION: u32 = 1;
/// The most bytes that are read.
const SIZE: usize = 4096;

/// The order to do one task of one incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The key of the incident.
    pub incident: String,
    /// The id of the task within it.
    pub task: String,
    /// After this it is worth nothing: whoever finds it later drops it.
    pub expires_at: Timestamp,
}

/// A text that is no order of ours.
#[derive(Debug, thiserror::Error)]
pub enum NotAnOrder {
    /// It is too long.
    #[error("the order has {0} bytes: expected at most {SIZE}")]
    Size(usize),
    /// It is not JSON, or lacks a member.
    #[error("the order is not JSON with `version`, `incident`, `task` and `expires_at`")]
    Json(#[source] serde_json::Error),
    /// A newer function wrote it.
    #[error("the order has version {0}: expected {VERSION}")]
    Version(u32),
}

#[derive(Serialize, Deserialize)]
struct RawOrder {
    version: u32,
    incident: String,
    task: String,
    expires_at: Timestamp,
}

impl Order {
    /// Writes it.
    #[must_use]
    pub fn write(&self) -> String {
        let Self { incident, task, expires_at } = self;
        serde_json::json!({
            "version": VERSION,
            "incident": incident,
            "task": task,
            "expires_at": expires_at,
        })
        .to_string()
    }

    /// Reads one.
    ///
    /// # Errors
    /// The text is no order, or one of a version that we do not know.
    pub fn read(text: &str) -> Result<Self, NotAnOrder> {
        if text.len() > SIZE {
            return Err(NotAnOrder::Size(text.len()));
        }
        let raw: RawOrder = serde_json::from_str(text).map_err(NotAnOrder::Json)?;
        if raw.version != VERSION {
            return Err(NotAnOrder::Version(raw.version));
        }
        let RawOrder { incident, task, expires_at, .. } = raw;
        Ok(Self { incident, task, expires_at })
    }

    /// Whether it is worth nothing any more.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_as_it_was_written() {
        let order = Order {
            incident: "i-0123456789abcdef0/spot/terminate/20261121T100000Z".to_owned(),
            task: "orders-db/notify#2".to_owned(),
            expires_at: "2026-11-21T11:00:00Z".parse().unwrap(),
        };
        expect_test::expect![[r#"{"expires_at":"2026-11-21T11:00:00Z","incident":"i-0123456789abcdef0/spot/terminate/20261121T100000Z","task":"orders-db/notify#2","version":1}"#]]
            .assert_eq(&order.write());
        assert_eq!(Order::read(&order.write()).unwrap(), order);
    }

    #[test]
    fn c12_an_order_may_say_more_and_must_be_of_our_version() {
        let more = r#"{"version":1,"incident":"i","task":"t","expires_at":"2026-11-21T11:00:00Z","new":1}"#;
        assert!(Order::read(more).is_ok());
        for bad in [
            r#"{"version":2,"incident":"i","task":"t","expires_at":"2026-11-21T11:00:00Z"}"#,
            r#"{"version":1,"incident":"i","task":"t"}"#,
            r#"{"version":1,"incident":"i","task":"t","expires_at":"soon"}"#,
            "[]",
            "",
            &format!("{{\"version\":1,\"incident\":\"{}\"}}", "i".repeat(5000)),
        ] {
            assert!(Order::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_order_expires_at_its_moment() {
        let expires_at = "2026-11-21T11:00:00Z".parse().unwrap();
        let order = Order { incident: "i".to_owned(), task: "t".to_owned(), expires_at };
        assert!(!order.is_expired("2026-11-21T10:59:59Z".parse().unwrap()));
        assert!(order.is_expired(expires_at));
    }
}
