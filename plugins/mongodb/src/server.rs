//! One connection to the server of this instance, in which every command has the same last moment.

use std::io;

use mongodb::bson::{Document, Timestamp, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::ServerAddress;
use mongodb::{Client, Database};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

use crate::settings::Settings;

/// Why the server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error("cannot begin to talk with MongoDB")]
    Runtime(#[from] io::Error),
    #[error("`connection_string` cannot be used for `{place}`; check its options")]
    Unusable { place: String, source: Said },
    #[error(
        "cannot connect to MongoDB at `{place}`; check that it runs and what `connection_string` says"
    )]
    Connect { place: String, source: Said },
    #[error("`{command}` was refused by MongoDB at `{place}`; see its log and what the user may")]
    Refused { place: String, command: String, source: Said },
    #[error("the connection broke during `{command}` on MongoDB at `{place}`")]
    Broken { place: String, command: String, source: Said },
    #[error("`{command}` was not done in time on MongoDB at `{place}`; raise `timeout_seconds`")]
    Late { place: String, command: String },
    #[error("at `{0}` is a router (mongos), which holds no data; name the server of this instance")]
    Router(String),
}

/// What the driver or the server said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Said(String);

/// What the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Standalone,
    Primary,
    Secondary,
    /// A member of a set that is neither: it starts, recovers, or only votes.
    Other,
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Primary => "primary",
            Self::Secondary => "secondary",
            Self::Other => "other",
        }
    }
}

/// How far a member of a replica set is in the log of all changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Optimes {
    /// The last change that it made.
    pub(crate) applied: Timestamp,
    /// The last change that is in its journal on disk.
    pub(crate) durable: Timestamp,
    /// The last change that a majority of the set has.
    pub(crate) committed: Timestamp,
}

/// The server. What it is asked has to be answered by `until`.
pub(crate) struct Server<'a> {
    settings: &'a Settings,
    admin: Database,
    until: Instant,
}

impl<'a> Server<'a> {
    /// Makes ready to talk with it, whatever part it has in its set. Says nothing to it yet.
    pub(crate) fn open(settings: &'a Settings, until: Instant) -> Result<Self, ServerError> {
        let client = Client::with_options(settings.options.clone()).map_err(|error| {
            let place = settings.address.to_string();
            ServerError::Unusable { place, source: Said(error.to_string()) }
        })?;
        Ok(Self { settings, admin: client.database("admin"), until })
    }

    /// Where it is, for people.
    pub(crate) fn place(&self) -> String {
        self.settings.address.to_string()
    }

    /// Runs a command on the database `admin`.
    pub(crate) async fn run(&self, command: Document) -> Result<Document, ServerError> {
        self.run_until(command, self.until).await
    }

    /// As [`Server::run`], with a last moment of its own.
    pub(crate) async fn run_until(
        &self,
        command: Document,
        until: Instant,
    ) -> Result<Document, ServerError> {
        let name = command.keys().next().cloned().unwrap_or_default();
        match timeout_at(until, self.admin.run_command(command)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(self.failed(name, &error)),
            Err(_) => Err(ServerError::Late { place: self.place(), command: name }),
        }
    }

    fn failed(&self, command: String, error: &Error) -> ServerError {
        let place = self.place();
        if let ErrorKind::Command(said) = &*error.kind {
            let source = Said(format!("{} ({})", said.message, said.code_name));
            return ServerError::Refused { place, command, source };
        }
        let source = Said(error.to_string());
        let kind = &*error.kind;
        match matches!(kind, ErrorKind::ServerSelection { .. } | ErrorKind::Authentication { .. }) {
            true => ServerError::Connect { place, source },
            false => ServerError::Broken { place, command, source },
        }
    }

    /// What it is now.
    pub(crate) async fn role(&self) -> Result<Role, ServerError> {
        let hello = self.run(doc! { "hello": 1 }).await?;
        if hello.get_str("msg").is_ok_and(|word| word == "isdbgrid") {
            return Err(ServerError::Router(self.place()));
        }
        let is = |key| hello.get_bool(key).unwrap_or(false);
        Ok(match (hello.get_str("setName").is_ok(), is("isWritablePrimary"), is("secondary")) {
            (true, true, _) => Role::Primary,
            (true, false, true) => Role::Secondary,
            (true, false, false) => Role::Other,
            (false, ..) => Role::Standalone,
        })
    }

    /// How far it is; `None` where it says nothing of that.
    pub(crate) async fn optimes(&self) -> Option<Optimes> {
        let status = self.run(doc! { "replSetGetStatus": 1 }).await.ok()?;
        let optimes = status.get_document("optimes").ok()?;
        let time = |key| optimes.get_document(key).ok()?.get_timestamp("ts").ok();
        Some(Optimes {
            applied: time("appliedOpTime")?,
            durable: time("durableOpTime")?,
            committed: time("lastCommittedOpTime")?,
        })
    }

    /// Whether nobody listens where it was.
    pub(crate) async fn is_gone(&self) -> bool {
        const PORT: u16 = 27017;
        let address = &self.settings.address;
        let connect = async {
            match address {
                ServerAddress::Unix { path } => UnixStream::connect(path).await.map(drop),
                ServerAddress::Tcp { host, port } => {
                    let place = (host.as_str(), port.unwrap_or(PORT));
                    TcpStream::connect(place).await.map(drop)
                }
                _ => Ok(()),
            }
        };
        let nobody = [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound];
        let connected = timeout_at(self.until, connect).await;
        connected.is_ok_and(|done| done.is_err_and(|error| nobody.contains(&error.kind())))
    }
}
