//! Circuit breakers: one for each destination, its state in the table Incidents under the key
//! `breaker/DESTINATION`, so that all functions share it.
//!
//! ```text
//!           5 failures in a row              30 s: one caller moves `until` on
//!  closed ----------------------> open -------------------------------------> trial
//!    ^                              ^                                           |
//!    |                              +-------------- it failed, or 30 s ---------+
//!    +------------------------------------------------- it worked --------------+
//! ```
//!
//! A destination that works has no item, and a success of it is not written down: the item of one
//! destination would have to take a write for each call in the fleet.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use jiff::Timestamp;

use crate::item::{Item, after, n, number, s, second, text};
use crate::{Aws, CloudError};

/// This many failures in a row open the circuit.
pub const FAILURES: u32 = 5;
/// An open circuit lets a trial through after this time.
pub const OPEN: Duration = Duration::from_secs(30);
/// Failures that are older than this are not in a row with new ones; the table forgets them.
const FORGET: Duration = Duration::from_secs(3600);

/// The breakers of all destinations.
#[derive(Debug, Clone)]
pub struct Breakers {
    client: aws_sdk_dynamodb::Client,
    table: String,
    /// The destinations that had failures when they were last asked about.
    unwell: Arc<Mutex<BTreeSet<String>>>,
}

/// Whether a destination may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// It may.
    Go,
    /// It may not before this has passed.
    Wait(Duration),
}

impl Breakers {
    /// The breakers in the table of this name.
    #[must_use]
    pub fn new(aws: &Aws, table: &str) -> Self {
        let client = aws_sdk_dynamodb::Client::new(aws);
        Self { client, table: table.to_owned(), unwell: Arc::default() }
    }

    /// Asks before a call. After [`OPEN`] one caller at a time gets through as a trial.
    ///
    /// # Errors
    /// The table cannot be read or written; the call is made then.
    pub async fn pass(&self, destination: &str, now: Timestamp) -> Result<Pass, CloudError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("incident", s(key(destination)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| CloudError::of("GetItem", &error))?;
        let failures = answer.item().and_then(|item| number(item, "failures")).unwrap_or(0);
        self.note(destination, failures > 0);
        let until = answer.item().and_then(|item| number(item, "until")).unwrap_or(0_i64);
        match u64::try_from(until.saturating_sub(now.as_millisecond())) {
            _ if failures < FAILURES => Ok(Pass::Go),
            Ok(left @ 1..) => Ok(Pass::Wait(Duration::from_millis(left))),
            Ok(0) | Err(_) => self.try_out(destination, until, now).await,
        }
    }

    /// Tells how a call went.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn told(
        &self,
        destination: &str,
        worked: bool,
        now: Timestamp,
    ) -> Result<(), CloudError> {
        if worked {
            return if self.is_unwell(destination) {
                self.reset(destination).await
            } else {
                Ok(())
            };
        }
        self.note(destination, true);
        let answer = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("incident", s(key(destination)))
            .update_expression(
                "SET #failures = if_not_exists(#failures, :none) + :one, #until = :until, \
                 #expires = :expires",
            )
            .expression_attribute_names("#failures", "failures")
            .expression_attribute_names("#until", "until")
            .expression_attribute_names("#expires", "expires_at")
            .expression_attribute_values(":none", n(0))
            .expression_attribute_values(":one", n(1))
            .expression_attribute_values(":until", n(after(now, OPEN).as_millisecond()))
            .expression_attribute_values(":expires", second(after(now, FORGET)))
            .send()
            .await;
        answer.map(drop).map_err(|error| CloudError::of("UpdateItem", &error))
    }

    /// Closes a circuit by hand.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn reset(&self, destination: &str) -> Result<(), CloudError> {
        let call = self.client.delete_item().table_name(&self.table);
        call.key("incident", s(key(destination)))
            .send()
            .await
            .map_err(|error| CloudError::of("DeleteItem", &error))?;
        self.note(destination, false);
        Ok(())
    }

    /// Takes the trial: whoever moves `until` on first has it.
    async fn try_out(
        &self,
        destination: &str,
        seen: i64,
        now: Timestamp,
    ) -> Result<Pass, CloudError> {
        let answer = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("incident", s(key(destination)))
            .update_expression("SET #until = :until")
            .condition_expression("#until = :seen")
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":until", n(after(now, OPEN).as_millisecond()))
            .expression_attribute_values(":seen", n(seen))
            .send()
            .await;
        let Err(error) = answer else { return Ok(Pass::Go) };
        match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(Pass::Wait(OPEN)),
            _ => Err(CloudError::of("UpdateItem", &error)),
        }
    }

    fn note(&self, destination: &str, is_unwell: bool) {
        let mut unwell = self.unwell.lock().unwrap_or_else(PoisonError::into_inner);
        if is_unwell {
            unwell.insert(destination.to_owned());
        } else {
            unwell.remove(destination);
        }
    }

    fn is_unwell(&self, destination: &str) -> bool {
        self.unwell.lock().unwrap_or_else(PoisonError::into_inner).contains(destination)
    }
}

fn key(destination: &str) -> String {
    format!("breaker/{destination}")
}

/// One destination that failed lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    /// The destination.
    pub destination: String,
    /// How often it failed in a row.
    pub failures: u32,
    /// When the next trial goes through, where it is open.
    pub trial_at: Timestamp,
}

impl Breaker {
    /// Whether calls are held back.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.failures >= FAILURES
    }
}

impl Breakers {
    /// The destinations that failed lately, ordered by name; a scan, for a person who asks.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn list(&self) -> Result<Vec<Breaker>, CloudError> {
        let mut known = Vec::new();
        let mut from: Option<Item> = None;
        loop {
            let page = self
                .client
                .scan()
                .table_name(&self.table)
                .filter_expression("begins_with(#incident, :breaker)")
                .expression_attribute_names("#incident", "incident")
                .expression_attribute_values(":breaker", s(key("")))
                .consistent_read(true)
                .set_exclusive_start_key(from.take())
                .send()
                .await
                .map_err(|error| CloudError::of("Scan", &error))?;
            known.extend(page.items().iter().filter_map(breaker));
            from = page.last_evaluated_key;
            if from.is_none() {
                known.sort_by(|one: &Breaker, other| one.destination.cmp(&other.destination));
                return Ok(known);
            }
        }
    }
}

fn breaker(item: &Item) -> Option<Breaker> {
    let destination = text(item, "incident")?.strip_prefix(&key(""))?.to_owned();
    let failures = number(item, "failures").unwrap_or(0);
    let until = number(item, "until").unwrap_or(0);
    let trial_at = Timestamp::from_millisecond(until).unwrap_or(Timestamp::UNIX_EPOCH);
    Some(Breaker { destination, failures, trial_at })
}
