//! The program `redis-flusher`.

use std::process::ExitCode;

use redis_plugins::Flusher;

fn main() -> ExitCode {
    snooze_plugin::serve(Flusher::default())
}
