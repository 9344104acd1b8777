//! `snooze metrics`.

use serde_json::{Value, json};
use snoozed::exit;
use snoozed::metrics::serve::COMMAND;

use crate::daemon::Context;
use crate::failure::Failure;
use crate::screen;

/// Print what the daemon tells of itself in figures, as Prometheus reads it
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: snooze metrics | grep incidents")]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, context: &Context) -> Result<u8, Failure> {
    let text = context.ask(COMMAND, json!({}))?;
    screen::show(context.json, &text, |text| Value::as_str(text).unwrap_or_default().to_owned())?;
    Ok(exit::OK)
}
