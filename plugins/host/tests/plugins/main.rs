//! The plugins as the host drives them, on real processes and file systems.
//!
//! Some need what a machine seldom has: a stand-in takes its place, and the module says so. What
//! needs root, a loop device or a container engine says that it was not tested where these are
//! missing; with `SNOOZE_FULL=1` in the environment that is a failure, where root can mend it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test may do what a test may"
)]

mod common;
mod pages;
mod unit_stopper;
