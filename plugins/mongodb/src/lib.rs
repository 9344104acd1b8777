//! `mongodb-flusher`: has MongoDB hand over its part as primary and write its data to disk before
//! the instance goes, and reads back what a replica set tells of that.
//!
//! Invariants: nothing is locked, so that nothing is left locked; clients lose their primary only
//! when the instance goes; nothing is forced; the password appears in no text.

mod flush;
mod flusher;
mod server;
mod settings;

pub use flusher::Flusher;
