//! As much HTTP as the demo needs: one request a connection, on the loopback address.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long one exchange may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The most bytes of a head or a body.
const MOST: u64 = 1 << 20;
/// How many headers are read.
const HEADERS: usize = 100;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// `GET`, `POST`, …
    pub(super) method: String,
    /// Without the host.
    pub(super) path: String,
    /// Names in lower case, with their values.
    pub(super) headers: Vec<(String, String)>,
    /// The body.
    pub(super) body: Vec<u8>,
}

impl Request {
    /// A header by its name in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The status and the JSON of an answer.
pub(super) type Answer = (u16, Value);

/// Answers requests for ever.
pub(super) async fn serve(
    listener: TcpListener,
    answer: Arc<dyn Fn(Request) -> Answer + Send + Sync>,
) {
    let mut exchanges = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let answer = Arc::clone(&answer);
                exchanges.spawn(async move {
                    // Whoever hangs up half way gets no answer.
                    let _ = timeout(LIMIT, exchange(stream, answer)).await;
                });
            }
            Some(_) = exchanges.join_next() => {}
        }
    }
}

async fn exchange(
    stream: TcpStream,
    answer: Arc<dyn Fn(Request) -> Answer + Send + Sync>,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let request = read(&mut stream).await?;
    let (status, body) = answer(request);
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} .\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Request> {
    let (first, headers) = head(stream).await?;
    let mut words = first.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let mut request = Request { method: word(), path: word(), headers, body: Vec::new() };
    request.body = body(stream, request.header("content-length")).await?;
    Ok(request)
}

/// The first line and the headers.
async fn head(stream: &mut BufReader<TcpStream>) -> io::Result<(String, Vec<(String, String)>)> {
    let mut lines = stream.take(MOST).lines();
    let first = lines.next_line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut headers = Vec::new();
    while let Some(line) = lines.next_line().await?.filter(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':') else { continue };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        if headers.len() > HEADERS {
            return Err(io::Error::other("too many headers"));
        }
    }
    Ok((first, headers))
}

async fn body(stream: &mut BufReader<TcpStream>, length: Option<&str>) -> io::Result<Vec<u8>> {
    let length = length.and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = Vec::new();
    stream.take(MOST.min(length)).read_to_end(&mut body).await?;
    Ok(body)
}

/// The JSON that a server answers to a GET.
pub(super) async fn get(address: SocketAddr, path: &str) -> io::Result<Value> {
    let asked = async {
        let mut stream = BufReader::new(TcpStream::connect(address).await?);
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let (_, headers) = head(&mut stream).await?;
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let body = body(&mut stream, length.map(|(_, value)| value.as_str())).await?;
        Ok(serde_json::from_slice(&body)?)
    };
    timeout(LIMIT, asked).await?
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_get_is_answered_with_json() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = |request: Request| (200, json!({ "path": request.path }));
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::new(answer)));
        assert_eq!(get(address, "/orders").await.unwrap(), json!({ "path": "/orders" }));
    }
}
