//! `snooze completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;
use snoozed::exit;

use crate::Cli;
use crate::failure::Failure;
use crate::screen;

/// Print the completions of a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: snooze completions bash > /etc/bash_completion.d/snooze")]
pub(crate) struct Args {
    /// Which shell
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "snooze", &mut script);
    screen::raw(&script)?;
    Ok(exit::OK)
}
