//! The plugins as processes, against a real MariaDB where there is one.
//!
//! Without one these tests say so and end; with `SNOOZE_FULL=1` in the environment that is a
//! failure.

#[cfg(test)]
mod flush;
#[cfg(test)]
mod hold;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod logins;
#[cfg(test)]
mod monitor;
#[cfg(test)]
mod process;
#[cfg(test)]
mod program;
#[cfg(test)]
mod server;
#[cfg(test)]
mod stop;
