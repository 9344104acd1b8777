//! One story: an instance, its metadata service, and a cloud side, over virtual time.
//!
//! A queue of happenings stands for all that waits: polls, ends of plugins, messages, functions.
//! Nothing is random here: what a move does not say is the same each time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use snooze_functions::order::Order;
use snooze_policy::ledger::Incident;
use snoozed::clock::Now;

use super::cloud::CloudSide;
use super::instance::Instance;
use super::moves::{Act, Move};
use super::promises::{Broken, Flaw, Kept, Promise};

/// More happenings than this are a livelock: the longest stories have some thousands.
const HAPPENINGS: u64 = 20_000;
/// An instance is quiet this long after the last move at the latest: the longest plan and what
/// outlives it.
const QUIET: u64 = 2 * 3600 * 1000;
/// So is the cloud side, which tries things for an hour and looks every minute.
const SETTLED: u64 = 5 * 3600 * 1000;

/// What waits for its time.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    Move(Move),
    /// The metadata service is asked.
    Poll(u64),
    /// The loop turns.
    Tick(u64),
    /// The daemon starts.
    Start(u64),
    /// A plugin ends, unless its time was changed.
    Ended {
        life: u64,
        run: u64,
    },
    /// A notice has stood long enough to be heard.
    MustBeHeard(u64),
    /// A message on the instance's queue.
    Message {
        id: String,
        text: String,
        tries: u32,
    },
    /// The daemon tells the bus.
    Report {
        life: u64,
        incident: String,
    },
    /// The daemon learns that the bus took it.
    Noted {
        life: u64,
        incident: String,
        told: usize,
    },
    /// EventBridge delivers to `dispatch`.
    Dispatch {
        text: String,
        tries: u32,
    },
    /// EventBridge delivers to `record`.
    Record {
        text: String,
        tries: u32,
    },
    /// What a function sent is written down.
    Mark {
        incident: String,
        tasks: Vec<String>,
    },
    /// The queue of actions gives an order.
    Order {
        text: String,
        tries: u32,
    },
    /// An attempt acts on what it took.
    Act(Box<Attempt>),
    /// An attempt writes down how it went.
    Finish(Box<Attempt>, Box<snooze_functions::perform::done::Verdict>),
    Sweep,
}

/// An attempt at an order.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) id: String,
    pub(super) order: Order,
    /// The incident when the task was taken.
    pub(super) incident: Incident,
    pub(super) text: String,
    pub(super) tries: u32,
}

/// What came of a story.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Incidents that the instance opened.
    pub incidents: u64,
    /// Incidents of the ledger.
    pub ledger: u64,
    /// Runs of plugins.
    pub runs: u64,
    /// Starts of the daemon.
    pub starts: u64,
    /// Happenings.
    pub happenings: u64,
}

pub(super) struct World {
    pub(super) now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    pub(super) instance: Instance,
    pub(super) cloud: CloudSide,
    pub(super) flaw: Option<Flaw>,
    pub(super) count: Count,
    /// When the only Spot notice of a plain story takes the instance, in milliseconds.
    pub(super) plain_deadline: Option<u64>,
    /// What has been counted as an incident.
    pub(super) opened: BTreeSet<String>,
}

/// Lives a story to its end.
///
/// # Errors
/// The first promise that is broken.
pub fn live(moves: &[Move], flaw: Option<Flaw>) -> Result<Count, Broken> {
    let mut world = World {
        now: 0,
        queue: BTreeMap::new(),
        sequence: 0,
        instance: Instance::new(),
        cloud: CloudSide::new(),
        flaw,
        count: Count::default(),
        plain_deadline: plain_deadline(moves),
        opened: BTreeSet::new(),
    };
    world.at(0, Happening::Start(0));
    for one in moves {
        world.queue.insert((one.at, world.sequence), Happening::Move(one.clone()));
        world.sequence += 1;
    }
    let last = moves.iter().map(|one| one.at).max().unwrap_or_default();
    world.until(last)?;
    // The instance has its disk and its clock, and no cloud where it had none.
    world.mend_instance()?;
    let end = world.now + QUIET;
    while !world.instance_is_quiet() && world.now < end {
        if !world.next()? {
            break;
        }
    }
    world.check_quiet()?;
    world.mend_cloud()?;
    let end = world.now + SETTLED;
    while world.now < end && !world.is_settled() {
        if !world.next()? {
            break;
        }
    }
    world.check_settled()?;
    world.count.ledger = u64::try_from(world.cloud.rows.len()).unwrap_or_default();
    Ok(world.count)
}

/// The deadline of a story in which the clock can be trusted and one notice, heard soon, tells of
/// one loss: one that is heard late leaves at least the shortest budget.
fn plain_deadline(moves: &[Move]) -> Option<u64> {
    let is_plain = |one: &Move| match one.act {
        Act::Clock
        | Act::Sleep
        | Act::Reboot
        | Act::Stop
        | Act::State
        | Act::Maintenance
        | Act::Trouble
        | Act::Disk
        | Act::Flip => false,
        Act::Bridge => one.word(0) == "rebalance",
        Act::Handle => one.word(0) == "custom",
        Act::Spot
        | Act::Rebalance
        | Act::Quiet
        | Act::Taken
        | Act::Kill
        | Act::KillIn
        | Act::Twice
        | Act::Plugin
        | Act::Policies
        | Act::Network
        | Act::Cloud
        | Act::Fault
        | Act::Cut => true,
    };
    let mut spots = moves.iter().filter(|one| one.act == Act::Spot);
    let (one, more) = (spots.next()?, spots.next());
    let ahead = u64::try_from(one.number(1)).ok().filter(|ahead| (60..=120).contains(ahead))?;
    let is_fine = one.word(2) == "fine" && one.word(0) != "hibernate";
    (more.is_none() && is_fine && moves.iter().all(is_plain)).then(|| one.at + ahead * 1000)
}

impl World {
    /// Lets something happen after so many milliseconds.
    pub(super) fn after(&mut self, wait: u64, happening: Happening) {
        self.at(self.now.saturating_add(wait), happening);
    }

    fn at(&mut self, at: u64, happening: Happening) {
        self.queue.insert((at, self.sequence), happening);
        self.sequence += 1;
    }

    pub(super) fn broken(&self, promise: Promise, text: impl Into<String>) -> Broken {
        Broken { promise, at: self.now, text: text.into() }
    }

    /// The time of AWS.
    pub(super) fn aws(&self) -> Timestamp {
        start().checked_add(Duration::from_millis(self.now)).unwrap_or(Timestamp::MAX)
    }

    /// The clocks of the instance.
    pub(super) fn clocks(&self) -> Now {
        let wall = self.aws().as_millisecond().saturating_add(self.instance.skew);
        let boot = Duration::from_millis(self.now.saturating_sub(self.instance.booted));
        Now { wall: Timestamp::from_millisecond(wall).unwrap_or(Timestamp::MAX), boot }
    }

    fn until(&mut self, last: u64) -> Kept {
        while self.queue.first_key_value().is_some_and(|((at, _), _)| *at <= last) {
            self.next()?;
        }
        Ok(())
    }

    /// The next happening; `false` when there is none.
    fn next(&mut self) -> Result<bool, Broken> {
        let Some(((at, _), happening)) = self.queue.pop_first() else { return Ok(false) };
        self.now = self.now.max(at);
        self.count.happenings += 1;
        if self.count.happenings > HAPPENINGS {
            let text = format!("it goes on and on; at last with {happening:?}");
            return Err(self.broken(Promise::Bounds, text));
        }
        self.happen(happening)?;
        Ok(true)
    }

    fn happen(&mut self, happening: Happening) -> Kept {
        match happening {
            Happening::Move(one) => self.go(&one),
            Happening::Poll(number) => self.poll(number),
            Happening::Tick(number) => self.tick(number),
            Happening::Start(number) => self.start(number),
            Happening::Ended { life, run } => self.plugin_ended(life, run),
            Happening::MustBeHeard(version) => self.must_be_heard(version),
            Happening::Message { id, text, tries } => self.message(id, text, tries),
            Happening::Report { life, incident } => self.report(life, incident),
            Happening::Noted { life, incident, told } => self.noted(life, &incident, told),
            Happening::Dispatch { text, tries } => self.dispatch(text, tries),
            Happening::Record { text, tries } => self.record(text, tries),
            Happening::Mark { incident, tasks } => self.mark(&incident, &tasks),
            Happening::Order { text, tries } => self.order(text, tries),
            Happening::Act(attempt) => self.act(*attempt),
            Happening::Finish(attempt, verdict) => self.finish(*attempt, *verdict),
            Happening::Sweep => self.sweep(),
        }
    }

    fn go(&mut self, one: &Move) -> Kept {
        match one.act {
            Act::Bridge => self.bridge(one),
            Act::Cloud => {
                self.cloud.is_up = one.word(0) == "on";
                Ok(())
            }
            Act::Fault => {
                self.cloud.arm(one.index(0), one.number(1));
                Ok(())
            }
            Act::Cut => {
                self.cloud.cuts.insert(one.word(0), one.number(1));
                Ok(())
            }
            Act::Spot
            | Act::Rebalance
            | Act::State
            | Act::Maintenance
            | Act::Quiet
            | Act::Trouble
            | Act::Handle
            | Act::Taken
            | Act::Kill
            | Act::KillIn
            | Act::Reboot
            | Act::Sleep
            | Act::Clock
            | Act::Stop
            | Act::Disk
            | Act::Flip
            | Act::Twice
            | Act::Plugin
            | Act::Policies
            | Act::Network => self.befall(one),
        }
    }

    /// The machine stands still: what it does itself comes later by so much.
    pub(super) fn freeze(&mut self, milliseconds: u64) {
        let mut moved = BTreeMap::new();
        for ((at, sequence), happening) in std::mem::take(&mut self.queue) {
            let is_own = matches!(
                happening,
                Happening::Poll(_)
                    | Happening::Tick(_)
                    | Happening::Start(_)
                    | Happening::Ended { .. }
                    | Happening::Report { .. }
                    | Happening::Noted { .. }
                    | Happening::Message { .. }
            );
            let at = if is_own { at + milliseconds } else { at };
            moved.insert((at, sequence), happening);
        }
        self.queue = moved;
    }

    fn mend_cloud(&mut self) -> Kept {
        self.cloud.mend();
        self.ensure_sweep();
        self.set_network(true);
        Ok(())
    }

    /// Everything is told and written down.
    fn is_settled(&self) -> bool {
        let waits = |happening: &Happening| match happening {
            Happening::Poll(_) | Happening::Tick(_) | Happening::Sweep => false,
            Happening::Move(_)
            | Happening::Start(_)
            | Happening::Ended { .. }
            | Happening::MustBeHeard(_)
            | Happening::Message { .. }
            | Happening::Report { .. }
            | Happening::Noted { .. }
            | Happening::Dispatch { .. }
            | Happening::Record { .. }
            | Happening::Mark { .. }
            | Happening::Order { .. }
            | Happening::Act(_)
            | Happening::Finish(..) => true,
        };
        self.cloud.rows.values().all(|row| !row.is_open())
            && self.instance_is_quiet()
            && self.untold().is_none()
            && !self.queue.values().any(waits)
    }
}

/// When every story begins.
fn start() -> Timestamp {
    "2026-03-14T09:26:53Z".parse().expect("a moment")
}
