//! The keeper: see the module above.

use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use tokio::signal::unix::{self, SignalKind};
use tokio::time::{Instant, sleep};

use super::{Fault, OWN_PROGRAM, Target, VERB, group, to_arg, tree};
use crate::sandbox::Confinement;

/// How long a keeper waits for its predecessor: what a daemon that was killed left behind is being
/// killed too, which takes milliseconds unless a process hangs in the kernel.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// How often the lock is tried.
const LOCK_STEP: Duration = Duration::from_millis(5);

/// How long to wait for killed processes before looking for more of them.
const BURY_STEP: Duration = Duration::from_millis(5);

/// Runs the plugin and returns when nothing of it is left.
pub(super) fn keep(
    parent: Pid,
    lock: &Path,
    confinement: &Confinement,
    target: &Target,
) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let kept = match runtime {
        Ok(runtime) => runtime.block_on(async {
            Keeper::start(parent, lock, confinement, target).await?.run().await
        }),
        Err(source) => Err(cannot("runtime", &source)),
    };
    kept.unwrap_or_else(|fault| fault.tell())
}

struct Keeper {
    me: Pid,
    plugin: Pid,
    signals: Signals,
    /// Held as long as anything of the plugin lives.
    _lock: File,
    temporary: Option<PathBuf>,
    /// The directory of its control group.
    group: Option<PathBuf>,
}

struct Signals {
    term: unix::Signal,
    quit: unix::Signal,
    child: unix::Signal,
}

impl Keeper {
    async fn start(
        parent: Pid,
        lock: &Path,
        confinement: &Confinement,
        target: &Target,
    ) -> Result<Self, Fault> {
        let me = rustix::process::getpid();
        let mut signals = Signals::new().map_err(|source| cannot("signals", &source))?;
        rustix::process::set_parent_process_death_signal(Some(Signal::QUIT))
            .and_then(|()| rustix::process::set_child_subreaper(Some(me)))
            .map_err(|source| cannot("process attributes", &source.into()))?;
        if rustix::process::getppid() != Some(parent) {
            return Err(Fault::CannotStart("the daemon is gone".to_owned()));
        }
        let lock = locked(lock, &mut signals).await?;
        let temporary =
            temporary(confinement).map_err(|source| cannot("temporary directory", &source))?;
        if let Some(group) = &confinement.group {
            group::make(group, LOCK_WAIT)
                .await
                .map_err(|source| cannot("control group", &source))?;
        }
        let plugin = Command::new(OWN_PROGRAM)
            .args([VERB, "exec", &me.to_string()])
            .arg(to_arg(confinement))
            .args(target.to_args())
            .spawn()
            .map_err(|source| cannot("second stage", &source))?;
        let plugin = Pid::from_child(&plugin);
        // Should this fail, the end of this process is the end of the plugin.
        let_go_of_pipes().map_err(|source| cannot("pipes", &source.into()))?;
        let group = confinement.group.as_ref().map(|group| group.path.clone());
        Ok(Self { me, plugin, signals, _lock: lock, temporary, group })
    }

    async fn run(mut self) -> Result<ExitCode, Fault> {
        let code = self.watch().await;
        self.bury().await;
        if let Some(path) = &self.temporary {
            // The next start does it again.
            let _ = fs::remove_dir_all(path);
        }
        if let Some(path) = &self.group {
            // As above.
            let _ = group::remove(path);
        }
        Ok(ExitCode::from(code))
    }

    /// Waits for the plugin to end, passes signals on; returns the code for it.
    async fn watch(&mut self) -> u8 {
        loop {
            while let Reaped::One(pid, status) = reap() {
                if pid == self.plugin {
                    return code_of(status);
                }
            }
            tokio::select! {
                _ = self.signals.child.recv() => {}
                _ = self.signals.term.recv() => self.terminate(),
                _ = self.signals.quit.recv() => self.kill_all(),
            }
        }
    }

    fn terminate(&self) {
        // Before its `setsid` the plugin has no group of its own.
        if rustix::process::kill_process_group(self.plugin, Signal::TERM).is_err() {
            let _ = rustix::process::kill_process(self.plugin, Signal::TERM);
        }
    }

    fn kill_all(&self) {
        if let Some(path) = &self.group {
            group::kill(path);
        }
        for pid in tree::descendants_of(self.me) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }

    /// Kills and reaps until no child is left: whoever loses its parent becomes ours.
    async fn bury(&mut self) {
        loop {
            match reap() {
                Reaped::One(..) => continue,
                Reaped::NoChild => return,
                Reaped::NoneYet => self.kill_all(),
            }
            tokio::select! {
                _ = self.signals.child.recv() => {}
                () = sleep(BURY_STEP) => {}
            }
        }
    }
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        // A plugin inherits what is ignored, and not what is caught: whoever started the daemon may
        // ignore these, as a shell does for its background.
        use SignalKind as Kind;
        for kind in
            [Kind::hangup(), Kind::interrupt(), Kind::user_defined1(), Kind::user_defined2()]
        {
            drop(unix::signal(kind)?);
        }
        Ok(Self {
            term: unix::signal(SignalKind::terminate())?,
            quit: unix::signal(SignalKind::quit())?,
            child: unix::signal(SignalKind::child())?,
        })
    }
}

enum Reaped {
    One(Pid, WaitStatus),
    NoneYet,
    NoChild,
}

fn reap() -> Reaped {
    match rustix::process::wait(WaitOptions::NOHANG) {
        Ok(Some((pid, status))) => Reaped::One(pid, status),
        Ok(None) => Reaped::NoneYet,
        Err(_) => Reaped::NoChild,
    }
}

fn code_of(status: WaitStatus) -> u8 {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    };
    u8::try_from(code).unwrap_or(255)
}

/// The lock of this step, waited for until the keeper before this one has ended.
async fn locked(path: &Path, signals: &mut Signals) -> Result<File, Fault> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|source| cannot("lock file", &source.into()))?;
    let end = Instant::now() + LOCK_WAIT;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file.into()),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < end => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(Fault::CannotStart("an earlier run of it is not dead yet".to_owned()));
            }
            Err(source) => return Err(cannot("lock file", &source.into())),
        }
        tokio::select! {
            _ = signals.term.recv() => return Err(Fault::CannotStart("stopped".to_owned())),
            _ = signals.quit.recv() => return Err(Fault::CannotStart("stopped".to_owned())),
            () = sleep(LOCK_STEP) => {}
        }
    }
}

/// An empty directory for the plugin alone.
fn temporary(confinement: &Confinement) -> std::io::Result<Option<PathBuf>> {
    let Some(walls) = &confinement.walls else { return Ok(None) };
    let path = walls.temporary.clone();
    match fs::remove_dir_all(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(source),
        Ok(()) | Err(_) => {}
    }
    fs::DirBuilder::new().mode(0o700).create(&path)?;
    if let Some(user) = &confinement.user {
        std::os::unix::fs::chown(&path, Some(user.uid), Some(user.gid))?;
    }
    Ok(Some(path))
}

/// Leaves the pipes to the plugin alone, so that the daemon sees it close them.
fn let_go_of_pipes() -> rustix::io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)
}

fn cannot(what: &str, source: &std::io::Error) -> Fault {
    Fault::of_start(what, source)
}
