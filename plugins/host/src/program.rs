//! Other programs: found in fixed directories, run without a shell, over in time, never too loud.

use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::report::short;
use crate::wait;

/// Where programs are: the directories of the system, and those that Slurm and snaps use.
const DIRECTORIES: [&str; 8] = [
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/opt/slurm/bin",
    "/snap/bin",
];

/// The most bytes that are kept of an answer. Some hundred containers fit.
const LONGEST_ANSWER: usize = 4 * 1024 * 1024;

/// The most bytes that are kept of what a program complains about: the first ones.
const LONGEST_COMPLAINT: usize = 4 * 1024;

/// How long a program has to end by itself once it was told to, at most.
const GRACE: Duration = Duration::from_secs(2);

/// How long the rest of the output is waited for when a program has ended: something that it left
/// behind may hold the pipe open for ever.
const DRAIN: Duration = Duration::from_millis(200);

/// The directories in which programs are looked for, in their order. `PATH` is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    directories: Vec<PathBuf>,
}

impl Default for Programs {
    fn default() -> Self {
        Self { directories: DIRECTORIES.map(PathBuf::from).into() }
    }
}

impl Programs {
    /// Programs of other directories than the usual ones.
    #[must_use]
    pub fn of(directories: Vec<PathBuf>) -> Self {
        Self { directories }
    }

    /// The first file of that name which can be run.
    pub(crate) fn find(&self, name: &str) -> Result<Program, ProgramError> {
        let paths = self.directories.iter().map(|directory| directory.join(name));
        let mut found = paths.filter(|path| {
            path.metadata()
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        });
        found.next().map(|path| Program { path }).ok_or_else(|| {
            let places: Vec<_> = self.directories.iter().map(|d| d.display().to_string()).collect();
            ProgramError::Missing { name: name.to_owned(), places: places.join(", ") }
        })
    }
}

/// A program that is there.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
}

/// Why a program did not do what it was run for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error("`{name}` is not installed: it is in none of {places}")]
    Missing { name: String, places: String },
    #[error("cannot start `{program}`")]
    Start { program: String, source: io::Error },
    #[error("`{program}` ended with {status}: {said}")]
    Failed { program: String, status: ExitStatus, said: String },
    #[error("`{program}` was not done in time and was ended; raise `timeout_seconds`")]
    Late { program: String },
    #[error("`{program}` said more than {LONGEST_ANSWER} bytes")]
    TooLoud { program: String },
}

impl Program {
    /// Runs it to its end, `until` at the latest, and returns what it said on stdout.
    pub(crate) fn run(&self, args: &[&str], until: Instant) -> Result<String, ProgramError> {
        let program = self.path.display().to_string();
        let failed = |source| ProgramError::Start { program: program.clone(), source };
        let mut child = Command::new(&self.path)
            .args(args)
            .current_dir("/")
            // What it says is read by programs and put into results.
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let answer = Kept::read(child.stdout.take(), LONGEST_ANSWER);
        let complaint = Kept::read(child.stderr.take(), LONGEST_COMPLAINT);
        let status = end(&mut child, until).map_err(failed)?;
        let drained = Instant::now() + DRAIN;
        let (answer, complaint) = (answer.text(drained), complaint.text(drained));
        match status {
            None => Err(ProgramError::Late { program }),
            Some(status) if !status.success() => {
                let said = [&complaint, &answer].into_iter().find(|text| !text.trim().is_empty());
                let said = short(said.map_or("it did not say why", String::as_str));
                Err(ProgramError::Failed { program, status, said })
            }
            Some(_) if answer.len() >= LONGEST_ANSWER => Err(ProgramError::TooLoud { program }),
            Some(_) => Ok(answer),
        }
    }
}

/// Waits for a program, tells it to end shortly before its time is over and kills it then; `None`
/// when that was needed.
fn end(child: &mut Child, until: Instant) -> io::Result<Option<ExitStatus>> {
    let pid = Pid::from_child(child);
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    let grace = GRACE.min(wait::left(until) / 4);
    if wait::readable(&ended, until.checked_sub(grace).unwrap_or(until)) {
        return child.wait().map(Some);
    }
    // A group that is gone needs no signal.
    let _ = kill_process_group(pid, Signal::TERM);
    let has_ended = wait::readable(&ended, until);
    let _ = kill_process_group(pid, Signal::KILL);
    // One that hangs in the kernel cannot be killed, and is not waited for.
    if has_ended || wait::readable(&ended, Instant::now() + DRAIN) {
        child.wait()?;
    }
    Ok(None)
}

/// The first bytes of a stream, read by somebody else so that it never blocks its writer.
struct Kept {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Kept {
    fn read(stream: Option<impl Read + Send + 'static>, most: usize) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bytes);
        let reader = stream.map(|mut stream| {
            thread::spawn(move || {
                let mut chunk = [0; 8192];
                while let Ok(read @ 1..) = stream.read(&mut chunk) {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    let room = most.saturating_sub(kept.len());
                    kept.extend(chunk.iter().take(read.min(room)));
                }
            })
        });
        Self { bytes, reader }
    }

    /// What was said until the stream ended, or until then.
    fn text(self, until: Instant) -> String {
        while self.reader.as_ref().is_some_and(|reader| !reader.is_finished()) {
            if !wait::pause(until) {
                break;
            }
        }
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn a_program_gets_its_arguments_as_they_are() {
        let echo = Programs::default().find("echo").unwrap();
        assert_eq!(echo.run(&["a  b", "$(id)"], soon()).unwrap(), "a  b $(id)\n");
    }

    #[test]
    fn a_program_that_is_not_there_is_named_with_the_places() {
        let error = Programs::of(vec!["/nowhere".into()]).find("sh").unwrap_err().to_string();
        assert_eq!(error, "`sh` is not installed: it is in none of /nowhere");
        // Neither a folder nor a file that cannot be run will do.
        assert!(Programs::of(vec!["/".into(), "/etc".into()]).find("usr").is_err());
        assert!(Programs::of(vec!["/etc".into()]).find("passwd").is_err());
    }

    #[test]
    fn a_failure_says_what_the_program_said() {
        let sh = Programs::default().find("sh").unwrap();
        let error = sh.run(&["-c", "echo no >&2; exit 3"], soon()).unwrap_err().to_string();
        assert!(error.ends_with("ended with exit status: 3: no"), "{error}");
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended_with_its_group_even_if_it_is_deaf() {
        let sh = Programs::default().find("sh").unwrap();
        for script in ["sleep 600 & sleep 600", "trap '' TERM; while :; do sleep 600; done"] {
            let until = Instant::now() + Duration::from_millis(300);
            let error = sh.run(&["-c", script], until).unwrap_err().to_string();
            assert!(error.contains("was not done in time"), "{error}");
        }
    }

    #[test]
    fn a_loud_program_is_read_to_its_end_and_not_kept() {
        let sh = Programs::default().find("sh").unwrap();
        let script = "head -c 9000000 /dev/zero; head -c 9000000 /dev/zero >&2";
        let error = sh.run(&["-c", script], soon()).unwrap_err();
        assert!(matches!(error, ProgramError::TooLoud { .. }), "{error}");
    }

    #[test]
    fn what_a_program_leaves_behind_does_not_hold_its_answer() {
        let sh = Programs::default().find("sh").unwrap();
        let said = sh.run(&["-c", "sleep 5 & echo $!"], soon()).unwrap();
        let left = Pid::from_raw(said.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(left, Signal::KILL).unwrap();
    }
}
