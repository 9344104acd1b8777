//! The daemon on the instance.

pub mod launch;
pub mod plugins;
