//! What `doctor` looks at on the instance itself, beside what its daemon tells: settings, plugins,
//! the unit, the metadata service, the clock, disk and kernel.
//!
//! [`gather`] asks and decides nothing; [`findings`] decides and asks nothing.

mod checks;
mod gather;
mod imds;
mod unit;

use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;

pub(crate) use checks::findings;
pub(crate) use gather::gather;
pub(crate) use unit::Unit;

/// What was gathered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// What is wrong with the settings.
    pub(crate) settings: Vec<String>,
    /// What is wrong with the policies of the settings.
    pub(crate) policies: Vec<String>,
    /// Files and directories of plugins that do not run, with the reason.
    pub(crate) refused: Vec<String>,
    /// Plugins that policies name and that are nowhere.
    pub(crate) missing: Vec<String>,
    /// Plugins that policies name and that `plugins.allowed` does not.
    pub(crate) not_allowed: Vec<String>,
    /// Whether signatures are required; `None` where no policies come from a table.
    pub(crate) signatures: Option<bool>,
    /// What is wrong with the keys that may sign policies.
    pub(crate) keys: Vec<String>,
    /// Secret files that others may read, with their modes.
    pub(crate) open_secrets: Vec<(PathBuf, u32)>,
    /// Secret keys that lie beside the public ones.
    pub(crate) secret_keys: Vec<PathBuf>,
    /// Credentials that policies name and that the daemon does not have.
    pub(crate) credentials: Vec<String>,
    /// Why the daemon does not answer.
    pub(crate) unanswered: Option<String>,
    /// The unit of the daemon; `None` where there is no systemd to ask.
    pub(crate) unit: Option<Unit>,
    /// What the settings leave handlers at a shutdown.
    pub(crate) shutdown_budget: Duration,
    /// What the metadata service answers.
    pub(crate) metadata: Metadata,
    /// The state directory is missing.
    pub(crate) is_stateless: bool,
    /// The state directory; `None` where it was not looked at.
    pub(crate) state: Option<State>,
    /// The size of the core dumps of the daemon, in bytes; `None` where no daemon runs.
    pub(crate) core_limit: Option<u64>,
    /// The newest version of Landlock; 0 without it.
    pub(crate) landlock: i32,
    /// System calls can be filtered.
    pub(crate) seccomp: bool,
    /// Control groups are those of version 2.
    pub(crate) cgroup2: bool,
}

/// What the metadata service answers.
#[derive(Debug, Clone, Default)]
pub(crate) enum Metadata {
    /// The settings switch it off.
    #[default]
    Off,
    /// Nothing.
    Silent,
    /// It answers, and gives no token.
    NoToken,
    /// It works.
    Works {
        /// It answers without a token, too: version 1.
        is_open: bool,
        /// By how much our clock is ahead of its.
        ahead: Option<SignedDuration>,
        /// The instance has a role; `None` where the answer was neither.
        has_role: Option<bool>,
        /// The settings need a role.
        needs_role: bool,
    },
}

/// The state directory.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Nothing can be written there.
    pub(crate) is_read_only: bool,
    /// Others than its owner may write there.
    pub(crate) is_shared: bool,
    /// What is free, in bytes.
    pub(crate) free: u64,
}

/// The number of the daemon's process, as its status tells.
fn pid(status: Option<&Value>) -> Option<u64> {
    status?.get("pid")?.as_u64()
}
