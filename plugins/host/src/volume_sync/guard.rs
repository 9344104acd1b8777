//! Freezing, seen from the guard: a process of its own that freezes file systems and thaws them
//! when its time is over or the plugin is gone, whichever comes first.
//!
//! ```text
//!  plugin ── stdin, its end means thaw ──> guard ── fsfreeze --freeze, then --unfreeze
//!         <── frozen N | failed N why | thawed N ──
//! ```
//!
//! It holds each file system by a descriptor, so that neither an unmount nor another mount at the
//! same place makes it freeze, or thaw, something else.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use crate::program::{Program, ProgramError};
use crate::report::short;
use crate::wait;

/// How long one thaw may take; while the freeze still writes, it waits for that.
const THAW_LIMIT: Duration = Duration::from_secs(10);

/// How long thaws are tried again that did not even start.
const TRY_LIMIT: Duration = Duration::from_secs(120);

/// The guard of frozen file systems: freezes them, and thaws them when its time is over or its
/// standard input has ended.
///
/// The arguments are the path of `fsfreeze`, the time in seconds, and for each file system the
/// number of its device and its mount point.
#[must_use]
pub fn guard_volumes(args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(guard) = Guard::read(args) else { return ExitCode::FAILURE };
    // A signal for the plugin's group is not for its guard.
    let _ = rustix::process::setsid();
    match guard.run() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

struct Guard {
    fsfreeze: Program,
    until: Instant,
    volumes: Vec<(u64, PathBuf)>,
}

impl Guard {
    fn read(mut args: impl Iterator<Item = OsString>) -> Option<Self> {
        let fsfreeze = Program { path: args.next()?.into() };
        let seconds = args.next()?.to_str()?.parse().ok()?;
        let until = Instant::now() + Duration::try_from_secs_f64(seconds).ok()?;
        let mut volumes = Vec::new();
        while let (Some(device), Some(point)) = (args.next(), args.next()) {
            volumes.push((device.to_str()?.parse().ok()?, point.into()));
        }
        Some(Self { fsfreeze, until, volumes })
    }

    /// Whether all is thawed in the end.
    fn run(&self) -> bool {
        let mut held = Vec::new();
        for (number, (device, point)) in self.volumes.iter().enumerate() {
            let volume = match hold(point, *device) {
                Ok(volume) => volume,
                Err(error) => {
                    // It was never touched, so that there is nothing to thaw.
                    say(&format!("failed {number} {error}\nthawed {number}"));
                    continue;
                }
            };
            let frozen = self.fsfreeze.run(&["--freeze", &path(&volume)], self.until);
            say(&match frozen {
                Ok(_) => format!("frozen {number}"),
                Err(error) => format!("failed {number} {}", short(&error.to_string())),
            });
            held.push((number, volume));
        }
        // The plugin never writes: what can be read is the end.
        wait::readable(io::stdin(), self.until);
        let mut is_thawed = true;
        for (number, volume) in &held {
            match self.thaw(volume) {
                true => say(&format!("thawed {number}")),
                false => is_thawed = false,
            }
        }
        is_thawed
    }

    /// Thaws one, also where the freeze failed: it may have been cut off half way.
    fn thaw(&self, volume: &File) -> bool {
        let end = Instant::now() + TRY_LIMIT;
        loop {
            let limit = Instant::now() + THAW_LIMIT;
            match self.fsfreeze.run(&["--unfreeze", &path(volume)], limit) {
                Ok(_) => return true,
                // What is not frozen cannot be thawed (ioctl_fs: FITHAW gives EINVAL), and what
                // cannot be frozen neither.
                Err(ProgramError::Failed { said, .. })
                    if said.contains("Invalid argument") || said.contains("not supported") =>
                {
                    return true;
                }
                Err(_) if !wait::pause(end) => return false,
                Err(_) => {}
            }
        }
    }
}

/// Opens a mount point, if it is still of that device.
fn hold(point: &PathBuf, device: u64) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let volume = File::from(rustix::fs::open(point, flags, Mode::empty())?);
    match volume.metadata()?.dev() == device {
        true => Ok(volume),
        false => Err(io::Error::other("another file system is mounted there now")),
    }
}

/// The path by which another process opens what is held here.
fn path(volume: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), volume.as_raw_fd())
}

fn say(line: &str) {
    // Whoever does not listen is gone, and the thaw comes all the same.
    let _ = writeln!(io::stdout(), "{line}");
}
