//! The commands of the README: `cargo xtask demo`, `test` and `bench`.
//!
//! It only runs other programs, and depends on little, so that it is built in seconds. Whatever it
//! builds goes to the target directory that it was built in itself.

mod bench;
mod boot;
mod demo;
mod durations;
mod e2e;
mod functions;
mod fuzz;
mod package;
mod patterns;
mod report;
mod soak;
mod template;
mod test;
mod tools;
mod walk;
mod workplace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::functions::Arch;
use crate::workplace::Workplace;

/// What can be done with a checkout.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Build, show, test and measure CloudSnooze")]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show a Spot notice on this machine, from the notice to saved data
    Demo {
        /// Arguments for `snooze demo`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Install what the whole suite needs, and run every test and check
    Test,
    /// Check the template of the cloud side
    LintTemplate,
    /// Deploy the template in an emulator of AWS, and test the cloud side whole
    E2e {
        /// Arguments for the tests, as the name of one
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Live random stories over virtual time, with every fault at random, until there were enough
    /// incidents
    Walk {
        /// The number of the first story; drawn by lot where it is not said
        #[arg(long)]
        seed: Option<u64>,
        /// How many incidents
        #[arg(long, default_value_t = 1_000_000)]
        incidents: u64,
        /// A scenario to live instead
        #[arg(conflicts_with_all = ["seed", "incidents"])]
        scenario: Option<std::path::PathBuf>,
    },
    /// Kill the daemon at random moments, and see that it keeps what it promises
    Soak {
        /// How often
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(200..))]
        kills: u64,
        /// The number that all chance comes from; drawn by lot where it is not said
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Boot a Debian in a virtual machine, and try the daemon under its systemd
    BootTest(boot::Args),
    /// Build the Lambda functions, and lay them out where the template finds them
    Functions {
        /// Build them as they are released
        #[arg(long)]
        release: bool,
        /// The processor they run on; this machine's where it is not said
        #[arg(long)]
        arch: Option<Arch>,
    },
    /// Build packages for Debian and RPM, an archive, checksums and a bill of materials
    Package(package::Args),
    /// Measure how long databases take to save on this machine, and print a table
    Durations {
        /// How much the servers are filled with, in megabytes
        #[arg(default_values_t = [64, 256, 1024])]
        megabytes: Vec<u64>,
    },
    /// Measure the matcher of patterns beside event-ruler, on the same rules and events
    Patterns,
    /// Look for bytes that break a reader of the outside, with a nightly compiler
    Fuzz {
        /// How long each target runs
        #[arg(long, default_value_t = 30)]
        seconds: u64,
        /// The targets; all where none is named
        targets: Vec<String>,
    },
    /// Measure the promises of the README
    Bench {
        /// Print the rows as JSON
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let command = Command::parse();
    let workplace = match Workplace::find(std::env::vars_os(), std::env::current_exe()) {
        Ok(workplace) => workplace,
        Err(error) => return fail(&error),
    };
    let ended = match command.verb {
        Verb::Demo { args } => demo::run(&workplace, &args),
        Verb::Test => test::run(&workplace),
        Verb::LintTemplate => template::run(&workplace),
        Verb::E2e { args } => e2e::run(&workplace, &args),
        Verb::Walk { seed, incidents, scenario } => {
            walk::run(&workplace, seed, incidents, scenario)
        }
        Verb::Soak { kills, seed } => soak::run(&workplace, kills, seed),
        Verb::BootTest(args) => boot::run(&workplace, &args),
        Verb::Functions { release, arch } => functions::run(&workplace, release, arch),
        Verb::Package(args) => package::run(&workplace, &args),
        Verb::Durations { megabytes } => durations::run(&workplace, &megabytes),
        Verb::Patterns => patterns::run(&workplace),
        Verb::Fuzz { seconds, targets } => fuzz::run(&workplace, seconds, &targets),
        Verb::Bench { json } => bench::run(&workplace, json),
    };
    ended.unwrap_or_else(|error| fail(&error))
}

fn fail(error: &anyhow::Error) -> ExitCode {
    report::complain(&format!("{error:#}"));
    ExitCode::FAILURE
}
