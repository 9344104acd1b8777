//! The plugins that need no program of their own.
//!
//! Each is a [`Plugin`] like any other and is served by a child process of the daemon, so that a
//! hanging web server or a panic here costs a step and never the daemon.
//!
//! Invariants: every wait has a limit, which no step may pass; nothing that came from a URL beyond
//! its host, and no secret, appears in a text.

mod checkpointer;
pub(crate) mod http;
mod notice;
mod script;
mod slack;
mod webhook;

use snooze_plugin::Plugin;

use checkpointer::AppCheckpointer;
use script::SpotInterruptHandler;
use slack::SlackNotifier;
use webhook::WebhookNotifier;

/// The names of the built-in plugins, in alphabetical order.
pub const NAMES: [&str; 4] =
    ["app-checkpointer", "slack-notifier", "spot-interrupt-handler", "webhook-notifier"];

/// The built-in plugin that runs a script of the instance.
pub const SCRIPTS: &str = "spot-interrupt-handler";

/// The built-in plugin of a name, not yet configured.
#[must_use]
pub fn find(name: &str) -> Option<Box<dyn Plugin>> {
    match name {
        "app-checkpointer" => Some(Box::new(AppCheckpointer::default())),
        "slack-notifier" => Some(Box::new(SlackNotifier::default())),
        "spot-interrupt-handler" => Some(Box::new(SpotInterruptHandler::default())),
        "webhook-notifier" => Some(Box::new(WebhookNotifier::default())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_is_found_by_its_name_and_says_it() {
        for name in NAMES {
            assert_eq!(find(name).map(|plugin| plugin.info().name).as_deref(), Some(name));
        }
        assert!(find("redis-flusher").is_none());
    }
}
