//! What goes to the bus, counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use snooze_cloud::bus::{Bus, Entry};
use snooze_cloud::{CloudError, Kind};
use tokio::time::Instant;

use crate::metrics::{known_type, more};

/// What the bus was told of one type of events, since the start of the daemon.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Published {
    /// Events that it took.
    pub taken: u64,
    /// Events that it did not take.
    pub failed: u64,
    /// Events among them that it never will.
    pub dead: u64,
    /// How long it took to answer, in seconds together, and how often it was asked.
    pub took: (f64, u64),
}

/// Counts, for the parts that put and for the loop that shows.
#[derive(Debug, Clone, Default)]
pub(super) struct Counter(Arc<Mutex<BTreeMap<&'static str, Published>>>);

impl Counter {
    pub(super) fn read(&self) -> BTreeMap<&'static str, Published> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, entry: &Entry, answer: Result<(), &CloudError>, since: Instant) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(known_type(&entry.detail_type)).or_default();
        more(&mut count.took, since.elapsed());
        match answer {
            Ok(()) => count.taken += 1,
            Err(error) => {
                count.failed += 1;
                count.dead += u64::from(error.kind == Kind::Invalid);
            }
        }
    }
}

/// The bus, with a counter before it.
#[derive(Debug, Clone)]
pub(super) struct Putting {
    bus: Bus,
    counter: Counter,
}

impl Putting {
    pub(super) fn new(bus: Bus, counter: Counter) -> Self {
        Self { bus, counter }
    }

    /// As [`Bus::put`].
    pub(super) async fn put(
        &self,
        entries: &[Entry],
    ) -> Result<Vec<Result<(), CloudError>>, CloudError> {
        let since = Instant::now();
        let answers = Box::pin(self.bus.put(entries)).await;
        for (index, entry) in entries.iter().enumerate() {
            let answer = match &answers {
                Ok(answers) => answers.get(index).map_or(Ok(()), |one| one.as_ref().copied()),
                Err(error) => Err(error),
            };
            self.counter.note(entry, answer, since);
        }
        answers
    }
}
