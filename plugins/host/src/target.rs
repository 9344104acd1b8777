//! Which process is meant: by a pid file, by name, or both.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use snooze_plugin::{Config, Setting};

use crate::process::{self, Process, Stat};

/// How much younger than its pid file's last change a process may be. The start is known to a
/// second, and the clock may have been set between the two; a number is used again much later.
const SLACK: Duration = Duration::from_secs(5);

/// The most of a pid file that is read.
const LONGEST_FILE: u64 = 64;

/// How many bytes of its name the kernel keeps of a process (TASK_COMM_LEN less one).
const KEPT_NAME: usize = 15;

/// The user that may say anything.
const ROOT: u32 = 0;

/// Which process is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pid_file: Option<PathBuf>,
    name: Option<String>,
}

/// Who around a process is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// It alone.
    Process,
    /// All of its process group.
    Group,
    /// All that it has started, and what these have started; not itself.
    Children,
}

/// Why it is not clear, or not safe to say, which process is meant.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("cannot read the pid file `{path}`")]
    File { path: String, source: io::Error },
    #[error("the pid file `{path}` holds no process number")]
    NoNumber { path: String },
    #[error("everybody may write to the pid file `{path}`; `chmod o-w` it")]
    Open { path: String },
    #[error(
        "the pid file `{path}` belongs to user {owner} and names a process of user {uid}: expected \
         one of root or of the same user"
    )]
    Foreign { path: String, owner: u32, uid: u32 },
    #[error(
        "process {pid} was started after the pid file `{path}` was written: the number is used \
         again, by `{name}`"
    )]
    UsedAgain { path: String, pid: i32, name: String },
    #[error("process {pid} is `{found}`: expected `{name}`")]
    OtherName { pid: i32, found: String, name: String },
    #[error("process {pid} is the first one, the plugin or one that the plugin hangs on")]
    Untouchable { pid: i32 },
    #[error("cannot open process {pid}")]
    Process { pid: i32, source: io::Error },
}

impl Target {
    /// The settings that name a target.
    pub(crate) fn settings() -> [Setting; 2] {
        [
            Setting::text("pid_file", "the file that holds the number of the process"),
            Setting::text("process", "the exact name of the process, or of the one in `pid_file`"),
        ]
    }

    /// Reads these settings; `None` when neither is given.
    pub(crate) fn read(config: &mut Config) -> Option<Self> {
        let pid_file = config.path("pid_file");
        let name = config.text("process");
        if name.as_ref().is_some_and(|name| name.contains('/')) {
            config.fault("process", "expected a name without `/`");
        }
        (pid_file.is_some() || name.is_some()).then_some(Self { pid_file, name })
    }

    /// The processes that are meant, none when nothing of the kind runs.
    pub(crate) fn find(&self) -> Result<Vec<Process>, TargetError> {
        match &self.pid_file {
            Some(path) => Ok(self.in_file(path)?.into_iter().collect()),
            None => {
                let untouchable = process::untouchable();
                let named = process::all().into_iter().filter(|(pid, stat)| {
                    !untouchable.contains(pid) && self.is_named(*pid, &stat.name)
                });
                named.map(|seen| open_seen(&seen)).filter_map(Result::transpose).collect()
            }
        }
    }

    /// What is meant, for people.
    pub(crate) fn label(&self) -> String {
        match (&self.pid_file, &self.name) {
            (Some(path), Some(name)) => format!("`{name}` of `{}`", path.display()),
            (Some(path), None) => format!("the process of `{}`", path.display()),
            (None, name) => format!("`{}`", name.as_deref().unwrap_or_default()),
        }
    }

    fn in_file(&self, path: &Path) -> Result<Option<Process>, TargetError> {
        let shown = || path.display().to_string();
        let Some(noted) = Noted::read(path)? else { return Ok(None) };
        if process::untouchable().contains(&noted.pid) {
            return Err(TargetError::Untouchable { pid: noted.pid });
        }
        let Some(process) = open(noted.pid)? else { return Ok(None) };
        let (pid, name) = (noted.pid, process.stat.name.clone());
        if ![ROOT, process.uid].contains(&noted.owner) {
            let (owner, uid) = (noted.owner, process.uid);
            return Err(TargetError::Foreign { path: shown(), owner, uid });
        }
        if process.started().is_none_or(|started| started > noted.changed + SLACK) {
            return Err(TargetError::UsedAgain { path: shown(), pid, name });
        }
        match &self.name {
            Some(wanted) if !self.is_named(pid, &name) => {
                Err(TargetError::OtherName { pid, found: name, name: wanted.clone() })
            }
            Some(_) | None => Ok(Some(process)),
        }
    }

    /// Whether a process has the name that is wanted. The kernel keeps the front of a long one
    /// only, so that the rest is looked up in its arguments.
    fn is_named(&self, pid: i32, kept: &str) -> bool {
        let Some(name) = &self.name else { return true };
        if name.len() <= KEPT_NAME {
            return name == kept;
        }
        let called = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let called = called.split(|byte| *byte == 0).next().unwrap_or_default();
        let called = called.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        called == name.as_bytes() && name.as_bytes().starts_with(kept.as_bytes())
    }
}

impl Scope {
    pub(crate) const WORDS: [&str; 3] = ["process", "group", "children"];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Group => "group",
            Self::Children => "children",
        }
    }

    pub(crate) fn named(word: &str) -> Option<Self> {
        [Self::Process, Self::Group, Self::Children]
            .into_iter()
            .find(|scope| scope.as_str() == word)
    }

    /// The processes that are meant when these are the target.
    pub(crate) fn around(self, found: Vec<Process>) -> Result<Vec<Process>, TargetError> {
        let pids: Vec<i32> = found.iter().map(|process| process.pid).collect();
        let groups: Vec<i32> = found.iter().map(|process| process.stat.group).collect();
        let mut meant: Vec<(i32, Stat)> = match self {
            Self::Process => return Ok(found),
            Self::Group => process::all(),
            Self::Children => process::below(&pids),
        };
        let untouchable = process::untouchable();
        meant.retain(|(pid, stat)| {
            let is_meant = self == Self::Children || groups.contains(&stat.group);
            is_meant && !untouchable.contains(pid)
        });
        meant.iter().map(open_seen).filter_map(Result::transpose).collect()
    }
}

/// What a pid file says, and how far it is to be believed.
struct Noted {
    pid: i32,
    owner: u32,
    changed: SystemTime,
}

impl Noted {
    /// `None` when there is no such file: what wrote it has removed it at its end.
    fn read(path: &Path) -> Result<Option<Self>, TargetError> {
        let shown = || path.display().to_string();
        let failed = |source| TargetError::File { path: shown(), source };
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let meta = file.metadata().map_err(failed)?;
        if meta.mode() & 0o002 != 0 {
            return Err(TargetError::Open { path: shown() });
        }
        let mut text = String::new();
        file.take(LONGEST_FILE).read_to_string(&mut text).map_err(failed)?;
        let number = text.split_whitespace().next().and_then(|word| word.parse().ok());
        let pid = number.filter(|pid| *pid > 0).ok_or(TargetError::NoNumber { path: shown() })?;
        let changed = meta.modified().map_err(failed)?;
        Ok(Some(Self { pid, owner: meta.uid(), changed }))
    }
}

/// Opens a process that was seen, if the number is still its own.
fn open_seen((pid, stat): &(i32, Stat)) -> Result<Option<Process>, TargetError> {
    Ok(open(*pid)?.filter(|process| process.stat.started == stat.started))
}

fn open(pid: i32) -> Result<Option<Process>, TargetError> {
    Process::open(pid).map_err(|source| TargetError::Process { pid, source })
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use tempfile::TempDir;

    use super::*;

    struct Place {
        folder: TempDir,
        child: Child,
    }

    impl Place {
        fn new() -> Self {
            let child = Command::new("sleep").arg("600").spawn().unwrap();
            let place = Self { folder: TempDir::new().unwrap(), child };
            place.write(&format!("{}\n", place.child.id()));
            place
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("pid")
        }

        fn write(&self, text: &str) {
            fs::write(self.path(), text).unwrap();
        }

        fn find(&self, name: Option<&str>) -> Result<Vec<i32>, String> {
            let name = name.map(str::to_owned);
            let found = Target { pid_file: Some(self.path()), name }.find();
            let pids = found.map(|found| found.iter().map(|process| process.pid).collect());
            pids.map_err(|error| error.to_string())
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }

    #[test]
    fn the_process_of_a_pid_file_is_found_while_it_lives() {
        let mut place = Place::new();
        let pid = i32::try_from(place.child.id()).unwrap();
        assert_eq!(place.find(None), Ok(vec![pid]));
        assert_eq!(place.find(Some("sleep")), Ok(vec![pid]));
        assert!(place.find(Some("nginx")).unwrap_err().contains("is `sleep`: expected `nginx`"));
        place.child.kill().unwrap();
        place.child.wait().unwrap();
        assert_eq!(place.find(None), Ok(vec![]));
        fs::remove_file(place.path()).unwrap();
        assert_eq!(place.find(None), Ok(vec![]));
        place.child = Command::new("sleep").arg("600").spawn().unwrap();
    }

    #[test]
    fn a_number_that_another_process_uses_again_is_refused() {
        let place = Place::new();
        let before = SystemTime::now() - Duration::from_secs(3600);
        File::options().write(true).open(place.path()).unwrap().set_modified(before).unwrap();
        let error = place.find(None).unwrap_err();
        assert!(error.contains("the number is used again, by `sleep`"), "{error}");
    }

    #[test]
    fn the_first_process_the_plugin_and_its_parent_are_refused() {
        let place = Place::new();
        let me = std::process::id();
        let parent = rustix::process::getppid().unwrap().as_raw_nonzero();
        for pid in ["1".to_owned(), me.to_string(), parent.to_string()] {
            place.write(&pid);
            assert!(place.find(None).unwrap_err().contains("the plugin hangs on"), "{pid}");
        }
    }

    #[test]
    fn a_file_that_is_no_pid_file_is_refused() {
        let place = Place::new();
        for text in ["", "-1", "0", "x", "99999999999", "-5 1"] {
            place.write(text);
            assert!(place.find(None).unwrap_err().contains("holds no process number"), "{text}");
        }
    }

    #[test]
    fn a_file_that_everybody_may_write_to_is_refused() {
        let place = Place::new();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        fs::set_permissions(place.path(), mode).unwrap();
        assert!(place.find(None).unwrap_err().contains("everybody may write"));
    }

    #[test]
    fn the_file_of_one_user_cannot_name_the_process_of_another() {
        if !rustix::process::geteuid().is_root() {
            // Only root can give a file away.
            return;
        }
        let place = Place::new();
        std::os::unix::fs::chown(place.path(), Some(12345), None).unwrap();
        let error = place.find(None).unwrap_err();
        assert!(error.contains("belongs to user 12345 and names a process of user 0"), "{error}");
    }

    #[test]
    fn a_name_is_found_exactly_also_a_long_one() {
        let folder = TempDir::new().unwrap();
        let name = format!("snooze-target-{}", std::process::id());
        let path = folder.path().join(&name);
        std::os::unix::fs::symlink("/bin/sleep", &path).unwrap();
        let mut child = Command::new(&path).arg("600").spawn().unwrap();
        let find = |name: &str| {
            let target = Target { pid_file: None, name: Some(name.to_owned()) };
            target.find().unwrap().iter().map(|process| process.pid).collect::<Vec<_>>()
        };
        assert_eq!(find(&name), [i32::try_from(child.id()).unwrap()]);
        assert!(find(&format!("{name}x")).is_empty());
        assert!(find("snooze-target-x").is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
