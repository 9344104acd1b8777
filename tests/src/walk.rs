//! A random walk over the faults of the matrix: stories of one instance and its cloud side, over
//! virtual time, held against the twelve promises after each step.
//!
//! One number makes a story ([`moves::drawn`]); a run lives story after story, each of the next
//! number, until there were enough incidents. A story that breaks a promise is made shorter
//! ([`shrink::shrink`]) and printed as text, which can be lived again ([`moves::read`]).
//!
//! What is real: the daemon's watch, its records and journal lines (cut, flipped and doubled), its
//! reading of the metadata service, its inbox and its reports; the ledger, the planning, and what
//! the functions decide; all readers and writers between them. What is told again here, shorter:
//! the plugin host, the disk, the queue and topic, the table, and the calls of the functions in
//! their order. What is left out: signatures of messages, the sandbox, idleness, real processes;
//! other tests have those.
//!
//! No I/O, no clock, and no threads within a story: the same number is always the same story.

mod checks;
mod cloud;
mod ears;
mod instance;
mod ledger;
pub mod moves;
mod orders;
mod policies;
pub mod promises;
pub mod shrink;
mod voice;
mod world;

use std::fmt;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use moves::Move;
use promises::{Broken, Flaw};
pub use world::{Count, live};

/// A story that broke a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its number.
    pub seed: u64,
    /// What broke in the shortest form of it.
    pub broken: Broken,
    /// The shortest form.
    pub moves: Vec<Move>,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Run {
    /// How many stories.
    pub stories: u64,
    /// What happened in all of them.
    pub count: Count,
}

/// Lives stories from a seed on until instances have opened so many incidents, on all processors
/// side by side.
///
/// # Errors
/// A story that breaks a promise, made short.
pub fn run(seed: u64, incidents: u64, flaw: Option<Flaw>) -> Result<Run, Box<Failure>> {
    let next = AtomicU64::new(0);
    let run: Mutex<Result<Run, Box<Failure>>> = Mutex::new(Ok(Run::default()));
    let run_of_all = || run.lock().unwrap_or_else(PoisonError::into_inner);
    let lane = || {
        while run_of_all().as_ref().is_ok_and(|run| run.count.incidents < incidents) {
            let story = story(seed.wrapping_add(next.fetch_add(1, Ordering::Relaxed)), flaw);
            match (story, &mut *run_of_all()) {
                (Ok(count), Ok(run)) => run.add(count),
                (Err(failure), Err(known)) if known.seed < failure.seed => {}
                (Err(failure), run) => *run = Err(failure),
                (Ok(_), Err(_)) => {}
            }
        }
    };
    let lanes = thread::available_parallelism().map_or(1, NonZero::get);
    let lanes = usize::try_from(incidents).map_or(lanes, |incidents| lanes.min(incidents));
    thread::scope(|scope| (0..lanes).for_each(|_| drop(scope.spawn(lane))));
    run.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Lives the story of a seed.
///
/// # Errors
/// It breaks a promise; the story made short.
pub fn story(seed: u64, flaw: Option<Flaw>) -> Result<Count, Box<Failure>> {
    let moves = moves::drawn(seed);
    live(&moves, flaw).map_err(|broken| {
        let moves = shrink::shrink(&moves, broken.promise, flaw);
        let broken = live(&moves, flaw).err().unwrap_or(broken);
        Box::new(Failure { seed, broken, moves })
    })
}

impl Run {
    fn add(&mut self, count: Count) {
        let Count { incidents, ledger, runs, starts, happenings } = count;
        self.stories += 1;
        self.count.incidents += incidents;
        self.count.ledger += ledger;
        self.count.runs += runs;
        self.count.starts += starts;
        self.count.happenings += happenings;
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, broken, moves } = self;
        writeln!(f, "# {broken}")?;
        writeln!(f, "# again: cargo xtask walk --seed {seed} --incidents 1")?;
        f.write_str(&moves::text(moves))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count { incidents, ledger, runs, starts, happenings } = self.count;
        write!(
            f,
            "{} stories, {incidents} incidents on instances, {ledger} in the ledger, {runs} runs \
             of plugins, {starts} starts of the daemon, {happenings} happenings: all promises kept",
            self.stories
        )
    }
}
