//! Both programs as processes, against real PostgreSQL servers where there is one.
//!
//! Without one these tests say so and end; with `SNOOZE_FULL=1` in the environment that is a
//! failure.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "the helpers of a test may do what a test may"
)]

mod cluster;
mod errors;
mod flush;
mod load;
mod monitor;
mod program;
mod quiesce;
mod server;
mod ship;
mod sql;
mod stop;
