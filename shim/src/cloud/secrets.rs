//! The values of secrets that policies name: fetched when the policies are taken up and every five
//! minutes, and kept in memory, so that no handler waits for a network.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use snooze_cloud::secrets::Secrets;
use snooze_cloud::{CloudError, Kind};
use snooze_policy::secret_reference;
use tokio::sync::watch;
use tokio::time::{self, Instant};

use super::News;
use super::part::{Backoff, Closed, State, Voice, dice};
use crate::plugins::Fetched;

/// How often a value is fetched again; a rotated one is in force after this time at the latest.
const EVERY: Duration = Duration::from_secs(300);
/// So many are fetched at most; each may have 64 KiB.
const MOST: usize = 64;

/// Fetches secrets.
#[derive(Debug)]
pub(super) struct Fetcher {
    pub(super) secrets: Secrets,
    /// The references of the entries that are configured.
    pub(super) wanted: watch::Receiver<BTreeSet<String>>,
    pub(super) fetched: Fetched,
}

impl Fetcher {
    pub(super) async fn run(mut self, mut voice: Voice) {
        // Ends when nobody listens any more.
        let _ = self.work(&mut voice).await;
    }

    async fn work(&mut self, voice: &mut Voice) -> Result<(), Closed> {
        let mut book = Book::default();
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            book.adopt(&wanted, Instant::now());
            self.fetched.keep(&wanted);
            let changed = self.round(&mut book).await;
            if !changed.is_empty() {
                voice.tell(News::Secrets(changed)).await?;
            }
            let (state, detail) = book.told();
            voice.say(state, &detail).await?;
            tokio::select! {
                told = self.wanted.changed() => told.or(Err(Closed))?,
                () = until(book.next()) => {}
            }
        }
    }

    /// Fetches what is due; answers with those that have another value than before.
    async fn round(&self, book: &mut Book) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        for reference in book.due(Instant::now()) {
            let result = self.fetch(&reference).await;
            let is_lost = result.as_ref().is_err_and(CloudError::again);
            let shelved = match &result {
                Ok(value) => Ok(value.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if self.fetched.put(&reference, shelved) {
                changed.insert(reference.clone());
            }
            let fault = result.err().map(|error| error.to_string());
            book.note(&reference, fault, Instant::now(), dice());
            if is_lost {
                // It would be the same with the others. They stay due.
                book.postpone(Instant::now());
                break;
            }
        }
        changed
    }

    async fn fetch(&self, reference: &str) -> Result<snooze_cloud::secrets::Secret, CloudError> {
        let Some(named) = secret_reference(reference) else {
            let text = "no name of a secret";
            return Err(CloudError::new("GetParameter", Kind::Invalid, "BadName", text));
        };
        Box::pin(self.secrets.read(&named)).await
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// What is wanted, and when it is fetched next.
#[derive(Debug, Default)]
struct Book {
    pages: BTreeMap<String, Page>,
    /// Those that are too many.
    left_out: usize,
    /// Before this, nothing is due: the services cannot be reached.
    not_before: Option<Instant>,
    backoff: Backoff,
}

#[derive(Debug)]
struct Page {
    due: Instant,
    backoff: Backoff,
    /// Why the last attempt failed.
    fault: Option<String>,
}

impl Book {
    /// What is new is due at once; what is not wanted any more is forgotten.
    fn adopt(&mut self, wanted: &BTreeSet<String>, now: Instant) {
        self.left_out = wanted.len().saturating_sub(MOST);
        let wanted: BTreeSet<&String> = wanted.iter().take(MOST).collect();
        self.pages.retain(|reference, _| wanted.contains(reference));
        for reference in wanted {
            let page = || Page { due: now, backoff: Backoff::default(), fault: None };
            self.pages.entry(reference.clone()).or_insert_with(page);
        }
    }

    fn due(&self, now: Instant) -> Vec<String> {
        if self.not_before.is_some_and(|moment| now < moment) {
            return Vec::new();
        }
        let due = self.pages.iter().filter(|(_, page)| page.due <= now);
        due.map(|(reference, _)| reference.clone()).collect()
    }

    /// Notes how an attempt ended. The next one comes up to a tenth early, by lot, so that a
    /// fleet that started together does not ask together for ever.
    fn note(&mut self, reference: &str, fault: Option<String>, now: Instant, dice: u32) {
        let Some(page) = self.pages.get_mut(reference) else { return };
        let wait = match fault {
            None => {
                page.backoff.reset();
                self.backoff.reset();
                self.not_before = None;
                EVERY - (EVERY / 10).mul_f64(f64::from(dice) / f64::from(u32::MAX))
            }
            Some(_) => page.backoff.next(dice),
        };
        page.due = now + wait;
        page.fault = fault;
    }

    /// Nothing more for a while.
    fn postpone(&mut self, now: Instant) {
        self.not_before = Some(now + self.backoff.next(dice()));
    }

    fn next(&self) -> Option<Instant> {
        let due = self.pages.values().map(|page| page.due).min()?;
        Some(self.not_before.map_or(due, |moment| moment.max(due)))
    }

    /// How it goes, for a person.
    fn told(&self) -> (State, String) {
        if self.left_out > 0 {
            let text = format!("{} secrets more than the {MOST} that are fetched", self.left_out);
            return (State::Failing, text);
        }
        let failing = self
            .pages
            .iter()
            .find_map(|(reference, page)| Some(format!("`{reference}`: {}", page.fault.as_ref()?)));
        match failing {
            Some(text) => (State::Failing, text),
            None => (State::On, format!("secrets kept: {}", self.pages.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn set(references: &[&str]) -> BTreeSet<String> {
        references.iter().map(|text| (*text).to_owned()).collect()
    }

    fn lost() -> Option<String> {
        Some("no network".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_new_is_fetched_at_once_and_again_within_five_minutes() {
        let (mut book, start) = (Book::default(), Instant::now());
        assert_eq!((book.next(), book.told().1.as_str()), (None, "secrets kept: 0"));
        book.adopt(&set(&["ssm:/a", "ssm:/b"]), start);
        assert_eq!(book.due(start), ["ssm:/a", "ssm:/b"]);
        book.note("ssm:/a", None, start, 0);
        book.note("ssm:/b", None, start, u32::MAX);
        assert_eq!(book.due(start + 269 * SECOND), Vec::<String>::new());
        assert_eq!(book.due(start + 270 * SECOND), ["ssm:/b"]);
        assert_eq!(book.due(start + 300 * SECOND), ["ssm:/a", "ssm:/b"]);
        assert_eq!(book.next(), Some(start + 270 * SECOND));
        book.adopt(&set(&["ssm:/b", "ssm:/c"]), start + SECOND);
        assert_eq!(book.due(start + SECOND), ["ssm:/c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_tried_again_after_waits_that_grow() {
        let (mut book, mut now) = (Book::default(), Instant::now());
        book.adopt(&set(&["ssm:/a", "ssm:/b"]), now);
        book.note("ssm:/b", None, now, 0);
        let mut waits = Vec::new();
        for _ in 0..10 {
            book.note("ssm:/a", lost(), now, u32::MAX);
            let next = book.pages["ssm:/a"].due;
            waits.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(book.told(), (State::Failing, "`ssm:/a`: no network".to_owned()));
        book.note("ssm:/a", None, now, 0);
        assert_eq!(book.told(), (State::On, "secrets kept: 2".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn when_nothing_can_be_reached_one_secret_is_tried_and_not_all() {
        let (mut book, start) = (Book::default(), Instant::now());
        book.adopt(&set(&["ssm:/a", "ssm:/b"]), start);
        book.note("ssm:/a", lost(), start, 0);
        book.postpone(start);
        assert_eq!(book.due(start), Vec::<String>::new());
        let next = book.next().unwrap();
        assert_eq!(next, start + SECOND);
        assert_eq!(book.due(next), ["ssm:/a", "ssm:/b"]);
        book.note("ssm:/a", None, next, 0);
        assert_eq!(book.due(next), ["ssm:/b"], "the way is open");
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_are_fetched_are_told() {
        let (mut book, start) = (Book::default(), Instant::now());
        let wanted = (0..MOST + 2).map(|number| format!("ssm:/{number}")).collect();
        book.adopt(&wanted, start);
        assert_eq!(book.due(start).len(), MOST);
        let told = "2 secrets more than the 64 that are fetched";
        assert_eq!(book.told(), (State::Failing, told.to_owned()));
    }
}
