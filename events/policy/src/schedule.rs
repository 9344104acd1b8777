//! What starts next, with what budget, and what is dropped and why.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use snooze_event::PluginName;

use crate::{Band, PolicyName, Step, StepId};

/// What an instant step gets at most when there is no time: it is killed after that if the
/// instance is still there.
pub const INSTANT_BUDGET: Duration = Duration::from_secs(5);

/// What to do now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// The steps that start side by side, each with its budget.
    pub start: Vec<(StepId, Duration)>,
    /// The steps that never start, each with the reason.
    pub drop: Vec<(StepId, Why)>,
}

/// Why a step was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It could not end before the deadline less the reserve.
    NoTimeLeft {
        /// What was left to the deadline.
        left: Duration,
        /// What it needs to be started: its minimum and the reserve.
        needed: Duration,
    },
    /// There was no time at all, and it is not marked `instant`.
    NotInstant,
    /// Another handler of its policy handled the event, and one is enough there.
    HandledBefore(StepId),
    /// The loss is off.
    Cancelled,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTimeLeft { left, needed } => {
                write!(f, "no time left: {left:?} left, {needed:?} needed")
            }
            Self::NotInstant => f.write_str("no time at all, and it is not marked `instant`"),
            Self::HandledBefore(step) => write!(f, "{step} handled the event"),
            Self::Cancelled => f.write_str("the loss is off"),
        }
    }
}

/// Says what starts now, when nothing is running and `left` is the time to the deadline: zero
/// for a hibernation and for a deadline in the past.
///
/// It is the highest group of equal priority in which a step fits; what does not fit is dropped
/// before a lower one is tried. A step fits when its `minimum` is there before the deadline less
/// the reserve, and gets at most that and its time-out. An instant step fits always, with at
/// least `INSTANT_BUDGET` or its time-out. When only instant steps fit there is nothing to wait
/// for, and all of them start at once.
///
/// While steps are pending there is always something to start or to drop, and nothing stands in
/// both. When a second signal brings an earlier deadline it is asked again with what is left.
#[must_use]
pub fn next(pending: &[Step], left: Duration) -> Turn {
    let mut ordered: Vec<&Step> = pending.iter().collect();
    ordered.sort_by_key(|step| Reverse(step.priority));
    let choice = choose(&ordered, left);
    Turn {
        start: choice.start.into_iter().map(|(step, budget)| (step.id.clone(), budget)).collect(),
        drop: choice.drop.into_iter().map(|(step, why)| (step.id.clone(), why)).collect(),
    }
}

/// A turn, by reference.
#[derive(Default)]
struct Choice<'a> {
    start: Vec<(&'a Step, Duration)>,
    drop: Vec<(&'a Step, Why)>,
}

/// The turn of steps that are in their order.
fn choose<'a>(ordered: &[&'a Step], left: Duration) -> Choice<'a> {
    if ordered.iter().all(|step| room(step, left).is_none()) {
        return last(ordered, left);
    }
    let mut choice = Choice::default();
    for group in ordered.chunk_by(|one, other| one.priority == other.priority) {
        for step in group {
            match room(step, left).or_else(|| in_an_instant(step)) {
                Some(budget) => choice.start.push((step, budget)),
                None => choice.drop.push((step, too_late(step, left))),
            }
        }
        if !choice.start.is_empty() {
            break;
        }
    }
    choice
}

/// The last turn: no step has the time it needs, and nobody knows how long the instance lives.
fn last<'a>(ordered: &[&'a Step], left: Duration) -> Choice<'a> {
    let mut choice = Choice::default();
    let mut begun: BTreeSet<(&PolicyName, i64)> = BTreeSet::new();
    for step in ordered {
        let Some(budget) = in_an_instant(step) else {
            choice.drop.push((step, too_late(step, left)));
            continue;
        };
        // A handler above it may make it needless.
        let above = (&step.policy, step.priority.saturating_add(1))..=(&step.policy, i64::MAX);
        if step.first_handled && begun.range(above).next().is_some() {
            continue;
        }
        begun.insert((&step.policy, step.priority));
        choice.start.push((step, budget));
    }
    choice
}

/// The budget of a step that fits before the deadline less the reserve.
fn room(step: &Step, left: Duration) -> Option<Duration> {
    let usable = left.saturating_sub(step.reserve);
    let fits = !usable.is_zero() && usable >= step.minimum;
    fits.then(|| usable.min(step.timeout))
}

/// The budget of a step that needs no room.
fn in_an_instant(step: &Step) -> Option<Duration> {
    step.instant.then(|| step.timeout.min(INSTANT_BUDGET))
}

fn too_late(step: &Step, left: Duration) -> Why {
    match left.is_zero() {
        true => Why::NotInstant,
        false => Why::NoTimeLeft { left, needed: step.minimum.saturating_add(step.reserve) },
    }
}

/// What will be done at the latest, in the worst case: every step uses its whole budget.
///
/// Shown by `Display` for people, one line for each step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The steps that start, in their order.
    pub steps: Vec<PlannedStep>,
    /// The steps that never start, each with the reason.
    pub dropped: Vec<(StepId, Why)>,
    /// The time to the deadline.
    pub left: Duration,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    /// What it is called.
    pub id: StepId,
    /// The plugin that does it.
    pub plugin: PluginName,
    /// The policy it comes from.
    pub policy: PolicyName,
    /// Larger goes first; equal ones run side by side.
    pub priority: i64,
    /// The class of the priority.
    pub band: Band,
    /// It starts after this at the latest.
    pub after: Duration,
    /// The longest it may take.
    pub budget: Duration,
    /// It is reported and does not run.
    pub rehearse: bool,
}

/// The plan of steps when `left` is the time to the deadline.
#[must_use]
pub fn schedule(steps: &[Step], left: Duration) -> Plan {
    let mut plan = Plan { steps: Vec::new(), dropped: Vec::new(), left };
    let mut pending: Vec<&Step> = steps.iter().collect();
    pending.sort_by_key(|step| Reverse(step.priority));
    let mut after = Duration::ZERO;
    while !pending.is_empty() {
        let choice = choose(&pending, left.saturating_sub(after));
        let started = choice.start.iter().map(|(step, _)| &step.id);
        let settled: BTreeSet<&StepId> =
            started.chain(choice.drop.iter().map(|(step, _)| &step.id)).collect();
        pending.retain(|step| !settled.contains(&step.id));
        let longest = choice.start.iter().map(|(_, budget)| *budget).max();
        plan.steps.extend(choice.start.iter().map(|(step, budget)| planned(step, after, *budget)));
        plan.dropped.extend(choice.drop.into_iter().map(|(step, why)| (step.id.clone(), why)));
        after = after.saturating_add(longest.unwrap_or_default());
    }
    plan
}

fn planned(step: &Step, after: Duration, budget: Duration) -> PlannedStep {
    PlannedStep {
        id: step.id.clone(),
        plugin: step.plugin.clone(),
        policy: step.policy.clone(),
        priority: step.priority,
        band: Band::of(step.priority),
        after,
        budget,
        rehearse: step.rehearse,
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?} left", self.left)?;
        for step in &self.steps {
            let verb = if step.rehearse { "rehearse" } else { "run " };
            let (band, priority) = (step.band.as_str(), step.priority);
            write!(f, "{verb} {} ({band} {priority}) within {:?}", step.id, step.budget)?;
            match step.after.is_zero() {
                true => writeln!(f)?,
                false => writeln!(f, ", after {:?} at the latest", step.after)?,
            }
        }
        for (step, why) in &self.dropped {
            writeln!(f, "drop {step}: {why}")?;
        }
        Ok(())
    }
}
