//! Where certificates come from.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::redirect;
use tokio::io::AsyncReadExt as _;
use tokio::time;

use super::{Refused, address};

/// How long a certificate may take, all in all.
pub(super) const LIMIT: Duration = Duration::from_secs(2);
/// How long the connection may take of that.
const CONNECT: Duration = Duration::from_secs(1);
/// The longest file that is read, in bytes. A certificate with its chain has 8 KiB.
const LONGEST: usize = 64 << 10;

/// Where certificates come from.
#[derive(Debug)]
pub(super) enum Source {
    /// Files of this directory.
    Directory(PathBuf),
    /// SNS.
    Web(Web),
}

/// How SNS is reached; the defaults are the system's resolver and the system's roots.
#[derive(Debug, Default)]
pub(super) struct Web {
    pub(super) to: Option<SocketAddr>,
    pub(super) roots: Option<Vec<reqwest::Certificate>>,
}

impl Source {
    pub(super) fn web() -> Self {
        Self::Web(Web::default())
    }

    /// The file of this name, which [`address::file`] has found to be a plain one.
    pub(super) async fn get(&self, file: &str, region: &str) -> Result<Vec<u8>, Refused> {
        let got = async {
            match self {
                Self::Directory(directory) => pinned(directory, file).await,
                Self::Web(web) => web.get(file, region).await,
            }
        };
        time::timeout(LIMIT, got).await.unwrap_or_else(|_late| {
            Err(Refused::Unreachable(format!("no answer within {} s", LIMIT.as_secs())))
        })
    }
}

async fn pinned(directory: &Path, file: &str) -> Result<Vec<u8>, Refused> {
    let path = directory.join(file);
    let read = async {
        let mut pem = Vec::new();
        let limit = u64::try_from(LONGEST + 1).unwrap_or(u64::MAX);
        tokio::fs::File::open(&path).await?.take(limit).read_to_end(&mut pem).await?;
        Ok::<_, io::Error>(pem)
    };
    match read.await {
        Ok(pem) if pem.len() > LONGEST => Err(too_long()),
        Ok(pem) => Ok(pem),
        // Somebody may put it there when SNS changes its certificate.
        Err(error) => Err(Refused::Unreachable(format!("`{}`: {error}", path.display()))),
    }
}

impl Web {
    /// A client is made for each certificate: one is needed about once a year, and the roots
    /// that it holds are not worth their memory until then.
    async fn get(&self, file: &str, region: &str) -> Result<Vec<u8>, Refused> {
        let mut client = reqwest::Client::builder()
            .https_only(true)
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT)
            .timeout(LIMIT);
        if let Some(to) = self.to {
            client = client.no_proxy().resolve(&address::host(region), to);
        }
        if let Some(roots) = &self.roots {
            client = client.tls_certs_only(roots.iter().cloned());
        }
        let client = client.build().map_err(|error| unreachable(&error))?;
        let url = format!("{}{file}", address::base(region));
        let mut answer = client.get(url).send().await.map_err(|error| unreachable(&error))?;
        let status = answer.status();
        if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
            return Err(Refused::Unreachable(format!("status {}", status.as_u16())));
        }
        if status.as_u16() != 200 {
            return Err(Refused::Certificate(format!("status {}", status.as_u16())));
        }
        let mut pem = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(&error))? {
            if pem.len() + chunk.len() > LONGEST {
                return Err(too_long());
            }
            pem.extend_from_slice(&chunk);
        }
        Ok(pem)
    }
}

fn too_long() -> Refused {
    Refused::Certificate(format!("longer than {LONGEST} bytes"))
}

/// No answer came: the innermost reason says why.
fn unreachable(error: &reqwest::Error) -> Refused {
    let mut reason: &dyn Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    Refused::Unreachable(reason.to_string())
}
