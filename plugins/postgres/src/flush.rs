//! The flush itself: one session that stays open, and steps with a limit each.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};
use snooze_plugin::PluginError;
use tokio::time::Instant;

use crate::door::Door;
use crate::plan::{self, Situation, Step, plan};
use crate::postmaster::Postmaster;
use crate::session::{ServerError, Session};
use crate::settings::Settings;
use crate::ship::ship;
use crate::standing::{Checkpoint, Standing};
use crate::target::Target;

/// The name of the sessions, as `pg_stat_activity` shows it.
pub(crate) const NAME: &str = "postgres-flusher";

/// How long sessions that were ended may take to be gone: they roll back and say good-bye.
const GOING_LIMIT: Duration = Duration::from_secs(5);

/// Less than this is written too quickly to tell how fast the disk is.
const LEAST_MEASURED: u64 = 64 << 20;

/// What is asked of a flush beyond its settings.
pub(crate) struct Task<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) target: &'a Target,
    pub(crate) until: Instant,
    /// How long the door stays shut after a quiesce, at most.
    pub(crate) door_until: Instant,
    /// Why clients are not cut and the server is not stopped, if so.
    pub(crate) held_back: Option<&'static str>,
    /// Bytes a second that a checkpoint writes.
    pub(crate) rate: f64,
}

/// What was done.
#[derive(Default)]
pub(crate) struct Flushed {
    pub(crate) saved: Vec<String>,
    pub(crate) skipped: Vec<String>,
    pub(crate) errors: Vec<String>,
    /// All that was asked for was read back.
    pub(crate) verified: Option<bool>,
    pub(crate) figures: Map<String, Value>,
    /// Shut as long as it is kept.
    pub(crate) door: Option<Door>,
    /// Bytes a second, when enough was written to tell.
    pub(crate) rate: Option<f64>,
}

/// Saves what can be saved until the end of the time.
pub(crate) async fn flush(task: &Task<'_>) -> Flushed {
    let mut flushed = Flushed::default();
    if let Err(error) = flush_into(task, &mut flushed).await {
        flushed.failed(error);
    }
    flushed
}

async fn flush_into(task: &Task<'_>, flushed: &mut Flushed) -> Result<(), PluginError> {
    let session = Session::open(task.target, NAME, task.until).await?;
    session.limit(session.left()).await?;
    let standing = Standing::of(&session).await?;
    let expected = plan::expected(standing.unwritten(), task.rate);
    flushed.tell(&standing, expected);
    let situation = Situation {
        budget: session.left(),
        expected,
        standby: standing.standby,
        held_back: task.held_back,
    };
    let plan = plan(task.settings, &situation);
    flushed.skipped = plan.skipped;
    if task.settings.dry_run {
        let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
        flushed.put("would", json!(steps.join("; ")));
        return Ok(());
    }
    for step in plan.steps {
        let done = match step {
            Step::Drain(most) => drain(task, most, flushed).await,
            Step::Checkpoint(most) => checkpoint(&session, &standing, most, flushed).await,
            Step::Ship(most) => send_away(&session, most, flushed).await,
            Step::Stop(_) => stop(task, &session, &standing, flushed).await,
        };
        // What follows is worth doing without it: each step saves something of its own.
        if let Err(error) = done {
            flushed.verified = Some(false);
            flushed.failed(error);
        }
    }
    Ok(())
}

/// Lets transactions end, then ends what is left. The door stays shut.
async fn drain(task: &Task<'_>, most: Duration, flushed: &mut Flushed) -> Result<(), PluginError> {
    let mut door = Door::shut(task.target, task.door_until)?;
    let enough = Instant::now() + most;
    let begun = door.seen(enough.min(task.until), |crowd| crowd.working == 0).await;
    let gone = match begun {
        Ok(_) => {
            door.end_all();
            let limit = task.until.min(Instant::now() + GOING_LIMIT);
            door.seen(limit, |crowd| crowd.shut && crowd.working + crowd.going == 0).await
        }
        Err(error) => Err(error),
    };
    let crowd = gone.map_err(PluginError::new)?;
    flushed.door = Some(door);
    flushed.put("sessions_ended", json!(crowd.ended.len()));
    flushed.put("sessions_cut", json!(crowd.cut.len()));
    flushed.put("sessions_turned_away", json!(crowd.turned_away.len()));
    if crowd.staying > 0 {
        let staying = crowd.staying;
        flushed.skipped.push(format!(
            "end of {staying} sessions: this role may not end those of superusers, nor any \
             without pg_signal_backend and pg_read_all_stats"
        ));
    }
    flushed.saved.push(format!(
        "{} sessions ended, {} of them in a transaction",
        crowd.ended.len(),
        crowd.cut.len()
    ));
    match crowd.shut && crowd.working + crowd.going == 0 {
        true => Ok(()),
        false => Err(PluginError::new("not all sessions were gone in time")),
    }
}

/// `CHECKPOINT`, read back.
async fn checkpoint(
    session: &Session,
    before: &Standing,
    most: Duration,
    flushed: &mut Flushed,
) -> Result<(), PluginError> {
    let begun = Instant::now();
    session.limit(most.min(session.left())).await?;
    let done = session.tell("CHECKPOINT", "CHECKPOINT").await;
    let limited = session.limit(session.left()).await;
    // What failed first is what to tell.
    done?;
    limited?;
    let latest = Checkpoint::latest(session).await?;
    flushed.put("checkpoint_lsn", json!(latest.at.to_string()));
    flushed.put("redo_lsn", json!(latest.redo.to_string()));
    if !before.standby && before.unwritten() >= LEAST_MEASURED {
        let kilobytes = u32::try_from(before.unwritten() / 1024).unwrap_or(u32::MAX);
        flushed.rate = Some(1024.0 * f64::from(kilobytes) / begun.elapsed().as_secs_f64());
    }
    // A standby can only repeat a checkpoint of its primary that it has replayed.
    if before.standby && latest.redo == before.redo {
        flushed.skipped.push(
            "checkpoint: the standby has replayed no checkpoint of its primary since its last"
                .to_owned(),
        );
        return Ok(());
    }
    let is_newer = match before.standby {
        true => latest.redo > before.redo,
        false => latest.redo >= before.end,
    };
    flushed.verify(is_newer);
    flushed.saved.push(format!("checkpoint at {}, recovery begins at {}", latest.at, latest.redo));
    Ok(())
}

/// The newest WAL, to wherever WAL goes.
async fn send_away(
    session: &Session,
    most: Duration,
    flushed: &mut Flushed,
) -> Result<(), PluginError> {
    let until = Instant::now() + most.min(session.left());
    let shipped = ship(session, until).await?;
    flushed.put("wal_file", json!(shipped.file));
    flushed.put("archived", json!(shipped.archived));
    flushed.put("receivers", json!(shipped.receivers));
    flushed.put("receivers_reached", json!(shipped.reached));
    let file = &shipped.file;
    if shipped.is_away() {
        flushed.verify(true);
        flushed.saved.push(match shipped.archived {
            true => format!("WAL file {file} is in the archive"),
            false => format!(
                "WAL up to the end of {file} is on the disks of {} of {} receivers",
                shipped.reached, shipped.receivers
            ),
        });
        return Ok(());
    }
    if shipped.has_nowhere_to_go() {
        flushed.skipped.push(format!(
            "copy of {file}: the server has neither an archive nor a standby, so that a WAL switch \
             saves nothing"
        ));
        return Ok(());
    }
    Err(PluginError::new(match shipped.failing {
        Some(failing) => format!(
            "WAL file {file} is not away: archiving of {failing} fails, see \
                                  the server's log"
        ),
        None => format!("WAL file {file} was not away in time; raise `archive_wait_seconds`"),
    }))
}

/// The fast stop, read back from the server's own file.
async fn stop(
    task: &Task<'_>,
    session: &Session,
    standing: &Standing,
    flushed: &mut Flushed,
) -> Result<(), PluginError> {
    let directory = directory(task.settings, session).await?;
    let postmaster = Postmaster::find(&directory, standing.identifier)?;
    postmaster.stop(task.until).await?;
    // It says so only after a checkpoint of its own.
    flushed.verified = Some(true);
    flushed.saved.push("the server is shut down".to_owned());
    Ok(())
}

/// Where the server's data is.
pub(crate) async fn directory(
    settings: &Settings,
    session: &Session,
) -> Result<PathBuf, ServerError> {
    match &settings.data_directory {
        Some(directory) => Ok(directory.clone()),
        None => {
            let statement = "SELECT current_setting('data_directory')";
            let path: String = session.one("ask for `data_directory`", statement).await?;
            Ok(path.into())
        }
    }
}

impl Flushed {
    pub(crate) fn put(&mut self, key: &str, value: Value) {
        self.figures.insert(key.to_owned(), value);
    }

    fn failed(&mut self, error: impl Into<PluginError>) {
        self.errors.push(error.into().to_string());
    }

    /// One more thing was read back, and was right or not.
    fn verify(&mut self, right: bool) {
        self.verified = Some(right && self.verified != Some(false));
    }

    fn tell(&mut self, standing: &Standing, expected: Duration) {
        self.put("wal_bytes", json!(standing.wal_bytes()));
        self.put("standby", json!(standing.standby));
        self.put("expected_seconds", json!(expected.as_secs_f64()));
        if let Some(dirty) = standing.dirty {
            self.put("dirty_bytes", json!(dirty));
        }
    }
}
