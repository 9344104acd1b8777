//! What can happen in a story, as lines of text: `12.500 spot action=terminate ahead=120 time=fine`.
//!
//! One table says which moves there are, what they carry and how often each is drawn; it serves
//! the generator, the printer and the reader.

use std::fmt;
use std::str::FromStr;

use crate::dice::Dice;

/// One move: when, what, and its numbers in the order of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Milliseconds since the story began.
    pub at: u64,
    /// What.
    pub act: Act,
    /// A number for each name in the table; where the table has words, the index of the word.
    pub numbers: Vec<i64>,
}

/// What happens. What a fault arms, the next that it fits meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A Spot notice stands in the metadata service.
    Spot,
    /// So does a recommendation to rebalance.
    Rebalance,
    /// So does a state that Auto Scaling moves the instance to.
    State,
    /// So does a maintenance.
    Maintenance,
    /// What stood at a path is gone.
    Quiet,
    /// The metadata service gives no answer, or a bad one, to so many polls.
    Trouble,
    /// EventBridge delivers an event to `dispatch`; the same number is the same event again.
    Bridge,
    /// A person handles an event over the socket.
    Handle,
    /// EC2 takes the instance.
    Taken,
    /// The daemon is killed.
    Kill,
    /// The daemon is killed in the next turn that writes: before the sync, with a part of what it
    /// wrote on disk, or after so many effects.
    KillIn,
    /// The machine boots again.
    Reboot,
    /// The machine hibernates and comes back.
    Sleep,
    /// The wall clock jumps.
    Clock,
    /// The daemon is asked to end.
    Stop,
    /// The disk is full, or has room again.
    Disk,
    /// At the next start, a bit near the end of the journal is not what was written.
    Flip,
    /// At the next start, the last line of the journal stands there twice.
    Twice,
    /// How the next run of a plugin goes.
    Plugin,
    /// Which policies the settings hold.
    Policies,
    /// The instance reaches nothing but the metadata service, or everything again.
    Network,
    /// The cloud side is wholly absent, or back.
    Cloud,
    /// A fault of the cloud side, for so many times.
    Fault,
    /// A function is killed after so many calls.
    Cut,
}

/// What a number of a move may be.
#[derive(Debug, Clone, Copy)]
enum Values {
    Range(i64, i64),
    Words(&'static [&'static str]),
}

/// A kind of move.
struct Kind {
    act: Act,
    name: &'static str,
    numbers: &'static [(&'static str, Values)],
    /// How often it is drawn, beside the others.
    weight: u64,
}

use Values::{Range, Words};

const SWITCH: Values = Words(&["off", "on"]);
const ACTIONS: Values = Words(&["terminate", "stop", "hibernate", "melt"]);

/// What the next of its kind meets in the cloud, in the order of [`Fault`].
const FAULTS: [&str; 17] = [
    "lose-command",
    "double-command",
    "late-command",
    "lose-order",
    "double-order",
    "late-order",
    "lose-report",
    "double-report",
    "late-report",
    "no-answer-to-report",
    "ledger-down",
    "facts-down",
    "policies-down",
    "index-late",
    "act-throttled",
    "act-unanswered",
    "act-denied",
];

/// A fault of the cloud side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the word of its name in a scenario")]
pub enum Fault {
    LoseCommand,
    DoubleCommand,
    LateCommand,
    LoseOrder,
    DoubleOrder,
    LateOrder,
    LoseReport,
    DoubleReport,
    LateReport,
    NoAnswerToReport,
    LedgerDown,
    FactsDown,
    PoliciesDown,
    IndexLate,
    ActThrottled,
    ActUnanswered,
    ActDenied,
}

impl Fault {
    /// All of them, in the order of their words.
    pub const ALL: [Self; FAULTS.len()] = [
        Self::LoseCommand,
        Self::DoubleCommand,
        Self::LateCommand,
        Self::LoseOrder,
        Self::DoubleOrder,
        Self::LateOrder,
        Self::LoseReport,
        Self::DoubleReport,
        Self::LateReport,
        Self::NoAnswerToReport,
        Self::LedgerDown,
        Self::FactsDown,
        Self::PoliciesDown,
        Self::IndexLate,
        Self::ActThrottled,
        Self::ActUnanswered,
        Self::ActDenied,
    ];
}

const KINDS: &[Kind] = &[
    Kind {
        act: Act::Spot,
        name: "spot",
        numbers: &[
            ("action", ACTIONS),
            ("ahead", Range(-60, 180)),
            ("time", Words(&["fine", "fine", "fine", "none", "unreadable", "fraction", "far"])),
        ],
        weight: 10,
    },
    Kind { act: Act::Rebalance, name: "rebalance", numbers: &[], weight: 3 },
    Kind {
        act: Act::State,
        name: "state",
        numbers: &[(
            "to",
            Words(&["Terminated", "Terminated", "Warmed:Stopped", "InService", "Standby"]),
        )],
        weight: 4,
    },
    Kind {
        act: Act::Maintenance,
        name: "maintenance",
        numbers: &[("ahead", Range(-60, 900)), ("called-off", SWITCH)],
        weight: 3,
    },
    Kind {
        act: Act::Quiet,
        name: "quiet",
        numbers: &[("path", Words(&["spot", "rebalance", "state", "maintenance"]))],
        weight: 4,
    },
    Kind {
        act: Act::Trouble,
        name: "trouble",
        numbers: &[
            ("answer", Words(&["slow", "status-503", "html", "empty"])),
            ("polls", Range(1, 30)),
        ],
        weight: 4,
    },
    Kind {
        act: Act::Bridge,
        name: "bridge",
        numbers: &[
            (
                "event",
                Words(&[
                    "spot",
                    "spot",
                    "hook",
                    "hook",
                    "rebalance",
                    "shutting-down",
                    "terminated",
                ]),
            ),
            ("number", Range(0, 2)),
            ("age", Range(0, 200)),
            ("action", ACTIONS),
        ],
        weight: 14,
    },
    Kind {
        act: Act::Handle,
        name: "handle",
        numbers: &[("event", Words(&["spot", "custom", "drill"])), ("ahead", Range(0, 150))],
        weight: 3,
    },
    Kind { act: Act::Taken, name: "taken", numbers: &[], weight: 1 },
    Kind { act: Act::Kill, name: "kill", numbers: &[], weight: 6 },
    Kind {
        act: Act::KillIn,
        name: "kill-in-turn",
        numbers: &[("effects", Range(0, 4)), ("written", Range(0, 100))],
        weight: 6,
    },
    Kind { act: Act::Reboot, name: "reboot", numbers: &[], weight: 2 },
    Kind { act: Act::Sleep, name: "sleep", numbers: &[("seconds", Range(1, 400))], weight: 2 },
    Kind { act: Act::Clock, name: "clock", numbers: &[("seconds", Range(-7200, 7200))], weight: 2 },
    Kind { act: Act::Stop, name: "stop", numbers: &[("shutdown", SWITCH)], weight: 3 },
    Kind { act: Act::Disk, name: "full-disk", numbers: &[("is", SWITCH)], weight: 3 },
    Kind { act: Act::Flip, name: "flip", numbers: &[("back", Range(1, 4000))], weight: 1 },
    Kind { act: Act::Twice, name: "twice", numbers: &[], weight: 1 },
    Kind {
        act: Act::Plugin,
        name: "plugin",
        numbers: &[
            (
                "how",
                Words(&[
                    "done",
                    "degraded",
                    "fails",
                    "not-handled",
                    "hangs",
                    "dies",
                    "stuck",
                    "late",
                ]),
            ),
            ("milliseconds", Range(0, 90_000)),
        ],
        weight: 12,
    },
    Kind { act: Act::Policies, name: "policies", numbers: &[("mask", Range(0, 15))], weight: 3 },
    Kind { act: Act::Network, name: "network", numbers: &[("is", SWITCH)], weight: 4 },
    Kind { act: Act::Cloud, name: "cloud", numbers: &[("is", SWITCH)], weight: 3 },
    Kind {
        act: Act::Fault,
        name: "fault",
        numbers: &[("what", Words(&FAULTS)), ("times", Range(1, 4))],
        weight: 14,
    },
    Kind {
        act: Act::Cut,
        name: "cut",
        numbers: &[
            ("function", Words(&["dispatch", "perform", "record", "sweep"])),
            ("calls", Range(0, 4)),
        ],
        weight: 8,
    },
];

impl Move {
    /// Its number at a place of the table; 0 where it has none.
    #[must_use]
    pub fn number(&self, place: usize) -> i64 {
        self.numbers.get(place).copied().unwrap_or_default()
    }

    /// The same as a place in a list.
    #[must_use]
    pub fn index(&self, place: usize) -> usize {
        usize::try_from(self.number(place)).unwrap_or_default()
    }

    /// The word at a place of the table, where it has words.
    #[must_use]
    pub fn word(&self, place: usize) -> &'static str {
        match self.kind().numbers.get(place) {
            Some((_, Words(words))) => words.get(self.index(place)).copied().unwrap_or_default(),
            Some((_, Range(..))) | None => "",
        }
    }

    fn kind(&self) -> &'static Kind {
        KINDS.iter().find(|kind| kind.act == self.act).expect("the table has every act")
    }
}

/// The moves of a seed: a signal soon, and up to a dozen others at times that fit it.
#[must_use]
pub fn drawn(seed: u64) -> Vec<Move> {
    let mut dice = Dice::new(seed);
    let count = 2 + dice.below(13);
    let mut at = 0;
    let weights: u64 = KINDS.iter().map(|kind| kind.weight).sum();
    (0..count)
        .map(|_| {
            at += match dice.below(20) {
                0 => 500_000 + dice.below(400_000),
                1..=4 => 20_000 + dice.below(100_000),
                5..=8 => dice.below(50),
                _ => dice.below(20_000),
            };
            let mut left = dice.below(weights);
            let kind = KINDS.iter().find(|kind| {
                let is_it = left < kind.weight;
                left = left.saturating_sub(kind.weight);
                is_it
            });
            let kind = kind.expect("the weights sum up");
            let mut draw = |values: &Values| match values {
                Range(low, high) => {
                    let span = u64::try_from(high - low).unwrap_or_default();
                    low + i64::try_from(dice.below(span + 1)).unwrap_or_default()
                }
                Words(words) => {
                    let count = u64::try_from(words.len()).unwrap_or_default();
                    i64::try_from(dice.below(count)).unwrap_or_default()
                }
            };
            let numbers = kind.numbers.iter().map(|(_, values)| draw(values)).collect();
            Move { at, act: kind.act, numbers }
        })
        .collect()
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        write!(f, "{}.{:03} {}", self.at / 1000, self.at % 1000, kind.name)?;
        for (place, (name, values)) in kind.numbers.iter().enumerate() {
            match values {
                Range(..) => write!(f, " {name}={}", self.number(place))?,
                Words(_) => write!(f, " {name}={}", self.word(place))?,
            }
        }
        Ok(())
    }
}

impl FromStr for Move {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut parts = line.split_whitespace();
        let (at, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let at = at.split_once('.').and_then(|(seconds, rest)| {
            let rest = Some(rest).filter(|rest| rest.len() == 3)?;
            Some(seconds.parse::<u64>().ok()? * 1000 + rest.parse::<u64>().ok()?)
        });
        let at = at.ok_or_else(|| format!("`{line}`: expected a time such as `12.500`"))?;
        let kind = KINDS.iter().find(|kind| kind.name == name);
        let kind = kind.ok_or_else(|| format!("`{line}`: there is no move `{name}`"))?;
        let mut numbers = Vec::new();
        for (name, values) in kind.numbers {
            let text = parts.next().and_then(|part| part.strip_prefix(name)?.strip_prefix('='));
            let number = text.and_then(|text| match values {
                Range(..) => text.parse().ok(),
                Words(words) => {
                    let place = words.iter().position(|word| *word == text)?;
                    i64::try_from(place).ok()
                }
            });
            numbers.push(number.ok_or_else(|| format!("`{line}`: expected `{name}=…` next"))?);
        }
        match parts.next() {
            None => Ok(Self { at, act: kind.act, numbers }),
            Some(more) => Err(format!("`{line}`: `{more}` is one too many")),
        }
    }
}

/// The text of a scenario, a line for each move.
#[must_use]
pub fn text(moves: &[Move]) -> String {
    moves.iter().map(|one| format!("{one}\n")).collect()
}

/// Reads a scenario; empty lines and those that begin with `#` say nothing.
///
/// # Errors
/// The first line that is no move.
pub fn read(text: &str) -> Result<Vec<Move>, String> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::parse).collect()
}
