//! The daemon on the instance: hears that it goes, and saves what is worth saving.
//!
//! [`run`] is the one loop; [`watch`] holds all state and decides, without I/O and with the time
//! passed in; [`sources`] hear, [`plugins`] act, the [`journal`] remembers, the [`socket`] answers;
//! [`cloud`] tells the cloud and listens to it, where the settings say so.
//!
//! Invariants: no step begins of which a restart would not know; no other process is waited for
//! without a limit; every task has an owner; nothing listens but the local socket and, where the
//! settings name one, a loopback port that answers `GET /metrics`.

mod answer;
pub mod builtins;
pub mod clock;
pub mod cloud;
pub mod exit;
pub mod idle;
pub mod incident;
pub mod journal;
pub mod launch;
pub mod logging;
pub mod metrics;
pub mod notify;
pub mod plugins;
pub mod record;
pub mod run;
pub mod sandbox;
pub mod settings;
pub mod socket;
pub mod sources;
pub mod traces;
pub mod view;
pub mod watch;
