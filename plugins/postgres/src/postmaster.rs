//! The server as a process on this machine: the fast stop.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::{Instant, sleep};

use crate::control::Control;

/// How often to look whether the server is gone.
const PAUSE: Duration = Duration::from_millis(50);

/// The names under which the server's first process runs.
const NAMES: [&str; 2] = ["postgres", "postmaster"];

/// Why the server was not stopped, or not cleanly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StopError {
    #[error(
        "cannot read `{0}`; a fast stop needs a server on this machine and this plugin as its \
         system user or root"
    )]
    Unreadable(PathBuf, #[source] io::Error),
    #[error("`{0}` is not what PostgreSQL writes there")]
    NotOurs(PathBuf),
    #[error("the data in `{0}` belongs to another server; check `data_directory`")]
    OtherServer(PathBuf),
    #[error("process {pid} of `{file}` is `{name}` and not PostgreSQL; is it in a container?")]
    OtherProcess { pid: i32, file: PathBuf, name: String },
    #[error("cannot signal process {pid}; this plugin must be its system user or root")]
    Signal { pid: i32, source: io::Error },
    #[error("process {pid} did not stop in time; it goes on stopping")]
    Late { pid: i32 },
    #[error("the server is gone, but `{0}` does not say that it was shut down")]
    Unclean(PathBuf),
}

/// The first process of a server.
#[derive(Debug)]
pub(crate) struct Postmaster {
    pid: i32,
    handle: OwnedFd,
    directory: PathBuf,
}

impl Postmaster {
    /// The one whose data is in a directory, if that is the server with this identifier. Whoever
    /// may not signal it gets an error here, before anything is done.
    pub(crate) fn find(directory: &Path, identifier: u64) -> Result<Self, StopError> {
        if control(directory)?.identifier != identifier {
            return Err(StopError::OtherServer(directory.to_owned()));
        }
        let file = directory.join("postmaster.pid");
        let text = fs::read_to_string(&file);
        let text = text.map_err(|source| StopError::Unreadable(file.clone(), source))?;
        let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
        // A server that runs alone, for one user, writes its number with a minus.
        let pid = pid.filter(|number: &i32| *number > 0).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| StopError::NotOurs(file.clone()))?;
        let number = pid.as_raw_nonzero().get();
        let refused = |source: Errno| StopError::Signal { pid: number, source: source.into() };
        let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(refused)?;
        // In a container the number means another process: 1 would be the machine's own.
        let name = fs::read_to_string(format!("/proc/{number}/comm")).unwrap_or_default();
        let name = name.trim_end().to_owned();
        if !NAMES.contains(&name.as_str()) {
            return Err(StopError::OtherProcess { pid: number, file, name });
        }
        rustix::process::test_kill_process(pid).map_err(refused)?;
        Ok(Self { pid: number, handle, directory: directory.to_owned() })
    }

    /// Stops the server as `pg_ctl stop -m fast` does, and reads back that it was shut down.
    pub(crate) async fn stop(self, until: Instant) -> Result<(), StopError> {
        let Self { pid, handle, directory } = self;
        let refused = |source: Errno| StopError::Signal { pid, source: source.into() };
        // The handle stays the process's own, even when its number is given to another.
        pidfd_send_signal(&handle, Signal::INT).map_err(refused)?;
        while !has_ended(&handle).map_err(refused)? {
            if Instant::now() >= until {
                return Err(StopError::Late { pid });
            }
            sleep(PAUSE).await;
        }
        match control(&directory)?.shut_down {
            true => Ok(()),
            false => Err(StopError::Unclean(control_file(&directory))),
        }
    }
}

/// Whether the process has ended, be it reaped by its parent or not: `pidfd_open(2)`.
fn has_ended(handle: &OwnedFd) -> Result<bool, Errno> {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&at_once))? > 0)
}

fn control_file(directory: &Path) -> PathBuf {
    directory.join("global/pg_control")
}

fn control(directory: &Path) -> Result<Control, StopError> {
    let file = control_file(directory);
    let bytes = fs::read(&file).map_err(|source| StopError::Unreadable(file.clone(), source))?;
    Control::read(&bytes).ok_or(StopError::NotOurs(file))
}
