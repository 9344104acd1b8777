//! `snooze manual`.

use std::path::PathBuf;

use clap::CommandFactory as _;
use snoozed::exit;

use crate::Cli;
use crate::failure::Failure;

/// Write the pages of the manual into a directory
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A directory that is there
    directory: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    clap_mangen::generate_to(Cli::command(), &args.directory).map_err(|error| {
        Failure::system(format!("write into `{}`", args.directory.display()), &error)
    })?;
    Ok(exit::OK)
}
