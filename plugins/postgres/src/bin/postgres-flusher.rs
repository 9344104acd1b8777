//! The program `postgres-flusher`.

use std::process::ExitCode;

use postgres_plugins::Flusher;

fn main() -> ExitCode {
    snooze_plugin::serve(Flusher::default())
}
