//! As much of an HTTP server as it takes to answer wrongly in every way.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time;

use super::{Mode, Reply, Stage, control};
use crate::TOKEN_PATH;

/// The longest request that is read, in bytes.
const REQUEST_LIMIT: usize = 64 * 1024;

/// Answers until it is dropped; owns the tasks of its connections.
pub(super) async fn serve(listener: TcpListener, stage: Stage) {
    let mut connections = JoinSet::new();
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let stage = stage.clone();
            connections.spawn(async move {
                // How a connection ends is the client's business.
                let _ended = converse(stream, &stage).await;
            });
        } else {
            time::sleep(Duration::from_millis(10)).await;
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Answers the requests of one connection, one after the other.
async fn converse(mut stream: TcpStream, stage: &Stage) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::new();
    while let Some(request) = read(&mut stream, &mut received).await? {
        let control = request.path.strip_prefix("/_control/");
        let _in_flight = control.is_none().then(|| stage.begin(&request.path));
        let reply = match control {
            Some(verb) => control::answer(stage, &request.method, verb, &request.body),
            None if stage.is_down() => Reply::reset(),
            None => metadata(stage, &request),
        };
        if !send(&mut stream, &reply).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Answers as the metadata service does: tokens first, then whatever is asked.
fn metadata(stage: &Stage, request: &Request) -> Reply {
    match request.method.as_str() {
        "PUT" if request.path != TOKEN_PATH || request.header("x-forwarded-for").is_some() => {
            Reply::status(403)
        }
        "PUT" => {
            let wanted = request.header("x-aws-ec2-metadata-token-ttl-seconds");
            match wanted.and_then(|ttl| ttl.parse().ok()) {
                Some(ttl @ 1..=21_600) => stage.make_token(ttl),
                Some(_) | None => Reply::status(400),
            }
        }
        "GET" => match request.header("x-aws-ec2-metadata-token") {
            Some(token) if stage.knows_token(token) => stage.next(&request.path),
            Some(_) | None => Reply::status(401),
        },
        _ => Reply::status(405),
    }
}

/// One request.
struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, wanted: &str) -> Option<&str> {
        self.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }
}

/// Reads the next request; `None` when the client is done.
async fn read(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<Option<Request>> {
    loop {
        if let Some((request, length)) = parse(received) {
            received.drain(..length);
            return Ok(Some(request));
        }
        if received.len() > REQUEST_LIMIT || stream.read_buf(received).await? == 0 {
            return Ok(None);
        }
    }
}

/// The request at the start of these bytes and its length; `None` while it is not whole.
fn parse(bytes: &[u8]) -> Option<(Request, usize)> {
    let head_length = bytes.windows(4).position(|four| four == b"\r\n\r\n")?.checked_add(4)?;
    let head = String::from_utf8_lossy(bytes.get(..head_length)?).into_owned();
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let method = words.next()?.to_owned();
    let path = words.next()?.to_owned();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut request = Request { method, path, headers, body: Vec::new() };
    let body_length =
        request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let length = head_length.checked_add(body_length)?;
    request.body = bytes.get(head_length..length)?.to_vec();
    Some((request, length))
}

/// Sends an answer; false when the connection is over.
async fn send(stream: &mut TcpStream, reply: &Reply) -> io::Result<bool> {
    if !reply.delay.is_zero() && !wait(stream, Some(reply.delay)).await {
        return Ok(false);
    }
    match reply.mode {
        Mode::Hang => {
            wait(stream, None).await;
            return Ok(false);
        }
        Mode::Reset => {
            stream.set_zero_linger()?;
            return Ok(false);
        }
        Mode::Raw => {
            stream.write_all(&reply.body).await?;
            stream.shutdown().await?;
            return Ok(false);
        }
        Mode::Whole => {
            stream.write_all(&[head(reply).as_bytes(), &reply.body].concat()).await?;
        }
        Mode::CutAfter(length) => {
            let sent = reply.body.get(..length).unwrap_or(&reply.body);
            stream.write_all(&[head(reply).as_bytes(), sent].concat()).await?;
            stream.shutdown().await?;
            return Ok(false);
        }
        Mode::Drip(pause) => {
            stream.write_all(head(reply).as_bytes()).await?;
            for byte in &reply.body {
                if !wait(stream, Some(pause)).await {
                    return Ok(false);
                }
                stream.write_all(&[*byte]).await?;
            }
        }
    }
    Ok(true)
}

fn head(reply: &Reply) -> String {
    let mut head = format!("HTTP/1.1 {} Fake\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", reply.body.len()));
    head
}

/// Waits so long, or for ever; false as soon as the client is gone.
async fn wait(stream: &mut TcpStream, limit: Option<Duration>) -> bool {
    let gone = async {
        // A client that waits for an answer says nothing, so whatever comes is its end.
        let mut byte = [0; 1];
        let _end = stream.read(&mut byte).await;
    };
    let Some(limit) = limit else {
        gone.await;
        return false;
    };
    time::timeout(limit, gone).await.is_err()
}
