//! What the metadata service says about the instance itself.

use std::collections::{BTreeMap, VecDeque};

use snooze_event::wire::imds::{self, Identity};

use crate::{Answer, Client, Fault, Path, TagKey};

/// The most tags that are read. An instance can have 50, and those of AWS do not count (EC2 User
/// Guide, "Tag restrictions", checked 2026-11).
const MOST_TAGS: usize = 100;

/// What the metadata service says about the instance itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Who and where it is.
    pub identity: Identity,
    /// How it was bought: `spot`, `on-demand` and others; `None` when the service does not say.
    pub life_cycle: Option<String>,
    /// Its tags; `None` when they are not shown to it (option `InstanceMetadataTags`).
    pub tags: Option<BTreeMap<String, String>>,
}

/// The reading of the facts, question by question, so that it can pause at any point.
#[derive(Debug)]
pub struct Reading {
    left: VecDeque<Path>,
    identity: Option<Identity>,
    life_cycle: Option<String>,
    tags: Option<BTreeMap<String, String>>,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            left: VecDeque::from([Path::Identity, Path::LifeCycle, Path::TagKeys]),
            identity: None,
            life_cycle: None,
            tags: None,
        }
    }
}

impl Reading {
    /// The next question; `None` when there is none left.
    #[must_use]
    pub fn next(&self) -> Option<&Path> {
        self.left.front()
    }

    /// Takes the answer to the next question.
    ///
    /// # Errors
    ///
    /// When it is no identity document. The question stays the next one.
    pub fn heard(&mut self, answer: Answer) -> Result<(), Fault> {
        match (self.left.front(), answer) {
            (Some(Path::Identity), answer) => self.identity = Some(identity(answer)?),
            (Some(Path::LifeCycle), Answer::Found(body)) => {
                self.life_cycle = Some(body.trim().to_owned()).filter(|word| !word.is_empty());
            }
            (Some(Path::TagKeys), Answer::Found(body)) => {
                let keys = body.lines().filter_map(|line| line.trim().parse::<TagKey>().ok());
                self.left.extend(keys.take(MOST_TAGS).map(Path::Tag));
                self.tags = Some(BTreeMap::new());
            }
            (Some(Path::Tag(key)), Answer::Found(value)) => {
                self.tags.get_or_insert_default().insert(key.as_str().to_owned(), value);
            }
            // A tag that is gone since the keys were listed, or a fact the service has not.
            (Some(_) | None, Answer::Absent) => {}
            (Some(Path::Signal(_)) | None, Answer::Found(_)) => {}
        }
        self.left.pop_front();
        Ok(())
    }

    /// The facts, once nothing is left to ask.
    #[must_use]
    pub fn facts(self) -> Option<Facts> {
        if !self.left.is_empty() {
            return None;
        }
        Some(Facts { identity: self.identity?, life_cycle: self.life_cycle, tags: self.tags })
    }
}

impl Client {
    /// Who and where the instance is.
    ///
    /// # Errors
    ///
    /// When the service does not answer, or not with an identity document.
    pub async fn identity(&self) -> Result<Identity, Fault> {
        identity(self.get(&Path::Identity).await?)
    }
}

fn identity(answer: Answer) -> Result<Identity, Fault> {
    match answer {
        Answer::Found(body) => imds::identity(&body).map_err(|error| Fault::unreadable(&error)),
        Answer::Absent => Err(Fault::Status(404)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;
    use crate::fake::{Fake, INSTANCE_ID, Reply};

    #[tokio::test]
    async fn facts_hold_identity_life_cycle_and_tags() {
        let fake = Fake::on_loopback().await.unwrap();
        let facts = read(&fake).await.unwrap().unwrap();
        assert_eq!(facts.identity.instance.as_str(), INSTANCE_ID);
        assert_eq!(facts.life_cycle.as_deref(), Some("spot"));
        let tags = facts.tags.unwrap();
        assert_eq!(tags.get("role").map(String::as_str), Some("orders-db"));
        assert_eq!(tags.len(), 2);
    }

    #[tokio::test]
    async fn tags_that_are_not_shown_are_unknown_and_not_an_empty_list() {
        let fake = Fake::on_loopback().await.unwrap();
        fake.clear(&Path::TagKeys.as_str());
        fake.clear(&Path::LifeCycle.as_str());
        let facts = read(&fake).await.unwrap().unwrap();
        assert_eq!((facts.tags, facts.life_cycle), (None, None));
        fake.set(&Path::TagKeys.as_str(), [Reply::ok("")]);
        assert_eq!(read(&fake).await.unwrap().unwrap().tags, Some(BTreeMap::new()));
    }

    #[tokio::test]
    async fn a_tag_key_from_outside_leads_nowhere_and_a_gone_tag_is_left_out() {
        let fake = Fake::on_loopback().await.unwrap();
        fake.set(&Path::TagKeys.as_str(), [Reply::ok("role\n../../iam/info\ngone\n\n a b\n")]);
        let tags = read(&fake).await.unwrap().unwrap().tags.unwrap();
        assert_eq!(tags.into_keys().collect::<Vec<_>>(), ["role"]);
        assert!(fake.counts().keys().all(|path| !path.contains("iam")));
    }

    #[tokio::test]
    async fn an_identity_document_that_cannot_be_read_is_a_fault() {
        let fake = Fake::on_loopback().await.unwrap();
        for body in ["", "<html>", "{}", r#"{"instanceId":"?"}"#] {
            fake.set(&Path::Identity.as_str(), [Reply::ok(body)]);
            assert!(matches!(read(&fake).await, Err(Fault::Unreadable(_))), "{body}");
        }
        fake.clear(&Path::Identity.as_str());
        let client = client(&fake);
        assert_eq!(client.identity().await, Err(Fault::Status(404)));
    }

    fn client(fake: &Fake) -> Client {
        let timeout = std::time::Duration::from_secs(20);
        Client::new(Settings { timeout, ..Settings::at(&fake.url()) }).unwrap()
    }

    async fn read(fake: &Fake) -> Result<Option<Facts>, Fault> {
        let client = client(fake);
        let mut reading = Reading::default();
        while let Some(path) = reading.next() {
            let answer = client.get(path).await?;
            reading.heard(answer)?;
        }
        Ok(reading.facts())
    }
}
