//! Signals by name.

use rustix::process::Signal;

/// The signals by which programs are told to end or to save. `KILL` is none of them: it tells
/// nobody anything.
pub(crate) const STOPPING: [&str; 6] = ["TERM", "INT", "QUIT", "HUP", "USR1", "USR2"];

/// The signal of a name in [`STOPPING`].
pub(crate) fn named(name: &str) -> Option<Signal> {
    match name {
        "TERM" => Some(Signal::TERM),
        "INT" => Some(Signal::INT),
        "QUIT" => Some(Signal::QUIT),
        "HUP" => Some(Signal::HUP),
        "USR1" => Some(Signal::USR1),
        "USR2" => Some(Signal::USR2),
        _ => None,
    }
}

/// The name of a signal for people.
pub(crate) fn name(signal: Signal) -> &'static str {
    STOPPING.into_iter().find(|name| named(name) == Some(signal)).unwrap_or("KILL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_that_of_its_signal() {
        for word in STOPPING {
            assert_eq!(named(word).map(name), Some(word));
        }
        assert_eq!((named("KILL"), name(Signal::KILL)), (None, "KILL"));
    }
}
