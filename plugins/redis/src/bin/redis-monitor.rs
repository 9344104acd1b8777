//! The program `redis-monitor`.

use std::process::ExitCode;

use redis_plugins::Monitor;

fn main() -> ExitCode {
    snooze_plugin::serve(Monitor::default())
}
