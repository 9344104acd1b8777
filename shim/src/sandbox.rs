//! What a plugin may use and touch.
//!
//! ```text
//!  settings ─────────> Sandbox ──+
//!                                +── plan ──> Confinement ──> launcher, which puts it on
//!  kernel, own user ─> Abilities +        └─> gaps ─────────> status, `snooze plugin info`
//! ```
//!
//! Limits hold for every plugin. Walls, around files, network, signals and other processes, hold
//! for those whose permissions are set; the others have all rights of their user.
//!
//! Invariants: a plan is exact, the launcher does all of it or starts nothing; what was wanted and
//! is not in the plan is a gap that is told.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use snooze_event::PluginName;

mod abilities;
mod groups;
mod permission;
mod plan;
mod user;

pub use abilities::Abilities;
pub use groups::Groups;
pub use permission::{NotAPermission, Permission};
pub use plan::{Confinement, Group, Ids, Network, Plan, Walls};
pub use user::User;

/// What one plugin may use and touch, as the operator wants it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// How much of the machine it may use.
    pub amounts: Amounts,
    /// As whom it runs; `None` for the daemon's own user.
    pub user: Option<User>,
    /// What it may do beyond its own process; `None` for all that its user may.
    pub permissions: Option<BTreeSet<Permission>>,
}

/// How much of the machine a plugin may use; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amounts {
    /// Processes and threads; of its user where it has no control group.
    pub processes: Option<u64>,
    /// Memory in MiB; private memory of each process where it has no control group.
    pub memory_mb: Option<u64>,
    /// The longest file that it may write, in MiB.
    pub file_size_mb: Option<u64>,
    /// Descriptors of each process.
    pub open_files: Option<u64>,
}

impl Default for Amounts {
    /// What stops a runaway, and no program that does its work: a runtime starts a few threads for
    /// each of up to a hundred processors, and reserves memory that it never uses.
    fn default() -> Self {
        Self { processes: Some(512), memory_mb: None, file_size_mb: None, open_files: Some(4096) }
    }
}

/// The sandboxes of all plugins.
#[derive(Debug, Clone, Default)]
pub struct Sandboxes {
    /// The limits of plugins that have none of their own.
    pub amounts: Amounts,
    /// Those that are set for one plugin.
    pub each: BTreeMap<PluginName, Sandbox>,
    /// Plugins that have all rights of their user, whatever was approved.
    pub free: BTreeSet<PluginName>,
    /// What can be put on here.
    pub abilities: Abilities,
}

impl Sandboxes {
    /// The sandbox of a plugin for which an operator approved these permissions; what the settings
    /// say wins.
    #[must_use]
    pub fn of(&self, name: &PluginName, approved: Option<&BTreeSet<Permission>>) -> Sandbox {
        let usual = || Sandbox { amounts: self.amounts, ..Sandbox::default() };
        let mut sandbox = self.each.get(name).cloned().unwrap_or_else(usual);
        if sandbox.permissions.is_none() && !self.free.contains(name) {
            sandbox.permissions = approved.cloned();
        }
        sandbox
    }
}
