//! Whether a server that was told to end has ended, and how.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use crate::dsn::{Dsn, Place};
use crate::facts::Facts;

/// The process of a server on this machine, held so that its end is seen.
pub(crate) struct Process(OwnedFd);

impl Process {
    /// Finds it by the other end of its unix socket; `None` for a server elsewhere, since its
    /// socket, if there is one of that name here, is another's.
    pub(crate) async fn find(dsn: &Dsn, facts: &Facts, until: Instant) -> Option<Self> {
        let socket = match &dsn.place {
            Place::Socket(path) => path.clone(),
            Place::Tcp(host, _) if is_here(host) => facts.socket.clone()?.into(),
            Place::Tcp(..) => return None,
        };
        let stream = timeout_at(until, UnixStream::connect(socket)).await.ok()?.ok()?;
        let pid = Pid::from_raw(stream.peer_cred().ok()?.pid()?)?;
        pidfd_open(pid, PidfdFlags::empty()).ok().map(Self)
    }

    /// Waits for its end, with this thread; `false` when it had not come by then.
    pub(crate) fn ended(&self, until: Instant) -> bool {
        let mut end = [PollFd::new(&self.0, PollFlags::IN)];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(limit) = Timespec::try_from(left) else { return false };
            match poll(&mut end, Some(&limit)) {
                Err(rustix::io::Errno::INTR) => {}
                ready => return ready.is_ok_and(|ended| ended == 1),
            }
        }
    }
}

/// Whether the server took away its file with its process id, which it does as the last thing of
/// a clean end. `None` when the file cannot be looked for.
pub(crate) fn was_clean(facts: &Facts) -> Option<bool> {
    let file = Path::new(facts.pid_file.as_deref()?);
    match file.is_absolute().then(|| file.symlink_metadata())? {
        Ok(_) => Some(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(true),
        Err(_) => None,
    }
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}
