//! Carries the calls of the daemon's clients over reqwest, which the daemon links anyway.
//!
//! The SDK's own carrier would bring HTTP/2 and a second pool of connections, a third of a
//! megabyte. Bodies are whole, both ways: the daemon moves messages, no data.

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::HttpError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use reqwest::redirect;

use super::CONNECT;

/// Answers are shorter: a page of DynamoDB is at most 1 MB before it is put into JSON.
const LONGEST: usize = 8 << 20;

/// For the services of AWS, through the proxy of the environment if there is one.
pub(super) fn services() -> SharedHttpClient {
    client(reqwest::Client::builder())
}

/// For what hands out credentials next door: no proxy, no certificates.
pub(super) fn neighbours() -> SharedHttpClient {
    client(reqwest::Client::builder().no_proxy().tls_certs_only([]))
}

fn client(builder: reqwest::ClientBuilder) -> SharedHttpClient {
    let builder = builder
        .http1_only()
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT);
    SharedHttpClient::new(Carrier { client: builder.build().ok() })
}

#[derive(Debug, Clone)]
struct Carrier {
    /// Nothing where it could not be made; each call says so.
    client: Option<reqwest::Client>,
}

impl HttpClient for Carrier {
    /// One for all: whoever calls limits the time of its calls, and connecting takes a second at
    /// most for each of them.
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Carrier {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.client.clone();
        HttpConnectorFuture::new(async move {
            let client = client.ok_or_else(|| user("no HTTP client could be made"))?;
            exchange(&client, &request).await
        })
    }
}

async fn exchange(
    client: &reqwest::Client,
    request: &HttpRequest,
) -> Result<HttpResponse, ConnectorError> {
    let method = reqwest::Method::from_bytes(request.method().as_bytes())
        .map_err(|error| ConnectorError::user(error.into()))?;
    let body = request.body().bytes().ok_or_else(|| user("a body that is read as it is sent"))?;
    let mut question = client.request(method, request.uri()).body(body.to_vec());
    for (name, value) in request.headers() {
        question = question.header(name, value);
    }
    let mut answer = question.send().await.map_err(failed)?;
    let status = answer.status().as_u16();
    let headers = std::mem::take(answer.headers_mut());
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > LONGEST {
            return Err(ConnectorError::other(
                format!("an answer longer than {LONGEST} bytes").into(),
                None,
            ));
        }
        body.extend_from_slice(&chunk);
    }
    let status =
        status.try_into().map_err(|error: HttpError| ConnectorError::user(error.into()))?;
    let mut response = HttpResponse::new(status, SdkBody::from(body));
    for (name, value) in &headers {
        // A value that is no text is nothing that a service of AWS says.
        if let Ok(value) = value.to_str() {
            response.headers_mut().append(name.as_str().to_owned(), value.to_owned());
        }
    }
    Ok(response)
}

/// What the SDK is to think of a failure: whether the call may be made again.
fn failed(error: reqwest::Error) -> ConnectorError {
    match () {
        () if error.is_timeout() => ConnectorError::timeout(error.into()),
        () if error.is_builder() => ConnectorError::user(error.into()),
        () if error.is_connect() || error.is_request() => ConnectorError::io(error.into()),
        () => ConnectorError::other(error.into(), Some(ErrorKind::TransientError)),
    }
}

fn user(text: &'static str) -> ConnectorError {
    ConnectorError::user(text.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What becomes of a call that a server answers with this.
    async fn answered(answer: Vec<u8>) -> Result<HttpResponse, ConnectorError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _question = stream.read(&mut [0; 1024]).unwrap();
            // Whoever has read enough may hang up.
            let _sent = stream.write_all(&answer);
        });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = exchange(&client, &HttpRequest::get(url).unwrap()).await;
        drop(client);
        server.join().unwrap();
        response
    }

    #[tokio::test]
    async fn an_answer_comes_with_its_status_its_headers_and_its_body() {
        let answer = b"HTTP/1.1 418 x\r\nDate: now\r\nContent-Length: 2\r\n\r\nhi";
        let response = answered(answer.to_vec()).await.unwrap();
        assert_eq!(response.status().as_u16(), 418);
        assert_eq!(response.headers().get("date"), Some("now"));
        assert_eq!(response.body().bytes(), Some(&b"hi"[..]));
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_off_may_be_asked_for_again() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi";
        let error = answered(answer.to_vec()).await.unwrap_err();
        assert_eq!(error.as_other(), Some(ErrorKind::TransientError), "{error:?}");
        let error = answered(Vec::new()).await.unwrap_err();
        assert!(error.is_io(), "{error:?}");
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_given_up() {
        let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        answer.resize(LONGEST + 4096, b'x');
        let error = answered(answer).await.unwrap_err();
        assert!(format!("{error:?}").contains("longer than"), "{error:?}");
    }
}
