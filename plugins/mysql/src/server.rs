//! One session with the server, in which every call has the same last moment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, IoError, Row, from_value_opt};
use tokio::time::{Instant, sleep, timeout_at};

use crate::dsn::Dsn;

/// How long one try to connect may take. The server is on this machine or beside it.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// The pause before the second try: a server that was full may have room again.
const SECOND_TRY: Duration = Duration::from_millis(250);

/// Saying goodbye is a courtesy.
const GOODBYE_LIMIT: Duration = Duration::from_millis(200);

/// `ER_CON_COUNT_ERROR`.
const TOO_MANY_CONNECTIONS: u16 = 1040;

/// `ER_SPECIFIC_ACCESS_DENIED_ERROR`: a privilege is missing.
const NOT_PRIVILEGED: u16 = 1227;

/// `ER_LOCK_WAIT_TIMEOUT`.
const LOCK_WAIT_TIMEOUT: u16 = 1205;

/// Why the server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error("no usable `connection_string`")]
    NoServer,
    #[error("cannot begin to talk with the database server")]
    Runtime(#[from] std::io::Error),
    #[error(
        "cannot connect to the database server at `{place}`; check that it runs and what `connection_string` says"
    )]
    Connect { place: String, source: Said },
    #[error(
        "`{statement}` failed on the database server at `{place}`; see its log and what the user may"
    )]
    Statement { place: String, statement: String, source: Said },
    #[error(
        "`{doing}` was not done in time on the database server at `{place}`; raise `timeout_seconds`"
    )]
    Late { place: String, doing: String },
}

/// What the driver or the server said.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Said {
    code: Option<u16>,
    text: String,
}

impl ServerError {
    /// The lock was not granted in the time that it may wait.
    pub(crate) fn is_lock_wait(&self) -> bool {
        self.code() == Some(LOCK_WAIT_TIMEOUT)
    }

    /// The user may not.
    pub(crate) fn is_not_privileged(&self) -> bool {
        self.code() == Some(NOT_PRIVILEGED)
    }

    fn code(&self) -> Option<u16> {
        match self {
            Self::Statement { source, .. } => source.code,
            Self::NoServer | Self::Runtime(_) | Self::Connect { .. } | Self::Late { .. } => None,
        }
    }
}

/// A connection. Whatever it holds goes with it.
pub(crate) struct Session {
    connection: Conn,
    place: String,
    until: Instant,
}

impl Session {
    /// Connects. A server that is not there or is full gets a second try; one that refuses the
    /// user or does not answer gets none, so that others may use the time.
    pub(crate) async fn open(
        dsn: Option<&Dsn>,
        authority: Option<&PathBuf>,
        until: Instant,
    ) -> Result<Self, ServerError> {
        let dsn = dsn.ok_or(ServerError::NoServer)?;
        let place = dsn.place.to_string();
        let options = dsn.options(authority);
        let mut is_first = true;
        loop {
            let end = until.min(Instant::now() + CONNECT_LIMIT);
            let (said, again) = match timeout_at(end, Conn::new(options.clone())).await {
                Ok(Ok(connection)) => return Ok(Self { connection, place, until }),
                Ok(Err(error)) => {
                    let said = Said::from(error);
                    let again = said.code.is_none_or(|code| code == TOO_MANY_CONNECTIONS);
                    (said, again)
                }
                Err(_) => (Said { code: None, text: "no answer in time".to_owned() }, false),
            };
            if !again || !is_first || until <= Instant::now() + SECOND_TRY {
                return Err(ServerError::Connect { place, source: said });
            }
            is_first = false;
            sleep(SECOND_TRY).await;
        }
    }

    /// Moves the last moment of what follows.
    pub(crate) fn set_until(&mut self, until: Instant) {
        self.until = until;
    }

    /// Sends a statement.
    pub(crate) async fn run(&mut self, statement: &str) -> Result<(), ServerError> {
        let done = timeout_at(self.until, self.connection.query_drop(statement)).await;
        self.judged(statement, done)
    }

    /// Sends a statement and takes its rows.
    pub(crate) async fn rows<T: FromRow + Send + 'static>(
        &mut self,
        statement: &str,
    ) -> Result<Vec<T>, ServerError> {
        let done = timeout_at(self.until, self.connection.query::<T, _>(statement)).await;
        self.judged(statement, done)
    }

    /// The pairs of names and values that `SHOW` gives.
    pub(crate) async fn pairs(
        &mut self,
        statement: &str,
    ) -> Result<BTreeMap<String, String>, ServerError> {
        Ok(self.rows::<(String, String)>(statement).await?.into_iter().collect())
    }

    /// One number, if there is one.
    pub(crate) async fn number(&mut self, statement: &str) -> Result<Option<i64>, ServerError> {
        let rows = self.rows::<Option<i64>>(statement).await?;
        Ok(rows.first().copied().flatten())
    }

    /// Where the binary log ends: file and position.
    pub(crate) async fn position(
        &mut self,
        statement: &str,
    ) -> Result<Option<(String, u64)>, ServerError> {
        let rows = self.rows::<Row>(statement).await?;
        let Some(mut row) = rows.into_iter().next() else { return Ok(None) };
        let file = row.take(0).and_then(|value| from_value_opt(value).ok());
        let position = row.take(1).and_then(|value| from_value_opt(value).ok());
        Ok(file.zip(position))
    }

    /// The error of a statement that must have rows and has none.
    pub(crate) fn says_nothing(&self, statement: &str) -> ServerError {
        let source = Said { code: None, text: "no rows".to_owned() };
        ServerError::Statement {
            place: self.place.clone(),
            statement: statement.to_owned(),
            source,
        }
    }

    /// Says goodbye, so that the server does not count an aborted client.
    pub(crate) async fn close(self) {
        let _ = timeout_at(Instant::now() + GOODBYE_LIMIT, self.connection.disconnect()).await;
    }

    fn judged<T>(
        &self,
        statement: &str,
        done: Result<Result<T, mysql_async::Error>, tokio::time::error::Elapsed>,
    ) -> Result<T, ServerError> {
        let place = self.place.clone();
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let statement = statement.to_owned();
                Err(ServerError::Statement { place, statement, source: error.into() })
            }
            Err(_) => Err(ServerError::Late { place, doing: statement.to_owned() }),
        }
    }
}

impl From<mysql_async::Error> for Said {
    fn from(error: mysql_async::Error) -> Self {
        match error {
            mysql_async::Error::Server(said) => {
                Self { code: Some(said.code), text: format!("{} ({})", said.message, said.code) }
            }
            mysql_async::Error::Io(IoError::Io(error)) => Self::plain(&error),
            mysql_async::Error::Io(IoError::Tls(error)) => Self::plain(&error),
            mysql_async::Error::Driver(error) => Self::plain(&error),
            mysql_async::Error::Other(error) => Self::plain(&error),
            mysql_async::Error::Url(error) => Self::plain(&error),
        }
    }
}

impl Said {
    fn plain(error: &impl ToString) -> Self {
        Self { code: None, text: error.to_string() }
    }
}
