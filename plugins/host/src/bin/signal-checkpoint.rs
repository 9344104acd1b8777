//! Tells a program by a signal to save, and waits until it did.

use std::process::ExitCode;

fn main() -> ExitCode {
    snooze_plugin::serve(host_plugins::SignalCheckpoint::default())
}
