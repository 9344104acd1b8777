//! What can be set.

use std::time::Duration;

use serde_json::{Map, Value};
use snooze_plugin::{Config, PluginError, Setting};

use super::slurm::Job;
use crate::signal;

/// Slurm's own `KillWait` is 30 seconds, and a controller may be busy.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Enough to write a small checkpoint.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);

/// The longest name of a node.
const LONGEST_NODE: usize = 255;

/// The checked configuration.
pub(super) struct Settings {
    pub(super) node: String,
    pub(super) signal: Option<String>,
    /// How long jobs have after the signal.
    pub(super) patience: Duration,
    pub(super) drain: bool,
    pub(super) hold: bool,
    pub(super) timeout: Duration,
    pub(super) dry_run: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            node: own_node(),
            signal: None,
            patience: DEFAULT_PATIENCE,
            drain: true,
            hold: false,
            timeout: DEFAULT_TIMEOUT,
            dry_run: false,
        }
    }
}

/// All settings.
pub(super) fn all() -> [Setting; 7] {
    let seconds = 0.1..=3600.0;
    [
        Setting::text("node", "the name of the node; the host's name up to its first dot"),
        Setting::choice("signal", &signal::STOPPING, "what tells the batch scripts to save; none"),
        Setting::number("signal_seconds", seconds.clone(), "how long they have after the signal")
            .default(DEFAULT_PATIENCE.as_secs()),
        Setting::flag("drain", "let no job start on this node any more").default(true),
        Setting::flag("hold", "requeued jobs wait until somebody releases them").default(false),
        Setting::number("timeout_seconds", seconds, "how long all of it may take at most")
            .default(DEFAULT_TIMEOUT.as_secs()),
        Setting::dry_run(),
    ]
}

impl Settings {
    pub(super) fn read(given: &Map<String, Value>) -> Result<Self, PluginError> {
        let known = all();
        let mut config = Config::new(&known, given);
        let defaults = Self::default();
        let node = config.text("node").unwrap_or(defaults.node);
        if !is_node(&node) {
            config.fault("node", "expected letters, digits, `.`, `_` and `-`");
        }
        let signal = config.text("signal");
        let patience = config.seconds("signal_seconds").unwrap_or(defaults.patience);
        let timeout = config.seconds("timeout_seconds").unwrap_or(defaults.timeout);
        let (drain, hold) = (config.flag("drain"), config.flag("hold"));
        let dry_run = config.flag("dry_run");
        config.finish()?;
        Ok(Self { node, signal, patience, drain, hold, timeout, dry_run })
    }

    /// What would be done with these jobs.
    pub(super) fn acts(&self, jobs: &[Job]) -> Vec<String> {
        let drain = self.drain.then(|| format!("drain {}", self.node));
        let signal = self.signal.iter().flat_map(|signal| {
            jobs.iter().map(move |job| format!("send {signal} to {}", job.shown()))
        });
        let verb = if self.hold { "requeue and hold" } else { "requeue" };
        let requeue = jobs.iter().map(|job| format!("{verb} {}", job.shown()));
        drain.into_iter().chain(signal).chain(requeue).collect()
    }
}

/// A node has the name of its host up to the first dot, unless `slurm.conf` says otherwise.
fn own_node() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    host.split('.').next().unwrap_or_default().to_owned()
}

/// Whether this can stand among arguments, as one node and no list of nodes.
fn is_node(name: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=LONGEST_NODE).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(is_known)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_node_is_this_host_or_one_by_name() {
        let check = |given: Value| Settings::read(given.as_object().unwrap());
        assert_eq!(check(json!({})).ok().unwrap().node, own_node());
        assert_eq!(check(json!({ "node": "gpu-1" })).ok().unwrap().node, "gpu-1");
        for node in ["--all", "a,b", "n[1-9]", "a b"] {
            let error = check(json!({ "node": node })).err().unwrap().to_string();
            assert!(error.contains("`node`: expected"), "{error}");
        }
    }
}
