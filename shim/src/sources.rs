//! Where news comes from. Each source runs by itself, and tells what it hears over one bounded
//! channel; what follows is decided elsewhere.

mod imds;

use snooze_event::Event;
use snooze_imds::{Facts, SignalPath};

pub use imds::{Hearing, ImdsSource, News, Polls, SOURCE, Telling};

/// What a source has heard.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A notice stands. It is told again at every poll while it does, with the same id, so that
    /// none is lost; whoever listens sees to it that it counts once.
    Event(Box<Event>),
    /// The news of this path is gone. Trouble with a path is never that.
    Gone(SignalPath),
    /// Whether a source can be heard has changed, or is known for the first time.
    Health {
        /// Which source.
        source: &'static str,
        /// Whether it can be heard.
        ok: bool,
        /// Why not, in words; empty when it can.
        detail: String,
    },
    /// What is known of the instance itself: told when it is first known, and when it changes.
    Facts(Box<Facts>),
}
