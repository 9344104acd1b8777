//! The local socket: newline JSON, `{"command", "params"}` in, `{"success", "status", "data",
//! "error", "code"}` out.
//!
//! Root, the daemon's own user and members of the socket's group may use every command, others
//! only those that read; the file's mode decides who can connect at all.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How many clients may be connected at once; more wait in the kernel's queue.
const CLIENTS: usize = 16;
/// The longest request, in bytes.
pub const REQUEST: u64 = 64 << 10;
/// How long a client may be silent, or slow to take its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// One of [`COMMANDS`].
    pub command: String,
    /// What the command needs.
    #[serde(default)]
    pub params: Map<String, Value>,
}

/// The commands, and whether they change anything.
pub const COMMANDS: [(&str, bool); 12] = [
    ("STATUS", false),
    ("CONFIG_GET", false),
    ("PLUGINS_LIST", false),
    ("HISTORY", false),
    ("POLICIES", false),
    ("EXPLAIN", false),
    ("IDLE", false),
    ("METRICS", false),
    ("EVENT", true),
    ("WAKE", true),
    ("PLUGIN_ENABLE", true),
    ("PLUGIN_DISABLE", true),
];

/// What a client gets.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct Reply {
    /// It worked.
    pub success: bool,
    /// `ok` or `error`.
    pub status: String,
    /// The answer; null on errors.
    #[serde(default)]
    pub data: Value,
    /// What went wrong and what to do; empty on success.
    #[serde(default)]
    pub error: String,
    /// 0, or one of the codes of [`Reply::error`].
    #[serde(default)]
    pub code: u16,
}

/// The request is no request.
pub const BAD_REQUEST: u16 = 100;
/// There is no such command.
pub const UNKNOWN_COMMAND: u16 = 101;
/// The parameters do not fit the command.
pub const BAD_PARAMETERS: u16 = 102;
/// The peer may not use the command.
pub const NOT_ALLOWED: u16 = 103;
/// The command failed.
pub const FAILED: u16 = 200;

impl Reply {
    /// An answer.
    #[must_use]
    pub fn data(data: Value) -> Self {
        Self { success: true, status: "ok".to_owned(), data, error: String::new(), code: 0 }
    }

    /// A refusal or failure. Control characters become `?`: the text may quote what was sent.
    #[must_use]
    pub fn error(code: u16, error: impl Into<String>) -> Self {
        let error = error.into().replace(|c: char| c.is_control() && c != '\n', "?");
        Self { success: false, status: "error".to_owned(), data: Value::Null, error, code }
    }
}

/// A request with the way back to its client.
#[derive(Debug)]
pub struct Asked {
    /// What the client wants.
    pub request: Request,
    /// Where the reply goes.
    pub reply: oneshot::Sender<Reply>,
}

/// Makes the socket. A file that a killed daemon left at the path is replaced; whoever calls
/// this holds the lock of the state directory, so no other daemon serves it.
///
/// # Errors
/// When the path cannot be bound or its mode not be set.
pub fn bind(path: &Path, mode: u32, group: Option<u32>) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::os::unix::fs::chown(path, None, group)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode))?;
    Ok(listener)
}

/// Serves clients until the daemon no longer listens to `asked`.
pub async fn serve(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    let group = listener
        .local_addr()
        .ok()
        .and_then(|address| std::fs::metadata(address.as_pathname()?).ok())
        .map(|file| file.gid());
    let mut clients = JoinSet::new();
    loop {
        while clients.len() >= CLIENTS {
            clients.join_next().await;
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(client(stream, asked.clone(), group));
                }
                // Out of descriptors, say: others may be freed meanwhile.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = clients.join_next() => {}
            () = asked.closed() => return,
        }
    }
}

async fn client(stream: UnixStream, asked: mpsc::Sender<Asked>, group: Option<u32>) {
    let trusted = stream.peer_cred().is_ok_and(|peer| is_trusted(&peer, group));
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut bounded = AsyncReadExt::take(&mut lines, REQUEST);
        match timeout(PATIENCE, bounded.read_until(b'\n', &mut line)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) | Err(_) => return,
        }
        let whole = line.ends_with(b"\n");
        let reply = match read_request(&line, whole, trusted) {
            Ok(request) => ask(request, &asked).await,
            Err(refusal) => refusal,
        };
        let mut text = serde_json::to_vec(&reply).unwrap_or_default();
        text.push(b'\n');
        let written = timeout(PATIENCE, write.write_all(&text)).await;
        if !whole || !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

/// Root, our own user, and members of the socket's group.
fn is_trusted(peer: &UCred, group: Option<u32>) -> bool {
    let own = rustix::process::geteuid().as_raw();
    if peer.uid() == 0 || peer.uid() == own || Some(peer.gid()) == group {
        return true;
    }
    // The credentials of a peer hold its first group only; the kernel shows the others here.
    let status =
        peer.pid().and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).ok());
    let groups = status
        .as_deref()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("Groups:")));
    groups.is_some_and(|groups| {
        groups.split_whitespace().any(|id| group.is_some() && id.parse().ok() == group)
    })
}

/// Reads a line of a client; `whole` when it was ended, `trusted` when the client may change
/// things.
///
/// # Errors
/// The reply that tells what is wrong with it.
pub fn read_request(line: &[u8], whole: bool, trusted: bool) -> Result<Request, Reply> {
    if !whole && u64::try_from(line.len()).unwrap_or(u64::MAX) >= REQUEST {
        let text = format!("the request is longer than {REQUEST} bytes");
        return Err(Reply::error(BAD_REQUEST, text));
    }
    let request = parse_request(line).map_err(|error| {
        let text = format!("expected {{\"command\", \"params\"}} as JSON on one line: {error}");
        Reply::error(BAD_REQUEST, text)
    })?;
    let command = request.command.to_ascii_uppercase();
    let Some((_, changes)) = COMMANDS.iter().find(|(name, _)| *name == command) else {
        let names: Vec<&str> = COMMANDS.iter().map(|(name, _)| *name).collect();
        let text = format!("unknown command; expected one of {}", names.join(", "));
        return Err(Reply::error(UNKNOWN_COMMAND, text));
    };
    if *changes && !trusted {
        let text = format!("`{command}` is for root, the daemon's user and the socket's group");
        return Err(Reply::error(NOT_ALLOWED, text));
    }
    Ok(Request { command, ..request })
}

/// With bounds: what it carries goes into the journal and to plugins.
fn parse_request(line: &[u8]) -> Result<Request, String> {
    let text = std::str::from_utf8(line).map_err(|error| error.to_string())?;
    let value = snooze_policy::strict::parse(text).map_err(|fault| fault.to_string())?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// The answer of the loop to a request.
pub(crate) async fn ask(request: Request, asked: &mpsc::Sender<Asked>) -> Reply {
    let (reply, answer) = oneshot::channel();
    if asked.send(Asked { request, reply }).await.is_err() {
        return Reply::error(FAILED, "the daemon is ending");
    }
    match timeout(PATIENCE, answer).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(_)) | Err(_) => Reply::error(FAILED, "the daemon did not answer in time"),
    }
}

/// Asks the daemon at `path`, without async, for the command.
///
/// # Errors
/// When nobody listens there, or the answer is no reply.
pub fn call(path: &Path, request: &Request) -> io::Result<Reply> {
    use std::io::{BufRead, BufReader, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE * 2))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &[u8], trusted: bool) -> u16 {
        let whole = line.ends_with(b"\n");
        read_request(line, whole, trusted).map_or_else(|reply| reply.code, |_| 0)
    }

    #[test]
    fn commands_are_read_in_any_case_and_bad_ones_are_told_apart() {
        assert_eq!(refusal(b"{\"command\":\"status\"}\n", false), 0);
        assert_eq!(refusal(b"{\"command\":\"HISTORY\",\"params\":{\"limit\":1}}\n", false), 0);
        assert_eq!(refusal(b"{\"command\":\"FORMAT\"}\n", true), UNKNOWN_COMMAND);
        for bad in
            [&b"\n"[..], b"[]\n", b"{\"command\":1}\n", b"{\"command\":\"STATUS\",\"x\":1}\n"]
        {
            assert_eq!(refusal(bad, true), BAD_REQUEST);
        }
    }

    #[test]
    fn c9_a_request_that_is_deep_or_says_a_thing_twice_is_refused() {
        let deep = |depth| {
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            format!("{{\"command\":\"EVENT\",\"params\":{{\"data\":{open}{close}}}}}\n")
        };
        assert_eq!(refusal(deep(20).as_bytes(), true), 0);
        for depth in [33, 100, 10_000] {
            assert_eq!(refusal(deep(depth).as_bytes(), true), BAD_REQUEST);
        }
        let twice = b"{\"command\":\"STATUS\",\"command\":\"EVENT\"}\n";
        assert_eq!(refusal(twice, true), BAD_REQUEST);
    }

    // E11
    #[test]
    fn strangers_may_read_and_change_nothing() {
        for (command, changes) in COMMANDS {
            let line = format!("{{\"command\":\"{command}\"}}\n");
            assert_eq!(refusal(line.as_bytes(), true), 0);
            assert_eq!(refusal(line.as_bytes(), false), if changes { NOT_ALLOWED } else { 0 });
        }
    }

    // C9
    #[test]
    fn a_request_that_is_too_long_or_too_deep_is_refused() {
        let long = vec![b' '; usize::try_from(REQUEST).unwrap()];
        assert_eq!(refusal(&long, true), BAD_REQUEST);
        let deep = format!("{{\"command\":\"EVENT\",\"params\":{{\"data\":{}", "[".repeat(30_000));
        assert_eq!(refusal(format!("{deep}\n").as_bytes(), true), BAD_REQUEST);
    }
}
