//! The flush itself, step by step.

use tokio::time::Instant;

use crate::facts::{Facts, Figures, Flavour, STATUS, VARIABLES};
use crate::plan::{End, Plan, Step};
use crate::server::{ServerError, Session};
use crate::settings::Settings;
use crate::stop::{Process, was_clean};

/// The name by which sessions of this program know each other on one server. Like the lock of
/// the tables it belongs to a connection and goes with it.
pub(crate) const GUARD: &str = "cloudsnooze.mysql-flusher";

/// What was done.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) facts: Facts,
    /// What is on disk.
    pub(crate) saved: Vec<&'static str>,
    /// All tables were closed and written.
    pub(crate) tables: bool,
    /// The lock is held.
    pub(crate) locked: bool,
    /// This session made the server refuse writes.
    pub(crate) refuses: bool,
    /// The server has ended.
    pub(crate) stopped: bool,
    /// How much of InnoDB's log was in memory only.
    pub(crate) behind: Option<u64>,
    /// What is left to do for the next start.
    pub(crate) after: Figures,
    /// Where the binary log ends.
    pub(crate) position: Option<(String, u64)>,
    /// The global transaction ids up to there.
    pub(crate) gtid: Option<String>,
    pub(crate) verified: Option<bool>,
    /// Why it is less than was asked for.
    pub(crate) short: Option<String>,
}

/// Why nothing was saved, as far as is known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlushError {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("another session of this program (connection {0}) flushes or locks the same server")]
    Twice(i64),
    #[error(
        "the server at `{0}` was told to end and has not ended in time; if it is cut off, it \
         recovers when it starts again"
    )]
    StillThere(String),
}

/// What a server says of itself.
pub(crate) async fn facts(session: &mut Session) -> Result<Facts, ServerError> {
    Ok(Facts::read(&session.pairs(VARIABLES).await?))
}

/// Carries out the plan in this session. When it fails, its lock goes with the session, and the
/// refusal of writes is undone here.
pub(crate) async fn flush(
    session: &mut Session,
    settings: &Settings,
    leaves: bool,
    until: Instant,
) -> Result<Saved, FlushError> {
    // First of all: while a lock waits, all writes wait behind it.
    let left = until.saturating_duration_since(Instant::now()).as_secs();
    let wait = settings.lock_wait.min(left).max(1);
    session.run(&format!("SET SESSION lock_wait_timeout = {wait}")).await?;
    if session.number(&format!("SELECT GET_LOCK('{GUARD}', {wait})")).await? != Some(1) {
        let other = session.number(&format!("SELECT IS_USED_LOCK('{GUARD}')")).await?;
        return Err(FlushError::Twice(other.unwrap_or_default()));
    }
    let facts = facts(session).await?;
    let plan = Plan::new(settings, &facts, leaves);
    let mut done = Saved {
        facts,
        saved: Vec::new(),
        tables: false,
        locked: false,
        refuses: false,
        stopped: false,
        behind: None,
        after: Figures::default(),
        position: None,
        gtid: None,
        verified: None,
        short: None,
    };
    match carry_out(session, settings, &plan, &mut done, until).await {
        Ok(()) => Ok(done),
        Err(error) => {
            if done.refuses {
                let _ = accept_writes(session, &done.facts).await;
            }
            Err(error)
        }
    }
}

/// Undoes [`Step::ReadOnly`].
pub(crate) async fn accept_writes(session: &mut Session, facts: &Facts) -> Result<(), ServerError> {
    if facts.flavour == Flavour::MySql {
        session.run("SET GLOBAL super_read_only = 0").await?;
    }
    // What was read-only before stays so.
    match facts.read_only {
        true => Ok(()),
        false => session.run("SET GLOBAL read_only = 0").await,
    }
}

async fn carry_out(
    session: &mut Session,
    settings: &Settings,
    plan: &Plan,
    done: &mut Saved,
    until: Instant,
) -> Result<(), FlushError> {
    let before = Figures::read(&session.pairs(STATUS).await?);
    let mut gtid_at_lock = None;
    done.behind = before.behind();
    for step in &plan.steps {
        let statement = step.sql(&done.facts);
        // Whatever kept the server from refusing writes keeps it from the lock.
        if *step == Step::Lock && done.short.is_some() {
            continue;
        }
        if let Err(error) = session.run(&statement).await {
            done.short = Some(why_short(*step, &statement, &error, settings).ok_or(error)?);
            continue;
        }
        done.saved.extend(step.saves());
        done.refuses |= *step == Step::ReadOnly;
        if *step == Step::Lock {
            done.tables = true;
            done.locked = true;
            gtid_at_lock = gtid(session, &done.facts).await;
        }
    }
    done.after = Figures::read(&session.pairs(STATUS).await?);
    // A user may lack the right to see it, and the flush is none the worse for it.
    done.position = session.position(done.facts.binary_log_position()).await.unwrap_or_default();
    done.gtid = gtid(session, &done.facts).await;
    done.verified = done.after.cover(&before).map(|is_on_disk| {
        let nothing_was_written = gtid_at_lock.is_none() || gtid_at_lock == done.gtid;
        let indexes_are_written = !done.locked || done.after.index_blocks.unwrap_or(0) == 0;
        is_on_disk && nothing_was_written && indexes_are_written
    });
    match plan.end {
        End::Unlock if done.locked => {
            session.run("UNLOCK TABLES").await?;
            done.locked = false;
            Ok(())
        }
        End::Stop => stop(session, settings, done, until).await,
        End::Nothing | End::Unlock | End::Hold => Ok(()),
    }
}

/// Why the flush goes on without a step that failed; `None` when it does not. One statement that
/// runs longer than a lock may wait, or one privilege too few, is no reason to save nothing.
fn why_short(
    step: Step,
    statement: &str,
    error: &ServerError,
    settings: &Settings,
) -> Option<String> {
    match step {
        Step::ReadOnly | Step::Lock if error.is_lock_wait() => Some(format!(
            "`{statement}` was given up after {} s, since a statement that changes data runs \
             longer; only the logs are flushed",
            settings.lock_wait
        )),
        Step::CommitsAt(_) if error.is_not_privileged() => Some(format!(
            "the user may not `{statement}`, without which MariaDB does not flush the log of \
             InnoDB; grant it SUPER, or commit durably at all times"
        )),
        Step::ReadOnly
        | Step::Lock
        | Step::BinaryLogs
        | Step::CommitsAt(_)
        | Step::EngineLogs
        | Step::Checkpoint
        | Step::FastShutdown(_) => None,
    }
}

/// Ends the server, and waits until its process is gone.
async fn stop(
    session: &mut Session,
    settings: &Settings,
    done: &mut Saved,
    until: Instant,
) -> Result<(), FlushError> {
    let dsn = settings.dsn.as_ref().ok_or(ServerError::NoServer)?;
    let process = Process::find(dsn, &done.facts, until).await;
    session.run("SHUTDOWN").await?;
    let Some(process) = process else {
        done.verified = None;
        done.short = Some(
            "the server was told to end; whether it has cannot be seen from another machine"
                .to_owned(),
        );
        return Ok(());
    };
    if !process.ended(until) {
        return Err(FlushError::StillThere(dsn.place.to_string()));
    }
    done.stopped = true;
    done.refuses = false;
    done.verified = was_clean(&done.facts);
    done.tables = done.verified == Some(true);
    Ok(())
}

/// The transactions that the binary log holds; `None` when the server counts none.
async fn gtid(session: &mut Session, facts: &Facts) -> Option<String> {
    let rows = session.rows::<Option<String>>(match facts.flavour {
        Flavour::MariaDb => "SELECT @@GLOBAL.gtid_binlog_pos",
        Flavour::MySql => "SELECT @@GLOBAL.gtid_executed",
    });
    let gtid = rows.await.ok()?.into_iter().next().flatten()?;
    Some(gtid).filter(|gtid| !gtid.is_empty())
}
