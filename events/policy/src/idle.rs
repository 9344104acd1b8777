//! Whether an instance is idle: what was measured, what plugins think, and what follows.
//!
//! [`Idle::on`] takes one moment in and answers with [`Effect`]s; it reads no clock and does
//! nothing itself. An instance is idle when all that takes part agreed for the whole naptime, and
//! nothing held it up. What is not known never leads to a stop.

mod awake;
mod cron;
mod hours;
mod judge;
mod machine;
mod reading;
mod settings;
#[cfg(test)]
mod tests;
mod trace;

pub use awake::kept_awake;
pub use hours::{Hours, Meaning};
pub use judge::{Agreement, Check, Judgement, Seen, Standing, Verdict, Vote};
pub use machine::{Effect, HEARTBEAT, Idle, Kept, Moment, Phase, Span};
pub use reading::{Monitor, Reading, Readings};
pub use settings::{Combination, Settings, TOP_KEYS, Wanted};
pub use trace::{Happened, TraceError, replay};
