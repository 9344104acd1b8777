//! What the host is told before it starts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};
use snooze_event::PluginName;

use super::SecretStore;
use crate::sandbox::Sandboxes;

/// One handler of one policy: a plugin with its configuration, for which one process runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The id of the step, for example `orders-db/redis-flusher`.
    pub id: String,
    /// The plugin that does it.
    pub plugin: PluginName,
    /// What the plugin is configured with; secrets by reference.
    pub config: Map<String, Value>,
}

/// Where plugins are, which of them may run, and how.
#[derive(Debug, Clone)]
pub struct HostSettings {
    /// The program that knows how to be a launcher and a built-in: `/proc/self/exe` in the daemon.
    pub program: PathBuf,
    /// The names of the plugins in that program.
    pub builtins: Vec<PluginName>,
    /// Where the other plugins are; the first directory that has a name wins.
    pub directories: Vec<PathBuf>,
    /// The plugins that may run; `None` for all that are built in or found.
    pub allowed: Option<Vec<PluginName>>,
    /// The sha256 that the files of some plugins must have, as hexadecimal digits.
    pub pins: BTreeMap<PluginName, String>,
    /// The plugins that run although nobody approved their file; `None` for any.
    pub unsigned: Option<Vec<PluginName>>,
    /// A directory for lock files that only we can write.
    pub run_directory: PathBuf,
    /// Where the values of secrets come from.
    pub secrets: SecretStore,
    /// How long things may take.
    pub limits: Limits,
    /// What plugins may use and touch.
    pub sandboxes: Sandboxes,
}

/// How long things may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From the start of a process to the end of its initialisation (S3-15).
    pub start: Duration,
    /// One call that is no event (S3-15).
    pub call: Duration,
    /// Between two health checks of a plugin that does nothing.
    pub health_period: Duration,
    /// Before the first restart; doubled for each further one in a row.
    pub backoff: Duration,
    /// Between restarts at most.
    pub longest_backoff: Duration,
    /// Starts that may fail in a row before only a run starts the plugin again.
    pub attempts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(10),
            call: Duration::from_secs(5),
            health_period: Duration::from_secs(30),
            backoff: Duration::from_millis(100),
            longest_backoff: Duration::from_secs(30),
            attempts: 5,
        }
    }
}

impl Limits {
    /// How long to wait before the start after `failures` failures in a row.
    pub(super) fn backoff_after(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.backoff.saturating_mul(doubled).min(self.longest_backoff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f5_the_wait_before_a_restart_doubles_up_to_a_bound() {
        let limits = Limits::default();
        let waits = [1, 2, 3, 4, 9, 10, 1000].map(|n| limits.backoff_after(n).as_millis());
        assert_eq!(waits, [100, 200, 400, 800, 25_600, 30_000, 30_000]);
    }
}
