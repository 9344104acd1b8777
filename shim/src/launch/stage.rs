//! The second stage of a launch: prepares this process for a plugin, then turns into the plugin.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::fs::Mode;
use rustix::process::{Pid, Resource, Rlimit, Signal};

use super::{BUILTIN_VERB, Fault, OWN_PROGRAM, Target, file};

/// Turns this process into the plugin; returns only when that failed.
///
/// `keeper` is the process that asked for it: if it is gone, so is the reason to start.
pub(super) fn become_plugin(keeper: Pid, target: &Target) -> Fault {
    match prepare(keeper).and_then(|()| start(target)) {
        Err(fault) => fault,
        Ok(never) => match never {},
    }
}

fn prepare(keeper: Pid) -> Result<(), Fault> {
    let system = |what: &'static str| {
        move |source: rustix::io::Errno| Fault::CannotStart(format!("{what}: {source}"))
    };
    // Our own descriptors close by themselves; these are what the daemon was started with.
    close_fds::set_fds_cloexec(3, &[]);
    // Without privileges to win on the way the parent-death signal survives every `exec`.
    rustix::thread::set_no_new_privs(true).map_err(system("no-new-privileges"))?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(system("parent-death signal"))?;
    if rustix::process::getppid() != Some(keeper) {
        return Err(Fault::CannotStart("its keeper is gone".to_owned()));
    }
    rustix::process::setsid().map_err(system("session"))?;
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    rustix::process::chdir("/").map_err(system("working directory"))?;
    // A core dump would hold the secrets of the configuration.
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(system("core limit"))
}

fn start(target: &Target) -> Result<std::convert::Infallible, Fault> {
    let (directory, file, pin) = match target {
        Target::Builtin(name) => {
            let source = Command::new(OWN_PROGRAM)
                .arg0("snoozed")
                .args([BUILTIN_VERB, name.as_str()])
                .exec();
            return Err(Fault::CannotStart(format!("built-in `{name}`: {source}")));
        }
        Target::File { directory, file, pin } => (directory, file, pin),
    };
    let checked = file::open(directory, file, pin.as_deref())?;
    let path = checked.runnable()?;
    let source = Command::new(&path).arg0(directory.join(file)).exec();
    Err(Fault::CannotStart(checked.why_not(&source)))
}
