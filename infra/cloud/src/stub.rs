//! A service of AWS on a loopback port that speaks JSON or forms, for the tests of adapters that have
//! few calls.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use snooze_imds::fake::{Fake, Role};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::Aws;

pub(crate) const REGION: &str = "us-east-1";

/// What was asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// The call, for example `GetParameter`.
    pub(crate) call: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

impl Asked {
    /// The body of a call that is a form.
    pub(crate) fn form(&self) -> &str {
        self.body.as_str().unwrap_or_default()
    }

    /// The id of the key that it is signed with.
    pub(crate) fn key(&self) -> &str {
        let signed = &self.headers["authorization"];
        signed.split_once("Credential=").unwrap().1.split('/').next().unwrap()
    }
}

type Answer = dyn Fn(&Asked) -> (u16, String) + Send + Sync;

/// A running stub, which ends when it is dropped.
pub(crate) struct Stub {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

impl Stub {
    /// Answers each call with a status and a body.
    pub(crate) async fn start(
        answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let answer: Arc<Answer> = Arc::new(answer);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(converse(stream, Arc::clone(&noted), Arc::clone(&answer)));
            }
        });
        Self { address, asked, _tasks: tasks }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The same settings, led here.
    pub(crate) fn lead(&self, aws: Aws) -> Aws {
        aws.into_builder().endpoint_url(format!("http://{}", self.address)).build()
    }

    /// Settings of a daemon whose credentials live for an hour, led here.
    pub(crate) async fn aws(&self) -> (Aws, Fake) {
        let metadata = Fake::on_loopback().await.unwrap();
        metadata.role(Some(Role::lasting("orders", std::time::Duration::from_secs(3600))));
        let aws = crate::connect_daemon(REGION, Some(&metadata.url())).await;
        (self.lead(aws), metadata)
    }
}

async fn converse(mut stream: TcpStream, noted: Arc<Mutex<Vec<Asked>>>, answer: Arc<Answer>) {
    let mut received = Vec::new();
    loop {
        let Some((asked, length)) = parse(&received) else {
            if stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
                return;
            }
            continue;
        };
        received.drain(..length);
        let (status, body) = answer(&asked);
        noted.lock().unwrap().push(asked);
        let head = format!("HTTP/1.1 {status} Stub\r\nContent-Length: {}\r\n\r\n", body.len());
        if stream.write_all((head + &body).as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The request at the start of these bytes and its length; `None` while it is not whole.
fn parse(bytes: &[u8]) -> Option<(Asked, usize)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let lines = text.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<String, String> =
        lines.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let length = head + headers.get("content-length").map_or(0, |text| text.parse().unwrap());
    let body = bytes.get(head..length)?;
    let text = || Value::String(String::from_utf8_lossy(body).into_owned());
    let body = serde_json::from_slice(body).unwrap_or_else(|_| text());
    let target = headers.get("x-amz-target").map_or("", |target| target.as_str());
    let call = target.rsplit('.').next().unwrap_or_default().to_owned();
    Some((Asked { call, headers, body }, length))
}
