//! The daemon on the instance.

pub mod builtins;
pub mod launch;
pub mod plugins;
