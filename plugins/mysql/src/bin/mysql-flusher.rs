//! Makes MySQL or MariaDB write and lock its tables before the instance goes, and reads back that
//! it did.

use std::process::ExitCode;

fn main() -> ExitCode {
    snooze_plugin::serve(mysql_plugins::Flusher::default())
}
