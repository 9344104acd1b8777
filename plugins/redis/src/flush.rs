//! The saving itself, over one connection that stays open until the end.

use std::thread;
use std::time::{Duration, Instant};

use redis::{Connection, RedisError, cmd};

use crate::server::{CONNECT_LIMIT, CannotConnect, Server};
use crate::settings::{Mode, Settings};
use crate::state::State;

/// How long to wait between two looks at the server: a save takes seconds, a look a millisecond.
const PAUSE: Duration = Duration::from_millis(50);

/// With `appendfsync everysec` Redis gives its file to the disk once a second; by the whole
/// seconds of its clock that is done after two.
const EVERYSEC_CYCLE: u64 = 2;

/// What was saved.
pub(crate) struct Saved {
    pub(crate) keys: u64,
    /// How many changes would have been lost.
    pub(crate) changes: u64,
    pub(crate) bytes: u64,
    /// `master` or `slave`.
    pub(crate) role: String,
    /// It is a node of a cluster: what was saved is its part of the data.
    pub(crate) cluster: bool,
    /// How many replicas have all that was written before, where it was asked for.
    pub(crate) replicas: Option<u64>,
    /// The server itself says that the data is on disk, and on as many replicas as were wanted.
    pub(crate) verified: bool,
}

/// Why nothing was saved, as far as is known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlushError {
    #[error(transparent)]
    Connect(#[from] CannotConnect),
    #[error("`{command}` failed on Redis at `{place}`; see the log of Redis and what the user may")]
    Command { place: String, command: &'static str, source: RedisError },
    #[error("`{doing}` was not done in time on Redis at `{place}`; raise `timeout_seconds`")]
    Late { place: String, doing: &'static str },
    #[error(
        "the background save failed on Redis at `{place}`; see its log, often the disk is full"
    )]
    SaveFailed { place: String },
    #[error("the append-only file is off on Redis at `{place}`; use mode `bgsave` or `save`")]
    AofOff { place: String },
    #[error(
        "Redis at `{place}` has `appendfsync no`, so that nobody knows when data is on disk; use \
         mode `bgsave` or `save`"
    )]
    NoFsync { place: String },
    #[error("Redis at `{place}` cannot write its append-only file; see its log")]
    AofFailed { place: String },
}

/// Makes the data safe as the settings say, until the moment `until` at the latest; only looks
/// what there is to save if nothing may be done.
pub(crate) fn flush(settings: &Settings, until: Instant) -> Result<Saved, FlushError> {
    let mut session = Session::connect(&settings.server, settings.mode.as_str(), until)?;
    let state = session.state()?;
    let mut saved = Saved {
        keys: state.keys,
        changes: state.changes,
        bytes: state.bytes,
        role: state.role,
        cluster: state.cluster,
        replicas: None,
        verified: false,
    };
    if settings.dry_run {
        return Ok(saved);
    }
    if settings.replicas > 0 {
        saved.replicas = Some(session.reach_replicas(settings.replicas)?);
    }
    let begun = session.time()?;
    let is_on_disk = match settings.mode {
        Mode::Save => session.save(begun)?,
        Mode::Bgsave => session.background_save(begun)?,
        Mode::Aof => session.settle_aof(begun)?,
    };
    let is_copied = saved.replicas.is_none_or(|reached| reached >= settings.replicas);
    saved.verified = is_on_disk && is_copied;
    Ok(saved)
}

/// What the server says of itself.
pub(crate) fn look(server: &Server, until: Instant) -> Result<State, FlushError> {
    Session::connect(server, "info", until)?.state()
}

/// Whether the server answers.
pub(crate) fn ping(server: &Server, until: Instant) -> Result<(), FlushError> {
    Session::connect(server, "ping", until)?.ask::<String>("PING", &[]).map(drop)
}

struct Session {
    place: String,
    doing: &'static str,
    connection: Connection,
    until: Instant,
}

impl Session {
    fn connect(server: &Server, doing: &'static str, until: Instant) -> Result<Self, FlushError> {
        let place = server.place();
        let limit = CONNECT_LIMIT.min(until.saturating_duration_since(Instant::now()));
        if limit.is_zero() {
            return Err(FlushError::Late { place, doing });
        }
        match server.connect(limit) {
            Ok(connection) => Ok(Self { place, doing, connection, until }),
            Err(source) => Err(CannotConnect { place, source }.into()),
        }
    }

    /// Waits until so many replicas have all that the server knows, but for half of the time at
    /// most: the save has to follow. How many it became.
    fn reach_replicas(&mut self, wanted: u64) -> Result<u64, FlushError> {
        let limit = (self.left()? / 2).as_millis().max(1).to_string();
        // `WAIT` counts from the connection's last command, which was one that reads.
        self.ask("WAIT", &[&wanted.to_string(), &limit])
    }

    /// `SAVE`, during which the server answers nobody.
    fn save(&mut self, begun: u64) -> Result<bool, FlushError> {
        while self.state()?.saving {
            self.pause()?;
        }
        self.ask::<String>("SAVE", &[])?;
        Ok(self.state()?.last_save >= begun)
    }

    /// `BGSAVE`, and waiting until it is done. One that already runs began too early for the
    /// changes that came after it, so that another may have to follow.
    fn background_save(&mut self, begun: u64) -> Result<bool, FlushError> {
        loop {
            let state = self.state()?;
            if state.saving || state.rewriting {
                self.pause()?;
                continue;
            }
            if state.last_save >= begun && state.changes == 0 && state.last_save_ok {
                return Ok(true);
            }
            match self.ask::<String>("BGSAVE", &[]) {
                Ok(_) => break,
                // Somebody else was quicker, and the loop waits for that one.
                Err(FlushError::Command { source, .. }) if in_progress(&source) => {
                    self.pause()?;
                }
                Err(FlushError::Command { source, .. }) if cannot_fork(&source) => {
                    return self.save(begun);
                }
                Err(error) => return Err(error),
            }
        }
        loop {
            let state = self.state()?;
            if !state.saving {
                return match state.last_save_ok {
                    true => Ok(state.last_save >= begun),
                    false => Err(FlushError::SaveFailed { place: self.place.clone() }),
                };
            }
            self.pause()?;
        }
    }

    /// Waits until what was written before `begun` is on disk in the append-only file.
    fn settle_aof(&mut self, begun: u64) -> Result<bool, FlushError> {
        if !self.state()?.aof {
            return Err(FlushError::AofOff { place: self.place.clone() });
        }
        // A user without the right to read settings gets the longer wait and no verification.
        let policy = self.ask::<Vec<String>>("CONFIG", &["GET", "appendfsync"]).ok();
        let policy = policy.as_ref().and_then(|pair| pair.get(1)).map(String::as_str);
        let cycle = match policy {
            Some("no") => return Err(FlushError::NoFsync { place: self.place.clone() }),
            Some("always") => 0,
            _ => EVERYSEC_CYCLE,
        };
        loop {
            let state = self.state()?;
            if !state.aof_ok {
                return Err(FlushError::AofFailed { place: self.place.clone() });
            }
            if state.aof_settled && self.time()? >= begun.saturating_add(cycle) {
                return Ok(policy.is_some());
            }
            self.pause()?;
        }
    }

    fn state(&mut self) -> Result<State, FlushError> {
        // `INFO` with several sections is new in Redis 7; without any, every version gives all.
        Ok(State::read(&self.ask::<String>("INFO", &[])?))
    }

    /// The server's clock in seconds since 1970: the one that dates its saves.
    fn time(&mut self) -> Result<u64, FlushError> {
        let time = self.ask::<Vec<u64>>("TIME", &[])?;
        Ok(time.first().copied().unwrap_or(0))
    }

    fn ask<T: redis::FromRedisValue>(
        &mut self,
        command: &'static str,
        arguments: &[&str],
    ) -> Result<T, FlushError> {
        let left = self.left()?;
        let limits = self.connection.set_read_timeout(Some(left));
        let limits = limits.and_then(|()| self.connection.set_write_timeout(Some(left)));
        let place = self.place.clone();
        limits.and_then(|()| cmd(command).arg(arguments).query(&mut self.connection)).map_err(
            |source| match source.is_timeout() {
                true => FlushError::Late { place, doing: self.doing },
                false => FlushError::Command { place, command, source },
            },
        )
    }

    #[expect(clippy::disallowed_methods, reason = "bounded by `until`, in a process of its own")]
    fn pause(&self) -> Result<(), FlushError> {
        thread::sleep(PAUSE.min(self.left()?));
        Ok(())
    }

    fn left(&self) -> Result<Duration, FlushError> {
        let left = self.until.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(FlushError::Late { place: self.place.clone(), doing: self.doing }),
            false => Ok(left),
        }
    }
}

/// Whether `BGSAVE` failed before it began, as where no process can be had for it: Redis gives no
/// reason then (`rdb.c`, `bgsaveCommand`, Redis 7.0), and gives one whenever it has one.
fn cannot_fork(error: &RedisError) -> bool {
    error.code() == Some("ERR") && error.detail().is_none_or(str::is_empty)
}

/// Whether `BGSAVE` was refused because another save or a rewrite runs.
fn in_progress(error: &RedisError) -> bool {
    error.to_string().contains("in progress")
}
