//! The plugin protocol, and all that a plugin in Rust needs.
//!
//! A plugin is a program that does one step of a plan, or votes whether the instance is idle. The
//! host writes one JSON request a line to its stdin and reads one JSON reply a line from its
//! stdout; stderr is the plugin's log. [`wire`] holds the messages and all that is tolerated in
//! them; [`Plugin`] and [`serve`] make a plugin in Rust a job of ten lines:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use snooze_plugin::{Handled, Info, Plugin, PluginError, PluginEvent, serve};
//!
//! struct Hello;
//!
//! impl Plugin for Hello {
//!     fn info(&self) -> Info {
//!         Info::new("hello", "1.0.0")
//!     }
//!
//!     fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
//!         eprintln!("{} leaves {:?}", event.kind, event.time_remaining());
//!         Ok(Handled::with_status("greeted"))
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     serve(Hello)
//! }
//! ```
//!
//! Invariants: no clock, no async; nothing but [`serve`] and what it stands on does I/O, and that
//! only over the streams it is given. No bytes from the other side make anything here panic, and
//! no text that came from a plugin holds control characters once it is read.

mod config;
mod event;
mod handled;
mod info;
mod metrics;
mod plugin;
mod serve;
mod setting;
mod vote;
pub mod wire;

pub use config::Config;
pub use event::{LOSSES, PluginEvent, WARNINGS};
pub use handled::Handled;
pub use info::{Dependency, Info, NoName, PROTOCOL, ProtocolMismatch, ProtocolRange};
pub use metrics::Metrics;
pub use plugin::{Plugin, PluginError};
pub use serve::{answer, handle, serve, serve_dyn, serve_on};
pub use setting::{Kind, Setting};
pub use snooze_event::Severity;
pub use vote::{Verdict, Vote};

/// A text for people, made of one that a plugin sent: control characters become `?`.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '?' } else { c }).collect()
}
