//! `GET /metrics` on a loopback port: one request a connection, and nothing else.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::CONTENT_TYPE;
use crate::socket::{Asked, Request, ask};

/// How many clients may be connected at once; more wait in the kernel's queue.
const CLIENTS: usize = 4;
/// The longest head of a request, in bytes.
const HEAD: usize = 8 << 10;
/// How long a client may take for its request, and for taking the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The command of the socket whose answer is shown.
pub const COMMAND: &str = "METRICS";

/// Listens at an address, which the settings hold to loopback.
///
/// # Errors
/// It is taken, or not there.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves clients until the daemon no longer listens to `asked`.
pub async fn serve(listener: TcpListener, asked: mpsc::Sender<Asked>) {
    let mut clients = JoinSet::new();
    loop {
        while clients.len() >= CLIENTS {
            clients.join_next().await;
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(client(stream, asked.clone()));
                }
                // Out of descriptors, say: others may be freed meanwhile.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = clients.join_next() => {}
            () = asked.closed() => return,
        }
    }
}

async fn client(mut stream: TcpStream, asked: mpsc::Sender<Asked>) {
    let Ok(Some(head)) = timeout(PATIENCE, head(&mut stream)).await else { return };
    let answer = match target(&head) {
        Target::Metrics => {
            let request = Request { command: COMMAND.to_owned(), params: Map::new() };
            match ask(request, &asked).await.data {
                Value::String(text) => answer("200 OK", CONTENT_TYPE, &text),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => plain("503 Service Unavailable"),
            }
        }
        Target::Elsewhere => plain("404 Not Found"),
        Target::OtherMethod => plain("405 Method Not Allowed"),
        Target::Nonsense => plain("400 Bad Request"),
    };
    let written = timeout(PATIENCE, stream.write_all(answer.as_bytes())).await;
    if matches!(written, Ok(Ok(()))) {
        // The client may have left by itself.
        let _ = stream.shutdown().await;
    }
}

/// The head of a request, cut where it is too long; `None` when the client left before its end.
async fn head(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") && head.len() < HEAD {
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        head.extend_from_slice(chunk.get(..read)?);
    }
    Some(head)
}

/// What a request wants.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Metrics,
    Elsewhere,
    OtherMethod,
    Nonsense,
}

fn target(head: &[u8]) -> Target {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let words = std::str::from_utf8(line).unwrap_or_default().split(' ').collect::<Vec<_>>();
    let [method, target, version] = words.as_slice() else { return Target::Nonsense };
    let is_whole = head.windows(4).any(|four| four == b"\r\n\r\n");
    if !is_whole || !version.starts_with("HTTP/1.") {
        return Target::Nonsense;
    }
    match (*method, target.split('?').next()) {
        ("GET", Some("/metrics")) => Target::Metrics,
        ("GET", _) => Target::Elsewhere,
        _ => Target::OtherMethod,
    }
}

fn plain(status: &str) -> String {
    answer(status, "text/plain; charset=utf-8", &format!("{status}; ask `GET /metrics`\n"))
}

fn answer(status: &str, content: &str, body: &str) -> String {
    let allow = if status.starts_with("405") { "allow: GET\r\n" } else { "" };
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content}\r\ncontent-length: {length}\r\n\
         {allow}connection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_thing_can_be_asked_for() {
        let of = |line: &str| target(format!("{line}\r\nhost: x\r\n\r\n").as_bytes());
        assert_eq!(of("GET /metrics HTTP/1.1"), Target::Metrics);
        assert_eq!(of("GET /metrics?name[]=up HTTP/1.0"), Target::Metrics);
        assert_eq!(of("GET / HTTP/1.1"), Target::Elsewhere);
        assert_eq!(of("GET /metrics/../STATUS HTTP/1.1"), Target::Elsewhere);
        assert_eq!(of("POST /metrics HTTP/1.1"), Target::OtherMethod);
        for bad in ["", "GET /metrics", "GET  /metrics HTTP/1.1", "GET /metrics HTTP/2", "\u{7f}"] {
            assert_eq!(of(bad), Target::Nonsense, "{bad}");
        }
        assert_eq!(target(b"GET /metrics HTTP/1.1\r\n"), Target::Nonsense);
        assert_eq!(target(b"GET /\xff HTTP/1.1\r\n\r\n"), Target::Nonsense);
    }
}
