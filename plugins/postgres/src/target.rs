//! Where the server is, and how it is reached.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Where Debian's and most other servers listen on this machine, for the user that owns them.
pub(crate) const DEFAULT: &str = "host=/var/run/postgresql user=postgres dbname=postgres";

/// What a connection string has to be. The reason of a refusal is not shown, since it may hold a
/// part of the string.
const EXPECTED: &str = "expected `postgres://user[:password]@host[:port]/database[?sslmode=...]` \
                        or `host=... user=... dbname=...` as libpq reads them, without \
                        `sslrootcert` (use `ca_file`), client certificates and password files";

/// A server, with all that is needed to log in. It may hold a password, so that it has no `Debug`.
#[derive(Clone)]
pub(crate) struct Target {
    config: Config,
    ca_file: Option<PathBuf>,
}

/// TLS cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot read certificates from `{0}`; expected a PEM file that this user can read")]
    CaFile(PathBuf, #[source] pem::Error),
    #[error("`{0}` holds no certificate; expected a PEM file with one or more")]
    NoCertificate(PathBuf),
    #[error("a certificate cannot be used")]
    Certificate(#[from] rustls::Error),
    #[error("this system has no certificates of authorities; name a file in `ca_file`")]
    NoAuthorities(#[source] io::Error),
}

impl Target {
    /// Reads a connection string as libpq would.
    ///
    /// TLS differs in one point: where it is used the certificate is always checked, name
    /// included, be it `require` or `verify-full`.
    pub(crate) fn read(text: &str, ca_file: Option<&Path>) -> Result<Self, &'static str> {
        let mut text = text.to_owned();
        for (theirs, ours) in
            [("verify-full", "require"), ("verify-ca", "require"), ("allow", "prefer")]
        {
            text = text.replace(&format!("sslmode={theirs}"), &format!("sslmode={ours}"));
        }
        let mut config: Config = text.parse().or(Err(EXPECTED))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host("/var/run/postgresql");
        }
        let hosts = config.get_hosts();
        let is_local = config.get_hostaddrs().is_empty() && hosts.iter().all(is_local);
        let is_socket = hosts.iter().all(|host| matches!(host, Host::Unix(_)));
        let mode = match (config.get_ssl_mode(), ca_file) {
            (SslMode::Disable, Some(_)) => return Err("`ca_file` contradicts `sslmode=disable`"),
            _ if is_socket && config.get_hostaddrs().is_empty() => SslMode::Disable,
            // Nobody else sees what goes to the own machine, and the certificate of a server that
            // was never set up for TLS is one that it signed itself.
            (SslMode::Prefer, None) if is_local => SslMode::Disable,
            (SslMode::Prefer, Some(_)) => SslMode::Require,
            (mode, _) => mode,
        };
        config.ssl_mode(mode);
        Ok(Self { config, ca_file: ca_file.map(Path::to_owned) })
    }

    /// Where the server is, without user and password.
    pub(crate) fn place(&self) -> String {
        let ports = self.config.get_ports();
        let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        let names: Vec<String> = match self.config.get_hosts() {
            [] => self.config.get_hostaddrs().iter().map(ToString::to_string).collect(),
            hosts => hosts.iter().map(name).collect(),
        };
        let places = names.iter().enumerate().map(|(at, name)| format!("{name}:{}", port(at)));
        places.collect::<Vec<_>>().join(",")
    }

    /// What the library needs to connect.
    pub(crate) fn config(&self) -> Config {
        self.config.clone()
    }

    /// What checks the server's certificate; `None` where TLS is not used.
    pub(crate) fn tls(&self) -> Result<Option<MakeRustlsConnect>, TlsError> {
        if self.config.get_ssl_mode() == SslMode::Disable {
            return Ok(None);
        }
        let roots = match &self.ca_file {
            Some(path) => from_file(path)?,
            None => from_system()?,
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Some(MakeRustlsConnect::new(config)))
    }
}

fn from_file(path: &Path) -> Result<RootCertStore, TlsError> {
    let unreadable = |source| TlsError::CaFile(path.to_owned(), source);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        roots.add(certificate.map_err(unreadable)?)?;
    }
    match roots.is_empty() {
        true => Err(TlsError::NoCertificate(path.to_owned())),
        false => Ok(roots),
    }
}

fn from_system() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match roots.is_empty() {
        true => Err(TlsError::NoAuthorities(io::Error::other(
            found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string),
        ))),
        false => Ok(roots),
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

fn name(host: &Host) -> String {
    match host {
        Host::Unix(path) => path.display().to_string(),
        Host::Tcp(name) => name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, ca_file: Option<&str>) -> (String, SslMode) {
        let target = Target::read(text, ca_file.map(Path::new)).unwrap_or_else(|e| panic!("{e}"));
        (target.place(), target.config.get_ssl_mode())
    }

    #[test]
    fn urls_and_words_lead_to_the_same_place() {
        let socket = ("/var/run/postgresql:5432".to_owned(), SslMode::Disable);
        assert_eq!(check(DEFAULT, None), socket);
        assert_eq!(check("user=postgres", None), socket);
        assert_eq!(check("postgres://u:hunter2@/orders?host=/var/run/postgresql", None), socket);
        let remote = ("db:7000".to_owned(), SslMode::Prefer);
        assert_eq!(check("postgres://u:hunter2@db:7000/orders", None), remote);
        assert_eq!(check("host=db port=7000 user=u password=hunter2", None), remote);
    }

    #[test]
    fn tls_is_used_wherever_somebody_else_could_listen() {
        for (text, ca_file, mode) in [
            ("postgres://u@localhost/d", None, SslMode::Disable),
            ("postgres://u@127.0.0.1/d", None, SslMode::Disable),
            ("postgres://u@127.0.0.1/d", Some("/ca"), SslMode::Require),
            ("postgres://u@127.0.0.1/d?sslmode=require", None, SslMode::Require),
            ("postgres://u@db/d?sslmode=verify-full", None, SslMode::Require),
            ("postgres://u@db/d?sslmode=disable", None, SslMode::Disable),
            ("postgres://u@db/d", None, SslMode::Prefer),
            ("host=/run/postgresql sslmode=require", None, SslMode::Disable),
        ] {
            assert_eq!(check(text, ca_file).1, mode, "{text}");
        }
        let contradiction = Target::read("host=db sslmode=disable", Some(Path::new("/ca")));
        assert!(contradiction.is_err_and(|error| error.contains("contradicts")));
    }

    #[test]
    fn a_string_that_is_refused_is_never_shown() {
        for text in ["mysql://u:hunter2@h", "postgres://u:hunter2@h:x/d", "hunter2", "hunter2=1"] {
            let error = Target::read(text, None).err().unwrap();
            assert!(error.starts_with("expected `postgres://") && !error.contains("hunter2"));
        }
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let read = |path: &Path| {
            Target::read("host=db", Some(path)).unwrap_or_else(|e| panic!("{e}")).tls()
        };
        let missing = read(Path::new("/no/such/ca.pem")).err().unwrap();
        assert!(missing.to_string().starts_with("cannot read certificates from `/no/such/ca.pem`"));
        let empty = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(read(empty.path()), Err(TlsError::NoCertificate(_))));
    }
}
