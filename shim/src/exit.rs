//! The exit codes of the daemon and the command; they are part of the contract
//! (`docs/exit-codes.md`).

use crate::run::RunError;

/// It worked.
pub const OK: u8 = 0;
/// It ran, and the answer is no: a check found faults, a demo lost data, a suite disagrees.
pub const NO: u8 = 1;
/// The arguments are wrong.
pub const USAGE: u8 = 2;
/// Settings, a policy or another file that was named cannot be used as it is.
pub const BAD_SETTINGS: u8 = 3;
/// Another daemon runs with the same state directory.
pub const SECOND_INSTANCE: u8 = 4;
/// A directory, file or service of the system cannot be used.
pub const SYSTEM: u8 = 5;
/// The daemon does not answer.
pub const NO_DAEMON: u8 = 6;
/// The daemon answered with an error.
pub const REFUSED: u8 = 7;
/// AWS refused a call, or did not answer.
pub const AWS: u8 = 8;

/// The exit code of a daemon that could not start.
#[must_use]
pub fn of(error: &RunError) -> u8 {
    match error {
        RunError::SecondInstance(..) => SECOND_INSTANCE,
        RunError::Metadata(_) => BAD_SETTINGS,
        RunError::Place(..) | RunError::System(..) => SYSTEM,
    }
}
