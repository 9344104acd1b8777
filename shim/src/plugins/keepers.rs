//! The children of this process: keepers, helpers of its own, and whatever lost its keeper.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::launch::{children_of, descendants_of};

/// How long killed processes may take to be gone.
const SWEEP_LIMIT: Duration = Duration::from_millis(500);
const SWEEP_STEP: Duration = Duration::from_millis(5);

/// The nice value of what goes first: about nine times the share of an ordinary process, and
/// behind what an operator put at the very front (sched(7)).
const FIRST: i32 = -10;

/// The keepers and helpers of this process. Children belong to a process as a whole, hence one
/// list for it.
static KEEPERS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Killed processes that do not end: they hang in the kernel. All that is left to do is to reap
/// them, should they ever end.
static ABANDONED: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A keeper was killed and may have left something behind. All processes are looked at to find
/// that, which is too much to do for nothing.
static IS_SUSPECT: AtomicBool = AtomicBool::new(false);

/// Makes this process the one to which the kernel gives processes that lose their parent, if it
/// started those. Without it they are out of reach of [`reap_strays`].
///
/// # Errors
/// When the kernel refuses.
pub fn adopt_orphans() -> std::io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Puts the calling thread, and the keepers that it starts, ahead of all ordinary processes: what a
/// plugin does with the processors must not make the daemon late. Plugins themselves get the
/// ordinary place back.
///
/// # Errors
/// When this process may not do that: it needs `CAP_SYS_NICE`, or `Nice=` of its unit.
pub fn go_first() -> std::io::Result<()> {
    if rustix::process::getpriority_process(None)? > FIRST {
        rustix::process::setpriority_process(None, FIRST)?;
    }
    Ok(())
}

/// Kills and reaps every child of this process that is neither a keeper nor a [`Helper`], with all
/// below it; returns how many there were.
///
/// There are none as long as keepers end by themselves: this is for what a keeper left behind
/// that was killed, and costs nothing while none was. What does not end is waited for once and then
/// abandoned.
pub async fn reap_strays() -> usize {
    locked(&ABANDONED).retain(|pid| {
        matches!(rustix::process::waitpid(Some(*pid), WaitOptions::NOHANG), Ok(None))
    });
    if !IS_SUSPECT.swap(false, Ordering::Relaxed) {
        return 0;
    }
    let end = Instant::now() + SWEEP_LIMIT;
    let mut seen = Vec::new();
    loop {
        let strays = strays();
        if strays.is_empty() {
            return seen.len();
        }
        if Instant::now() >= end {
            tracing::error!(processes = ?strays, "killed processes do not end");
            locked(&ABANDONED).extend(strays);
            return seen.len();
        }
        for stray in strays {
            for pid in descendants_of(stray).into_iter().chain([stray]) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            let _ = rustix::process::waitpid(Some(stray), WaitOptions::NOHANG);
            if !seen.contains(&stray) {
                seen.push(stray);
            }
        }
        sleep(SWEEP_STEP).await;
    }
}

/// A child of this process that is no keeper and no stray, until this is dropped.
#[derive(Debug)]
pub(crate) struct Helper(Pid);

impl Helper {
    /// Starts one. `id` is the number of its process.
    pub(crate) fn start<C>(
        start: impl FnOnce() -> std::io::Result<C>,
        id: impl FnOnce(&C) -> Option<u32>,
    ) -> std::io::Result<(C, Self)> {
        // Held while it starts, so that no sweep sees it before it is known.
        let mut known = locked(&KEEPERS);
        let child = start()?;
        let pid = number(id(&child))?;
        known.push(pid);
        Ok((child, Self(pid)))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        forget(self.0, false);
    }
}

fn number(id: Option<u32>) -> std::io::Result<Pid> {
    let pid = id.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    pid.ok_or_else(|| std::io::Error::other("the child has no process id"))
}

/// Starts a keeper and remembers it.
pub(super) fn spawn(mut command: Command) -> std::io::Result<(Child, Pid)> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Held while it starts, so that no sweep sees it before it is known.
    let mut keepers = locked(&KEEPERS);
    let child = command.spawn()?;
    let pid = number(child.id())?;
    keepers.push(pid);
    Ok((child, pid))
}

/// Forgets a keeper that was reaped; whether it was killed decides on the next sweep.
pub(super) fn forget(keeper: Pid, was_killed: bool) {
    IS_SUSPECT.fetch_or(was_killed, Ordering::Relaxed);
    locked(&KEEPERS).retain(|other| *other != keeper);
}

fn strays() -> Vec<Pid> {
    let keepers = locked(&KEEPERS);
    let mut children = children_of(rustix::process::getpid());
    children.retain(|child| !keepers.contains(child));
    drop(keepers);
    let abandoned = locked(&ABANDONED);
    children.retain(|child| !abandoned.contains(child));
    children
}

fn locked(list: &'static Mutex<Vec<Pid>>) -> MutexGuard<'static, Vec<Pid>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}
