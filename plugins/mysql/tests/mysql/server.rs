//! A real server in a folder of its own, and a client of it.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, OptsBuilder};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::process::{self, spawn};

/// Longer than anything takes on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server on a socket; it goes with the value, and its folder too.
pub(crate) struct MariaDb {
    child: Child,
    options: Vec<String>,
    pub(crate) folder: TempDir,
}

impl MariaDb {
    /// Starts one; `None` when the machine has none and need not have one.
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        let folder = process::copy()?;
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let child = spawn(folder.path(), &options);
        let server = Self { child, options, folder };
        server.wait_until_ready();
        Some(server)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// In Go's form.
    pub(crate) fn dsn(&self, user: &str) -> String {
        format!("{user}@unix({})/", self.socket().display())
    }

    pub(crate) fn client(&self) -> Client {
        self.client_as("root").unwrap()
    }

    pub(crate) fn client_as(&self, user: &str) -> mysql_async::Result<Client> {
        Client::connect(&self.socket(), user)
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again in its folder.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.folder.path(), &self.options);
        self.wait_until_ready();
    }

    pub(crate) fn wait_for_its_end(&mut self) -> ExitStatus {
        let mut ended = None;
        eventually("the server ends", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn wait_until_ready(&self) {
        eventually("the server answers", || self.client_as("root").is_ok());
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let ended = self.child.wait();
        if std::thread::panicking() {
            println!("{}", self.log());
        }
        drop(ended.map(|status| status.signal()));
    }
}

/// A session that waits for each answer.
pub(crate) struct Client {
    runtime: Runtime,
    connection: Option<Conn>,
}

impl Client {
    fn connect(socket: &Path, user: &str) -> mysql_async::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let options = OptsBuilder::default()
            .socket(socket.to_str())
            .user(Some(user))
            .prefer_socket(false)
            .max_allowed_packet(Some(1 << 22))
            .wait_timeout(Some(28_800));
        let connection = runtime.block_on(Conn::new(options))?;
        Ok(Self { runtime, connection: Some(connection) })
    }

    pub(crate) fn say(&mut self, statement: &str) {
        self.try_to(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    pub(crate) fn try_to(&mut self, statement: &str) -> mysql_async::Result<()> {
        let connection = self.connection.as_mut().unwrap();
        self.runtime.block_on(connection.query_drop(statement))
    }

    pub(crate) fn one<T: FromRow + Send + 'static>(&mut self, statement: &str) -> T {
        let connection = self.connection.as_mut().unwrap();
        self.runtime.block_on(connection.query_first(statement)).unwrap().unwrap()
    }

    pub(crate) fn status(&mut self, name: &str) -> String {
        self.one::<(String, String)>(&format!("SHOW GLOBAL STATUS LIKE '{name}'")).1
    }

    /// Whether a write gets through within the second that a lock is waited for.
    pub(crate) fn can_write(&mut self) -> bool {
        self.say("SET SESSION lock_wait_timeout = 1");
        match self.try_to("INSERT INTO d.t (v) VALUES (0)") {
            Ok(()) => true,
            Err(mysql_async::Error::Server(said)) if said.code == 1205 => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// A database with a table for each engine.
    pub(crate) fn make_tables(&mut self) {
        self.say("CREATE DATABASE d");
        for (table, engine) in [("t", "InnoDB"), ("m", "MyISAM"), ("a", "Aria")] {
            self.say(&format!(
                "CREATE TABLE d.{table} (id INT AUTO_INCREMENT PRIMARY KEY, v INT, KEY (v)) \
                 ENGINE={engine}"
            ));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _inside = self.runtime.enter();
        drop(self.connection.take());
    }
}

/// Waits until something is so.
#[expect(clippy::disallowed_methods, reason = "a test that polls, with a limit")]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "it takes too long until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that nobody has at this moment.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The server is another user.
pub(crate) fn open_to_all(folder: &Path) {
    assert!(Command::new("chmod").args(["-R", "a+rX"]).arg(folder).status().unwrap().success());
}
