//! Connects the daemon with a plugin that runs in a unit of its own: see `relay`.

use std::error::Error;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use host_plugins::relay;

const USAGE: &str = "\
plugin-relay, between the CloudSnooze daemon and a plugin that runs in a unit of its own

Usage: plugin-relay call SOCKET           in the place of the plugin
       plugin-relay serve PROGRAM [ARG]…  in its unit, with the listening socket as standard input
";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let relayed = match arguments.split_first() {
        Some((verb, program)) if verb == "serve" && !program.is_empty() => {
            relay::serve(std::io::stdin(), program)
        }
        Some((verb, [socket])) if verb == "call" => relay::call(Path::new(socket)),
        Some(_) | None => return fail(USAGE, 2),
    };
    match relayed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("plugin-relay: {}\n", chain(&error)), 1),
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn fail(text: &str, code: u8) -> ExitCode {
    // Whoever closed our log does not want it.
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(code)
}
