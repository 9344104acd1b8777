//! The policies of the table: looked at every five minutes, and when somebody says that they
//! changed.

use std::sync::Arc;
use std::time::Duration;

use snooze_cloud::CloudError;
use snooze_cloud::policies::Policies;
use tokio::sync::{Notify, watch};
use tokio::time;

use super::part::{Backoff, Closed, State, Voice, dice};
use super::snapshot::Keeper;
use super::{Hello, News};
use crate::clock::Now;

/// How often the version is looked at.
const EVERY: Duration = Duration::from_secs(300);
/// A whole fleet hears at once that the policies changed; its looks are spread over this time.
const SPREAD: Duration = Duration::from_secs(2);

/// Looks at the table.
#[derive(Debug)]
pub(super) struct Refresher {
    pub(super) table: Policies,
    pub(super) keeper: Keeper,
    pub(super) refresh: Arc<Notify>,
    /// What is known of the instance, which signed policies may ask for.
    pub(super) hello: watch::Receiver<Option<Hello>>,
    /// How far the first calls of a fleet are spread.
    pub(super) spread: Duration,
}

impl Refresher {
    pub(super) async fn run(mut self, mut voice: Voice) {
        let mut backoff = Backoff::default();
        // Ends when nobody listens any more.
        while let Ok(seen) = self.turn(&mut voice).await {
            if !seen {
                backoff.wait().await;
                continue;
            }
            backoff.reset();
            tokio::select! {
                () = time::sleep(EVERY) => {}
                () = self.refresh.notified() => {
                    let share = f64::from(dice()) / f64::from(u32::MAX);
                    time::sleep(self.spread.min(SPREAD).mul_f64(share)).await;
                }
            }
        }
    }

    /// One look; whether the table was reached.
    async fn turn(&mut self, voice: &mut Voice) -> Result<bool, Closed> {
        match self.look(voice).await {
            Ok(told) => told.map(|()| true),
            Err(error) => {
                voice.fail(&error).await?;
                Ok(false)
            }
        }
    }

    async fn look(&mut self, voice: &mut Voice) -> Result<Result<(), Closed>, CloudError> {
        let mut found = Box::pin(self.table.version()).await?;
        if self.keeper.wants(found) {
            let contents = Box::pin(self.table.all()).await?;
            found = contents.version;
            if self.keeper.wants(found) {
                return Ok(self.take(contents, voice).await);
            }
        }
        let said = match self.keeper.is_behind(found) {
            true => {
                let highest = self.keeper.highest;
                let text = format!(
                    "version {found} is refused: version {highest} was seen, and stays in force"
                );
                voice.say(State::Failing, &text).await
            }
            false => voice.say(State::On, &format!("version {found}")).await,
        };
        Ok(said)
    }

    async fn take(
        &mut self,
        contents: snooze_cloud::policies::Contents,
        voice: &mut Voice,
    ) -> Result<(), Closed> {
        let version = contents.version;
        let Ok(hello) = self.hello.wait_for(Option::is_some).await.map(|hello| hello.clone())
        else {
            return Err(Closed);
        };
        let facts = hello.map(|hello| hello.facts).unwrap_or_default();
        // Writing waits for the disk, and the loop must not.
        let mut keeper = self.keeper.clone();
        let kept = tokio::task::spawn_blocking(move || {
            let kept = keeper.keep(contents, &facts, Now::read().wall);
            (kept, keeper)
        });
        let Ok((kept, keeper)) = kept.await else { return Err(Closed) };
        self.keeper = keeper;
        let Some((table, fault)) = kept else {
            return voice.say(State::On, &format!("version {version}")).await;
        };
        voice.tell(News::Policies(Box::new(table))).await?;
        match fault {
            None => voice.say(State::On, &format!("version {version}")).await,
            Some(error) => {
                let text = format!("version {version} is in force, but not kept on disk: {error}");
                voice.say(State::Failing, &text).await
            }
        }
    }
}
