//! Real servers in folders of their own.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Child;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::cluster::{command, copy, data, new_folder, spawn};
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
        Some(Self::run(copy()?, settings))
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
        let list = format!("FROM pg_stat_activity WHERE backend_type = '{kind}'");
        let sql = self.sql();
        sql.wait_until(&format!("SELECT count(*) = 1 {list}"));
        Worker(Pid::from_raw(sql.one(&format!("SELECT pid {list}"))).unwrap())
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

    fn try_sql(&self) -> io::Result<Sql> {
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
