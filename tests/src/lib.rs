//! What the whole-process tests and the measurements stand on: the programs of this workspace, and
//! a daemon with a place of its own.
//!
//! The programs are the real ones, built once by the same cargo and into the same target directory
//! as the test that asks for them. Only loopback addresses are used.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "what a test stands on fails as a test does"
)]

pub mod busybody;
pub mod cloud;
pub mod daemon_targets;
pub mod dice;
pub mod exposition;
pub mod functions;
pub mod place;
pub mod plugins;
pub mod programs;
pub mod promises;
pub mod scale;
pub mod services;
pub mod setup;
pub mod targets;
pub mod wait;
pub mod walk;
