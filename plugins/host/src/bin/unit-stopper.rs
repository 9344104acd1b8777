//! Stops systemd units in order, or a process, and waits until they are down.

use std::process::ExitCode;

fn main() -> ExitCode {
    snooze_plugin::serve(host_plugins::UnitStopper::default())
}
