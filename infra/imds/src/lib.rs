//! The instance metadata service of EC2 (IMDS): a client for version 2 only, and, behind the
//! feature `fake`, a scriptable double of the service.
//!
//! What the service does is taken from the Amazon EC2 User Guide ("Use IMDSv2", "Instance
//! metadata categories", "Spot Instance interruption notices", "Troubleshoot"), checked 2026-11.
//!
//! Invariants:
//! - Never version 1: every GET carries a token.
//! - Never a proxy, a redirect, a cookie or TLS: the service is one hop away, over plain HTTP.
//! - One exchange, tokens and body included, ends within [`Settings::timeout`], and an answer
//!   holds at most [`BODY_LIMIT`] bytes.
//! - Trouble is a [`Fault`]; only the status 404 is [`Answer::Absent`].
//! - A token is never printed or logged. The paths of credentials cannot be asked for.

mod client;
mod endpoints;
mod facts;
#[cfg(feature = "fake")]
pub mod fake;
mod fault;
mod path;
mod settings;
mod token;

pub use client::{Answer, BODY_LIMIT, Client};
pub use facts::{Facts, Reading};
pub use fault::{Fault, TokenFault};
pub use path::{NotATagKey, Path, SignalPath, TOKEN_PATH, TagKey};
pub use settings::{Settings, SettingsError};
