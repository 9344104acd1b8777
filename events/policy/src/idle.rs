//! Whether an instance is idle: what was measured, and what follows from it.

mod reading;

pub use reading::{Monitor, Reading, Readings};
