//! One process of a plugin, behind its keeper.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::{Map, Value};
use snooze_plugin::wire::{LineBuffer, Method, TooMuchOutput, request_line};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::log::{Tail, follow};
use super::{Entry, HostSettings, Redactor, keepers};
use crate::launch::{CANNOT_START, Target, descendants_of, is_alive, keeper_args};
use crate::sandbox::Confinement;

/// Where plugins find programs: the places of the distribution and of the administrator.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a plugin may leave a request in its pipe.
const WRITE_LIMIT: Duration = Duration::from_secs(1);

/// How long a keeper may take to bury its plugin before it is killed itself. A sweep follows then,
/// so that after a second it is known what cannot be killed.
const BURY_LIMIT: Duration = Duration::from_millis(500);

/// How often it is looked whether what was killed is gone.
const GLANCE: Duration = Duration::from_millis(5);

/// How long to wait for the last words of a process that ended: they are in the pipe already.
const DRAIN_LIMIT: Duration = Duration::from_millis(100);

/// A running plugin. Dropping it kills all of it.
pub(super) struct Process {
    keeper: Child,
    pub(super) pid: Pid,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    lines: LineBuffer,
    heard: VecDeque<Vec<u8>>,
    last_id: u64,
    /// It wants `"jsonrpc"` in requests.
    pub(super) jsonrpc: bool,
    /// It has answered: what ends is the plugin, not its launcher.
    pub(super) has_started: bool,
    ended: Option<Ending>,
    /// The task that reads its log.
    log: JoinSet<()>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Exited(u8),
    Killed(u8),
    /// The launcher ended, not the plugin: it said why.
    NotStarted,
}

/// What a process does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Line(Vec<u8>),
    TooMuch(TooMuchOutput),
    /// It closed its stdout, and perhaps lives on.
    Closed,
    Ended(Ending),
}

/// A request that did not reach the plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotWritten {
    #[error("the plugin took no request for {} s", WRITE_LIMIT.as_secs())]
    Slow,
    #[error("the plugin takes no requests: {0}")]
    Pipe(String),
}

impl Process {
    /// Starts `target` for the step of `entry`.
    pub(super) fn start(
        settings: &HostSettings,
        entry: &Entry,
        confinement: &Confinement,
        target: &Target,
        redactor: Redactor,
        tail: Arc<Mutex<Tail>>,
    ) -> std::io::Result<Self> {
        let lock = place(settings, &entry.id).with_extension("lock");
        let mut command = Command::new(&settings.program);
        command
            .args(keeper_args(std::process::id(), &lock, confinement, target))
            .env_clear()
            .envs(environment(entry.plugin.as_str()))
            .current_dir("/")
            // What a terminal sends to its foreground group is for the daemon alone.
            .process_group(0);
        let (mut keeper, pid) = keepers::spawn(command)?;
        let (stdin, stdout) = (keeper.stdin.take(), keeper.stdout.take());
        let mut log = JoinSet::new();
        if let Some(stderr) = keeper.stderr.take() {
            log.spawn(follow(stderr, entry.id.clone(), redactor, tail));
        }
        Ok(Self {
            keeper,
            pid,
            stdin,
            stdout,
            lines: LineBuffer::default(),
            heard: VecDeque::new(),
            last_id: 0,
            jsonrpc: false,
            has_started: false,
            ended: None,
            log,
        })
    }

    /// Hands a request over; returns its id.
    pub(super) async fn ask(
        &mut self,
        method: Method,
        params: Map<String, Value>,
    ) -> Result<u64, NotWritten> {
        self.last_id += 1;
        self.lines.next_request();
        let line = request_line(method, params, self.last_id, self.jsonrpc);
        let Some(stdin) = &mut self.stdin else {
            return Err(NotWritten::Pipe("closed".to_owned()));
        };
        match timeout(WRITE_LIMIT, stdin.write_all(line.as_bytes())).await {
            Ok(Ok(())) => Ok(self.last_id),
            Ok(Err(source)) => Err(NotWritten::Pipe(source.to_string())),
            Err(_) => Err(NotWritten::Slow),
        }
    }

    /// The id of the last request.
    pub(super) fn last_id(&self) -> u64 {
        self.last_id
    }

    /// The next that it says or does; may be dropped and called again at any time.
    pub(super) async fn hear(&mut self) -> Heard {
        let mut buffer = [0; 8 * 1024];
        loop {
            // Lines that are here already must not keep all others waiting.
            tokio::task::coop::consume_budget().await;
            if let Some(line) = self.heard.pop_front() {
                return Heard::Line(line);
            }
            let read = match (&mut self.stdout, self.ended) {
                (None, Some(ending)) => return Heard::Ended(ending),
                (None, None) => {
                    let status = self.keeper.wait().await;
                    self.note_end(status);
                    continue;
                }
                // It left the rest of its words in the pipe.
                (Some(stdout), Some(_)) => {
                    timeout(DRAIN_LIMIT, stdout.read(&mut buffer)).await.unwrap_or(Ok(0))
                }
                (Some(stdout), None) => tokio::select! {
                    biased;
                    read = stdout.read(&mut buffer) => read,
                    status = self.keeper.wait() => {
                        self.note_end(status);
                        continue;
                    }
                },
            };
            let Ok(length @ 1..) = read else {
                self.stdout = None;
                if self.ended.is_none() {
                    return Heard::Closed;
                }
                continue;
            };
            match self.lines.push(buffer.get(..length).unwrap_or_default()) {
                Ok(lines) => self.heard.extend(lines),
                Err(fault) => return Heard::TooMuch(fault),
            }
        }
    }

    fn note_end(&mut self, status: std::io::Result<ExitStatus>) {
        let was_killed = !matches!(&status, Ok(status) if status.signal().is_none());
        self.ended = Some(ending_of(status, self.has_started));
        keepers::forget(self.pid, was_killed);
    }

    /// Leaves nothing behind of a process that ended, its log read to the end.
    async fn clear_away(&mut self) {
        if timeout(DRAIN_LIMIT, self.log.join_next()).await.is_err() {
            self.log.abort_all();
        }
        keepers::reap_strays().await;
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Says that no more requests come.
    pub(super) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Kills it with all that it started, and waits until that is gone; a process that ended
    /// already is only cleared away. Returns what the kernel does not let go of within a second:
    /// nobody waits for that any longer.
    pub(super) async fn kill(mut self) -> Vec<Pid> {
        self.signal(Signal::QUIT);
        let end = Instant::now() + BURY_LIMIT;
        let mut left = Vec::new();
        if self.wait_until(end).await.is_none() {
            left = descendants_of(self.pid);
            self.signal(Signal::KILL);
            if self.wait_until(end + BURY_LIMIT).await.is_none() {
                left.push(self.pid);
            }
        }
        self.clear_away().await;
        // What was below the keeper was killed just now, and needs a moment to be gone.
        let end = Instant::now() + BURY_LIMIT;
        loop {
            left.retain(|pid| is_alive(*pid));
            if left.is_empty() || Instant::now() >= end {
                return left;
            }
            sleep(GLANCE).await;
        }
    }

    /// Waits for its end, whatever it says meanwhile.
    pub(super) async fn wait_until(&mut self, end: Instant) -> Option<Ending> {
        timeout_at(end, async {
            loop {
                match self.hear().await {
                    Heard::Ended(ending) => return ending,
                    // Nobody reads on, so that it cannot keep us busy.
                    Heard::TooMuch(_) => self.stdout = None,
                    Heard::Line(_) | Heard::Closed => {}
                }
            }
        })
        .await
        .ok()
    }

    fn signal(&self, signal: Signal) {
        // A keeper that was reaped has no signal to get, and its id may be another's.
        if self.ended.is_none() {
            let _ = rustix::process::kill_process(self.pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::QUIT);
    }
}

/// Keepers end with the code of their plugin, or with 128 and the number of a signal.
fn ending_of(status: std::io::Result<ExitStatus>, has_started: bool) -> Ending {
    let Ok(status) = status else { return Ending::Exited(255) };
    if let Some(signal) = status.signal() {
        return Ending::Killed(u8::try_from(signal).unwrap_or(u8::MAX));
    }
    match u8::try_from(status.code().unwrap_or(255)).unwrap_or(255) {
        CANNOT_START if !has_started => Ending::NotStarted,
        code @ 129..=192 => Ending::Killed(code - 128),
        code => Ending::Exited(code),
    }
}

/// All that the plugin of that name finds in its environment; `PATH` comes first.
#[must_use]
pub fn environment(plugin: &str) -> [(&'static str, String); 4] {
    [
        ("PATH", PATH.to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("HOME", "/".to_owned()),
        ("CLOUDSNOOZE_PLUGIN", plugin.to_owned()),
    ]
}

/// The path of the files of a step, without their endings.
pub(super) fn place(settings: &HostSettings, entry: &str) -> PathBuf {
    settings.run_directory.join(file_name(entry))
}

/// The name of the files of a step: readable, and different for each.
///
/// By the lock of one a step runs once at a time.
fn file_name(entry: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let readable: String = entry.chars().take(80).map(plain).collect();
    format!("{readable}-{:08x}", crc32fast::hash(entry.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f4_the_exit_code_of_a_launcher_is_any_other_code_once_the_plugin_has_started() {
        let status = || Ok(ExitStatus::from_raw(i32::from(CANNOT_START) << 8));
        assert_eq!(ending_of(status(), false), Ending::NotStarted);
        assert_eq!(ending_of(status(), true), Ending::Exited(CANNOT_START));
    }

    #[test]
    fn each_step_has_files_of_its_own() {
        assert_eq!(file_name("orders-db/redis"), "orders-db_redis-7f248a98");
        assert_ne!(file_name("a/b"), file_name("a_b"));
        assert!(file_name(&"../".repeat(500)).len() < 110);
    }
}
