//! The idle monitor's eyes: what is measured of the instance, and the alarms of the system.
//!
//! [`sample`] reads figures, and `snooze_policy::idle` decides what follows from them; [`system`]
//! reads what the [`alarms`] are about, which are pure again.
//!
//! Invariants: no figure is made up: what cannot be read has a reason in its place; nothing that
//! a driver or a file system can hold up is done on the caller's thread without a limit.

pub mod alarms;
mod aside;
mod files;
pub(crate) mod look;
pub(crate) mod monitor;
pub mod sample;
pub mod system;
