//! What goes into the host and what comes out of it.

use std::time::Duration;

use serde_json::{Map, Value};
use snooze_event::PluginName;
use snooze_plugin::{Info, Vote};

use super::Kind;

/// One step to be done now.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// By which the reports name it; the caller's to choose, unique.
    pub run_id: u64,
    /// Which entry is to do it.
    pub entry_id: String,
    /// The event as the plugin gets it: `params.event`.
    pub event: Value,
    /// How long it may take, the start of its plugin included.
    pub budget: Duration,
    /// How long it may still live after TERM.
    pub grace: Duration,
}

/// What happened in the host.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// The event is in the plugin's pipe.
    Started {
        /// Which run.
        run_id: u64,
    },
    /// The run is over. Comes exactly once for each run.
    Ended {
        /// Which run.
        run_id: u64,
        /// How it went.
        outcome: StepOutcome,
    },
    /// The process of an entry changed its state.
    State {
        /// Which entry.
        entry_id: String,
        /// The state it is in.
        state: PluginState,
    },
    /// The answer to a question whether the instance is idle; comes once for each question that
    /// no later one overtook.
    Vote {
        /// Which entry.
        entry_id: String,
        /// The vote, `None` when the plugin does not vote at all.
        vote: Option<Vote>,
    },
}

/// How a step ended, and what the plugin said of it. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq)]
pub struct StepOutcome {
    /// How it ended.
    pub outcome: Outcome,
    /// The plugin's word for what it did; may be empty.
    pub status: String,
    /// The free keys of the plugin's answer.
    pub result: Map<String, Value>,
    /// What the plugin read back: whether the data is safe.
    pub verified: Option<bool>,
    /// An answer came, but after the time was over; it changes nothing.
    pub late: bool,
    /// From the request to the end, the start of the plugin included where it had to be started.
    pub seconds: f64,
    /// How much of that the plugin took to start and become ready; 0 where it was.
    pub start_seconds: f64,
}

/// The ways in which a step ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The plugin did it.
    Done,
    /// The plugin did something, but not all is as it should be.
    Degraded,
    /// The plugin says that it is not its business.
    NotHandled,
    /// The plugin, or the talk with it, failed.
    Failed(String),
    /// It did not end in time.
    TimedOut,
    /// It did not end in time, and the kernel cannot kill it: it was abandoned.
    Unkillable(String),
    /// The plugin could not be started, or not be made ready.
    CannotStart(String),
    /// The plugin wrote what is no answer; with an excerpt.
    BrokenReply(String),
    /// The plugin wrote more than a plugin may.
    TooMuchOutput,
    /// The plugin ended without an answer.
    Exited {
        /// Its exit code.
        code: u8,
    },
    /// The plugin was killed before it answered.
    Killed {
        /// The number of the signal.
        signal: u8,
    },
    /// The plugin's file is not one that may be run.
    Untrusted(String),
}

impl Outcome {
    /// The word for records and logs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Degraded => "degraded",
            Self::NotHandled => "not_handled",
            Self::Failed(_) => "failed",
            Self::TimedOut => "timed_out",
            Self::Unkillable(_) => "unkillable",
            Self::CannotStart(_) => "cannot_start",
            Self::BrokenReply(_) => "broken_reply",
            Self::TooMuchOutput => "too_much_output",
            Self::Exited { .. } => "exited",
            Self::Killed { .. } => "killed",
            Self::Untrusted(_) => "untrusted",
        }
    }

    /// Why, where there is more to say than the word.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Failed(text)
            | Self::CannotStart(text)
            | Self::BrokenReply(text)
            | Self::Unkillable(text)
            | Self::Untrusted(text) => Some(text.clone()),
            Self::Exited { code } => Some(format!("exit code {code} without an answer")),
            Self::Killed { signal } => Some(format!("killed by signal {signal}")),
            Self::Done
            | Self::Degraded
            | Self::NotHandled
            | Self::TimedOut
            | Self::TooMuchOutput => None,
        }
    }
}

impl StepOutcome {
    /// An outcome of which the plugin said nothing.
    #[must_use]
    pub fn bare(outcome: Outcome, took: Duration) -> Self {
        Self {
            outcome,
            status: String::new(),
            result: Map::new(),
            verified: None,
            late: false,
            seconds: took.as_secs_f64(),
            start_seconds: 0.0,
        }
    }
}

/// The state of an entry's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginState {
    /// It is started and made ready.
    Starting,
    /// It waits for an event.
    Ready,
    /// It has an event.
    Busy,
    /// It ended and is started again after a while.
    Waiting,
    /// It failed too often in a row: the next run starts it again.
    Failed,
    /// An operator switched the plugin off.
    Disabled,
    /// It was stopped.
    Stopped,
}

impl PluginState {
    /// All states.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Ready,
        Self::Busy,
        Self::Waiting,
        Self::Failed,
        Self::Disabled,
        Self::Stopped,
    ];

    /// The word for logs and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Busy => "busy",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
            Self::Stopped => "stopped",
        }
    }
}

/// What is known of an entry and its process.
#[derive(Debug, Clone)]
pub struct PluginStatus {
    /// The entry's id.
    pub id: String,
    /// Its plugin.
    pub plugin: PluginName,
    /// Where the plugin comes from; `None` when there is no such plugin.
    pub kind: Option<Kind>,
    /// The state of its process.
    pub state: PluginState,
    /// The process id of its keeper; the plugin is the keeper's child.
    pub pid: Option<u32>,
    /// What the plugin says of itself, once it was asked.
    pub info: Option<Info>,
    /// The events that it says it handles; `None` when it leaves that to the policies.
    pub supported: Option<Vec<String>>,
    /// Figures since the entry exists.
    pub stats: Stats,
    /// What was wanted for its process and cannot be enforced here, with the reason.
    pub gaps: Vec<String>,
    /// The last 64 KiB that the plugin wrote to stderr.
    pub stderr_tail: String,
    /// How many bytes it wrote to stderr in all.
    pub stderr_bytes: u64,
}

/// Figures of an entry since it exists.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// Events and questions handed to the plugin.
    pub calls: u64,
    /// How many of them ended otherwise than done, degraded or not handled.
    pub failures: u64,
    /// How often its process was started again.
    pub restarts: u64,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
    /// How long the last event took.
    pub last_seconds: Option<f64>,
    /// How long all events took together.
    pub total_seconds: f64,
}
