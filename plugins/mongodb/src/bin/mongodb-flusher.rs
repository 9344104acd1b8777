//! The program `mongodb-flusher`.

use std::process::ExitCode;

use mongodb_plugins::Flusher;

fn main() -> ExitCode {
    snooze_plugin::serve(Flusher::default())
}
