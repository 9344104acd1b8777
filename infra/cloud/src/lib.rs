//! AWS in our words: one file for each service, one cargo feature for each file.
//!
//! Invariants: what goes in and comes out is ours or the standard library's; no type of an SDK
//! crosses this crate's border, but [`Aws`]. No retry loop stands around a call: the SDK retries,
//! [`connect`] says how often. Every call has a limit. Endpoints come from the SDK's own
//! settings (`AWS_ENDPOINT_URL` and its like). No secret stands in an error.

#[cfg(any(feature = "bus", feature = "queue"))]
mod batch;
mod connect;
mod error;
#[cfg(any(feature = "ledger", feature = "policies"))]
mod item;

#[cfg(feature = "balancers")]
pub mod balancers;
#[cfg(feature = "ledger")]
pub mod breakers;
#[cfg(feature = "bus")]
pub mod bus;
#[cfg(feature = "ec2")]
pub mod ec2;
#[cfg(feature = "ec2-query")]
pub mod ec2_query;
#[cfg(feature = "envelope")]
pub mod envelope;
#[cfg(feature = "fake")]
pub mod fake;
#[cfg(feature = "groups")]
pub mod groups;
#[cfg(feature = "ledger")]
pub mod incidents;
#[cfg(feature = "ledger")]
pub mod instances;
#[cfg(feature = "invoke")]
pub mod invoke;
#[cfg(feature = "ledger")]
pub mod limits;
#[cfg(feature = "objects")]
pub mod objects;
#[cfg(feature = "policies")]
pub mod policies;
#[cfg(feature = "queue")]
pub mod queue;
#[cfg(feature = "secrets")]
pub mod secrets;
#[cfg(any(feature = "bus", feature = "ec2-query", feature = "queue", feature = "secrets"))]
mod signed;
#[cfg(feature = "topic")]
pub mod topic;
#[cfg(feature = "web")]
pub mod web;

#[cfg(test)]
mod stub;

pub use connect::Aws;
#[cfg(feature = "daemon")]
pub use connect::connect_daemon;
#[cfg(feature = "https")]
pub use connect::{Options, Role, connect};
pub use error::{CloudError, Kind};
