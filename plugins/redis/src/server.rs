//! Which server, and how it is reached; the same for all programs of this crate.

use std::fs;
use std::time::Duration;

use redis::{
    Client, ClientTlsConfig, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisError, RedisResult, TlsCertificates,
};
use snooze_plugin::{Config, Setting};

/// Where Redis is when nobody says otherwise.
pub(crate) const DEFAULT_URL: &str = "redis://127.0.0.1:6379";

/// How long a connection may take to come up. Redis is on this machine or beside it.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// A server and the way to it. It holds the password, so that it has no `Debug`.
pub(crate) struct Server {
    at: ConnectionInfo,
    tls: Option<TlsCertificates>,
}

/// The settings that say where the server is.
pub(crate) fn settings(default_url: &str) -> [Setting; 4] {
    let url = "where Redis is: `redis://`, `rediss://` (TLS) or `unix:///path`";
    let ca = "PEM file of the authority that signed the server's certificate; the system's \
              authorities where there is none";
    [
        Setting::text("redis_url", url).default(default_url).secret(),
        Setting::text("ca_file", ca),
        Setting::text("cert_file", "PEM file of the client's certificate, where Redis wants one"),
        Setting::text("key_file", "PEM file of the client's key"),
    ]
}

impl Server {
    /// Reads the settings; `None` where there is a fault, which is noted.
    pub(crate) fn read(config: &mut Config<'_>) -> Option<Self> {
        let mut file = |name: &str| {
            let path = config.text(name)?;
            let read = fs::read(path);
            if let Err(error) = &read {
                config.fault(name, format!("the file cannot be read: {}", error.kind()));
            }
            read.ok()
        };
        let (root_cert, cert, key) = (file("ca_file"), file("cert_file"), file("key_file"));
        if cert.is_some() != key.is_some() {
            config.fault("key_file", "a certificate and its key come together");
        }
        let client_tls = cert.zip(key);
        let client_tls =
            client_tls.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        // The reason is not shown, since it may hold a part of the URL.
        let Ok(at) = config.text("redis_url")?.into_connection_info() else {
            let expected = "expected `redis://[user:password@]host:port[/db]`, `rediss://...` or \
                            `unix:///path`";
            config.fault("redis_url", expected);
            return None;
        };
        let is_tls = matches!(at.addr(), ConnectionAddr::TcpTls { .. });
        if !is_tls && (root_cert.is_some() || client_tls.is_some()) {
            config.fault("redis_url", "certificates are for `rediss://`");
        }
        let tls = is_tls.then_some(TlsCertificates { client_tls, root_cert });
        Some(Self { at, tls })
    }

    /// Opens a connection.
    pub(crate) fn connect(&self, limit: Duration) -> RedisResult<Connection> {
        let client = match &self.tls {
            Some(tls) => Client::build_with_tls(self.at.clone(), tls.clone()),
            None => Client::open(self.at.clone()),
        };
        client?.get_connection_with_timeout(limit)
    }

    /// Where it is, without user and password.
    pub(crate) fn place(&self) -> String {
        self.at.addr().to_string()
    }
}

/// Why a connection did not come up. The address and the password are in no text of `source`.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to Redis at `{place}`; check that it runs and what `redis_url` says")]
pub(crate) struct CannotConnect {
    pub(crate) place: String,
    pub(crate) source: RedisError,
}
