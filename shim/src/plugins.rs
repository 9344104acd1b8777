//! The plugin host: runs the handlers of the policies, each in a process of its own.
//!
//! ```text
//!              Order                        pipes
//!  run loop ──────────> attendant of one ─────────> keeper, plugin (see `launch`)
//!     ^                 entry (a task)                  |
//!     └──── Report ─────────┘ <──────── replies, log ───┘
//!
//!  an entry:   Starting ──> Ready <──> Busy
//!                 ^  \        |         |
//!                 |   v       v         v    ended, hung, misbehaved
//!                Waiting (100 ms, doubled) ──> Failed (until the next run)
//! ```
//!
//! Each entry has a process that is started with the daemon, so that no start falls into the time
//! between a notice and the end. Built-in plugins are processes too: the same program, told to be
//! one.
//!
//! Invariants: every [`Run`] is answered by exactly one [`Report::Ended`]; every wait has a limit;
//! what one plugin does delays no other; no value of a secret is in anything that comes out of
//! here.

mod approval;
mod attendant;
mod between;
mod discover;
mod exchange;
mod fetched;
mod host;
mod keepers;
mod log;
mod process;
mod report;
mod secret;
mod settings;
mod spare;
mod start;
mod step;
mod talk;

pub use approval::Approval;
pub use discover::{Found, Kind, Refused, discover};
pub use fetched::{Fetched, remote_references};
pub use host::Host;
pub(crate) use keepers::Helper;
pub use keepers::{adopt_orphans, go_first, reap_strays};
pub use process::environment;
pub use report::{Outcome, PluginState, PluginStatus, Report, Run, Stats, StepOutcome};
pub use secret::{Redactor, SecretFault, SecretStore};
pub use settings::{Entry, HostSettings, Limits};
