//! A plugin as a child process, with a limit on every wait.

use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use snooze_plugin::wire::{LineBuffer, Reply, read_reply};

use crate::text;

/// How much of the plugin's log is kept, in bytes.
const LOG: usize = 4 * 1024;
/// How many lines may wait to be read; then the plugin waits.
const LINES: usize = 64;
/// How long to wait for what a process that ended has written.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often an ending process is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// A running plugin; it is killed, with its process group, when it is dropped.
#[derive(Debug)]
pub(super) struct Plugin {
    child: Child,
    /// To the thread that writes, since a plugin may not read.
    stdin: Option<Sender<String>>,
    lines: Receiver<Result<Vec<u8>, String>>,
    log: Arc<Mutex<Vec<u8>>>,
    /// Closed at the end of its stderr.
    log_ends: Receiver<()>,
    /// Lines on stdout that were no reply to what was asked.
    pub(super) strays: usize,
}

impl Plugin {
    /// Starts a program.
    pub(super) fn start(mut command: Command) -> io::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (said, lines) = mpsc::sync_channel(LINES);
        if let Some(mut stdout) = child.stdout.take() {
            thread::spawn(move || {
                let mut buffer = LineBuffer::default();
                let mut chunk = [0; 8 * 1024];
                while let Ok(length @ 1..) = stdout.read(&mut chunk) {
                    let read = chunk.get(..length).unwrap_or_default();
                    match buffer.push(read) {
                        Ok(lines) => {
                            buffer.next_request();
                            if lines.into_iter().any(|line| said.send(Ok(line)).is_err()) {
                                return;
                            }
                        }
                        Err(fault) => {
                            let _ = said.send(Err(fault.to_string()));
                            return;
                        }
                    }
                }
            });
        }
        let log = Arc::new(Mutex::new(Vec::new()));
        let (log_open, log_ends) = mpsc::channel();
        if let Some(mut stderr) = child.stderr.take() {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                let _log_open: Sender<()> = log_open;
                let mut chunk = [0; LOG];
                while let Ok(length @ 1..) = stderr.read(&mut chunk) {
                    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                    log.extend(chunk.get(..length).unwrap_or_default());
                    let excess = log.len().saturating_sub(LOG);
                    log.drain(..excess);
                }
            });
        }
        let (request, requests) = mpsc::channel::<String>();
        if let Some(mut stdin) = child.stdin.take() {
            thread::spawn(move || {
                // Whoever waits for the answer sees when none comes.
                requests.into_iter().all(|line| stdin.write_all(line.as_bytes()).is_ok())
            });
        }
        Ok(Self { child, stdin: Some(request), lines, log, log_ends, strays: 0 })
    }

    /// Writes a line and waits for the reply with its id.
    pub(super) fn ask(&mut self, line: &str, id: u64, limit: Duration) -> Result<Reply, String> {
        let until = Instant::now() + limit;
        self.write(line)?;
        loop {
            let line = self.hear(until, limit)?;
            match read_reply(&line) {
                Ok(reply) if reply.id == Some(id) => return Ok(reply),
                Ok(_) => self.strays += 1,
                Err(fault) => return Err(fault.to_string()),
            }
        }
    }

    /// Writes as it stands.
    pub(super) fn write(&mut self, text: &str) -> Result<(), String> {
        let stdin = self.stdin.as_ref().ok_or("its stdin is closed")?;
        stdin.send(text.to_owned()).map_err(|_gone| "it does not read its stdin".to_owned())
    }

    /// The next line that it writes until then, which is after `limit`.
    pub(super) fn hear(&mut self, until: Instant, limit: Duration) -> Result<Vec<u8>, String> {
        let left = until.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("no answer within {}", text::took(limit)))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(format!("it ended without an answer{}", self.how_it_ended()))
            }
        }
    }

    fn how_it_ended(&mut self) -> String {
        match self.ended(Duration::from_secs(1)) {
            Some(status) => format!(" ({status})"),
            None => String::new(),
        }
    }

    /// Closes its stdin, which tells it to end.
    pub(super) fn close(&mut self) {
        drop(self.stdin.take());
    }

    /// Asks it to end, with all that it started.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended long since.
            let _ = kill_process_group(group, signal);
        }
    }

    /// How it ended, once it has.
    pub(super) fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + limit;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < until => crate::screen::pause(LOOK),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// The end of what it wrote to stderr.
    pub(super) fn log(&mut self) -> String {
        if self.ended(Duration::ZERO).is_some() {
            // Its last words are still on their way; what it started may live on, and be silent.
            let _ = self.log_ends.recv_timeout(LAST_WORDS);
        }
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}
