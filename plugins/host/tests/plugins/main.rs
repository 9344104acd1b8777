//! The plugins as the host drives them, on real processes and file systems.
//!
//! Some need what a machine seldom has: a stand-in takes its place, and the module says so. What
//! needs root, a loop device or a container engine says that it was not tested where there is none.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "the helpers of a test may do what a test may"
)]

mod common;
mod container_stopper;
mod criu_checkpointer;
mod pages;
mod relay;
mod signal_checkpoint;
mod slurm_requeue;
mod unit_stopper;
mod volume_sync;
