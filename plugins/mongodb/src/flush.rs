//! The part of a primary handed over, the data on disk, and perhaps the end of the server.
//!
//! From MongoDB's manual (`fsync`, `replSetStepDown`, `shutdown`, `replSetGetStatus`): a step-down
//! waits until a secondary that can be elected has caught up, and fails without one; `fsync`
//! without `lock` returns when all that was written is on disk; a clean `shutdown` waits for what
//! runs, writes everything and ends.

use std::time::Duration;

use mongodb::bson::{Timestamp, doc};
use tokio::time::{Instant, sleep};

use crate::server::{Role, Server, ServerError};
use crate::settings::{Settings, Strategy};

/// How long a server that stepped down may not be elected again: the instance is gone by then.
const STEPPED_DOWN: Duration = Duration::from_secs(300);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// What was done.
pub(crate) struct Flushed {
    pub(crate) role: Role,
    /// The server is a secondary now, and was the primary.
    pub(crate) stepped_down: Option<bool>,
    /// The last change that was to be saved, where the server tells one.
    pub(crate) applied: Option<Timestamp>,
    /// It is in the journal on disk.
    pub(crate) durable: Option<bool>,
    /// A majority of the set has it.
    pub(crate) replicated: Option<bool>,
    /// The server is gone.
    pub(crate) stopped: bool,
    /// What failed, while the rest was done.
    pub(crate) short: Vec<String>,
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
/// `leaves`.
pub(crate) async fn flush(
    settings: &Settings,
    leaves: bool,
    until: Instant,
) -> Result<Flushed, ServerError> {
    let server = Server::open(settings, until).await?;
    let role = server.role().await?;
    let acts = acts(settings, role, leaves);
    let is_member = role != Role::Standalone;
    let mut done = Flushed {
        role,
        stepped_down: None,
        applied: None,
        durable: None,
        replicated: None,
        stopped: false,
        short: Vec::new(),
    };
    if acts.contains(&"replSetStepDown") {
        let stepped = step_down(&server, until).await;
        done.stepped_down = Some(stepped.is_ok());
        done.short.extend(stepped.err().map(told));
    }
    let before = if is_member { server.optimes().await } else { None };
    server.run(doc! { "fsync": 1 }).await?;
    if let Some(before) = before {
        let after = server.optimes().await;
        done.applied = Some(before.applied);
        done.durable = Some(after.is_some_and(|after| after.durable >= before.applied));
        done.replicated = Some(after.is_some_and(|after| after.committed >= before.applied));
    }
    if acts.contains(&"shutdown") {
        let stopped = stop(&server, until).await;
        done.stopped = stopped.is_ok();
        done.short.extend(stopped.err().map(told));
    }
    Ok(done)
}

/// Connects and asks for nothing more.
pub(crate) async fn look(settings: &Settings, until: Instant) -> Result<Role, ServerError> {
    Server::open(settings, until).await?.role().await
}

/// Has half of the time that is left, since a set without a secondary that caught up has to be
/// flushed all the same.
async fn step_down(server: &Server<'_>, until: Instant) -> Result<(), ServerError> {
    let half = until.saturating_duration_since(Instant::now()) / 2;
    let command = doc! {
        "replSetStepDown": whole(STEPPED_DOWN),
        "secondaryCatchUpPeriodSecs": whole(half).max(1),
    };
    let asked = server.run_until(command, Instant::now() + half).await;
    // Servers before 4.2 close the connection instead of an answer: what it is now counts.
    match (asked, server.role().await?) {
        (Err(error), Role::Primary) => Err(error),
        (Ok(_) | Err(_), _) => Ok(()),
    }
}

/// Ends the server and waits until nobody listens.
async fn stop(server: &Server<'_>, until: Instant) -> Result<(), ServerError> {
    let left = until.saturating_duration_since(Instant::now());
    let command = doc! { "shutdown": 1, "timeoutSecs": whole(left).max(1) };
    match server.run(command).await {
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

/// Whole seconds, for the server.
fn whole(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn told(error: ServerError) -> String {
    snooze_plugin::PluginError::from(error).to_string()
}
