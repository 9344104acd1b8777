//! The door of the server: while it is shut, sessions end and new ones are ended as they come.
//!
//! ```text
//!  Draining: idle and new sessions end, transactions go on ──> Shut: all end ──> open again
//!                                                                (time, `Door` dropped,
//!                                                                 its session ended)
//! ```
//!
//! Nothing in the server is changed for that: a task in a thread of its own asks for sessions
//! twenty times a second and ends them. So the door is open as soon as this process is killed,
//! this session is ended or the server starts anew, and no standby hears of it. `CONNECTION LIMIT`
//! and `ALLOW_CONNECTIONS` would outlive all that, on the standbys too; a lock on a catalog would
//! keep out the administrator and reach the standbys as well.

use std::collections::BTreeSet;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};

use crate::session::{ServerError, Session};
use crate::target::Target;

/// How long a session may live that came in: as long as between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// The name of the door's session. Whoever ends it opens the door.
pub(crate) const NAME: &str = "postgres-flusher door";

/// Sessions whose names begin so are let in: this plugin's own, and an administrator's who must.
const OURS: &str = "postgres-flusher%";

/// Each session with: its process; whether it was there before the door was shut; whether it is in
/// a transaction; whether it is spared; whether it could be ended. Of what a role may not look at it
/// sees only that it is there.
const SESSIONS: &str = "
    WITH me AS (SELECT a.backend_start, r.rolsuper
                FROM pg_stat_activity a JOIN pg_roles r ON r.rolname = current_user
                WHERE a.pid = pg_backend_pid()),
    theirs AS (SELECT a.pid, a.backend_type IS NOT NULL AS seen,
                      coalesce(a.backend_start < me.backend_start, true) AS old,
                      a.backend_type IS NOT NULL AND a.state IS DISTINCT FROM 'idle' AS works,
                      me.rolsuper OR NOT r.rolsuper
                      AND (pg_has_role(r.oid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE'))
                      AS allowed
               FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid CROSS JOIN me
               WHERE (a.backend_type = 'client backend'
                      OR a.backend_type IS NULL AND a.datid IS NOT NULL)
                 AND a.pid <> pg_backend_pid() AND a.application_name NOT LIKE $2)
    SELECT pid, old, works, old AND works AND NOT $1,
           CASE WHEN old AND works AND NOT $1 THEN false
                WHEN seen AND allowed THEN pg_terminate_backend(pid) ELSE false END
    FROM theirs";

/// What is seen through the door.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Crowd {
    /// It was looked with all sessions to be ended.
    pub(crate) shut: bool,
    /// Transactions that go on.
    pub(crate) working: usize,
    /// Sessions that were there before, and are being ended.
    pub(crate) going: usize,
    /// Sessions that this role may not end.
    pub(crate) staying: usize,
    /// Sessions that were there before and were ended so far.
    pub(crate) ended: BTreeSet<i32>,
    /// Those of them that were in a transaction.
    pub(crate) cut: BTreeSet<i32>,
    /// Sessions that came and were ended.
    pub(crate) turned_away: BTreeSet<i32>,
}

/// A door that is shut until the value is gone.
pub(crate) struct Door {
    /// Whether all sessions are ended.
    all: watch::Sender<bool>,
    seen: watch::Receiver<Result<Crowd, String>>,
    open: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    /// Shuts it until the moment `until` at the latest.
    pub(crate) fn shut(target: &Target, until: Instant) -> std::io::Result<Self> {
        let (all, wanted) = watch::channel(false);
        let (said, seen) = watch::channel(Ok(Crowd { working: 1, ..Crowd::default() }));
        let (open, opened) = oneshot::channel();
        let target = target.clone();
        let thread = thread::Builder::new().name("door".to_owned()).spawn(move || {
            let Ok(runtime) = runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            runtime.block_on(async {
                tokio::select! {
                    kept = keep_shut(&target, until, &wanted, &said) => {
                        if let Err(error) = kept {
                            let _ = said.send(Err(snooze_plugin::PluginError::from(error).to_string()));
                        }
                    }
                    _ = opened => {}
                    () = tokio::time::sleep_until(until) => {}
                }
            });
        })?;
        Ok(Self { all, seen, open: Some(open), thread: Some(thread) })
    }

    /// Ends the sessions that were spared, too.
    pub(crate) fn end_all(&self) {
        let _ = self.all.send(true);
    }

    /// What is seen once `enough` of it is; what was seen last when the time is over.
    ///
    /// # Errors
    /// When nobody looks any more: the door is open.
    pub(crate) async fn seen(
        &mut self,
        until: Instant,
        enough: impl Fn(&Crowd) -> bool,
    ) -> Result<Crowd, String> {
        let is_enough = |seen: &Result<Crowd, String>| seen.as_ref().map_or(true, &enough);
        let seen = async { self.seen.wait_for(is_enough).await.map(drop) };
        let waited = tokio::time::timeout_at(until, seen).await;
        match waited {
            Ok(Err(_)) => Err("the session that keeps the door shut is gone".to_owned()),
            Ok(Ok(())) | Err(_) => self.seen.borrow().clone(),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.open.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn keep_shut(
    target: &Target,
    until: Instant,
    all: &watch::Receiver<bool>,
    said: &watch::Sender<Result<Crowd, String>>,
) -> Result<(), ServerError> {
    const DOING: &str = "end sessions";
    let session = Session::open(target, NAME, until).await?;
    let mut crowd = Crowd::default();
    loop {
        let shut = *all.borrow();
        let rows = session.rows(DOING, SESSIONS, &[&shut, &OURS]).await?;
        crowd = Crowd { shut, working: 0, going: 0, staying: 0, ..crowd };
        for row in &rows {
            let pid: i32 = session.value(DOING, row, 0)?;
            let flag = |column| session.value::<bool>(DOING, row, column);
            let (is_old, works, is_spared, was_ended) = (flag(1)?, flag(2)?, flag(3)?, flag(4)?);
            if is_spared {
                crowd.working += 1;
            } else if !was_ended {
                crowd.staying += 1;
            } else if is_old {
                crowd.going += 1;
                if crowd.ended.insert(pid) && works {
                    crowd.cut.insert(pid);
                }
            } else {
                crowd.turned_away.insert(pid);
            }
        }
        drop(said.send_replace(Ok(crowd.clone())));
        sleep(PAUSE).await;
    }
}
