//! A few questions to the metadata service that the daemon's client never asks: whether it answers
//! without a token, and what time it is there.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use jiff::Timestamp;

use super::Metadata;

/// How long each of connecting, sending and answering may take: the service is one hop away.
const LIMIT: Duration = Duration::from_secs(1);
/// The most that is read of an answer.
const MOST: usize = 64 << 10;
/// Its answer to all of these is short, or not looked at.
const TOKEN: &str = "/latest/api/token";
const ID: &str = "/latest/meta-data/instance-id";
const ROLE: &str = "/latest/meta-data/iam/security-credentials/";

/// Asks the first of these addresses that answers.
pub(super) fn ask(endpoints: &[String], needs_role: bool) -> Metadata {
    let open = endpoints.iter().find_map(|at| Some((at, get(at, ID, None).ok()?)));
    let Some((at, open)) = open else { return Metadata::Silent };
    let lifetime = "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n";
    let token = exchange(at, "PUT", TOKEN, lifetime).ok().filter(|answer| answer.status == 200);
    let Some(token) = token else { return Metadata::NoToken };
    let role = get(at, ROLE, Some(&token.body)).ok();
    let now = Timestamp::now();
    Metadata::Works {
        is_open: open.status == 200,
        ahead: token.date.map(|there| now.duration_since(there)),
        has_role: role.and_then(|role| match role.status {
            200 => Some(true),
            404 => Some(false),
            _ => None,
        }),
        needs_role,
    }
}

struct Answer {
    status: u16,
    date: Option<Timestamp>,
    body: String,
}

fn get(at: &str, path: &str, token: Option<&str>) -> io::Result<Answer> {
    let token = token.map(|token| format!("X-aws-ec2-metadata-token: {}\r\n", token.trim()));
    exchange(at, "GET", path, &token.unwrap_or_default())
}

fn exchange(at: &str, method: &str, path: &str, headers: &str) -> io::Result<Answer> {
    let host = at.trim_start_matches("http://");
    let has_port = host.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
    let address = if has_port { host.to_owned() } else { format!("{host}:80") };
    let address = address.to_socket_addrs()?.next();
    let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\
         Connection: close\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut received = Vec::new();
    let mut piece = [0; 4096];
    while received.len() < MOST && !is_whole(&received) {
        match stream.read(&mut piece)? {
            0 => break,
            count => received.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
    read(&String::from_utf8_lossy(&received)).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn is_whole(received: &[u8]) -> bool {
    let text = String::from_utf8_lossy(received);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = header(head, "content-length").and_then(|text| text.parse::<usize>().ok());
    length.is_some_and(|length| body.len() >= length)
}

fn read(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.trim().parse().ok()?;
    let date = header(head, "date").and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    let date = date.map(|date| date.timestamp());
    Some(Answer { status, date, body: body.to_owned() })
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = head.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_its_date() {
        let text = "HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\n\
                    Content-Length: 3\r\n\r\nabc";
        let answer = read(text).unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "abc"));
        assert_eq!(answer.date, "2026-11-21T10:00:00Z".parse().ok());
        assert!(is_whole(text.as_bytes()) && !is_whole(&text.as_bytes()[..text.len() - 1]));
        assert!(read("HTTP/1.1 nonsense").is_none() && read("").is_none());
    }

    #[test]
    fn nobody_at_the_address_is_silence() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        assert!(matches!(ask(&[address], false), Metadata::Silent));
        assert!(matches!(ask(&[], false), Metadata::Silent));
    }
}
