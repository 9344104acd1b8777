//! A double of the metadata service: a real HTTP server on a loopback address, which does what
//! its script says, faults included, and can be driven while it runs.
//!
//! It holds clients to version 2: a GET without a valid token is answered with 401 before its
//! script is even looked at. Without a script, each signal path answers 404 and the facts of the
//! instance are those of a small Spot instance in `us-east-1`.
//!
//! Another process drives it with `PUT /_control/<verb>` and a JSON body:
//!
//! | verb | body |
//! |---|---|
//! | `spot` | `{"action":"terminate","time":"2026-03-14T09:28:53Z"}`, or `in_seconds` in place of `time`, with `"sliding":true` where the time moves with every answer |
//! | `rebalance` | none |
//! | `lifecycle` | `{"state":"Terminated"}` |
//! | `maintenance` | the JSON list that is answered |
//! | `role` | `{"name":"orders","life_seconds":3600}`, with `"access_key"`, `"secret_key"` and `"token"` where they are not to be made up; without a body the role is detached |
//! | `clear` | `{"path":"/latest/meta-data/spot/instance-action"}`; without a path, all signals |
//! | `set` | `{"path":"…","answers":[{"status":200,"body":"…","delay_ms":0,"headers":{},"mode":"whole"}]}`; modes: `whole`, `hang`, `reset`, `cut` with `after`, `drip` with `every_ms`, `raw` |
//! | `down`, `up`, `forget-tokens` | none |
//!
//! `GET /_control/counts` tells how often each path was asked.

mod control;
mod http;
mod reply;
mod role;
mod server;
mod stage;

use std::io;
use std::net::SocketAddr;
use std::ops::Deref;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use reply::{Mode, Reply};
pub use role::{Keys, ROLE_PATH, Role};
pub use server::Server;
pub use stage::{INSTANCE_ID, Notice, NoticeTime, Stage};

/// A running fake. It ends, with all its connections, when it is dropped.
///
/// All that it does is told to its [`Stage`], to which it dereferences.
#[derive(Debug)]
pub struct Fake {
    stage: Stage,
    _tasks: JoinSet<()>,
}

impl Fake {
    /// Starts on an address; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound.
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let stage = Stage::new(listener.local_addr()?);
        let mut tasks = JoinSet::new();
        tasks.spawn(http::serve(listener, stage.clone()));
        Ok(Self { stage, _tasks: tasks })
    }

    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// When no port can be bound.
    pub async fn on_loopback() -> io::Result<Self> {
        Self::start(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }
}

impl Deref for Fake {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

#[cfg(test)]
mod tests;
