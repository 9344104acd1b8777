//! A session with the server, every wait of which ends at one moment.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSqlOwned, ToSql};
use tokio_postgres::{Client, Error, NoTls, Row};

use crate::target::{Target, TlsError};

/// How long a connection may take to come up, tries and all: row H1 of the fault matrix leaves
/// the rest of the time to a policy's fallback.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// How long to wait before the second try. A server that starts or is full may let in the next.
const BETWEEN_TRIES: Duration = Duration::from_millis(250);

/// Why the server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error(
        "cannot connect to PostgreSQL at `{place}`; check that it runs, what the connection \
         string says and who may log in"
    )]
    Connect { place: String, source: Error },
    #[error("PostgreSQL at `{place}` lets nobody in: no answer in time")]
    Silent { place: String },
    #[error("cannot use TLS to PostgreSQL at `{place}`")]
    Tls { place: String, source: TlsError },
    #[error("cannot {doing} on PostgreSQL at `{place}`; see its log and what the role may")]
    Statement { place: String, doing: &'static str, source: Error },
    #[error("cannot {doing} on PostgreSQL at `{place}`: the answer has no row")]
    Unreadable { place: String, doing: &'static str },
    #[error("could not {doing} in time on PostgreSQL at `{place}`; raise `timeout_seconds`")]
    Late { place: String, doing: &'static str },
}

/// A session. It ends with the value.
pub(crate) struct Session {
    client: Client,
    place: String,
    until: Instant,
    /// What moves the bytes.
    _driver: JoinSet<()>,
}

impl Session {
    /// Logs in under a name that the server shows in `pg_stat_activity`. No wait of the session
    /// goes past `until`.
    pub(crate) async fn open(
        target: &Target,
        name: &str,
        until: Instant,
    ) -> Result<Self, ServerError> {
        let place = target.place();
        let connecting = until.min(Instant::now() + CONNECT_LIMIT);
        let tried = timeout_at(connecting, async {
            match Self::try_open(target, name, until).await {
                Err(ServerError::Connect { source, .. }) if may_be_better_soon(&source) => {
                    sleep(BETWEEN_TRIES).await;
                    Self::try_open(target, name, until).await
                }
                tried => tried,
            }
        });
        tried.await.unwrap_or(Err(ServerError::Silent { place }))
    }

    async fn try_open(target: &Target, name: &str, until: Instant) -> Result<Self, ServerError> {
        let place = target.place();
        let tls =
            target.tls().map_err(|source| ServerError::Tls { place: place.clone(), source })?;
        let mut config = target.config();
        config.application_name(name);
        let mut driver = JoinSet::new();
        let connected = match tls {
            Some(tls) => config.connect(tls).await.map(|(client, connection)| {
                driver.spawn(async move { drop(connection.await) });
                client
            }),
            None => config.connect(NoTls).await.map(|(client, connection)| {
                driver.spawn(async move { drop(connection.await) });
                client
            }),
        };
        let client =
            connected.map_err(|source| ServerError::Connect { place: place.clone(), source })?;
        let session = Self { client, place, until, _driver: driver };
        // Functions that somebody put into another schema must not run with this role's rights.
        session.tell("prepare the session", "SET search_path = pg_catalog").await?;
        Ok(session)
    }

    /// The rows of a statement; `doing` stands after "cannot".
    pub(crate) async fn rows(
        &self,
        doing: &'static str,
        statement: &str,
        with: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, ServerError> {
        let asked = timeout_at(self.until, self.client.query(statement, with)).await;
        self.judged(doing, asked.ok())
    }

    /// The first column of the only row.
    pub(crate) async fn one<T: FromSqlOwned>(
        &self,
        doing: &'static str,
        statement: &str,
    ) -> Result<T, ServerError> {
        let asked = async { self.client.query_one(statement, &[]).await?.try_get(0) };
        let asked = timeout_at(self.until, asked).await;
        self.judged(doing, asked.ok())
    }

    /// Has statements done that have no rows.
    pub(crate) async fn tell(
        &self,
        doing: &'static str,
        statements: &str,
    ) -> Result<(), ServerError> {
        let asked = timeout_at(self.until, self.client.batch_execute(statements)).await;
        self.judged(doing, asked.ok())
    }

    /// Has the server itself give up statements after this long, so that the session can go on.
    pub(crate) async fn limit(&self, most: Duration) -> Result<(), ServerError> {
        let most = most.as_millis().max(1);
        self.tell("set a limit", &format!("SET statement_timeout = {most}")).await
    }

    /// A value of a row that this crate asked for.
    pub(crate) fn value<T: FromSqlOwned>(
        &self,
        doing: &'static str,
        row: &Row,
        column: usize,
    ) -> Result<T, ServerError> {
        self.judged(doing, Some(row.try_get(column)))
    }

    /// The server answered, but not in rows that mean anything.
    pub(crate) fn unreadable(&self, doing: &'static str) -> ServerError {
        ServerError::Unreadable { place: self.place.clone(), doing }
    }

    /// How long there is until all waits end.
    pub(crate) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    fn judged<T>(
        &self,
        doing: &'static str,
        asked: Option<Result<T, Error>>,
    ) -> Result<T, ServerError> {
        let place = self.place.clone();
        match asked {
            Some(Ok(done)) => Ok(done),
            Some(Err(source)) if source.code() == Some(&SqlState::QUERY_CANCELED) => {
                Err(ServerError::Late { place, doing })
            }
            Some(Err(source)) => Err(ServerError::Statement { place, doing, source }),
            None => Err(ServerError::Late { place, doing }),
        }
    }
}

/// Whether the server may let the next one in: nobody listens yet, it starts, or it is full.
fn may_be_better_soon(error: &Error) -> bool {
    let codes = [SqlState::TOO_MANY_CONNECTIONS, SqlState::CANNOT_CONNECT_NOW];
    let system = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    error.code().is_some_and(|code| codes.contains(code))
        || system.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
