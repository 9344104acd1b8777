//! The client.

use std::error::Error;
use std::fmt;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url, redirect};
use tokio::sync::Mutex;
use tokio::time::{self, Instant};

use crate::endpoints::Endpoints;
use crate::token::Token;
use crate::{Fault, Path, Settings, SettingsError, TOKEN_PATH, TokenFault};

/// The longest body that is read, in bytes. The longest we ask for are the keys of
/// 100 tags, 13 KB.
pub const BODY_LIMIT: usize = 16 * 1024;

const TTL_HEADER: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");

/// What the service says about a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Status 200: the body, which may be empty.
    Found(String),
    /// Status 404: there is no such thing. On the path of a signal: no news.
    Absent,
}

/// A client of the metadata service, version 2 only.
///
/// It asks one question at a time: a second [`Client::get`] waits for the first, within its own
/// limit of time.
pub struct Client {
    http: reqwest::Client,
    endpoints: Vec<Url>,
    settings: Settings,
    state: Mutex<State>,
}

/// What the client remembers from one exchange to the next.
struct State {
    endpoints: Endpoints,
    token: Option<Token>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Client {
    /// Makes a client; touches no network.
    ///
    /// # Errors
    ///
    /// When the settings name no endpoint or an unusable one, or a limit is out of bounds.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        if settings.timeout.is_zero() {
            return Err(SettingsError::Timeout);
        }
        if !(1..=21_600).contains(&settings.token_ttl) {
            return Err(SettingsError::TokenTtl(settings.token_ttl));
        }
        let endpoints = settings
            .endpoints
            .iter()
            .map(|text| endpoint(text))
            .collect::<Result<Vec<_>, SettingsError>>()?;
        if endpoints.is_empty() {
            return Err(SettingsError::NoEndpoint);
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .http1_only()
            // A second connection would only wait beside the first.
            .pool_max_idle_per_host(1)
            // Plain HTTP needs no certificates: none are loaded, and none need be installed.
            .tls_certs_only([])
            .build()
            .map_err(SettingsError::Http)?;
        let state = State { endpoints: Endpoints::new(endpoints.len()), token: None };
        Ok(Self { http, endpoints, settings, state: Mutex::new(state) })
    }

    /// Asks for a path. Ends within [`Settings::timeout`], whatever the service does.
    ///
    /// A token is made where none is at hand; a token that is refused is replaced once, and the
    /// question asked again at once.
    ///
    /// # Errors
    ///
    /// Whatever is neither an answer nor a 404.
    pub async fn get(&self, path: &Path) -> Result<Answer, Fault> {
        let limit = self.settings.timeout;
        let until = Instant::now() + limit;
        let Ok(mut state) = time::timeout_at(until, self.state.lock()).await else {
            return Err(Fault::TimedOut(limit));
        };
        let answer = time::timeout_at(until, self.exchange(&mut state, path))
            .await
            .unwrap_or(Err(Fault::TimedOut(limit)));
        let before = state.endpoints.current();
        match &answer {
            Err(fault) if fault.is_of_endpoint() => state.endpoints.failed(),
            Ok(_) | Err(_) => state.endpoints.answered(),
        }
        if state.endpoints.current() != before {
            state.token = None;
        }
        answer
    }

    async fn exchange(&self, state: &mut State, path: &Path) -> Result<Answer, Fault> {
        let Some(base) = self.endpoints.get(state.endpoints.current()) else {
            return Err(Fault::Connect("no endpoint".to_owned()));
        };
        let mut url = base.clone();
        url.set_path(&path.as_str());
        for _ in 0..2 {
            let token = self.token(state, base).await?;
            let mut response = self.send(Method::GET, &url, TOKEN_HEADER, token).await?;
            match response.status() {
                StatusCode::OK => return Ok(Answer::Found(body(&mut response).await?)),
                StatusCode::NOT_FOUND => return Ok(Answer::Absent),
                StatusCode::UNAUTHORIZED => state.token = None,
                status => return Err(refusal(status)),
            }
        }
        Err(Fault::Refused)
    }

    /// The token at hand, or a new one.
    async fn token(&self, state: &mut State, base: &Url) -> Result<HeaderValue, Fault> {
        if let Some(token) = &state.token
            && !token.is_stale(Instant::now())
        {
            return Ok(token.header());
        }
        let mut url = base.clone();
        url.set_path(TOKEN_PATH);
        let ttl = HeaderValue::from(self.settings.token_ttl);
        let asked = Instant::now();
        let mut response = self.send(Method::PUT, &url, TTL_HEADER, ttl).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::FORBIDDEN => return Err(Fault::Off),
            status => return Err(Fault::Token(TokenFault::Status(status.as_u16()))),
        }
        let Ok(text) = body(&mut response).await else {
            return Err(Fault::Token(TokenFault::Body));
        };
        let token =
            Token::read(&text, response.headers().get(&TTL_HEADER), asked).map_err(Fault::Token)?;
        let header = token.header();
        state.token = Some(token);
        Ok(header)
    }

    async fn send(
        &self,
        method: Method,
        url: &Url,
        name: HeaderName,
        value: HeaderValue,
    ) -> Result<reqwest::Response, Fault> {
        let headers = HeaderMap::from_iter([(name, value)]);
        let request = self.http.request(method, url.clone()).headers(headers);
        request.send().await.map_err(|error| unsent(&error))
    }
}

/// Reads the address of an endpoint: plain HTTP, a host, nothing else.
fn endpoint(text: &str) -> Result<Url, SettingsError> {
    let bad = || SettingsError::Endpoint(text.to_owned());
    let Ok(url) = Url::parse(text) else { return Err(bad()) };
    let plain = url.scheme() == "http"
        && url.host().is_some()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if plain { Ok(url) } else { Err(bad()) }
}

/// What a status other than 200, 401 and 404 means.
fn refusal(status: StatusCode) -> Fault {
    match status {
        StatusCode::FORBIDDEN => Fault::Off,
        status if status.is_redirection() => Fault::Redirect(status.as_u16()),
        status => Fault::Status(status.as_u16()),
    }
}

/// What it means that a request brought no head of an answer.
fn unsent(error: &reqwest::Error) -> Fault {
    if !error.is_connect() {
        return Fault::Broken;
    }
    let mut reason: &dyn Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    Fault::Connect(reason.to_string())
}

/// Reads the body up to the limit.
async fn body(response: &mut reqwest::Response) -> Result<String, Fault> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > BODY_LIMIT => {
                return Err(Fault::TooLarge);
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(_) => return Err(Fault::Body),
        }
    }
    let Ok(text) = String::from_utf8(body) else { return Err(Fault::Body) };
    Ok(text)
}

#[cfg(test)]
mod tests;
