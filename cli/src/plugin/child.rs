//! A plugin as a child process, with a limit on every wait.

use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use snooze_plugin::wire::{LineBuffer, Reply, read_reply};

use crate::text;

/// How much of the plugin's log is kept.
const LOG: usize = 4 * 1024;
/// How often an ending process is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// A running plugin; it is killed, with its process group, when it is dropped.
#[derive(Debug)]
pub(super) struct Plugin {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Result<Vec<u8>, String>>,
    log: Receiver<String>,
    /// Lines on stdout that were no reply to what was asked.
    pub(super) strays: usize,
}

impl Plugin {
    /// Starts a program with its arguments.
    pub(super) fn start(program: &[PathBuf]) -> io::Result<Self> {
        let (file, args) =
            program.split_first().ok_or_else(|| io::Error::other("nothing to start"))?;
        let mut child = Command::new(file)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (said, lines) = mpsc::channel();
        if let Some(mut stdout) = child.stdout.take() {
            thread::spawn(move || {
                let mut buffer = LineBuffer::default();
                let mut chunk = [0; 8 * 1024];
                while let Ok(length @ 1..) = stdout.read(&mut chunk) {
                    let read = chunk.get(..length).unwrap_or_default();
                    match buffer.push(read) {
                        Ok(lines) => {
                            buffer.next_request();
                            lines.into_iter().for_each(|line| drop(said.send(Ok(line))));
                        }
                        Err(fault) => {
                            let _ = said.send(Err(fault.to_string()));
                            return;
                        }
                    }
                }
            });
        }
        let (wrote, log) = mpsc::channel();
        if let Some(mut stderr) = child.stderr.take() {
            thread::spawn(move || {
                let mut chunk = [0; 4 * 1024];
                while let Ok(length @ 1..) = stderr.read(&mut chunk) {
                    let read = chunk.get(..length).unwrap_or_default();
                    let _ = wrote.send(String::from_utf8_lossy(read).into_owned());
                }
            });
        }
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, lines, log, strays: 0 })
    }

    /// Writes a line and waits for the reply with its id.
    pub(super) fn ask(&mut self, line: &str, id: u64, limit: Duration) -> Result<Reply, String> {
        let until = Instant::now() + limit;
        let stdin = self.stdin.as_mut().ok_or("its stdin is closed")?;
        // A line is shorter than what a pipe holds, so that writing cannot hang.
        stdin
            .write_all(line.as_bytes())
            .and_then(|()| stdin.flush())
            .map_err(|fault| format!("it does not read its stdin: {fault}"))?;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = match self.lines.recv_timeout(left) {
                Ok(line) => line?,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("no answer within {}", text::took(limit)));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("it ended without an answer{}", self.how_it_ended()));
                }
            };
            match read_reply(&line) {
                Ok(reply) if reply.id == Some(id) => return Ok(reply),
                Ok(_) => self.strays += 1,
                Err(fault) => return Err(fault.to_string()),
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
    pub(super) fn log(&self) -> String {
        let log: String = self.log.try_iter().collect();
        let skip = log.chars().count().saturating_sub(LOG);
        log.chars().skip(skip).collect()
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended long since.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
