//! The program `directory-syncer`.

use std::process::ExitCode;

use aws_plugins::Syncer;

fn main() -> ExitCode {
    snooze_plugin::serve(Syncer::default())
}
