//! Votes that the instance is idle when few clients are connected to MySQL or MariaDB.

use std::process::ExitCode;

fn main() -> ExitCode {
    snooze_plugin::serve(mysql_plugins::Monitor::default())
}
