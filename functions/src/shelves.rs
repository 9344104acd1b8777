//! The policies as a function knows them: by event type, read from the table and kept for a while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use snooze_cloud::policies::Policies;
use snooze_policy::ledger::Shelf;
use tokio::sync::Mutex;
use tracing::{error, warn};

use crate::clock::Clock;
use crate::failure::{Failure, Name};

/// How long a table that failed is left alone, so that not every notice waits for it.
const PAUSE: Duration = Duration::from_secs(5);
/// How long the table may take.
const CALL: Duration = Duration::from_millis(1500);
/// How many types are kept; more than there are with fixed names and a good many custom ones.
const TYPES: usize = 64;

/// The policies, by event type.
#[derive(Debug)]
pub struct Shelves {
    policies: Policies,
    /// How long a copy is used without another look. A command names the version that it was
    /// planned with.
    fresh: Duration,
    /// Behind an asynchronous lock, so that many notices at once read the table once.
    copies: Mutex<BTreeMap<String, Copy>>,
}

#[derive(Debug, Clone)]
struct Copy {
    shelf: Arc<Shelf>,
    /// When the table is asked again.
    until: Timestamp,
    /// Why this is not what stands in the table.
    failure: Option<Failure>,
}

impl Shelves {
    /// The policies of this table, used for so long once they were read.
    #[must_use]
    pub fn new(policies: Policies, fresh: Duration) -> Self {
        Self { policies, fresh, copies: Mutex::default() }
    }

    /// The policies that may match events of a type. When the table does not answer, the last
    /// copy counts; without one the shelf is empty, has no version, and the failure tells why.
    pub async fn of(&self, event_type: &str, clock: Clock) -> (Arc<Shelf>, Option<Failure>) {
        let mut copies = self.copies.lock().await;
        let now = clock.now();
        if let Some(copy) = copies.get(event_type).filter(|copy| now < copy.until) {
            return (Arc::clone(&copy.shelf), copy.failure.clone());
        }
        if copies.len() >= TYPES {
            copies.clear();
        }
        let after = |wait: Duration| now.checked_add(wait).unwrap_or(now);
        let read = clock.within(CALL, "Query", self.policies.of_type(event_type)).await;
        let copy = match read.map(|contents| contents.shelf()) {
            Ok(shelf) => {
                for fault in &shelf.faults {
                    warn!(%fault, "a policy cannot be used");
                }
                Copy { shelf: Arc::new(shelf), until: after(self.fresh), failure: None }
            }
            Err(error) => {
                let failure = Failure::of(Name::PoliciesUnavailable, &error);
                error!(name = %failure.name, %error, "the policies cannot be read");
                let known = copies.get(event_type).map(|copy| Arc::clone(&copy.shelf));
                let known = known.filter(|shelf| shelf.version.is_some());
                let failure = known.is_none().then_some(failure);
                Copy { shelf: known.unwrap_or_default(), until: after(PAUSE), failure }
            }
        };
        copies.insert(event_type.to_owned(), copy.clone());
        (copy.shelf, copy.failure)
    }

    /// Forgets all copies: the table was written.
    pub async fn forget(&self) {
        for copy in self.copies.lock().await.values_mut() {
            copy.until = Timestamp::UNIX_EPOCH;
        }
    }
}
