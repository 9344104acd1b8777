//! Freezing, seen from the plugin: it starts the guard and has a timer of systemd stand behind it.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use super::mounts::Mount;
use crate::program::{ProgramError, Programs};
use crate::report::Missed;
use crate::wait;

/// How long a thaw may take. It needs milliseconds, unless the freeze itself still goes on.
const THAW_LIMIT: Duration = Duration::from_secs(5);

/// How long after the guard's time systemd thaws too, if the guard was killed.
const BEHIND: Duration = Duration::from_secs(3);

/// How long systemd may take to set a timer.
const TIMER_LIMIT: Duration = Duration::from_secs(3);

/// The longest line that is read of the guard.
const LONGEST_LINE: usize = 4096;

/// What is around the plugin.
pub(super) struct Surroundings {
    pub(super) programs: Programs,
    /// The program that is the guard when its first argument is `guard`.
    pub(super) guard: PathBuf,
    /// The directory that is there when systemd is process 1 (sd_booted(3)).
    pub(super) systemd: PathBuf,
}

impl Default for Surroundings {
    fn default() -> Self {
        let guard = "/proc/self/exe".into();
        Self { programs: Programs::default(), guard, systemd: "/run/systemd/system".into() }
    }
}

/// Why nothing was frozen, or is not thawed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FreezeError {
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("systemd sets no timer that would thaw `{mount}` in any case")]
    Timer { mount: String, source: ProgramError },
    #[error("cannot start the guard of the frozen file systems")]
    Guard(#[source] io::Error),
    #[error("`{mount}` is not known to be thawed; run `fsfreeze -u {mount}`")]
    StillFrozen { mount: String },
}

/// Frozen file systems. They are thawed with the value at the latest, whatever happens to it.
pub(super) struct Frozen {
    /// By number, as the guard calls them; the flag says whether it is frozen.
    mounts: Vec<(String, bool)>,
    guard: Child,
    /// Its end is the sign to thaw.
    lifeline: Option<ChildStdin>,
    said: Receiver<String>,
    timers: Vec<String>,
}

impl Frozen {
    /// Freezes file systems, and returns those that cannot be frozen with the reason.
    pub(super) fn begin(
        mounts: &[&Mount],
        hold: Duration,
        around: &Surroundings,
        until: Instant,
    ) -> Result<(Self, Missed), FreezeError> {
        let fsfreeze = around.programs.find("fsfreeze")?;
        let timers = set_timers(mounts, hold, around)?;
        let mut command = Command::new(&around.guard);
        command.arg("guard").arg(&fsfreeze.path).arg(hold.as_secs_f64().to_string());
        for mount in mounts {
            let device = fs::metadata(&mount.point).map_err(FreezeError::Guard)?.dev();
            command.arg(device.to_string()).arg(&mount.point);
        }
        let mut guard = command
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Nobody shall wait for its end by the pipe of the plugin's log.
            .stderr(Stdio::null())
            .spawn()
            .map_err(FreezeError::Guard)?;
        let lifeline = guard.stdin.take();
        let said = lines(guard.stdout.take());
        let mounts = mounts.iter().map(|mount| (mount.shown(), false)).collect();
        let mut frozen = Self { mounts, guard, lifeline, said, timers };
        let failed = frozen.hear(until);
        Ok((frozen, failed))
    }

    /// Which are frozen.
    pub(super) fn mounts(&self) -> Vec<String> {
        let frozen = self.mounts.iter().filter(|(_, is_frozen)| *is_frozen);
        frozen.map(|(mount, _)| mount.clone()).collect()
    }

    /// Thaws them, if that was not done yet.
    pub(super) fn thaw(mut self, around: &Surroundings) -> Result<(), FreezeError> {
        drop(self.lifeline.take());
        let until = Instant::now() + THAW_LIMIT;
        let mut left: Vec<String> = self.mounts.iter().map(|(mount, _)| mount.clone()).collect();
        while let Ok(line) = self.said.recv_timeout(wait::left(until)) {
            if let Some(number) = line.strip_prefix("thawed ").and_then(|text| text.parse().ok()) {
                let mount = self.mounts.get::<usize>(number);
                left.retain(|known| mount.is_none_or(|(mount, _)| mount != known));
            }
        }
        if let Some(mount) = left.into_iter().next() {
            // The timer stays, and so does the guard, which goes on trying.
            return Err(FreezeError::StillFrozen { mount });
        }
        let _ = self.guard.wait();
        if let Ok(systemctl) = around.programs.find("systemctl") {
            for timer in &self.timers {
                // One that cannot be stopped thaws what is thawed already, which does nothing.
                let _ = systemctl.run(&["stop", "--no-ask-password", "--", timer], until);
            }
        }
        Ok(())
    }

    /// Waits until the guard has said of each how the freeze went.
    fn hear(&mut self, until: Instant) -> Missed {
        let mut failed = Vec::new();
        let mut open: Vec<usize> = (0..self.mounts.len()).collect();
        while !open.is_empty() {
            let Ok(line) = self.said.recv_timeout(wait::left(until)) else { break };
            let mut words = line.splitn(3, ' ');
            let (word, number) = (words.next(), words.next().and_then(|text| text.parse().ok()));
            let Some(number) = number else { continue };
            let Some((mount, is_frozen)) = self.mounts.get_mut::<usize>(number) else { continue };
            open.retain(|waiting| *waiting != number);
            match word {
                Some("frozen") => *is_frozen = true,
                _ => failed.push((mount.clone(), words.next().unwrap_or_default().to_owned())),
            }
        }
        let late = open.iter().filter_map(|number| self.mounts.get(*number));
        let why = "not frozen in time; it is thawed again";
        failed.extend(late.map(|(mount, _)| (mount.clone(), why.to_owned())));
        failed
    }
}

/// Has systemd thaw the file systems some seconds after the guard would have: the daemon kills all
/// that a plugin has started, the guard too, but no timer of process 1.
fn set_timers(
    mounts: &[&Mount],
    hold: Duration,
    around: &Surroundings,
) -> Result<Vec<String>, FreezeError> {
    if !around.systemd.is_dir() {
        return Ok(Vec::new());
    }
    let fsfreeze = around.programs.find("fsfreeze")?.path.display().to_string();
    let systemd_run = around.programs.find("systemd-run")?;
    let active = format!("--on-active={}", (hold + BEHIND).as_secs_f64());
    let mut timers = Vec::new();
    for (number, mount) in mounts.iter().enumerate() {
        let name = format!("cloudsnooze-thaw-{}-{number}", std::process::id());
        let unit = format!("--unit={name}");
        let point = mount.shown();
        let args = [
            "--quiet",
            "--no-ask-password",
            "--collect",
            &unit,
            &active,
            "--timer-property=AccuracySec=100ms",
            "--",
            &fsfreeze,
            "--unfreeze",
            &point,
        ];
        systemd_run
            .run(&args, Instant::now() + TIMER_LIMIT)
            .map_err(|source| FreezeError::Timer { mount: point.clone(), source })?;
        timers.push(format!("{name}.timer"));
    }
    Ok(timers)
}

/// The lines of a stream, until it ends.
fn lines(stream: Option<impl io::Read + Send + 'static>) -> Receiver<String> {
    let (send, said) = mpsc::channel();
    thread::spawn(move || {
        let lines = stream.map(|stream| BufReader::with_capacity(LONGEST_LINE, stream).lines());
        for line in lines.into_iter().flatten().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    said
}
