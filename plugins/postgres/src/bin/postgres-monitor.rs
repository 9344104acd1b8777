//! The program `postgres-monitor`.

use std::process::ExitCode;

use postgres_plugins::Monitor;

fn main() -> ExitCode {
    snooze_plugin::serve(Monitor::default())
}
