//! The thread in which a session lives, so that its lock is released on time whatever the rest of
//! the program waits for.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::facts::Facts;
use crate::flush::{FlushError, Saved, accept_writes, flush};
use crate::server::{ServerError, Session};
use crate::settings::Settings;

/// The server itself ends a session that was to be released this long ago: the thread may stand
/// still.
const SERVER_MARGIN: Duration = Duration::from_secs(30);

/// How long undoing may take.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

/// How much longer than its limit a flush is waited for, since all that it does has that limit.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// A session that holds a lock or the refusal of writes. It undoes both when the instance lives
/// on, when it is told to, and when it is dropped.
pub(crate) struct Held {
    release: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Held {
    /// Whether the session still holds something.
    pub(crate) fn lasts(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

/// Flushes within `limit`. What is held is held until the value goes, or until the instance,
/// which goes after `leaves`, has lived on.
pub(crate) fn flush_and_hold(
    settings: &Settings,
    limit: Duration,
    leaves: Option<Duration>,
) -> Result<(Saved, Held), FlushError> {
    let (settings, begun) = (settings.clone(), Instant::now());
    let (answer, answered) = mpsc::channel();
    let (release, released) = oneshot::channel();
    let place = settings.dsn.as_ref().map(|dsn| dsn.place.to_string()).unwrap_or_default();
    let doing = settings.strategy.as_str().to_owned();
    let thread = thread::spawn(move || {
        let Ok(runtime) = runtime() else { return };
        runtime.block_on(live(&settings, begun, limit, leaves, answer, released));
        // A name that is still being looked up keeps nobody waiting.
        runtime.shutdown_background();
    });
    let answered = answered.recv_timeout(limit + ANSWER_MARGIN);
    let saved = answered.unwrap_or_else(|_| Err(ServerError::Late { place, doing }.into()))?;
    Ok((saved, Held { release: Some(release), thread: Some(thread) }))
}

/// A session from its first to its last statement.
async fn live(
    settings: &Settings,
    begun: Instant,
    limit: Duration,
    leaves: Option<Duration>,
    answer: mpsc::Sender<Result<Saved, FlushError>>,
    released: oneshot::Receiver<()>,
) {
    let until = begun + limit;
    let opened = Session::open(settings.dsn.as_ref(), settings.ca_file.as_ref(), until).await;
    let mut session = match opened {
        Ok(session) => session,
        Err(error) => return drop(answer.send(Err(error.into()))),
    };
    let saved = match flush(&mut session, settings, leaves.is_some(), until).await {
        Ok(saved) => saved,
        Err(error) => return drop(answer.send(Err(error))),
    };
    let holds = saved.locked || saved.refuses;
    let facts = saved.refuses.then(|| saved.facts.clone());
    let end = begun + leaves.unwrap_or_default() + settings.release_after;
    if holds {
        // A session that says nothing for so long would be ended by the server before.
        let seconds = (end + SERVER_MARGIN).duration_since(Instant::now()).as_secs();
        let _ = session.run(&format!("SET SESSION wait_timeout = {seconds}")).await;
    }
    let is_heard = answer.send(Ok(saved)).is_ok();
    if holds && is_heard {
        let _ = timeout_at(end, released).await;
    }
    if holds {
        undo(settings, session, facts).await;
    } else {
        session.close().await;
    }
}

/// Lets writes go on. The lock goes with the session at the latest.
async fn undo(settings: &Settings, mut session: Session, refused: Option<Facts>) {
    let until = Instant::now() + RELEASE_LIMIT;
    session.set_until(until);
    let unlocked = session.run("UNLOCK TABLES").await;
    let Some(facts) = refused else { return session.close().await };
    if unlocked.is_ok() && accept_writes(&mut session, &facts).await.is_ok() {
        return session.close().await;
    }
    drop(session);
    let opened = Session::open(settings.dsn.as_ref(), settings.ca_file.as_ref(), until).await;
    if let Ok(mut session) = opened {
        let _ = accept_writes(&mut session, &facts).await;
        session.close().await;
    }
}

/// One thread for one session.
pub(crate) fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

impl Drop for Held {
    fn drop(&mut self) {
        // Dropping the sender is what releases.
        drop(self.release.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
