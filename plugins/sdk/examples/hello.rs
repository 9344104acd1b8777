//! A plugin in ten lines: writes to its log that the instance goes.

#![expect(clippy::print_stderr, reason = "stderr is the log of a plugin")]

use std::process::ExitCode;

use snooze_plugin::{Handled, Info, Plugin, PluginError, PluginEvent, serve};

struct Hello;

impl Plugin for Hello {
    fn info(&self) -> Info {
        Info::new("hello", "1.0.0")
    }

    fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
        eprintln!("{} leaves {:?}", event.kind, event.time_remaining());
        Ok(Handled::with_status("greeted"))
    }
}

fn main() -> ExitCode {
    serve(Hello)
}
