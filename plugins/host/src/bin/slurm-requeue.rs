//! Puts the Slurm jobs of this node back into the queue.

use std::process::ExitCode;

fn main() -> ExitCode {
    snooze_plugin::serve(host_plugins::SlurmRequeue::default())
}
