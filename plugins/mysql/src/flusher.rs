//! The flusher as a plugin.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use snooze_plugin::{Handled, Info, LOSSES, Plugin, PluginError, PluginEvent, Setting, WARNINGS};
use tokio::time;

use crate::facts::Facts;
use crate::flush::{FlushError, GUARD, Saved, accept_writes, facts};
use crate::hold::{Held, flush_and_hold, runtime};
use crate::plan::Plan;
use crate::server::{ServerError, Session};
use crate::settings::{Settings, Strategy, all};

/// A file system on which files of the server may lie is nearly full.
const DISK_LOW: &str = "system.disk.low";

/// How long a look at the server may take: the host waits five seconds for it. A server that
/// needs longer is not well.
const LOOK_LIMIT: Duration = Duration::from_secs(4);

/// How long to wait between two looks at a session that is to end.
const PAUSE: Duration = Duration::from_millis(20);

/// Locks tables and flushes logs before the instance goes; see the page of the plugin.
#[derive(Default)]
pub struct Flusher {
    settings: Settings,
    /// What is held, and what was told of the flush before.
    held: Option<(Held, Handled)>,
}

impl Plugin for Flusher {
    fn info(&self) -> Info {
        Info {
            display_name: "MySQL Flusher".to_owned(),
            author: "CloudSnooze".to_owned(),
            description: "Makes MySQL or MariaDB write and lock its tables, and reads back that \
                          it did"
                .to_owned(),
            category: "database".to_owned(),
            tags: ["mysql", "mariadb", "flush"].map(str::to_owned).into(),
            official: true,
            language: Some("rust".to_owned()),
            config_schema: Setting::schema(&all()),
            permissions: vec!["network".to_owned()],
            ..Info::new("mysql-flusher", env!("CARGO_PKG_VERSION"))
        }
    }

    fn supported_events(&self) -> Option<Vec<String>> {
        Some(LOSSES.into_iter().chain(WARNINGS).chain([DISK_LOW]).map(str::to_owned).collect())
    }

    fn configure(&mut self, config: &Map<String, Value>) -> Result<(), PluginError> {
        self.held = None;
        self.settings = Settings::read(config)?;
        Ok(())
    }

    fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
        let begun = Instant::now();
        let (limit, leaves) = (event.budget(self.settings.timeout), event.time_remaining());
        let undo = event.data.get("phase").and_then(Value::as_str) == Some("undo");
        let done = match (undo, event.drill || self.settings.dry_run) {
            (false, false) => self.flush(limit, leaves),
            (false, true) => self.rehearse(limit, leaves.is_some()),
            (true, false) => self.undo(limit),
            (true, true) => Ok(Handled::with_status("dry_run").and("would_hold", false)),
        };
        let handled =
            done.unwrap_or_else(|error| Handled::failed(PluginError::from(error).to_string()));
        Ok(handled.and("seconds", begun.elapsed().as_secs_f64()))
    }

    fn health(&mut self) -> Result<(), PluginError> {
        Ok(self.look(LOOK_LIMIT, async |session: Session| {
            session.close().await;
            Ok(())
        })?)
    }

    fn shutdown(&mut self) -> Result<(), PluginError> {
        self.held = None;
        Ok(())
    }
}

impl Flusher {
    fn flush(&mut self, limit: Duration, leaves: Option<Duration>) -> Result<Handled, FlushError> {
        // What is shut for an instance that goes is not opened by news after which it may stay.
        let held = self.held.as_ref().filter(|(held, _)| held.lasts());
        if let (None, Some((_, told))) = (leaves, held) {
            return Ok(told.clone());
        }
        // A lock of ours would keep us from a new one.
        self.held = None;
        let (saved, held) = flush_and_hold(&self.settings, limit, leaves)?;
        let handled = told(&self.settings, &saved);
        self.held = (saved.locked || saved.refuses).then(|| (held, handled.clone()));
        Ok(handled)
    }

    /// Says what a flush would do.
    fn rehearse(&self, limit: Duration, leaves: bool) -> Result<Handled, FlushError> {
        let facts = self.look(limit, async |mut session: Session| {
            let facts = facts(&mut session).await?;
            session.close().await;
            Ok(facts)
        })?;
        let plan = Plan::new(&self.settings, &facts, leaves);
        let handled = Handled::with_status("dry_run")
            .and("would", plan.statements(&facts))
            .and("would_hold", plan.holds());
        Ok(with_facts(handled, &facts))
    }

    /// The instance lives on: what this or another process of the program holds is released.
    fn undo(&mut self, limit: Duration) -> Result<Handled, FlushError> {
        self.held = None;
        let refuses = self.settings.read_only;
        let ended = self.look(limit, async |mut session: Session| {
            let other = end_holder(&mut session).await?;
            let facts = facts(&mut session).await?;
            if refuses && (facts.read_only || facts.super_read_only) {
                let before = Facts { read_only: false, ..facts };
                accept_writes(&mut session, &before).await?;
            }
            session.close().await;
            Ok(other)
        })?;
        let handled = Handled::with_status("mysql_released").and("read_only", false);
        Ok(match ended {
            Some(other) => handled.and("ended_connection", other),
            None => handled,
        })
    }

    /// Does something short in a session of its own.
    fn look<T>(
        &self,
        limit: Duration,
        look: impl AsyncFnOnce(Session) -> Result<T, ServerError>,
    ) -> Result<T, FlushError> {
        let settings = &self.settings;
        let runtime = runtime().map_err(ServerError::from)?;
        let done = runtime.block_on(async {
            let until = time::Instant::now() + limit;
            let (dsn, authority) = (settings.dsn.as_ref(), settings.ca_file.as_ref());
            look(Session::open(dsn, authority, until).await?).await
        });
        runtime.shutdown_background();
        Ok(done?)
    }
}

/// Ends the session that another process of the program holds on this server, if there is one.
async fn end_holder(session: &mut Session) -> Result<Option<i64>, ServerError> {
    let holder = format!("SELECT IS_USED_LOCK('{GUARD}')");
    let other = session.number(&holder).await?;
    if let Some(other) = other {
        // It may have ended by itself meanwhile: what counts is that nobody holds.
        let killed = session.run(&format!("KILL {other}")).await;
        while session.number(&holder).await? == Some(other) {
            if killed.is_err() {
                return killed.map(|()| None);
            }
            time::sleep(PAUSE).await;
        }
    }
    Ok(other)
}

/// The result of a flush.
fn told(settings: &Settings, saved: &Saved) -> Handled {
    let status = match (saved.stopped, saved.tables) {
        (true, _) => "mysql_stopped",
        (false, true) => "mysql_flushed",
        (false, false) => "mysql_logs_flushed",
    };
    let mut handled = Handled::with_status(status)
        .and("tables_flushed", saved.tables)
        .and("saved", saved.saved.clone())
        .and("lock_held", saved.locked)
        .and("strategy", settings.strategy.as_str());
    handled.verified = saved.verified;
    handled.error.clone_from(&saved.short);
    if settings.read_only {
        handled = handled.and("read_only", saved.refuses);
    }
    if settings.strategy == Strategy::FastStop {
        handled = handled.and("stopped", saved.stopped);
    }
    let figures = [
        ("log_bytes_flushed", saved.behind),
        ("recovery_log_bytes", saved.after.log_since_checkpoint),
        ("dirty_bytes", saved.after.dirty),
    ];
    for (name, figure) in figures {
        if let Some(figure) = figure {
            handled = handled.and(name, figure);
        }
    }
    if let Some((file, position)) = &saved.position {
        handled = handled.and("binlog_file", file.as_str()).and("binlog_position", *position);
    }
    if let Some(gtid) = &saved.gtid {
        handled = handled.and("gtid", gtid.as_str());
    }
    with_facts(handled, &saved.facts)
}

/// The result with what decides whether a flush is needed at all.
fn with_facts(mut handled: Handled, facts: &Facts) -> Handled {
    let numbers = [
        ("innodb_flush_log_at_trx_commit", facts.flush_log_at_trx_commit),
        ("sync_binlog", facts.sync_binlog.filter(|_| facts.binary_log)),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            handled = handled.and(name, number);
        }
    }
    match facts.durable_commits() {
        Some(durable) => handled.and("durable_commits", durable),
        None => handled,
    }
}
