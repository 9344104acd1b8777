//! The command of CloudSnooze: looks at the daemon of this instance and at the fleet, tries
//! policies, patterns and plugins out, and shows the whole road from a Spot notice to saved data.
//!
//! Each verb is a file: it fetches data first, then prints it, as JSON with `--json`.
//!
//! Invariants: nothing that came from an event or a plugin steers the terminal; a closed output
//! ends the command quietly; every exit code is one of [`snoozed::exit`].

mod completions;
mod config;
mod daemon;
mod demo;
mod diff;
mod event;
mod explain;
mod failure;
mod files;
mod fleet;
mod history;
mod host;
mod idle;
mod incident;
mod manual;
mod metrics;
mod pattern;
mod plugin;
mod policy;
mod rehearse;
mod screen;
mod sheet;
mod simulate;
mod status;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use snoozed::exit;

use crate::daemon::Context;
use crate::failure::Failure;

/// CloudSnooze: saves what is worth saving before EC2 takes the instance away.
#[derive(Debug, Parser)]
#[command(
    name = "snooze",
    version,
    after_help = "Try `snooze demo`: it needs no AWS account, no daemon and no root.\n\
                  Exit codes: 0 fine, 1 the answer is no, 2 wrong usage, 3 a file cannot be used,\n\
                  5 the system refused, 6 no daemon, 7 the daemon refused, 8 AWS refused.\n\
                  See docs/exit-codes.md."
)]
struct Cli {
    /// The daemon's socket
    #[arg(
        long,
        global = true,
        env = "SNOOZE_SOCKET",
        default_value = "/run/cloudsnooze/snoozed.sock",
        hide_env_values = true,
        value_name = "PATH"
    )]
    socket: PathBuf,
    /// Print data as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    fleet: fleet::Options,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Status(status::Args),
    #[command(subcommand)]
    Plugin(plugin::Verb),
    /// List the plugins, as `plugin list` does
    #[command(hide = true)]
    Plugins,
    #[command(subcommand)]
    Event(event::Verb),
    Simulate(simulate::Args),
    History(history::Args),
    Metrics(metrics::Args),
    Explain(explain::Args),
    #[command(subcommand)]
    Idle(idle::Verb),
    Wake(idle::Wake),
    Rehearse(rehearse::Args),
    #[command(subcommand)]
    Pattern(pattern::Verb),
    #[command(subcommand)]
    Policy(policy::Verb),
    Instances(fleet::instances::Args),
    Incidents(fleet::incidents::Args),
    Savings(fleet::savings::Args),
    Replay(fleet::replay::Args),
    Drill(fleet::drill::Args),
    Doctor(fleet::doctor::Args),
    IamPolicy(fleet::iam::Args),
    #[command(subcommand)]
    Breaker(fleet::breaker::Verb),
    #[command(subcommand)]
    Config(config::Verb),
    Demo(demo::Args),
    /// The application of the demo
    #[command(hide = true)]
    DemoApp(demo::app::Args),
    Completions(completions::Args),
    /// Write the pages of the manual into a directory, for packages
    #[command(hide = true)]
    Manual(manual::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to a reader that may be gone.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(Failure::Closed) => ExitCode::SUCCESS,
        Err(Failure::Said { code, text }) => {
            screen::complain(&format!("snooze: {text}\n"));
            ExitCode::from(code)
        }
    }
}

fn run(cli: Cli) -> Result<u8, Failure> {
    let context = Context { socket: cli.socket, json: cli.json, fleet: cli.fleet };
    match cli.verb {
        Verb::Status(args) => status::run(&args, &context),
        Verb::Plugin(verb) => plugin::run(&verb, &context),
        Verb::Plugins => plugin::run(&plugin::Verb::List, &context),
        Verb::Event(verb) => event::run(&verb, &context),
        Verb::Simulate(args) => simulate::run(&args, &context),
        Verb::History(args) => history::run(&args, &context),
        Verb::Metrics(args) => metrics::run(&args, &context),
        Verb::Explain(args) => explain::run(&args, &context),
        Verb::Wake(args) => idle::wake(&args, &context),
        Verb::Idle(verb) => idle::run(&verb, &context),
        Verb::Rehearse(args) => rehearse::run(&args, &context),
        Verb::Pattern(verb) => pattern::run(&verb, &context),
        Verb::Policy(verb) => policy::run(&verb, &context),
        Verb::Instances(args) => fleet::instances::run(&args, &context),
        Verb::Incidents(args) => fleet::incidents::run(&args, &context),
        Verb::Savings(args) => fleet::savings::run(&args, &context),
        Verb::Replay(args) => fleet::replay::run(&args, &context),
        Verb::Drill(args) => fleet::drill::run(&args, &context),
        Verb::Doctor(args) => fleet::doctor::run(&args, &context),
        Verb::IamPolicy(args) => fleet::iam::run(&args, &context),
        Verb::Breaker(verb) => fleet::breaker::run(&verb, &context),
        Verb::Config(verb) => config::run(&verb, &context),
        Verb::Demo(args) => demo::run(&args, &context),
        Verb::DemoApp(args) => demo::app::run(&args),
        Verb::Completions(args) => completions::run(&args),
        Verb::Manual(args) => manual::run(&args),
    }
}
