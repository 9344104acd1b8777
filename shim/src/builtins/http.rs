//! One POST, bounded in every direction.

use std::error::Error as _;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use snooze_plugin::Config;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// How long a connection may take to come up. Two round trips anywhere on earth take less.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// The most bytes that are read of an answer.
const MAX_BODY: usize = 64 * 1024;

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The body as far as it was read.
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer. The texts name the host and no more of the URL.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("cannot start the HTTP client")]
    Start(#[source] io::Error),
    #[error("cannot set the HTTP client up")]
    Setup(#[source] reqwest::Error),
    #[error("no connection to `{place}`; check that it runs and what the setting says")]
    Connect { place: String, source: reqwest::Error },
    #[error("no whole answer from `{place}`")]
    Broken { place: String, source: reqwest::Error },
    #[error("`{place}` did not answer within {} s", .limit.as_secs_f64())]
    Late { place: String, limit: Duration },
}

/// Sends to one URL. Made once, so that what is slow about it does not fall into a notice.
pub(crate) struct Sender {
    url: Url,
    client: Client,
    runtime: Runtime,
}

impl Sender {
    /// Gets ready to send to a URL.
    pub(crate) fn new(url: &Url) -> Result<Self, HttpError> {
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(HttpError::Start)?;
        let mut client = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .user_agent(concat!("cloudsnooze/", env!("CARGO_PKG_VERSION")));
        if is_loopback(url) {
            client = client.no_proxy();
        }
        if url.scheme() == "http" {
            // The system's certificates take time to read, and a small image has none.
            client = client.tls_certs_only([]);
        }
        let client = client.build().map_err(HttpError::Setup)?;
        Ok(Self { url: url.clone(), client, runtime })
    }

    /// Posts JSON and reads the answer, within `limit` for all of it.
    pub(crate) fn post(
        &self,
        headers: HeaderMap,
        body: String,
        limit: Duration,
    ) -> Result<Response, HttpError> {
        let place = place(&self.url);
        let exchange = async { timeout(limit, self.exchange(headers, body)).await };
        match self.runtime.block_on(exchange) {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(of_reqwest(error.without_url(), place, limit)),
            Err(_) => Err(HttpError::Late { place, limit }),
        }
    }

    async fn exchange(&self, headers: HeaderMap, text: String) -> reqwest::Result<Response> {
        let json = HeaderValue::from_static("application/json");
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, json);
        let mut response = request.headers(headers).body(text).send().await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            let room = MAX_BODY.saturating_sub(body.len());
            body.extend(chunk.iter().take(room));
            if chunk.len() > room {
                break;
            }
        }
        Ok(Response { status: response.status().as_u16(), body })
    }
}

fn of_reqwest(source: reqwest::Error, place: String, limit: Duration) -> HttpError {
    if source.is_connect() {
        return HttpError::Connect { place, source };
    }
    match source.is_timeout() {
        true => HttpError::Late { place, limit },
        false => HttpError::Broken { place, source },
    }
}

/// The URL of a setting: HTTP or HTTPS, with a host.
pub(crate) fn url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

/// The URL that a setting holds.
pub(crate) fn target(config: &mut Config<'_>, name: &str) -> Option<Url> {
    let text = config.text(name)?;
    let target = url(&text);
    if target.is_none() {
        config.fault(name, "expected an HTTP URL");
    }
    target
}

/// Host and port of a URL, which may be shown: user, password and path may be secrets.
pub(crate) fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

/// An error with the texts of its sources, in one line.
pub(crate) fn told(error: &HttpError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;

    use super::*;

    /// What a [`Server`] was sent.
    pub(crate) struct Received {
        /// Request line and headers as they came.
        pub(crate) head: String,
        pub(crate) body: String,
    }

    /// A web server on loopback that answers every request with the same bytes; none at all means
    /// that it never answers.
    pub(crate) struct Server {
        pub(crate) place: String,
        received: Receiver<Received>,
    }

    impl Server {
        pub(crate) fn answering(status: &str, body: &str) -> Self {
            let length = body.len();
            Self::raw(&format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}"))
        }

        pub(crate) fn raw(answer: &str) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let place = listener.local_addr().unwrap().to_string();
            let (sender, received) = channel();
            let answer = answer.to_owned();
            thread::spawn(move || {
                let mut held = Vec::new();
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    drop(sender.send(receive(&mut stream)));
                    drop(stream.write_all(answer.as_bytes()));
                    // A connection that ends would be an answer too.
                    if answer.is_empty() {
                        held.push(stream);
                    }
                }
            });
            Self { place, received }
        }

        pub(crate) fn received(&self) -> Received {
            self.received.recv_timeout(Duration::from_secs(10)).unwrap()
        }

        pub(crate) fn heard_nothing(&self) -> bool {
            self.received.try_recv().is_err()
        }
    }

    fn receive(stream: &mut TcpStream) -> Received {
        let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    return Received { head: head.to_owned(), body: body.to_owned() };
                }
            }
            match stream.read(&mut chunk).unwrap_or(0) {
                0 => return Received { head: text, body: String::new() },
                read => bytes.extend_from_slice(&chunk[..read]),
            }
        }
    }

    fn post(place: &str, limit: Duration) -> Result<Response, HttpError> {
        let url = url(&format!("http://user:hunter2@{place}/hidden/path")).unwrap();
        Sender::new(&url)?.post(HeaderMap::new(), "{}".to_owned(), limit)
    }

    #[test]
    fn a_server_that_hangs_costs_its_limit_and_no_more() {
        let server = Server::raw("");
        let error = post(&server.place, Duration::from_millis(100)).unwrap_err();
        assert_eq!(told(&error), format!("`{}` did not answer within 0.1 s", server.place));
    }

    #[test]
    fn errors_name_the_host_and_neither_password_nor_path() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let refused = told(&post(&gone, Duration::from_secs(5)).unwrap_err());
        assert!(refused.starts_with(&format!("no connection to `{gone}`")), "{refused}");
        let broken =
            Server::raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n");
        let cut = Server::raw("nonsense\r\n\r\n");
        let hanging = told(&post(&broken.place, Duration::from_millis(500)).unwrap_err());
        let nonsense = told(&post(&cut.place, Duration::from_secs(5)).unwrap_err());
        for text in [refused, hanging, nonsense] {
            assert!(!text.contains("hunter2") && !text.contains("hidden"), "{text}");
        }
    }

    #[test]
    fn a_redirect_is_not_followed() {
        let target = Server::answering("200 OK", "");
        let server = Server::raw(&format!(
            "HTTP/1.1 307 Go\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n",
            target.place
        ));
        assert_eq!(post(&server.place, Duration::from_secs(5)).unwrap().status, 307);
        assert!(target.heard_nothing());
    }

    #[test]
    fn an_endless_answer_is_cut() {
        let server = Server::answering("200 OK", &"x".repeat(3 * MAX_BODY));
        let response = post(&server.place, Duration::from_secs(5)).unwrap();
        assert_eq!(response.body.len(), MAX_BODY);
    }

    #[test]
    fn only_loopback_is_loopback() {
        let loopback = |text| is_loopback(&url(text).unwrap());
        assert!(loopback("http://localhost:8080/") && loopback("http://[::1]/"));
        assert!(loopback("http://127.8.0.1/") && !loopback("http://localhost.evil.org/"));
        assert!(url("ftp://x/").is_none() && url("http:///").is_none() && url("x").is_none());
    }
}
