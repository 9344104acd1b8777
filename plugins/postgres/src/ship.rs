//! Getting the newest WAL off the machine: into the archive, or to a standby.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::types::PgLsn;

use crate::session::{ServerError, Session};

/// How often to look whether the file is away.
const PAUSE: Duration = Duration::from_millis(50);

/// How far the newest WAL got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shipped {
    /// The file that was ended.
    pub(crate) file: String,
    /// The server archives files.
    pub(crate) archives: bool,
    /// The archive has the file.
    pub(crate) archived: bool,
    /// The file whose archiving failed last, if that was after the switch.
    pub(crate) failing: Option<String>,
    /// Standbys and other receivers that follow.
    pub(crate) receivers: i64,
    /// Those that have all of the file on their disks.
    pub(crate) reached: i64,
}

impl Shipped {
    /// The WAL is somewhere else, too.
    pub(crate) fn is_away(&self) -> bool {
        self.archived || self.reached > 0
    }

    /// There is nowhere to send it.
    pub(crate) fn has_nowhere_to_go(&self) -> bool {
        !self.archives && self.receivers == 0
    }

    /// Nothing is left to wait for.
    fn is_done(&self) -> bool {
        self.archived
            || !self.archives && self.reached == self.receivers
            || self.has_nowhere_to_go()
    }
}

/// `last_archived_wal` may also be a backup label or a timeline's history.
const PROGRESS: &str = "
    SELECT current_setting('archive_mode') <> 'off'
           AND (current_setting('archive_command') NOT IN ('', '(disabled)')
                OR coalesce(current_setting('archive_library', true), '') <> ''),
           coalesce(left(last_archived_wal, 24) >= $1::text
                    AND last_archived_wal ~ '^[0-9A-F]{24}', false),
           CASE WHEN last_failed_time > coalesce(last_archived_time, '-infinity')
                THEN last_failed_wal END,
           (SELECT count(*) FROM pg_stat_replication),
           (SELECT count(*) FROM pg_stat_replication WHERE flush_lsn >= $2::pg_lsn)
    FROM pg_stat_archiver";

/// Ends the WAL file that is being written, and waits until it is in the archive or, where there
/// is none, with all that follow.
pub(crate) async fn ship(session: &Session, until: Instant) -> Result<Shipped, ServerError> {
    const DOING: &str = "switch the WAL file";
    const LOOKING: &str = "look where the WAL file is";
    let statement = "SELECT lsn, pg_walfile_name(lsn) FROM pg_switch_wal() AS lsn";
    let rows = session.rows(DOING, statement, &[]).await?;
    let row = rows.first().ok_or_else(|| session.unreadable(DOING))?;
    let end: PgLsn = session.value(DOING, row, 0)?;
    let file: String = session.value(DOING, row, 1)?;
    loop {
        let rows = session.rows(LOOKING, PROGRESS, &[&file, &end]).await?;
        let row = rows.first().ok_or_else(|| session.unreadable(LOOKING))?;
        let shipped = Shipped {
            file: file.clone(),
            archives: session.value(LOOKING, row, 0)?,
            archived: session.value(LOOKING, row, 1)?,
            failing: session.value(LOOKING, row, 2)?,
            receivers: session.value(LOOKING, row, 3)?,
            reached: session.value(LOOKING, row, 4)?,
        };
        if shipped.is_done() || Instant::now() >= until {
            return Ok(shipped);
        }
        sleep(PAUSE).await;
    }
}
