//! Real servers in folders of their own.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::sql::{LIMIT, Sql, pause, wait_until};

/// A server on a socket in a folder of its own; both go with the value.
pub(crate) struct Server {
    child: Child,
    pub(crate) folder: TempDir,
    settings: Vec<String>,
}

impl Server {
    /// Starts one; `None` when the machine has none and need not have one.
    pub(crate) fn start(settings: &[&str]) -> Option<Self> {
        let template = template()?;
        let folder = new_folder();
        let copied = Command::new("cp").arg("-a").arg(template).arg(data(folder.path())).status();
        assert!(copied.unwrap().success());
        Some(Self::run(folder, settings))
    }

    /// A standby of this server.
    pub(crate) fn standby(&self) -> Self {
        let folder = new_folder();
        let mut backup = command("pg_basebackup");
        backup.args(["-U", "postgres", "-c", "fast", "-R", "-h"]).arg(self.folder.path());
        assert!(backup.arg("-D").arg(data(folder.path())).status().unwrap().success());
        Self::run(folder, &[])
    }

    /// Starts one on the data in a folder.
    pub(crate) fn run(folder: TempDir, settings: &[&str]) -> Self {
        let settings: Vec<String> = settings.iter().map(|text| (*text).to_owned()).collect();
        let child = spawn(folder.path(), &settings);
        let server = Self { child, folder, settings };
        server.wait_until_ready();
        server
    }

    pub(crate) fn data(&self) -> PathBuf {
        data(self.folder.path())
    }

    /// What the connection string says.
    pub(crate) fn words(&self) -> String {
        format!("host={} user=postgres dbname=postgres", self.folder.path().display())
    }

    pub(crate) fn sql(&self) -> Sql {
        self.try_sql().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The process that `pg_stat_activity` shows as this kind of worker.
    pub(crate) fn worker(&self, kind: &str) -> Worker {
        let statement = format!("SELECT pid FROM pg_stat_activity WHERE backend_type = '{kind}'");
        Worker(Pid::from_raw(self.sql().one(&statement)).unwrap())
    }

    /// The server's first process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// `SIGKILL` for every process of the server at once, as a power cut would.
    pub(crate) fn kill(&mut self) {
        let all = children(self.pid());
        self.child.kill().unwrap();
        for pid in all {
            // Some end by themselves when the first is gone.
            let _ = kill_process(pid, Signal::KILL);
            wait_until("a process is gone", || is_gone(pid));
        }
        self.child.wait().unwrap();
    }

    /// Starts it again on its data, whatever became of it.
    pub(crate) fn restart(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
        fs::remove_file(self.folder.path().join("log")).unwrap();
        self.child = spawn(self.folder.path(), &self.settings);
        self.wait_until_ready();
    }

    /// The same server with more settings.
    pub(crate) fn with(mut self, more: &[&str]) -> Self {
        self.settings.extend(more.iter().map(|text| (*text).to_owned()));
        self.kill();
        self.restart();
        self
    }

    /// Waits for the end that somebody else asked for.
    pub(crate) fn wait_until_ended(&mut self) {
        let child = &mut self.child;
        wait_until("the server ends", || child.try_wait().unwrap().is_some());
    }

    /// What `pg_controldata` says of the state.
    pub(crate) fn state(&self) -> String {
        let told = command("pg_controldata").arg("-D").arg(self.data()).output().unwrap();
        let told = String::from_utf8(told.stdout).unwrap();
        let line = told.lines().find_map(|line| line.strip_prefix("Database cluster state:"));
        line.unwrap().trim().to_owned()
    }

    fn try_sql(&self) -> Result<Sql, tokio_postgres::Error> {
        let port = self.settings.iter().find(|setting| setting.starts_with("port="));
        let port = port.map_or("", String::as_str);
        Sql::open(self.folder.path(), &format!("user=postgres {port}"))
    }

    fn wait_until_ready(&self) {
        wait_until("the server is ready", || self.try_sql().is_ok());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The quickest end that leaves no shared memory behind.
        let _ = kill_process(self.pid(), Signal::QUIT);
        let begun = Instant::now();
        while begun.elapsed() < LIMIT && matches!(self.child.try_wait(), Ok(None)) {
            pause();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stopped process goes on with the value's end.
pub(crate) struct Worker(Pid);

impl Worker {
    /// Makes it hang until the value is gone.
    pub(crate) fn hang(&self) -> Hung {
        kill_process(self.0, Signal::STOP).unwrap();
        Hung(self.0)
    }
}

/// A process that hangs.
pub(crate) struct Hung(Pid);

impl Drop for Hung {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

/// A new cluster, made once for all builds in a target directory.
fn template() -> Option<&'static Path> {
    static TEMPLATE: OnceLock<Option<PathBuf>> = OnceLock::new();
    TEMPLATE.get_or_init(make_template).as_deref()
}

fn make_template() -> Option<PathBuf> {
    let Some(programs) = programs() else {
        let needed = std::env::vars().any(|(name, value)| name == "SNOOZE_FULL" && value == "1");
        assert!(!needed, "SNOOZE_FULL=1 needs the server of PostgreSQL");
        println!("not tested: PostgreSQL is not installed");
        return None;
    };
    let version = programs.parent().and_then(Path::file_name).unwrap_or_default();
    let name = format!("postgres-{}-short-wal", version.display());
    let target = option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let template = target.join(name);
    if !template.join("PG_VERSION").exists() {
        // Short WAL files, since each is written in full when it is begun.
        let folder = new_cluster(&["--wal-segsize=1"]);
        let made = template.with_extension(std::process::id().to_string());
        let mut copy = Command::new("cp");
        assert!(copy.arg("-a").arg(data(folder.path())).arg(&made).status().unwrap().success());
        // Another run may have been quicker.
        let _ = fs::rename(&made, &template);
    }
    Some(template)
}

/// A folder with the data of a new server.
pub(crate) fn new_cluster(more: &[&str]) -> TempDir {
    let folder = new_folder();
    let mut initdb = command("initdb");
    initdb.args(["-A", "trust", "-U", "postgres", "--no-locale"]).args(more);
    let made = initdb.arg("-D").arg(data(folder.path())).stdout(Stdio::null()).status();
    assert!(made.unwrap().success());
    folder
}

/// A folder that the servers' user owns.
fn new_folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    own(folder.path());
    folder
}

fn spawn(folder: &Path, settings: &[String]) -> Child {
    let log = File::create(folder.join("log")).unwrap();
    let mut server = command("postgres");
    server.arg("-D").arg(data(folder)).arg("-k").arg(folder);
    server.args(["-c", "listen_addresses=", "-c", "shared_buffers=32MB"]);
    // A kill takes nothing out of the system's memory; where it matters it is switched on again.
    server.args(["-c", "fsync=off"]);
    server.args(settings.iter().flat_map(|setting| ["-c", setting]));
    server.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// A program of PostgreSQL, as a user that it accepts: it refuses to run as root.
fn command(program: &str) -> Command {
    let program = programs().unwrap().join(program);
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command.current_dir("/");
    command
}

/// Where the newest installed server's programs are.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    folders.filter(|folder| folder.join("initdb").exists()).max()
}

/// Gives a folder to the user that servers run as.
pub(crate) fn own(path: &Path) {
    if rustix::process::geteuid().is_root() {
        let number = |which| {
            let told = Command::new("id").args([which, "postgres"]).output().unwrap();
            String::from_utf8(told.stdout).unwrap().trim().parse().unwrap()
        };
        chown(path, Some(number("-u")), Some(number("-g"))).unwrap();
    }
    if path.is_dir() {
        fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// A process is no more, or waits for somebody to hear of its end.
fn is_gone(pid: Pid) -> bool {
    let told = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    told.map_or(true, |line| line.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

/// The processes that a process started itself.
fn children(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero();
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}
