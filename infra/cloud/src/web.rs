//! Webhooks: one POST to an address that an operator gave.
//!
//! Nobody gets us to call inside: an address that is private, loopback or link-local (the
//! metadata service among them) is refused, written out or resolved; what the resolver checked
//! is what is connected to. Redirects are not followed. Neither address nor answer stands in an
//! error: either may hold a secret.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::hmac;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};

use crate::{CloudError, Kind};

/// The header that is the same whenever the same call is made again.
pub const IDEMPOTENCY: &str = "Idempotency-Key";
/// The header with the signature of the body.
pub const SIGNATURE: &str = "X-CloudSnooze-Signature";
/// How long a connection may take to stand, and the whole exchange.
const LIMITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(4));
/// The name of the call in errors.
const OPERATION: &str = "Webhook";

/// A client of webhooks.
#[derive(Debug)]
pub struct Web {
    reach: Reach,
    client: OnceLock<Option<Client>>,
}

/// Whom it may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Public addresses, over HTTPS.
    Public,
    /// This machine alone, over HTTP: for tests.
    Loopback,
}

/// One call.
#[derive(Clone, Copy)]
pub struct Post<'a> {
    /// The address.
    pub url: &'a str,
    /// The body, as JSON text.
    pub body: &'a str,
    /// The same whenever the same call is made again.
    pub key: &'a str,
    /// What the body is signed with.
    pub secret: Option<&'a str>,
}

impl Web {
    /// A client; touches no network, and is made on the first call, since it loads certificates.
    #[must_use]
    pub fn new(reach: Reach) -> Self {
        Self { reach, client: OnceLock::new() }
    }

    /// Posts, and answers with the status.
    ///
    /// # Errors
    /// No status came, or the address may not be called ([`Kind::Invalid`]).
    pub async fn post(&self, post: &Post<'_>) -> Result<u16, CloudError> {
        let url = address(post.url, self.reach)?;
        let client = self.client.get_or_init(|| client(self.reach).ok()).as_ref();
        let client = client.ok_or_else(|| fault("NoClient", "TLS is not usable", Kind::Later))?;
        let mut request = client
            .post(url)
            .header("Content-Type", "application/json")
            .header(IDEMPOTENCY, post.key)
            .body(post.body.to_owned());
        if let Some(secret) = post.secret {
            request = request.header(SIGNATURE, signature(secret, post.body));
        }
        // The body of the answer is not read: the status says all that counts.
        let answer = request.send().await.map_err(|error| unsent(&error))?;
        Ok(answer.status().as_u16())
    }
}

/// The host of an address, which names the destination; `None` for what is no address.
#[must_use]
pub fn host(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(str::to_owned)
}

/// `sha256=` and the HMAC-SHA256 of the body, in hexadecimal digits.
#[must_use]
pub fn signature(secret: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, body.as_bytes());
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

fn client(reach: Reach) -> Result<Client, reqwest::Error> {
    let (connect, whole) = LIMITS;
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
        .https_only(reach == Reach::Public)
        .connect_timeout(connect)
        .timeout(whole)
        .dns_resolver(Arc::new(Resolver(reach)))
        .build()
}

/// The address, when it may be called as far as it can be seen before its name is resolved.
fn address(text: &str, reach: Reach) -> Result<Url, CloudError> {
    let bad = |text| fault("BadAddress", text, Kind::Invalid);
    let Ok(url) = Url::parse(text) else { return Err(bad("no address can be read in it")) };
    let scheme = match reach {
        Reach::Public => "https",
        Reach::Loopback => "http",
    };
    if url.scheme() != scheme {
        return Err(bad("only `https` is called"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("it names a user; sign with a `secret` instead"));
    }
    let Some(host) = url.host_str() else { return Err(bad("it names no host")) };
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    if literal.is_ok_and(|ip| !may_call(ip, reach)) {
        return Err(not_public());
    }
    Ok(url)
}

fn may_call(ip: IpAddr, reach: Reach) -> bool {
    match reach {
        Reach::Public => is_public(ip),
        Reach::Loopback => ip.is_loopback(),
    }
}

/// Whether an address is one of the whole internet (IANA special-purpose registries, checked
/// 2026-11).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation();
    let reserved = matches!((a, b, c), (0 | 240.., ..) | (192, 0, 0) | (192, 88, 99))
        || a == 100 && (64..128).contains(&b)
        || a == 198 && (b == 18 || b == 19);
    !special && !reserved
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    // Addresses that carry one of version 4 lead to that one.
    match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            is_public_v4(embedded(high, low))
        }
        [0x2002, high, low, ..] => is_public_v4(embedded(high, low)),
        // Global unicast is 2000::/3; of that, 2001::/23 and 2001:db8::/32 are not for hosts.
        [0x2001, 0..=0x1ff | 0xdb8, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d)
}

/// Resolves names to addresses that may be called.
struct Resolver(Reach);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let fine: Vec<_> = found.filter(|address| may_call(address.ip(), reach)).collect();
            if fine.is_empty() {
                return Err(NotPublic.into());
            }
            let fine: Addrs = Box::new(fine.into_iter());
            Ok(fine)
        })
    }
}

/// A name leads inside, or nowhere.
#[derive(Debug, thiserror::Error)]
#[error("the name has no public address")]
struct NotPublic;

fn not_public() -> CloudError {
    fault("NotPublic", "private, loopback and link-local addresses are not called", Kind::Invalid)
}

fn unsent(error: &reqwest::Error) -> CloudError {
    let mut reason: Option<&dyn std::error::Error> = Some(error);
    while let Some(inner) = reason {
        if inner.is::<NotPublic>() {
            return not_public();
        }
        reason = inner.source();
    }
    if error.is_timeout() {
        fault("Timeout", "no answer came in time", Kind::Unreachable)
    } else {
        fault("Unreachable", "no answer came", Kind::Unreachable)
    }
}

fn fault(code: &str, text: &str, kind: Kind) -> CloudError {
    CloudError::new(OPERATION, kind, code, text)
}

#[cfg(test)]
mod tests;
