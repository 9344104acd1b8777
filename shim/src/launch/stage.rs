//! The second stage of a launch: prepares this process for a plugin, then turns into the plugin.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::fs::Mode;
use rustix::process::{Pid, Signal};

use super::{BUILTIN_VERB, Fault, OWN_PROGRAM, Target, confine, file, group};
use crate::sandbox::Confinement;

/// Whom the kernel ends first when memory runs out: a plugin, not the daemon, nor what it saves.
const OOM_SCORE: &str = "500";

/// Turns this process into the plugin; returns only when that failed.
///
/// `keeper` is the process that asked for it: if it is gone, so is the reason to start.
pub(super) fn become_plugin(keeper: Pid, confinement: &Confinement, target: &Target) -> Fault {
    match prepare(keeper, confinement).and_then(|()| start(keeper, confinement, target)) {
        Err(fault) => fault,
        Ok(never) => match never {},
    }
}

fn prepare(keeper: Pid, confinement: &Confinement) -> Result<(), Fault> {
    if let Some(group) = &confinement.group {
        let cannot = |source| Fault::CannotStart(format!("control group: {source}"));
        group::enter(group).map_err(cannot)?;
    }
    // Our own descriptors close by themselves; these are what the daemon was started with.
    close_fds::set_fds_cloexec(3, &[]);
    // Without privileges to win on the way the parent-death signal survives every `exec`.
    rustix::thread::set_no_new_privs(true).map_err(system("no-new-privileges"))?;
    die_with(keeper)?;
    rustix::process::setsid().map_err(system("session"))?;
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    rustix::process::chdir("/").map_err(system("working directory"))?;
    if rustix::process::getpriority_process(None).map_err(system("nice value"))? < 0 {
        rustix::process::setpriority_process(None, 0).map_err(system("nice value"))?;
    }
    // Where `/proc` is read-only the order stays as it is: no reason to save nothing.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    Ok(())
}

fn die_with(keeper: Pid) -> Result<(), Fault> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(system("parent-death signal"))?;
    if rustix::process::getppid() != Some(keeper) {
        return Err(Fault::CannotStart("its keeper is gone".to_owned()));
    }
    Ok(())
}

fn system(what: &'static str) -> impl Fn(rustix::io::Errno) -> Fault {
    move |source| Fault::CannotStart(format!("{what}: {source}"))
}

fn start(
    keeper: Pid,
    confinement: &Confinement,
    target: &Target,
) -> Result<std::convert::Infallible, Fault> {
    let confined = |mut command: Command, own: &Path| {
        if let Some(walls) = &confinement.walls {
            command.env("TMPDIR", &walls.temporary);
        }
        confine::confine(confinement, own)?;
        // Another user is another reason to live on, to the kernel.
        die_with(keeper)?;
        Ok::<_, Fault>(command.exec())
    };
    let (directory, file, pin) = match target {
        Target::Builtin(name) => {
            let mut command = Command::new(OWN_PROGRAM);
            command.arg0("snoozed").args([BUILTIN_VERB, name.as_str()]);
            let source = confined(command, Path::new(OWN_PROGRAM))?;
            return Err(Fault::CannotStart(format!("built-in `{name}`: {source}")));
        }
        Target::File { directory, file, pin } => (directory, file, pin),
    };
    let checked = file::open(directory, file, pin.as_deref())?;
    let mut command = Command::new(checked.runnable()?);
    command.arg0(directory.join(file));
    let source = confined(command, directory)?;
    Err(Fault::CannotStart(checked.why_not(&source)))
}
