//! The twelve promises of the fault matrix, and how the walk says that one is broken.

use std::fmt;

/// A promise, by the word of the fault matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// A step runs only if the instance allows its plugin.
    Authority,
    /// At most one run of a step at any moment.
    OneRun,
    /// A step whose outcome is durable is never started again.
    DoneStaysDone,
    /// A step that was cut is run again with attempt + 1, or is unknown; it is never told done.
    UnknownIsSaid,
    /// No step starts that cannot end before the deadline less the reserve.
    Time,
    /// A hook is completed once, with the word that fits, and not held past the deadline.
    Release,
    /// What is kept and sent is bounded.
    Bounds,
    /// No secret in what is kept or told.
    Silence,
    /// What one channel tells is acted on.
    EitherEar,
    /// Without a network the whole plan runs; outcomes are told later.
    NoCloud,
    /// A killed daemon goes on within a second.
    BackInASecond,
    /// Each incident ends in exactly one outcome.
    OneEnding,
}

/// A promise was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub promise: Promise,
    /// Milliseconds since the story began.
    pub at: u64,
    /// How.
    pub text: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, rest) = (self.at / 1000, self.at % 1000);
        write!(f, "{:?} broken at {seconds}.{rest:03}: {}", self.promise, self.text)
    }
}

/// Whether all promises were kept.
pub type Kept = Result<(), Broken>;

/// A rule that the harness breaks on purpose, so that it is seen that the walk finds it; one for
/// each promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Policies of the table are taken as they are.
    TrustsTheTable,
    /// Plugins outlive a killed daemon.
    LeavesPluginsBehind,
    /// The last end of a step, and what follows it, is not on disk after a kill.
    SyncsNothing,
    /// A plugin that ran out of time counts as done.
    CallsLateDone,
    /// Deadlines are kept on a clock that is twenty seconds behind.
    StopsTheClock,
    /// Heartbeats go on whatever the time.
    BeatsForEver,
    /// The loop turns without a pause while something is open.
    TurnsWithoutPause,
    /// What a plugin says is not cleared of secrets.
    HidesNothing,
    /// After trouble, the metadata service is not asked again.
    GoesDeaf,
    /// Nothing starts while the network is gone.
    WaitsForTheCloud,
    /// A killed daemon takes five seconds.
    RestartsSlowly,
    /// The second word of an instance replaces the first.
    TakesTheLastWord,
}

impl Flaw {
    /// Each with the promise that it breaks.
    pub const ALL: [(Self, Promise); 12] = [
        (Self::TrustsTheTable, Promise::Authority),
        (Self::LeavesPluginsBehind, Promise::OneRun),
        (Self::SyncsNothing, Promise::DoneStaysDone),
        (Self::CallsLateDone, Promise::UnknownIsSaid),
        (Self::StopsTheClock, Promise::Time),
        (Self::BeatsForEver, Promise::Release),
        (Self::TurnsWithoutPause, Promise::Bounds),
        (Self::HidesNothing, Promise::Silence),
        (Self::GoesDeaf, Promise::EitherEar),
        (Self::WaitsForTheCloud, Promise::NoCloud),
        (Self::RestartsSlowly, Promise::BackInASecond),
        (Self::TakesTheLastWord, Promise::OneEnding),
    ];
}
