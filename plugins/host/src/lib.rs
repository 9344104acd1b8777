//! Plugins that save or stop what runs on the instance. Each is a program of its own:
//!
//! | program | does |
//! |---|---|
//! | `slurm-requeue` | puts the Slurm jobs of this node back into the queue |
//! | `unit-stopper` | stops systemd units in order, or a process, and waits until they are down |
//! | `volume-sync` | writes to the disks what the kernel still holds, and freezes file systems |
//! | `container-stopper` | stops containers by label, in order, each with its own time-out |
//! | `criu-checkpointer` | writes a process to image files, from which CRIU can start it again |
//! | `signal-checkpoint` | tells a program by a signal to save, and waits until it did |
//!
//! And `plugin-relay` connects the daemon with a plugin, of any kind, that has a unit of its own.
//!
//! Invariants: no shell; programs are found in fixed directories, get their arguments as a list and
//! an end, and what they say is bounded; every wait ends with the time of the step; process 1, the
//! plugin itself and its ancestors are never touched; a process is held by a descriptor from before
//! it was looked at, so that its number cannot come to mean another one; in a drill and with
//! `dry_run` nothing is changed. What is said to be done was read back.

mod container_stopper;
mod criu_checkpointer;
mod process;
mod program;
pub mod relay;
mod report;
mod signal;
mod signal_checkpoint;
mod slurm_requeue;
mod step;
mod target;
mod unit_stopper;
mod volume_sync;
mod wait;

pub use container_stopper::ContainerStopper;
pub use criu_checkpointer::CriuCheckpointer;
pub use program::Programs;
pub use signal_checkpoint::SignalCheckpoint;
pub use slurm_requeue::SlurmRequeue;
pub use unit_stopper::UnitStopper;
pub use volume_sync::{VolumeSync, guard_volumes};
