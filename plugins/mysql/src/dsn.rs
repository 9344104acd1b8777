//! Where the server is and who asks, in Go's form and as a URL.

use std::path::PathBuf;

use mysql_async::{Opts, OptsBuilder, SslOpts};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// The port of MySQL and MariaDB.
const PORT: u16 = 3306;

/// The socket that Go's driver takes when none is named.
const SOCKET: &str = "/tmp/mysql.sock";

/// Where the server is and who asks. It holds the password, so that it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Dsn {
    /// The user; the server's own default when it is empty.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// Where the server is.
    pub place: Place,
    /// The database that is chosen at the start.
    pub database: Option<String>,
    /// Whether the connection is encrypted.
    pub tls: Tls,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A name or address, and a port.
    Tcp(String, u16),
    /// A unix socket.
    Socket(PathBuf),
}

/// Whether a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// It is not.
    Off,
    /// It is, with a server that may be anybody.
    Unverified,
    /// It is, and the server shows a certificate for its name.
    Verified,
}

/// The text names no server. It is not shown, since it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotADsn {
    /// Neither form.
    #[error(
        "expected `user:password@tcp(host:port)/database`, `user:password@unix(/path)/` or \
         `mysql://user:password@host:port/database`"
    )]
    Form,
    /// An address without a port that is a number.
    #[error("expected a port from 1 to 65535")]
    Port,
    /// A word for TLS that is not known.
    #[error("`tls`: expected `true`, `false` or `skip-verify`")]
    Tls,
}

impl Dsn {
    /// Reads either form. Parameters other than `tls` (`ssl-mode` in a URL) are the business of
    /// other programs and are left alone.
    ///
    /// # Errors
    /// [`NotADsn`] when it is neither.
    pub fn read(text: &str) -> Result<Self, NotADsn> {
        match text.contains("://") && !text.contains('(') {
            true => Self::read_url(text),
            false => Self::read_go(text),
        }
    }

    /// `[user[:password]@][protocol[(address)]]/database[?tls=true]`, cut as Go's driver does: at
    /// the last `/`, and before it at the last `@`, so that a password may hold either.
    fn read_go(text: &str) -> Result<Self, NotADsn> {
        let (left, right) = text.rsplit_once('/').ok_or(NotADsn::Form)?;
        // The path of a socket may be all that has a slash.
        if left.contains('(') && !left.ends_with(')') {
            return Err(NotADsn::Form);
        }
        let (login, address) = match left.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, left),
        };
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, "")))
        {
            Some((user, password)) => (some(user), some(password)),
            None => (None, None),
        };
        let (protocol, address) = match address.split_once('(') {
            Some((protocol, rest)) => (protocol, rest.strip_suffix(')').ok_or(NotADsn::Form)?),
            None => (address, ""),
        };
        let place = match (protocol, address) {
            ("" | "tcp", address) => host_and_port(address)?,
            ("unix", "") => Place::Socket(SOCKET.into()),
            ("unix", path) if path.starts_with('/') => Place::Socket(path.into()),
            _ => return Err(NotADsn::Form),
        };
        let (database, parameters) = right.split_once('?').unwrap_or((right, ""));
        let mut tls = Tls::Off;
        for (name, value) in url::form_urlencoded::parse(parameters.as_bytes()) {
            if name == "tls" {
                tls = Tls::of(&value)?;
            }
        }
        Ok(Self { user, password, place, database: some(database), tls })
    }

    /// `mysql://[user[:password]@]host[:port][/database][?tls=true&socket=/path]`.
    fn read_url(text: &str) -> Result<Self, NotADsn> {
        let url =
            Url::parse(text).map_err(|error| match error == url::ParseError::InvalidPort {
                true => NotADsn::Port,
                false => NotADsn::Form,
            })?;
        if !matches!(url.scheme(), "mysql" | "mariadb") {
            return Err(NotADsn::Form);
        }
        let plain = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8().ok();
            decoded.map(|text| some(&text)).ok_or(NotADsn::Form)
        };
        let host = match url.host() {
            Some(Host::Domain(name)) => plain(name)?,
            Some(Host::Ipv4(address)) => Some(address.to_string()),
            Some(Host::Ipv6(address)) => Some(address.to_string()),
            None => None,
        };
        let port = url.port().unwrap_or(PORT);
        let mut place = Place::Tcp(host.unwrap_or_else(|| "127.0.0.1".to_owned()), port);
        let mut tls = Tls::Off;
        for (name, value) in url.query_pairs() {
            match name.as_ref() {
                "tls" | "ssl-mode" | "sslmode" => tls = Tls::of(&value)?,
                "socket" if value.starts_with('/') => place = Place::Socket(value.as_ref().into()),
                _ => {}
            }
        }
        Ok(Self {
            user: plain(url.username())?,
            password: plain(url.password().unwrap_or_default())?,
            place,
            database: plain(url.path().trim_start_matches('/'))?,
            tls,
        })
    }

    /// For the driver. Of `authority` are the certificates that are trusted instead of the usual
    /// ones.
    #[must_use]
    pub fn options(&self, authority: Option<&PathBuf>) -> Opts {
        let options = OptsBuilder::default()
            .user(self.user.clone())
            .pass(self.password.clone())
            .db_name(self.database.clone())
            // The place is taken as it is written, and no statement is sent but ours.
            .prefer_socket(false)
            .max_allowed_packet(Some(1 << 20))
            .wait_timeout(Some(28_800));
        let options = match &self.place {
            Place::Tcp(host, port) => options.ip_or_hostname(host.as_str()).tcp_port(*port),
            Place::Socket(path) => options.socket(path.to_str()),
        };
        let ssl = SslOpts::default();
        let ssl = match (self.tls, authority) {
            (Tls::Off, _) => None,
            (Tls::Unverified, _) => Some(ssl.with_danger_accept_invalid_certs(true)),
            (Tls::Verified, None) => Some(ssl),
            (Tls::Verified, Some(file)) => {
                let roots = vec![file.clone().into()];
                Some(ssl.with_root_certs(roots).with_disable_built_in_roots(true))
            }
        };
        options.ssl_opts(ssl).into()
    }
}

impl Tls {
    /// The words of Go's driver, and those of MySQL's own programs.
    fn of(word: &str) -> Result<Self, NotADsn> {
        match word.to_ascii_lowercase().as_str() {
            "false" | "disabled" => Ok(Self::Off),
            "skip-verify" | "required" => Ok(Self::Unverified),
            "true" | "verify_ca" | "verify_identity" => Ok(Self::Verified),
            _ => Err(NotADsn::Tls),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

fn host_and_port(address: &str) -> Result<Place, NotADsn> {
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let host = some(host).unwrap_or_else(|| "127.0.0.1".to_owned());
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(NotADsn::Port)?,
        None => PORT,
    };
    Ok(Place::Tcp(host, port))
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// User, password, place, database and TLS in one line.
    fn check(text: &str, expected: &str) {
        let said = match Dsn::read(text) {
            Ok(dsn) => {
                let word = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                let (user, password) = (word(dsn.user), word(dsn.password));
                format!("{user} {password} {} {} {:?}", dsn.place, word(dsn.database), dsn.tls)
            }
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(said, expected, "{text}");
    }

    // S0-59, S1-21
    #[test]
    fn gos_form_is_read_as_gos_driver_reads_it() {
        check("user:pass@tcp(localhost:3306)/db", "user pass localhost:3306 db Off");
        check("user:p@ss:w/o@rd@tcp(db:3307)/", "user p@ss:w/o@rd db:3307 - Off");
        check("user@unix(/run/mysqld/mysqld.sock)/x", "user - /run/mysqld/mysqld.sock x Off");
        check("unix(/a/b)/", "- - /a/b - Off");
        check("user@unix/", "user - /tmp/mysql.sock - Off");
        check("user:pass@/db?parseTime=true", "user pass 127.0.0.1:3306 db Off");
        check("/", "- - 127.0.0.1:3306 - Off");
        check("u:p@tcp([::1]:3310)/d?tls=skip-verify", "u p [::1]:3310 d Unverified");
        check("u:p@tcp(h)/d?charset=utf8mb4&tls=true", "u p h:3306 d Verified");
        check("u:a://b@tcp(h)/", "u a://b h:3306 - Off");
    }

    // S1-69
    #[test]
    fn urls_are_read() {
        check(
            "mysql://user:pass@db.example.com:3307/shop",
            "user pass db.example.com:3307 shop Off",
        );
        check("mariadb://u:p%40%2F%3a@[::1]/", "u p@/: [::1]:3306 - Off");
        check("mysql://localhost", "- - localhost:3306 - Off");
        check("mysql://u@localhost/d?socket=%2Frun%2Fm.sock", "u - /run/m.sock d Off");
        check("mysql://u@h/d?ssl-mode=VERIFY_IDENTITY", "u - h:3306 d Verified");
        check("mysql://u@h/d?tls=skip-verify", "u - h:3306 d Unverified");
    }

    #[test]
    fn what_is_neither_form_is_refused_and_never_shown() {
        check("", "Form");
        check("hunter2", "Form");
        check("postgres://u:hunter2@h/db", "Form");
        check("u:hunter2@tcp(h:3306/db", "Form");
        check("u:hunter2@unix(relative)/db", "Form");
        check("u:hunter2@pipe(x)/db", "Form");
        check("u:hunter2@tcp(h:x)/db", "Port");
        check("u:hunter2@tcp(h:0)/db", "Port");
        check("mysql://u:hunter2@h:99999/db", "Port");
        check("u:hunter2@tcp(h)/db?tls=hunter2", "Tls");
        for wrong in [NotADsn::Form, NotADsn::Port, NotADsn::Tls] {
            assert!(!wrong.to_string().contains("hunter2"));
        }
    }
}
