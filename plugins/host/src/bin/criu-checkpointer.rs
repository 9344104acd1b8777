//! Writes a process and all below it to image files, from which CRIU can start it again.

use std::process::ExitCode;

fn main() -> ExitCode {
    snooze_plugin::serve(host_plugins::CriuCheckpointer::default())
}
