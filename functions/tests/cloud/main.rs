//! `dispatch`, `record` and `sweep` against a loopback server that plays the services.

#![expect(clippy::unwrap_used, reason = "the helpers below are part of the tests")]
#![expect(clippy::indexing_slicing, reason = "the helpers below are part of the tests")]

mod dispatch;
mod faults;
mod idle;
mod kill;
mod record;
mod stage;
mod storm;
mod sweep;
