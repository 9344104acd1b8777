//! The daemon, its launcher and its built-in plugins: one program.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(verb) if verb == snoozed::launch::VERB => snoozed::launch::main(args),
        _ => ExitCode::from(2),
    }
}
