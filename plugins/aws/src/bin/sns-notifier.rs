//! The program `sns-notifier`.

use std::process::ExitCode;

use aws_plugins::Notifier;

fn main() -> ExitCode {
    snooze_plugin::serve(Notifier::default())
}
