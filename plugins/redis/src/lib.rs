//! Plugins for Redis and Valkey: `redis-flusher` has the server write its data to disk before the
//! instance goes and reads back that it did; `redis-monitor` votes whether the instance is idle.
//!
//! Invariants: one save at a time; success is read back from the server and never taken from a
//! reply alone; the password appears in no text.

mod flush;
mod flusher;
mod monitor;
mod server;
mod settings;
mod state;

pub use flusher::Flusher;
pub use monitor::Monitor;
