//! One run of `criu` (criu(8), version 3.17 and later).

use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use super::images::{self, Images};
use super::settings::Settings;
use crate::process::{self, Process};
use crate::program::{Program, ProgramError};
use crate::report::short;
use crate::target::TargetError;
use crate::wait;

/// The name of the log beside the images.
const LOG: &str = "criu.log";

/// How long CRIU may take to stop all threads, in seconds; its own default.
const FREEZE_LIMIT: u64 = 10;

/// How much is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The memory, while the process goes on.
    Early,
    /// All, so that it can be started again.
    Whole,
}

impl Way {
    pub(super) fn status(self) -> &'static str {
        match self {
            Self::Early => "pre_dumped",
            Self::Whole => "dumped",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Early => "pre-dump",
            Self::Whole => "dump",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Early => "early",
            Self::Whole => "dump",
        }
    }
}

/// A dump that can be made.
pub(super) struct Dump<'a> {
    settings: &'a Settings,
    criu: Program,
    way: Way,
    process: Process,
    images: Images,
    memory: u64,
}

/// What was written.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) directory: String,
    pub(super) bytes: u64,
}

/// Why nothing was written that could be started again.
#[derive(Debug, thiserror::Error)]
pub(super) enum DumpError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("{target} does not run: there is nothing to save")]
    Nobody { target: String },
    #[error("{target} are {count} processes that did not start each other; use `pid_file`")]
    Several { target: String, count: usize },
    #[error("the plugin itself is below {process}")]
    Own { process: String },
    #[error(
        "{process} and what is below it hold {memory} bytes in memory, and `{directory}` has room \
         for {room}"
    )]
    NoRoom { process: String, memory: u64, directory: String, room: u64 },
    #[error("cannot write to `{directory}`")]
    Directory { directory: String, source: io::Error },
    #[error(transparent)]
    Criu(#[from] ProgramError),
    #[error("CRIU could not save {process}: {said}")]
    Refused { process: String, said: String },
    #[error("CRIU said that it was done, but the images in `{directory}` are not")]
    Images { directory: String, source: io::Error },
    #[error("the images in `{directory}` were not on disk in time; raise `timeout_seconds`")]
    Late { directory: String },
}

impl<'a> Dump<'a> {
    /// Finds the process, and whether its memory has room where the images go.
    pub(super) fn prepare(
        settings: &'a Settings,
        criu: Program,
        way: Way,
    ) -> Result<Self, DumpError> {
        let process = root(settings)?;
        let mut pids: Vec<i32> =
            process::below(&[process.pid]).iter().map(|(pid, _)| *pid).collect();
        pids.push(process.pid);
        if process::untouchable().iter().any(|pid| pids.contains(pid)) {
            return Err(DumpError::Own { process: process.label() });
        }
        let memory = pids.iter().map(|pid| resident(*pid)).sum();
        let images = Images::of(&process, &settings.directory);
        let dump = Self { settings, criu, way, process, images, memory };
        dump.has_room()?;
        Ok(dump)
    }

    /// What the process and all below it hold in memory: the most that is written.
    pub(super) fn memory(&self) -> u64 {
        self.memory
    }

    /// What would be done.
    pub(super) fn act(&self) -> String {
        let directory = self.settings.directory.display();
        format!("{} {} to `{directory}`", self.way.verb(), self.process.label())
    }

    /// Writes the images, until then at the latest.
    pub(super) fn run(&self, until: Instant) -> Result<Done, DumpError> {
        let failed =
            |source| DumpError::Directory { directory: shown(&self.settings.directory), source };
        let parent = self.images.parent();
        let new = self.images.begin(self.way.kind()).map_err(failed)?;
        let done = self.write(&new, parent.as_deref(), until);
        if done.is_err() {
            // Half a dump is useless, and may be large. The reason is told already.
            let _ = fs::remove_dir_all(&new);
        }
        done
    }

    fn write(&self, new: &Path, parent: Option<&str>, until: Instant) -> Result<Done, DumpError> {
        let args = self.args(new, parent, until);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        match self.criu.run(&args, until) {
            Err(ProgramError::Failed { said, .. }) => {
                let said = reason(new).unwrap_or(said);
                return Err(DumpError::Refused { process: self.process.label(), said });
            }
            run => run?,
        };
        let (written, pid, is_dump) = (new.to_owned(), self.process.pid, self.way == Way::Whole);
        let directory = shown(new);
        let mut ends = wait::gather(vec![move || images::finish(&written, pid, is_dump)], until);
        match ends.pop().flatten() {
            None => Err(DumpError::Late { directory }),
            Some(Err(source)) => Err(DumpError::Images { directory, source }),
            Some(Ok((whole, bytes))) => Ok(Done { directory: shown(&whole), bytes }),
        }
    }

    fn args(&self, new: &Path, parent: Option<&str>, until: Instant) -> Vec<String> {
        let freeze = wait::left(until).as_secs().clamp(1, FREEZE_LIMIT);
        let mut args: Vec<String> = vec![
            self.way.verb().to_owned(),
            format!("--tree={}", self.process.pid),
            format!("--images-dir={}", shown(new)),
            format!("--log-file={LOG}"),
            format!("--timeout={freeze}"),
        ];
        let mut option = |wanted: bool, text: &str| args.extend(wanted.then(|| text.to_owned()));
        let is_whole = self.way == Way::Whole;
        option(self.settings.keeps_connections, "--tcp-established");
        option(!self.settings.keeps_connections, "--tcp-close");
        option(self.settings.shell_job, "--shell-job");
        option(is_whole && self.settings.leave_running, "--leave-running");
        // Needed for the first early one too, so that the next knows what has changed.
        option(!is_whole || parent.is_some(), "--track-mem");
        args.extend(parent.map(|parent| format!("--prev-images-dir={parent}")));
        args
    }

    fn has_room(&self) -> Result<(), DumpError> {
        // The directory may not be there yet, and then its parent's file system is meant.
        let directory = self.settings.directory.ancestors().find(|path| path.exists());
        let directory = directory.unwrap_or(Path::new("/"));
        let Ok(disk) = rustix::fs::statvfs(directory) else { return Ok(()) };
        let room = disk.f_bavail.saturating_mul(disk.f_frsize);
        match room < self.memory {
            true => Err(DumpError::NoRoom {
                process: self.process.label(),
                memory: self.memory,
                directory: shown(directory),
                room,
            }),
            false => Ok(()),
        }
    }
}

/// The process of the target that no other one of it has started.
fn root(settings: &Settings) -> Result<Process, DumpError> {
    let found = settings.target.find()?;
    let pids: Vec<i32> = found.iter().map(|process| process.pid).collect();
    let mut roots: Vec<Process> =
        found.into_iter().filter(|process| !pids.contains(&process.stat.parent)).collect();
    let target = settings.target.label();
    match (roots.pop(), roots.len()) {
        (None, _) => Err(DumpError::Nobody { target }),
        (Some(root), 0) => Ok(root),
        (Some(_), others) => Err(DumpError::Several { target, count: others + 1 }),
    }
}

/// What a process holds in memory (proc_pid_statm(5)).
fn resident(pid: i32) -> u64 {
    let said = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages: u64 = said.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    pages.saturating_mul(u64::try_from(rustix::param::page_size()).unwrap_or(4096))
}

/// The first error in CRIU's log: with a log file it says nothing on stderr.
fn reason(new: &Path) -> Option<String> {
    let log = fs::read(new.join(LOG)).ok()?;
    let log = String::from_utf8_lossy(&log).into_owned();
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("Error (")).collect();
    // The first says what was wrong, those after it what that led to.
    errors.first().map(|line| short(line))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
