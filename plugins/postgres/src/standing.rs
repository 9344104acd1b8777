//! What the server says of its data before and after.

use tokio_postgres::types::PgLsn;

use crate::session::{ServerError, Session};

/// How far the server is, and how much a checkpoint will have to write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// It follows another server.
    pub(crate) standby: bool,
    /// The end of the WAL: what was written, on a standby what was replayed.
    pub(crate) end: PgLsn,
    /// Where recovery would begin.
    pub(crate) redo: PgLsn,
    /// `system_identifier`: the same for a server and its standbys, and for no other.
    pub(crate) identifier: u64,
    /// Bytes that wait in `shared_buffers`, where `pg_buffercache` is installed.
    pub(crate) dirty: Option<u64>,
    /// The size of `shared_buffers`.
    buffers: u64,
}

/// The latest checkpoint that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Where its record is.
    pub(crate) at: PgLsn,
    /// Where recovery would begin.
    pub(crate) redo: PgLsn,
}

const STANDING: &str = "
    SELECT pg_is_in_recovery(),
           CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), redo_lsn)
                ELSE pg_current_wal_insert_lsn() END,
           redo_lsn,
           (SELECT system_identifier FROM pg_control_system()),
           pg_size_bytes(current_setting('shared_buffers'))
    FROM pg_control_checkpoint()";

/// The view of the extension itself, and not one that somebody named so.
const BUFFERCACHE: &str = "
    SELECT format('%I.%I', n.nspname, c.relname)
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
    JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_buffercache'
    WHERE c.relname = 'pg_buffercache'";

/// How long counting dirty pages may take: it looks at every page of `shared_buffers`.
const COUNT_LIMIT: std::time::Duration = std::time::Duration::from_secs(1);

impl Standing {
    pub(crate) async fn of(session: &Session) -> Result<Self, ServerError> {
        const DOING: &str = "read the state";
        let rows = session.rows(DOING, STANDING, &[]).await?;
        let row = rows.first().ok_or_else(|| session.unreadable(DOING))?;
        let unsigned = |number: i64| number.cast_unsigned();
        Ok(Self {
            standby: session.value(DOING, row, 0)?,
            end: session.value(DOING, row, 1)?,
            redo: session.value(DOING, row, 2)?,
            identifier: unsigned(session.value(DOING, row, 3)?),
            buffers: unsigned(session.value(DOING, row, 4)?),
            dirty: dirty(session).await,
        })
    }

    /// How much WAL recovery would have to read.
    pub(crate) fn wal_bytes(&self) -> u64 {
        u64::from(self.end).saturating_sub(u64::from(self.redo))
    }

    /// How much a checkpoint will write, about: what waits, where the server tells; else not more
    /// than the WAL since the last one, which holds a copy of each page that was touched, nor
    /// than fits into the buffers.
    pub(crate) fn unwritten(&self) -> u64 {
        self.dirty.unwrap_or_else(|| self.wal_bytes().min(self.buffers))
    }
}

impl Checkpoint {
    pub(crate) async fn latest(session: &Session) -> Result<Self, ServerError> {
        const DOING: &str = "read the checkpoint back";
        let statement = "SELECT checkpoint_lsn, redo_lsn FROM pg_control_checkpoint()";
        let rows = session.rows(DOING, statement, &[]).await?;
        let row = rows.first().ok_or_else(|| session.unreadable(DOING))?;
        Ok(Self { at: session.value(DOING, row, 0)?, redo: session.value(DOING, row, 1)? })
    }
}

/// Bytes in dirty pages; `None` where nobody can tell in time.
async fn dirty(session: &Session) -> Option<u64> {
    let rows = session.rows("look for pg_buffercache", BUFFERCACHE, &[]).await.ok()?;
    let view: String = rows.first()?.try_get(0).ok()?;
    session.limit(COUNT_LIMIT.min(session.left() / 10)).await.ok()?;
    let statement = format!(
        "SELECT count(*) FILTER (WHERE isdirty) * current_setting('block_size')::bigint FROM {view}"
    );
    let counted: Result<i64, _> = session.one("count dirty pages", &statement).await;
    session.limit(session.left()).await.ok()?;
    Some(counted.ok()?.cast_unsigned())
}
