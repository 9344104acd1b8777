//! What a plugin may be permitted.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// One thing that a plugin may do beyond its own process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// `network`: to talk to any address.
    Network,
    /// `network:PORT`: to connect to this TCP port of any address.
    Port(u16),
    /// `metadata`: to ask the metadata service of the instance, for credentials too.
    Metadata,
    /// `read:/path`: to read there. Without any, it may read what its user may.
    Read(PathBuf),
    /// `write:/path`: to write there.
    Write(PathBuf),
    /// `signal`: to signal processes that it did not start.
    Signal,
    /// `root`: to use the privileges of root.
    Root,
}

/// A text that is no permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no permission: expected `network`, `network:PORT`, `metadata`, `read:/PATH`, \
     `write:/PATH`, `signal` or `root`",
    text = .0.escape_debug()
)]
pub struct NotAPermission(String);

impl FromStr for Permission {
    type Err = NotAPermission;

    fn from_str(text: &str) -> Result<Self, NotAPermission> {
        let not = || NotAPermission(text.to_owned());
        let (word, rest) = match text.split_once(':') {
            Some((word, rest)) => (word, Some(rest)),
            None => (text, None),
        };
        match (word, rest) {
            ("network", None) => Ok(Self::Network),
            ("network", Some(port)) => {
                let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(not)?;
                Ok(Self::Port(port))
            }
            ("metadata", None) => Ok(Self::Metadata),
            ("read", Some(path)) => path_of(path).map(Self::Read).ok_or_else(not),
            ("write", Some(path)) => path_of(path).map(Self::Write).ok_or_else(not),
            ("signal", None) => Ok(Self::Signal),
            ("root", None) => Ok(Self::Root),
            _ => Err(not()),
        }
    }
}

/// An absolute path that does not lead upwards.
fn path_of(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    (path.is_absolute() && path.components().all(plain)).then(|| path.to_owned())
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network => f.write_str("network"),
            Self::Port(port) => write!(f, "network:{port}"),
            Self::Metadata => f.write_str("metadata"),
            Self::Read(path) => write!(f, "read:{}", path.display()),
            Self::Write(path) => write!(f, "write:{}", path.display()),
            Self::Signal => f.write_str("signal"),
            Self::Root => f.write_str("root"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_read_and_shown_alike() {
        let texts =
            ["network", "network:5432", "metadata", "read:/etc/redis", "write:/", "signal", "root"];
        for text in texts {
            assert_eq!(
                text.parse::<Permission>().map(|read| read.to_string()).as_deref(),
                Ok(text)
            );
        }
        for text in
            ["", "net", "network:0", "network:70000", "read", "read:etc", "write:/a/../b", "root:x"]
        {
            assert_eq!(text.parse::<Permission>(), Err(NotAPermission(text.to_owned())));
        }
    }
}
