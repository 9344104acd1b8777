//! The server that the webhook is sent to.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::{hmac, rand};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::http::{self, Request};

/// Where the signature of a body stands.
const SIGNATURE: &str = "x-cloudsnooze-signature";

/// A running receiver; it ends when it is dropped.
#[derive(Debug)]
pub(super) struct Receiver {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// The key that bodies are signed with.
    pub(super) secret: String,
    received: Arc<Mutex<Vec<Request>>>,
    _tasks: JoinSet<()>,
}

impl Receiver {
    /// Starts on a free port of 127.0.0.1, with a key of its own.
    pub(super) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let received = Arc::new(Mutex::new(Vec::new()));
        let inbox = Arc::clone(&received);
        let mut tasks = JoinSet::new();
        tasks.spawn(http::serve(
            listener,
            Arc::new(move |request| {
                inbox.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                (200, json!({}))
            }),
        ));
        let mut key = [0; 16];
        rand::fill(&mut key).map_err(|_unspecified| io::Error::other("no random numbers"))?;
        Ok(Self { address, secret: hex(&key), received, _tasks: tasks })
    }

    /// What is to be said of each message that came.
    pub(super) fn messages(&self) -> Vec<Message> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.iter().map(|request| Message::of(request, &self.secret)).collect()
    }
}

/// What is to be said of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// The type of the event, if the body is JSON with one.
    pub(super) kind: Option<String>,
    /// Its signature is that of its body.
    pub(super) signed: bool,
}

impl Message {
    fn of(request: &Request, secret: &str) -> Self {
        let body: Option<Value> = serde_json::from_slice(&request.body).ok();
        let kind = body.as_ref().and_then(|body| body.get("type")?.as_str()).map(str::to_owned);
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let right = format!("sha256={}", hex(hmac::sign(&key, &request.body).as_ref()));
        Self { kind, signed: request.header(SIGNATURE) == Some(&right) }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    const SUM: &str = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";

    fn message(body: &str, signature: &str) -> Message {
        let request = Request {
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers: vec![(SIGNATURE.to_owned(), signature.to_owned())],
            body: body.as_bytes().to_vec(),
        };
        Message::of(&request, "Jefe")
    }

    #[test]
    fn a_signature_holds_for_its_body_only() {
        let what = "what do ya want for nothing?";
        assert_eq!(message(what, SUM), Message { kind: None, signed: true });
        assert!(!message(what, "sha256=00").signed);
        let other = message(r#"{"type":"custom"}"#, SUM);
        assert_eq!(other, Message { kind: Some("custom".to_owned()), signed: false });
    }
}
