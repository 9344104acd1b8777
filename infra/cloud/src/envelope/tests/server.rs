//! A server of certificates on a loopback port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::Signer;

/// What the server does.
#[derive(Clone)]
pub(super) enum Does {
    /// Says nothing, not even of TLS.
    Hangs,
    /// Takes a request and never answers.
    HangsAfterTls,
    /// Answers with these bytes.
    Answers(Vec<u8>),
}

impl Does {
    pub(super) fn ok(body: &str) -> Self {
        Self::status("200 OK", "", body)
    }

    pub(super) fn status(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::Answers(
            format!(
                "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
            .into_bytes(),
        )
    }
}

/// A running server, which ends when it is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Starts a server that shows the certificate of this signer, issued to this name.
    pub(super) async fn start(signer: &Signer, name: &str, does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signer.key().unwrap()));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(signer.der(name))], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (connections, requests) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let (counted, asked) = (Arc::clone(&connections), Arc::clone(&requests));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut answering = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let (acceptor, does, asked) = (acceptor.clone(), does.clone(), Arc::clone(&asked));
                answering.spawn(answer(stream, acceptor, does, asked));
            }
        });
        Self { address, connections, requests, _tasks: tasks }
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn answer(stream: TcpStream, acceptor: TlsAcceptor, does: Does, asked: Arc<AtomicUsize>) {
    if matches!(does, Does::Hangs) {
        std::future::pending::<()>().await;
    }
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    asked.fetch_add(1, Ordering::SeqCst);
    match does {
        Does::Hangs | Does::HangsAfterTls => std::future::pending().await,
        Does::Answers(bytes) => {
            // How the client takes it is its own business.
            let _written = stream.write_all(&bytes).await;
            let _closed = stream.shutdown().await;
        }
    }
}
