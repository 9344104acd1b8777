//! Stops containers by label, in order, each with its own time-out.

use std::process::ExitCode;

fn main() -> ExitCode {
    snooze_plugin::serve(host_plugins::ContainerStopper::default())
}
