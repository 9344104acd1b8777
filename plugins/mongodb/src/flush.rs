//! The part of a primary handed over, the data on disk, and perhaps the end of the server.
//!
//! From MongoDB's manual (`fsync`, `replSetStepDown`, `shutdown`, `replSetGetStatus`): a step-down
//! waits until a secondary that can be elected has caught up, and fails without one; `fsync`
//! without `lock` returns when all that was written is on disk; a clean `shutdown` writes
//! everything and ends, and a member of a set waits for `timeoutSecs` before that, so that its
//! clients go elsewhere.

use std::time::Duration;

use mongodb::bson::{Timestamp, doc};
use tokio::time::{Instant, sleep};

use crate::server::{Optimes, Role, Server, ServerError};
use crate::settings::{Settings, Strategy};

/// How long a server that stepped down may not be elected again, at least.
const STEPPED_DOWN: Duration = Duration::from_secs(300);

/// How much longer than the instance is there.
const STEPPED_DOWN_AFTER: Duration = Duration::from_secs(60);

/// What the server may say a little later than it is asked to.
const LATE_ANSWER: Duration = Duration::from_secs(1);

/// How long a member that shuts down lets its clients go elsewhere, at most.
const QUIESCE: Duration = Duration::from_secs(5);

/// How long what was flushed is looked for, at most: members report every half a second.
const LOOK: Duration = Duration::from_secs(5);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// What was done.
pub(crate) struct Flushed {
    pub(crate) role: Role,
    /// The server was the primary and is it no more; `None` where it was to stay what it is.
    pub(crate) stepped_down: Option<bool>,
    /// `fsync` came to its end.
    pub(crate) synced: bool,
    /// The last change that was to be saved, where the server tells one.
    pub(crate) applied: Option<Timestamp>,
    /// How far the server was at last.
    pub(crate) reached: Option<Optimes>,
    /// The server took the order to end, and nobody listens any more.
    pub(crate) ending: bool,
    /// What failed.
    pub(crate) failed: Vec<String>,
}

/// What would be done with a server in this role.
pub(crate) fn acts(settings: &Settings, role: Role, leaves: bool) -> Vec<&'static str> {
    let step_down = settings.step_down && leaves && role == Role::Primary;
    let stop = settings.strategy == Strategy::Shutdown && leaves;
    [(step_down, "replSetStepDown"), (true, "fsync"), (stop, "shutdown")]
        .into_iter()
        .filter_map(|(is_so, act)| is_so.then_some(act))
        .collect()
}

/// Flushes by `until`. What takes the server from its clients is done only when the instance
/// `leaves`, after so long. What fails keeps nothing else from being done.
pub(crate) async fn flush(
    settings: &Settings,
    leaves: Option<Duration>,
    until: Instant,
) -> Result<Flushed, ServerError> {
    let server = Server::open(settings, until)?;
    let role = server.role().await?;
    let acts = acts(settings, role, leaves.is_some());
    let mut done = Flushed {
        role,
        stepped_down: None,
        synced: false,
        applied: None,
        reached: None,
        ending: false,
        failed: Vec::new(),
    };
    if acts.contains(&"replSetStepDown") {
        let stepped = step_down(&server, leaves.unwrap_or_default(), until).await;
        done.stepped_down = Some(stepped.is_ok());
        done.failed.extend(stepped.err().map(told));
    }
    let ends = acts.contains(&"shutdown");
    // A clean end writes everything, too.
    let share = if ends { Instant::now() + left(until) / 2 } else { until };
    let before = if role == Role::Standalone { None } else { server.optimes().await };
    let synced = server.run_until(doc! { "fsync": 1 }, share).await;
    done.synced = synced.is_ok();
    done.failed.extend(synced.err().map(told));
    if let Some(before) = before {
        done.applied = Some(before.applied);
        done.reached = reached(&server, before.applied, share).await;
    }
    if ends {
        let ended = end(&server, until).await;
        done.ending = ended.is_ok();
        done.failed.extend(ended.err().map(told));
    }
    Ok(done)
}

/// Connects and asks for nothing more.
pub(crate) async fn look(settings: &Settings, until: Instant) -> Result<Role, ServerError> {
    Server::open(settings, until)?.role().await
}

/// Has half of the time that is left, since a set without a secondary that caught up has to be
/// flushed all the same.
async fn step_down(
    server: &Server<'_>,
    leaves: Duration,
    until: Instant,
) -> Result<(), ServerError> {
    let half = left(until) / 2;
    let command = doc! {
        "replSetStepDown": whole(STEPPED_DOWN.max(leaves + STEPPED_DOWN_AFTER)),
        "secondaryCatchUpPeriodSecs": whole(half.saturating_sub(LATE_ANSWER)).max(1),
    };
    let asked = server.run_until(command, Instant::now() + half).await;
    // After a connection that broke, what it is now counts.
    match (asked, server.role().await) {
        (Ok(_), _) | (Err(_), Ok(Role::Secondary)) => Ok(()),
        (Err(error), _) => Err(error),
    }
}

/// Looks until all is on disk and a majority has it, for a while.
async fn reached(server: &Server<'_>, wanted: Timestamp, until: Instant) -> Option<Optimes> {
    let end = Instant::now() + LOOK.min(left(until) / 2);
    let mut last = None;
    loop {
        last = server.optimes().await.or(last);
        let is_all = last.is_some_and(|at| at.durable >= wanted && at.committed >= wanted);
        if is_all || Instant::now() + PAUSE >= end {
            return last;
        }
        sleep(PAUSE).await;
    }
}

/// Tells the server to end and waits until nobody listens.
async fn end(server: &Server<'_>, until: Instant) -> Result<(), ServerError> {
    let quiesce = QUIESCE.min(left(until) / 4);
    match server.run(doc! { "shutdown": 1, "timeoutSecs": whole(quiesce).max(1) }).await {
        // It ends without an answer.
        Ok(_) | Err(ServerError::Broken { .. } | ServerError::Connect { .. }) => {}
        Err(error) => return Err(error),
    }
    while !server.is_gone().await {
        if Instant::now() + PAUSE >= until {
            return Err(ServerError::Late {
                place: server.place(),
                command: "shutdown".to_owned(),
            });
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// Whole seconds, for the server.
fn whole(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn told(error: ServerError) -> String {
    snooze_plugin::PluginError::from(error).to_string()
}
