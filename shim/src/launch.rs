//! The launcher: what stands between the daemon and a plugin.
//!
//! ```text
//!  snoozed ── launch keep ── launch exec ═> plugin ── whatever it starts
//!             (the keeper)   (becomes the plugin)
//! ```
//!
//! The **keeper** holds the lock of one step, is the subreaper of all that its plugin starts, and
//! ends only when nothing of it is left. SIGTERM makes it pass TERM to the plugin's process group,
//! SIGQUIT makes it KILL the whole tree; the kernel sends it SIGQUIT when the daemon dies. Its exit
//! code is the plugin's, or 128 and the number of the signal that ended the plugin.
//! Where the step has a control group, the keeper makes it, and kills by it too.
//! The second stage checks the plugin's file, gives it a session, a clean state, its confinement
//! (see `sandbox`) and KILL as parent-death signal, and turns into it through the very descriptor
//! that was checked.
//!
//! A start that fails is told by one [`Fault`] line on standard output, which is the plugin's
//! standard output, before any line of a plugin can stand there.
//!
//! Invariants: pipes go straight from the daemon to the plugin, the keeper copies no byte; a plugin
//! gets descriptors 0 to 2 only (a script also the one it is read from); nothing here is read from
//! the environment.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::io::Errno;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::sandbox::Confinement;

mod confine;
mod file;
mod filter;
mod group;
mod keeper;
mod stage;
mod tree;

pub use file::{Refusal, inspect, read_beside};
pub use tree::{children_of, descendants_of, is_alive};

/// The first argument by which `main` knows that it is to be a launcher.
pub const VERB: &str = "launch";

/// The first argument by which `main` knows that it is to be a built-in plugin.
pub const BUILTIN_VERB: &str = "builtin";

/// Exit code of a launcher that could not start its plugin.
pub const CANNOT_START: u8 = 125;

/// The file of this very program, whatever became of its path.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// What a launcher is to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A plugin that is part of this program.
    Builtin(String),
    /// A program in a plugin directory.
    File {
        /// The directory.
        directory: PathBuf,
        /// The name of the file in it.
        file: OsString,
        /// What the sha256 of the file must be, as hexadecimal digits.
        pin: Option<String>,
    },
}

impl Target {
    /// The target as arguments.
    #[must_use]
    pub fn to_args(&self) -> Vec<OsString> {
        match self {
            Self::Builtin(name) => vec![BUILTIN_VERB.into(), name.into()],
            Self::File { directory, file, pin } => {
                let mut args = vec!["file".into(), directory.into(), file.clone()];
                args.extend(pin.as_ref().map(OsString::from));
                args
            }
        }
    }

    fn from_args(mut args: impl Iterator<Item = OsString>) -> Option<Self> {
        let kind = args.next()?;
        let first = args.next()?;
        if kind == BUILTIN_VERB {
            return Some(Self::Builtin(first.into_string().ok()?));
        }
        let file = args.next()?;
        let pin = args.next().map(OsString::into_string).transpose().ok()?;
        (kind == "file").then(|| Self::File { directory: first.into(), file, pin })
    }
}

/// The arguments of a keeper whose parent is `parent` and whose lock is the file `lock`.
#[must_use]
pub fn keeper_args(
    parent: u32,
    lock: &std::path::Path,
    confinement: &Confinement,
    target: &Target,
) -> Vec<OsString> {
    let mut args = vec![VERB.into(), "keep".into(), parent.to_string().into(), lock.into()];
    args.push(to_arg(confinement));
    args.extend(target.to_args());
    args
}

fn to_arg(confinement: &Confinement) -> OsString {
    // Numbers, texts and paths that came out of a text are JSON; nothing that is not starts.
    serde_json::to_string(confinement).unwrap_or_default().into()
}

fn from_arg(arg: Option<OsString>) -> Option<Confinement> {
    serde_json::from_str(arg?.to_str()?).ok()
}

/// Why no plugin was started, as the launcher tells the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "launch", content = "error", rename_all = "snake_case")]
pub enum Fault {
    /// The file is not one that may be run.
    Untrusted(String),
    /// The file may be run but cannot be.
    CannotStart(String),
    /// The system has no process, descriptor or memory to spare for it, for now.
    Scarce(String),
}

impl Fault {
    /// The fault of a line of a plugin's output, `None` when it is any other line.
    #[must_use]
    pub fn of_line(line: &[u8]) -> Option<Self> {
        line.starts_with(b"{\"launch\":").then(|| serde_json::from_slice(line).ok()).flatten()
    }

    /// The fault of a start that the system refused.
    #[must_use]
    pub fn of_start(what: &str, source: &std::io::Error) -> Self {
        let text = format!("{what}: {source}");
        let scarce = [Errno::AGAIN, Errno::MFILE, Errno::NFILE, Errno::NOMEM];
        match Errno::from_io_error(source) {
            Some(error) if scarce.contains(&error) => Self::Scarce(text),
            Some(_) | None => Self::CannotStart(text),
        }
    }

    fn tell(&self) -> ExitCode {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        // Whoever does not listen learns it from the exit code.
        let _ = std::io::stdout().write_all(&line);
        ExitCode::from(CANNOT_START)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Untrusted(text) => Self::Untrusted(text),
            Refusal::CannotStart(text) => Self::CannotStart(text),
        }
    }
}

/// Does what the arguments after [`VERB`] say; returns when the plugin and all that it started is
/// gone.
#[must_use]
pub fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let stage = args.next().unwrap_or_default();
    let parent = args.next().as_deref().and_then(|text| pid(text.to_str()?));
    let Some(parent) = parent else { return usage() };
    if stage == "keep" {
        let lock = args.next().map(PathBuf::from);
        let confinement = from_arg(args.next());
        let (Some(lock), Some(confinement), Some(target)) =
            (lock, confinement, Target::from_args(args))
        else {
            return usage();
        };
        return keeper::keep(parent, &lock, &confinement, &target);
    }
    match (from_arg(args.next()), Target::from_args(args)) {
        (Some(confinement), Some(target)) if stage == "exec" => {
            stage::become_plugin(parent, &confinement, &target).tell()
        }
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    Fault::CannotStart("`launch` is for the daemon only".to_owned()).tell()
}

fn pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_survives_the_way_through_arguments() {
        let file = |pin| Target::File { directory: "/d".into(), file: "redis".into(), pin };
        for target in
            [Target::Builtin("webhook".to_owned()), file(None), file(Some("ab".to_owned()))]
        {
            assert_eq!(Target::from_args(target.to_args().into_iter()), Some(target));
        }
    }

    #[test]
    fn a_fault_line_is_told_from_a_reply() {
        let fault = Fault::Untrusted("mode".to_owned());
        let line = serde_json::to_vec(&fault).unwrap();
        assert_eq!(Fault::of_line(&line), Some(fault));
        assert_eq!(Fault::of_line(b"{\"result\":{},\"id\":1}"), None);
        assert_eq!(Fault::of_line(b"{\"launch\":3}"), None);
    }
}
