//! A client of a test.

use std::io::{self, Read as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_postgres::types::FromSqlOwned;
use tokio_postgres::{Client, Config, Error, NoTls};

/// How long anything in a test may take that takes milliseconds on a machine at rest.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A session; it ends with the value, at the server too.
pub(crate) struct Sql {
    client: Client,
    _driver: JoinSet<()>,
    runtime: Runtime,
    _line: Line,
}

/// The connection of a session.
struct Line(UnixStream);

impl Sql {
    /// Logs in over the socket in a folder.
    pub(crate) fn open(folder: &Path, more: &str) -> io::Result<Self> {
        let config: Config = format!("dbname=postgres {more}").parse().unwrap();
        let port = config.get_ports().first().unwrap_or(&5432);
        let stream = UnixStream::connect(folder.join(format!(".s.PGSQL.{port}")))?;
        let line = Line(stream.try_clone()?);
        stream.set_nonblocking(true)?;
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let mut driver = JoinSet::new();
        let client = runtime.block_on(async {
            let stream = tokio::net::UnixStream::from_std(stream)?;
            let session = config.connect_raw(stream, NoTls).await;
            let (client, connection) = session.map_err(io::Error::other)?;
            driver.spawn(async move { drop(connection.await) });
            io::Result::Ok(client)
        })?;
        Ok(Self { client, _driver: driver, runtime, _line: line })
    }

    pub(crate) fn try_tell(&self, statements: &str) -> Result<(), Error> {
        self.runtime.block_on(self.client.batch_execute(statements))
    }

    pub(crate) fn tell(&self, statements: &str) {
        self.try_tell(statements).unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    }

    pub(crate) fn one<T: FromSqlOwned>(&self, statement: &str) -> T {
        let row = self.runtime.block_on(self.client.query_one(statement, &[]));
        row.unwrap_or_else(|error| panic!("{statement}: {error:?}")).get(0)
    }

    /// Waits until a statement says `true`.
    pub(crate) fn wait_until(&self, statement: &str) {
        wait_until(statement, || self.one::<bool>(statement));
    }
}

impl Drop for Line {
    /// The server closes its end when the process of the session is over, which has given back all
    /// that it held then: its slot, its locks, its line among the activities.
    fn drop(&mut self) {
        let _ = self.0.set_nonblocking(false);
        let _ = self.0.set_read_timeout(Some(LIMIT));
        let _ = self.0.shutdown(Shutdown::Write);
        let _ = self.0.read_to_end(&mut Vec::new());
    }
}

/// Waits until something is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LIMIT, "never: {what}");
        pause();
    }
}

/// A moment until it is looked or tried again.
#[expect(clippy::disallowed_methods, reason = "between two looks, of which there is a last")]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
