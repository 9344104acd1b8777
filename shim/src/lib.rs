//! The daemon on the instance.

pub mod launch;
