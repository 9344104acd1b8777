//! The Lambda functions of the cloud side: one file and one binary for each.
//!
//! | function | woken by | does |
//! |---|---|---|
//! | `dispatch` | EventBridge rules | claims the incident, plans, tells the instance, orders actions |
//! | `perform` | the queue of actions | does one task of an incident for each order |
//! | `record` | what instances put on the bus | keeps Instances and Incidents, makes and removes queues |
//! | `sweep` | the clock, each minute | mends what was left: the same code paths, later |
//!
//! All that decides stands in `snooze_policy::ledger`.
//!
//! The other files are what the four share: `host` (the loop of the runtime), `fan` (what is sent
//! for an incident), `shelves` and `hooks` (copies of policies and of the time-outs of hooks),
//! `trace` (an incident as a trace).

pub mod clock;
pub mod dispatch;
pub mod failure;
pub mod fan;
pub mod hooks;
pub mod host;
pub mod order;
#[cfg(feature = "perform")]
pub mod perform;
pub mod record;
pub mod settings;
pub mod shelves;
pub mod sweep;
pub mod telemetry;
pub mod trace;
