//! Commands: a long poll on the instance's own queue.
//!
//! A message is deleted when its command is in the journal, or when it will never be one of ours:
//! nothing circles in the queue. One whose signature cannot be verified for now is left, and comes
//! again until it is too old.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use snooze_cloud::envelope::{Rules, Verifier};
use snooze_cloud::queue::{Message, Queues};
use snooze_cloud::{Aws, Kind};
use snooze_event::wire::command::Command;
use tokio::sync::{Notify, oneshot};
use tokio::time::{self, Instant};
use tracing::{info, warn};

use super::home::{Home, Names};
use super::inbox::{Inbox, Verdict};
use super::part::{Backoff, Closed, State, Voice};
use super::{News, Settings};

/// The longest that SQS lets a poll wait (SQS Developer Guide, "Long polling", checked 2026-11).
const POLL: Duration = Duration::from_secs(20);
/// The first poll only asks whether the queue can be read.
const FIRST_POLL: Duration = Duration::from_secs(1);
/// How often the queue is looked for that the cloud side makes when it has heard the hello.
const LOOK: Duration = Duration::from_secs(2);
/// When there is none for this long, the hello was lost.
const LOST: Duration = Duration::from_secs(60);
/// How long the loop may take to take a command. The queue shows it again after 30 s.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes commands.
#[derive(Debug)]
pub(super) struct Commands {
    queues: Queues,
    queue: String,
    verifier: Result<Verifier, String>,
    certificates: Option<PathBuf>,
    inbox: Inbox,
    /// Asks for another hello.
    missed: Arc<Notify>,
    backoff: Backoff,
}

impl Commands {
    pub(super) fn new(
        aws: &Aws,
        home: &Home,
        names: &Names,
        settings: &Settings,
        missed: Arc<Notify>,
    ) -> Self {
        let rules = Rules {
            topic_arn: names.topic.clone(),
            region: home.region.clone(),
            certificates: settings.signing_certificates.clone(),
        };
        Self {
            queues: Queues::new(aws),
            queue: names.queue.clone(),
            verifier: Verifier::new(rules).map_err(|error| error.to_string()),
            certificates: settings.signing_certificates.clone(),
            inbox: Inbox::new(home.instance.clone()),
            missed,
            backoff: Backoff::default(),
        }
    }

    pub(super) async fn run(mut self, mut voice: Voice) {
        // Ends when nobody listens any more.
        let _ = self.work(&mut voice).await;
    }

    async fn work(&mut self, voice: &mut Voice) -> Result<(), Closed> {
        while let Err(why) = self.check() {
            voice.say(State::Failing, &why).await?;
            self.backoff.wait().await;
        }
        loop {
            let url = self.find(voice).await?;
            self.listen(&url, voice).await?;
        }
    }

    /// What no message could pass.
    fn check(&self) -> Result<(), String> {
        if let Err(why) = &self.verifier {
            return Err(why.clone());
        }
        match &self.certificates {
            Some(directory) => trusted(directory),
            None => Ok(()),
        }
    }

    async fn find(&mut self, voice: &mut Voice) -> Result<String, Closed> {
        let mut since = Instant::now();
        loop {
            match Box::pin(self.queues.find(&self.queue)).await {
                Ok(Some(url)) => return Ok(url),
                Ok(None) => {
                    self.backoff.reset();
                    let text = format!(
                        "there is no queue `{}` yet: it is made when the hello was heard",
                        self.queue
                    );
                    voice.say(State::Waiting, &text).await?;
                    if since.elapsed() >= LOST {
                        since = Instant::now();
                        self.missed.notify_one();
                    }
                    time::sleep(LOOK).await;
                }
                Err(error) => {
                    voice.fail(&error).await?;
                    self.backoff.wait().await;
                }
            }
        }
    }

    /// Takes what comes, until the queue is gone.
    async fn listen(&mut self, url: &str, voice: &mut Voice) -> Result<(), Closed> {
        let mut wait = FIRST_POLL;
        loop {
            match Box::pin(self.queues.receive(url, wait)).await {
                Ok(messages) => {
                    self.backoff.reset();
                    voice.say(State::On, "").await?;
                    for message in messages {
                        self.open(url, message, voice).await?;
                    }
                    wait = POLL;
                }
                Err(error) => {
                    voice.fail(&error).await?;
                    self.backoff.wait().await;
                    if error.kind == Kind::Missing {
                        return Ok(());
                    }
                    wait = FIRST_POLL;
                }
            }
        }
    }

    async fn open(&mut self, url: &str, message: Message, voice: &mut Voice) -> Result<(), Closed> {
        let now = Timestamp::now();
        let Ok(verifier) = &mut self.verifier else { return Ok(()) };
        let is_over = match Box::pin(verifier.verify(&message.body, now)).await {
            Err(refused) if refused.again() => {
                warn!(%refused, "a message cannot be verified now");
                return voice.say(State::Failing, &refused.to_string()).await;
            }
            Err(refused) => {
                warn!(%refused, "a message was refused");
                self.inbox.refuse();
                true
            }
            Ok(opened) => match self.inbox.judge(&opened.message_id, &opened.text, now) {
                Verdict::Drop(why) => {
                    info!(%why, "a command was not taken");
                    true
                }
                Verdict::Take(command) => {
                    let is_taken = self.hand_over(&command, voice).await?;
                    if is_taken {
                        self.inbox.take(&opened.message_id, &command, now);
                    }
                    is_taken
                }
            },
        };
        if !is_over {
            return Ok(());
        }
        voice.tell(News::Counts(self.inbox.counts)).await?;
        match Box::pin(self.queues.delete(url, &message.handle)).await {
            Ok(()) => Ok(()),
            // It comes again, and is known then.
            Err(error) => voice.fail(&error).await,
        }
    }

    /// Whether the loop took the command.
    async fn hand_over(&self, command: &Command, voice: &Voice) -> Result<bool, Closed> {
        let (taken, answer) = oneshot::channel();
        voice.tell(News::Command { command: Box::new(command.clone()), taken }).await?;
        Ok(matches!(time::timeout(PATIENCE, answer).await, Ok(Ok(true))))
    }
}

/// Whoever can write the certificates can sign commands.
fn trusted(directory: &Path) -> Result<(), String> {
    let told = |path: &Path, why: &str| format!("`{}`: {why}", path.display());
    let look = |path: &Path| match fs::metadata(path) {
        Ok(found) if found.mode() & 0o002 == 0 => Ok(()),
        Ok(_) => Err(told(path, "everybody can write to it; take that away with `chmod o-w`")),
        Err(error) => Err(told(path, &error.to_string())),
    };
    look(directory)?;
    let entries = fs::read_dir(directory).map_err(|error| told(directory, &error.to_string()))?;
    for entry in entries {
        let entry = entry.map_err(|error| told(directory, &error.to_string()))?;
        look(&entry.path())?;
    }
    Ok(())
}
