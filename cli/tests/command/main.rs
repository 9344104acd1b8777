//! The command as a process.

#![expect(clippy::unwrap_used, reason = "the helpers below are part of the tests")]
#![expect(clippy::panic, reason = "the helpers below are part of the tests")]
#![expect(clippy::print_stdout, reason = "the helpers below are part of the tests")]
#![expect(clippy::indexing_slicing, reason = "the helpers below are part of the tests")]

mod authors;
mod doctor;
mod documents;
mod fleet;
mod install;
mod plugin_doctor;
mod plugins;
mod settings;
mod signing;
mod snooze;
mod socket;
mod verbs;
mod walks;
