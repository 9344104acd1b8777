//! As much of HTTP/1.1 as it takes to pass messages on and to read what is in them.

use std::io::{self, Read, Write};

use serde_json::Value;

/// The longest message that is passed on, in bytes.
const LIMIT: usize = 8 * 1024 * 1024;

/// A request or an answer, its body whole.
#[derive(Debug, Clone)]
pub struct Message {
    /// The first line.
    pub start: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Message {
    /// An answer with JSON.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        let kind = ("content-type".to_owned(), "application/x-amz-json-1.0".to_owned());
        let start = format!("HTTP/1.1 {status} Relay");
        Self { start, headers: vec![kind], body: body.to_string().into_bytes() }
    }

    /// An answer with XML.
    #[must_use]
    pub fn xml(status: u16, body: &str) -> Self {
        let kind = ("content-type".to_owned(), "text/xml".to_owned());
        let start = format!("HTTP/1.1 {status} Relay");
        Self { start, headers: vec![kind], body: body.as_bytes().to_vec() }
    }

    /// A header.
    #[must_use]
    pub fn header(&self, wanted: &str) -> Option<&str> {
        self.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The status of an answer; 0 for a request.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    /// Reads the next message; `None` when the other side is done.
    pub(super) fn read(stream: &mut impl Read, rest: &mut Vec<u8>) -> io::Result<Option<Self>> {
        let Some(mut message) = Self::read_head(stream, rest)? else { return Ok(None) };
        let is_chunked =
            message.header("transfer-encoding").is_some_and(|value| value.contains("chunked"));
        message.body = if is_chunked {
            chunks(stream, rest)?
        } else {
            let length = message.header("content-length").and_then(|text| text.parse().ok());
            take(stream, rest, length.unwrap_or(0))?
        };
        Ok(Some(message))
    }

    /// Reads the next message, which has no body whatever its headers say: the answer to `HEAD`.
    pub(super) fn read_head(
        stream: &mut impl Read,
        rest: &mut Vec<u8>,
    ) -> io::Result<Option<Self>> {
        let head_length = loop {
            if let Some(at) = find(rest, b"\r\n\r\n") {
                break at;
            }
            if more(stream, rest)? == 0 {
                return Ok(None);
            }
        };
        let head: Vec<u8> = rest.drain(..head_length + 4).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.lines();
        let start = lines.next().unwrap_or_default().to_owned();
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().into()));
        Ok(Some(Self { start, headers: headers.collect(), body: Vec::new() }))
    }

    /// Writes its head as it is, and no body.
    pub(super) fn write_head(&self, stream: &mut impl Write) -> io::Result<()> {
        let mut head = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())
    }

    /// Writes it, with its length.
    pub(super) fn write(&self, stream: &mut impl Write) -> io::Result<()> {
        let mut head = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            if !["content-length", "transfer-encoding"].contains(&name.as_str()) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", self.body.len()));
        stream.write_all(&[head.as_bytes(), &self.body].concat())
    }
}

fn chunks(stream: &mut impl Read, rest: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = find(rest, b"\r\n") {
                break at;
            }
            if more(stream, rest)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let line: Vec<u8> = rest.drain(..end + 2).collect();
        let line = String::from_utf8_lossy(&line);
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
        let chunk = take(stream, rest, size + 2)?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(chunk.get(..size).unwrap_or_default());
    }
}

fn take(stream: &mut impl Read, rest: &mut Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    if length > LIMIT {
        return Err(io::ErrorKind::InvalidData.into());
    }
    while rest.len() < length {
        if more(stream, rest)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(rest.drain(..length).collect())
}

fn more(stream: &mut impl Read, rest: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 16 * 1024];
    let length = stream.read(&mut buffer)?;
    rest.extend_from_slice(buffer.get(..length).unwrap_or_default());
    Ok(length)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
