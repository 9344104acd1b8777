//! The daemon at the other end of the socket.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use snoozed::exit;
use snoozed::socket::{self, Request};

use crate::failure::Failure;
use crate::{fleet, text};

/// What all verbs share.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The daemon's socket.
    pub(crate) socket: PathBuf,
    /// Data instead of text.
    pub(crate) json: bool,
    /// Which fleet.
    pub(crate) fleet: fleet::Options,
}

impl Context {
    /// The daemon's answer to a command.
    pub(crate) fn ask(&self, command: &str, params: Value) -> Result<Value, Failure> {
        let params = match params {
            Value::Object(params) => params,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Map::new(),
        };
        let request = Request { command: command.to_owned(), params };
        let reply = socket::call(&self.socket, &request)
            .map_err(|source| unanswered(&self.socket, &source))?;
        if !reply.success {
            let text = format!("the daemon says: {}", text::shown(&reply.error));
            return Err(Failure::new(exit::REFUSED, text));
        }
        Ok(reply.data)
    }
}

fn unanswered(socket: &Path, source: &io::Error) -> Failure {
    let socket = socket.display();
    let is = |kinds: &[ErrorKind]| kinds.contains(&source.kind());
    let text = if is(&[ErrorKind::NotFound, ErrorKind::ConnectionRefused]) {
        format!(
            "no daemon listens on `{socket}`: `systemctl status snoozed` tells whether it runs, \
             and `--socket PATH` names another socket"
        )
    } else if is(&[ErrorKind::PermissionDenied]) {
        format!("`{socket}` is not open to you: ask as root, or as a member of the socket's group")
    } else if is(&[ErrorKind::WouldBlock, ErrorKind::TimedOut]) {
        format!(
            "the daemon does not answer on `{socket}`: `journalctl -u snoozed` tells what it does"
        )
    } else {
        format!("what listens on `{socket}` does not answer as the daemon does: {source}")
    };
    Failure::new(exit::NO_DAEMON, text)
}
