//! A client of a test.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_postgres::types::FromSqlOwned;
use tokio_postgres::{Client, Error, NoTls};

/// How long anything in a test may take that takes milliseconds on a machine at rest.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A session; it ends with the value.
pub(crate) struct Sql {
    client: Client,
    _driver: JoinSet<()>,
    runtime: Runtime,
}

impl Sql {
    /// Logs in over the socket in a folder.
    pub(crate) fn open(folder: &Path, more: &str) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let words = format!("host={} dbname=postgres {more}", folder.display());
        let mut driver = JoinSet::new();
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&words, NoTls).await?;
            driver.spawn(async move { drop(connection.await) });
            Ok::<_, Error>(client)
        })?;
        Ok(Self { client, _driver: driver, runtime })
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
