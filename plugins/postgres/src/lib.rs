//! The plugins for PostgreSQL: `postgres-flusher` saves before the instance goes, and
//! `postgres-monitor` votes whether it is idle. Each is a program of its own.
//!
//! Invariants: success is read back from the server, never taken from a reply alone; every wait
//! has a limit; nothing is left behind in the server by a plugin that is killed, since whatever
//! changes it is bound to a session; no password is in any text.

mod control;
mod door;
mod flush;
mod flusher;
mod monitor;
mod plan;
mod postmaster;
mod rehearse;
mod session;
mod settings;
mod ship;
mod standing;
mod target;

pub use flusher::Flusher;
pub use monitor::Monitor;
