//! The way from the daemon to a plugin that runs in a unit of its own.
//!
//! ```text
//!  snoozed ── plugin-relay call SOCKET ══ plugin-relay serve PROGRAM ── plugin
//!             (the daemon's child)        (the unit of the plugin)
//! ```
//!
//! `call` copies bytes; `serve` copies none, the plugin has the connection as its standard input
//! and output. One connection is one process of the plugin. When the daemon's side is gone the
//! plugin is told to end, and killed if it does not.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// How long a plugin has to end once nobody listens to it.
const GRACE: Duration = Duration::from_secs(2);

/// The daemon starts a process for each handler; more than these are no handlers.
const CONNECTIONS: usize = 64;

/// What a plugin may say in one piece.
const CHUNK: usize = 16 * 1024;

/// Why nothing is relayed.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Nobody listens there.
    #[error("cannot reach `{0}`: is its unit `cloudsnooze-plugin@NAME.socket` started?")]
    Unreachable(PathBuf, #[source] std::io::Error),
    /// The connection or a stream broke.
    #[error("cannot {0}")]
    Stream(&'static str, #[source] std::io::Error),
}

/// Connects the standard streams with the plugin behind the socket at `path` until one side ends.
///
/// # Errors
/// Nobody listens there, or a stream breaks.
pub fn call(path: &Path) -> Result<(), RelayError> {
    let unreachable = |source| RelayError::Unreachable(path.to_owned(), source);
    let plugin = UnixStream::connect(path).map_err(unreachable)?;
    let stream = |what| move |source| RelayError::Stream(what, source);
    let requests = plugin.try_clone().map_err(stream("share the connection"))?;
    // It ends with this process at the latest.
    let _thread = thread::spawn(move || {
        let _ = copy(&mut std::io::stdin(), &mut &requests);
        let _ = requests.shutdown(Shutdown::Write);
    });
    copy(&mut &plugin, &mut std::io::stdout()).map_err(stream("pass on what the plugin says"))
}

/// Starts `program` for each connection of the socket that listens on `listener`; never returns
/// while that can be accepted from.
///
/// # Errors
/// Nothing can be accepted from the socket.
pub fn serve(listener: impl AsFd, program: &[OsString]) -> Result<(), RelayError> {
    let served = Arc::new(AtomicUsize::new(0));
    loop {
        let connection = match rustix::net::accept(&listener) {
            Ok(connection) => connection,
            Err(Errno::INTR | Errno::CONNABORTED) => continue,
            Err(source) => return Err(RelayError::Stream("accept a connection", source.into())),
        };
        if served.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
            served.fetch_sub(1, Ordering::Relaxed);
            complain("too many connections: one is refused");
            continue;
        }
        let (program, served) = (program.to_vec(), Arc::clone(&served));
        // It ends with its plugin, or with this process.
        let _thread = thread::spawn(move || {
            match attend(&connection, &program) {
                Ok(status) if status.success() => {}
                Ok(status) => complain(&format!("the plugin ended: {status}")),
                Err(error) => complain(&format!("the plugin cannot run: {error}")),
            }
            served.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Runs the plugin on a connection until it ends, or the other side is gone.
fn attend(connection: &OwnedFd, program: &[OsString]) -> std::io::Result<ExitStatus> {
    let (file, arguments) = program.split_first().ok_or(Errno::INVAL)?;
    let mut plugin = Command::new(file)
        .args(arguments)
        .stdin(Stdio::from(connection.try_clone()?))
        .stdout(Stdio::from(connection.try_clone()?))
        .process_group(0)
        // What systemd told this process is not for the plugin.
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_FDS")
        .env_remove("LISTEN_FDNAMES")
        .spawn()?;
    let group = Pid::from_child(&plugin);
    let process = pidfd_open(group, PidfdFlags::empty())?;
    if !ended(&process, Some(connection), None) {
        let _ = kill_process_group(group, Signal::TERM);
        ended(&process, None, Some(Instant::now() + GRACE));
    }
    // What it started is over with it.
    let _ = kill_process_group(group, Signal::KILL);
    plugin.wait()
}

/// Waits for the end of the process; `false` when the other side of the connection is gone, or the
/// time is over.
fn ended(process: &OwnedFd, connection: Option<&OwnedFd>, until: Option<Instant>) -> bool {
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut watched = vec![PollFd::new(process, PollFlags::IN)];
        // Nothing but its end is waited for: requests are the plugin's to read.
        watched.extend(connection.map(|other| PollFd::new(other, PollFlags::empty())));
        match poll(&mut watched, left.as_ref()) {
            Err(Errno::INTR) => {}
            Ok(0) | Err(_) => return false,
            Ok(_) => return watched.first().is_some_and(|first| !first.revents().is_empty()),
        }
    }
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(chunk.get(..length).unwrap_or_default())?;
        to.flush()?;
    }
}

fn complain(text: &str) {
    // Whoever closed our log does not want it.
    let _ = std::io::stderr().write_all(format!("plugin-relay: {text}\n").as_bytes());
}
