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
                // Nobody needs more than tenths of a second.
                let tenths = left.subsec_millis() / 100;
                let left = Duration::new(left.as_secs(), tenths.saturating_mul(100_000_000));
                write!(f, "too little time: {left:?} left, {needed:?} needed")
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

impl PlannedStep {
    fn line(&self) -> String {
        let verb = if self.rehearse { "rehearse " } else { "run  " };
        let (band, priority) = (self.band.as_str(), self.priority.to_string());
        let (id, budget) = (self.id.as_str(), seconds(self.budget));
        let line = [verb, id, " (", band, " ", &priority, ") within ", &budget].concat();
        match self.after.is_zero() {
            true => line,
            false => line + ", after " + &seconds(self.after) + " at the latest",
        }
    }
}

/// What of a plan does not fit: the steps that get less time than they may take, and those that
/// never start, each in a sentence.
#[must_use]
pub fn misfits(steps: &[Step], left: Duration) -> Vec<String> {
    let plan = schedule(steps, left);
    let cut = plan.steps.iter().filter_map(|planned| {
        let step = steps.iter().find(|step| step.id == planned.id)?;
        (planned.budget < step.timeout).then(|| {
            let (budget, timeout) = (planned.budget, step.timeout);
            format!("{} may take {timeout:?}, and has {budget:?} left", planned.id)
        })
    });
    let dropped = plan.dropped.iter().map(|(id, why)| format!("{id} does not start: {why}"));
    cut.chain(dropped).collect()
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
        pending = left_over(pending, &choice);
        let longest = choice.start.iter().map(|(_, budget)| *budget).max();
        plan.steps.extend(choice.start.iter().map(|(step, budget)| planned(step, after, *budget)));
        plan.dropped.extend(choice.drop.into_iter().map(|(step, why)| (step.id.clone(), why)));
        after = after.saturating_add(longest.unwrap_or_default());
    }
    plan
}

/// The steps that a turn neither starts nor drops.
fn left_over<'a>(mut pending: Vec<&'a Step>, choice: &Choice<'_>) -> Vec<&'a Step> {
    let settled = choice.start.len().saturating_add(choice.drop.len());
    if settled >= pending.len() {
        return Vec::new();
    }
    let started = choice.start.iter().map(|(step, _)| &step.id);
    let settled: BTreeSet<&StepId> =
        started.chain(choice.drop.iter().map(|(step, _)| &step.id)).collect();
    pending.retain(|step| !settled.contains(&step.id));
    pending
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
        for line in &self.lines() {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

impl Plan {
    /// The lines that it prints: the time, then one for each step; put together without the
    /// formatter, which is slow.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let left = match self.left.is_zero() {
            true => "no time left".to_owned(),
            false => seconds(self.left) + " left",
        };
        let steps = self.steps.iter().map(PlannedStep::line);
        let dropped = self.dropped.iter().map(|(step, why)| format!("drop {step}: {why}"));
        [left].into_iter().chain(steps).chain(dropped).collect()
    }
}

/// A duration as a person writes it. `Debug` is slow, and nearly all are whole seconds.
fn seconds(duration: Duration) -> String {
    match duration.subsec_nanos() {
        0 => duration.as_secs().to_string() + "s",
        _ => format!("{duration:?}"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;
    use crate::samples::{ORDERS_DB, policy, seconds, spot, step};
    use crate::{merge, steps};

    // S0-16, S0-42
    #[test]
    fn what_is_cut_or_dropped_is_said_before_any_notice() {
        let steps = [step("dump", 100, 60), step("copy", 80, 90), step("image", 10, 30)];
        let none: [&str; 0] = [];
        assert_eq!(misfits(&steps, seconds(200)), none);
        let told = misfits(&[step("dump", 100, 60), step("copy", 80, 90)], seconds(120));
        assert_eq!(told, ["p/copy may take 90s, and has 55s left"]);
        let image = Step { minimum: seconds(30), ..step("image", 10, 30) };
        let told = misfits(&[step("dump", 100, 110), image], seconds(120));
        assert_eq!(told, ["p/image does not start: too little time: 10s left, 35s needed"]);
    }

    #[test]
    fn important_work_goes_first_and_late_work_is_dropped() {
        let image = Step { minimum: seconds(60), ..step("image", 80, 100) };
        plan(
            120,
            &[step("slack", 10, 5), step("db-flush", 100, 60), image],
            expect![[r#"
            120s left
            run  p/db-flush (high 100) within 60s
            run  p/slack (low 10) within 5s, after 60s at the latest
            drop p/image: too little time: 60s left, 65s needed
        "#]],
        );
    }

    #[test]
    fn the_document_of_the_format_makes_a_plan() {
        let policy = policy(ORDERS_DB);
        plan(
            120,
            &steps(&[&policy], &spot()),
            expect![[r#"
            120s left
            run  orders-db/postgres-flusher (high 100) within 30s
            run  orders-db/app-checkpointer (high 80) within 45s, after 30s at the latest
            run  orders-db/slack-notifier (low 10) within 10s, after 75s at the latest
        "#]],
        );
    }

    // D-1
    #[test]
    fn equal_priorities_run_side_by_side() {
        plan(
            120,
            &[step("a", 100, 30), step("b", 100, 60), step("c", 50, 90)],
            expect![[r#"
            120s left
            run  p/a (high 100) within 30s
            run  p/b (high 100) within 60s
            run  p/c (medium 50) within 55s, after 60s at the latest
        "#]],
        );
    }

    #[test]
    fn a_step_that_does_not_fit_is_dropped_before_a_lower_one_is_tried() {
        let big = Step { minimum: seconds(30), ..step("big", 100, 60) };
        let turn = next(&[step("small", 10, 5), big.clone()], seconds(20));
        assert_eq!(turn.start, [(StepId::stored("p/small"), seconds(5))]);
        let why = Why::NoTimeLeft { left: seconds(20), needed: seconds(35) };
        assert_eq!(turn.drop, [(big.id, why)]);
    }

    // S1-48: min(remaining - reserve, time-out), never below nothing.
    #[test]
    fn a_budget_is_the_smaller_of_the_time_out_and_what_is_left_less_the_reserve() {
        let step = Step { reserve: seconds(15), ..step("spot-interrupt-handler", 100, 90) };
        let budget = |left| {
            let turn = next(std::slice::from_ref(&step), seconds(left));
            turn.start.first().map(|(_, budget)| budget.as_secs())
        };
        let budgets = [120, 105, 104, 60, 16, 15, 14, 0].map(budget);
        assert_eq!(budgets, [Some(90), Some(90), Some(89), Some(45), Some(1), None, None, None]);
    }

    #[test]
    fn b3_after_the_deadline_only_instant_steps_start() {
        let instant = Step { instant: true, minimum: seconds(9), ..step("log", 10, 30) };
        plan(
            0,
            &[step("flush", 100, 30), instant],
            expect![[r#"
                no time left
                run  p/log (low 10) within 5s
                drop p/flush: no time at all, and it is not marked `instant`
            "#]],
        );
    }

    #[test]
    fn a11_hibernation_starts_every_instant_step_at_once() {
        let instant =
            |plugin, priority, timeout| Step { instant: true, ..step(plugin, priority, timeout) };
        plan(
            0,
            &[instant("sync", 100, 30), step("flush", 90, 30), instant("mark", 10, 1)],
            expect![[r#"
                no time left
                run  p/sync (high 100) within 5s
                run  p/mark (low 10) within 1s
                drop p/flush: no time at all, and it is not marked `instant`
            "#]],
        );
    }

    #[test]
    fn an_instant_step_waits_for_the_one_above_it_where_the_first_is_enough() {
        let instant = |plugin, priority| Step {
            instant: true,
            first_handled: true,
            ..step(plugin, priority, 2)
        };
        plan(
            0,
            &[instant("a", 3), instant("b", 3), instant("c", 2)],
            expect![[r#"
                no time left
                run  p/a (low 3) within 2s
                run  p/b (low 3) within 2s
                run  p/c (low 2) within 2s, after 2s at the latest
            "#]],
        );
    }

    #[test]
    fn an_instant_step_is_never_dropped_for_want_of_time() {
        let instant = Step { instant: true, minimum: seconds(10), ..step("mark", 50, 30) };
        plan(
            12,
            &[step("a", 100, 2), instant, step("b", 10, 2)],
            expect![[r#"
            12s left
            run  p/a (high 100) within 2s
            run  p/mark (medium 50) within 5s, after 2s at the latest
            drop p/b: too little time: 5s left, 6s needed
        "#]],
        );
    }

    // A hook of 300 s, then a Spot notice of 120 s when 20 s of the first step are over.
    #[test]
    fn b5_an_earlier_deadline_drops_what_no_longer_fits() {
        let archive = Step { minimum: seconds(60), ..step("archive", 60, 120) };
        let mut all = vec![step("flush", 100, 60), step("checkpoint", 80, 45), archive];
        all.push(step("slack", 10, 10));
        let first = next(&all, seconds(300));
        assert_eq!(first.start, [(StepId::stored("p/flush"), seconds(60))]);
        plan(
            240,
            &all[1..],
            expect![[r#"
            240s left
            run  p/checkpoint (high 80) within 45s
            run  p/archive (medium 60) within 120s, after 45s at the latest
            run  p/slack (low 10) within 10s, after 165s at the latest
        "#]],
        );

        let mut spot_only = step("detach", 70, 20);
        spot_only.id = StepId::stored("spot/detach");
        merge(&mut all, vec![step("flush", 100, 60), spot_only]);
        let pending = &all[1..];
        plan(
            80,
            pending,
            expect![[r#"
            80s left
            run  p/checkpoint (high 80) within 45s
            run  spot/detach (high 70) within 20s, after 45s at the latest
            run  p/slack (low 10) within 10s, after 65s at the latest
            drop p/archive: too little time: 15s left, 65s needed
        "#]],
        );
    }

    #[test]
    fn a_rehearsed_step_is_in_the_plan() {
        let rehearsed = Step { rehearse: true, ..step("flush", 100, 30) };
        plan(
            120,
            &[rehearsed, step("slack", 10, 5)],
            expect![[r#"
            120s left
            rehearse p/flush (high 100) within 30s
            run  p/slack (low 10) within 5s, after 30s at the latest
        "#]],
        );
    }

    #[test]
    fn the_reasons_read_as_sentences() {
        let left = Duration::from_millis(1500);
        let reasons = [
            Why::NoTimeLeft { left, needed: seconds(6) },
            Why::NotInstant,
            Why::HandledBefore(StepId::stored("p/a")),
            Why::Cancelled,
        ];
        expect![[r#"
            too little time: 1.5s left, 6s needed
            no time at all, and it is not marked `instant`
            p/a handled the event
            the loss is off
        "#]]
        .assert_eq(&crate::samples::listed(&reasons));
    }

    #[test]
    fn a_policy_full_of_handlers_is_planned_to_the_end() {
        let all: Vec<Step> = (0..2_000)
            .map(|number| {
                let mut step = step("x", number, 1);
                step.id = StepId::stored(&number.to_string());
                step
            })
            .collect();
        let plan = schedule(&all, seconds(120));
        assert_eq!((plan.steps.len(), plan.dropped.len()), (115, 1885));
    }

    proptest! {
        // Promise 5
        #[test]
        fn no_step_of_a_plan_ends_after_the_deadline_less_the_reserve(
            steps in any_steps(),
            left in any_left(),
        ) {
            for planned in schedule(&steps, left).steps {
                let step = steps.iter().find(|step| step.id == planned.id).unwrap();
                let ends = planned.after + planned.budget;
                prop_assert!(planned.budget <= step.timeout);
                let in_time = ends <= left.saturating_sub(step.reserve);
                prop_assert!(in_time || step.instant && planned.budget <= INSTANT_BUDGET);
            }
        }

        #[test]
        fn every_step_is_planned_or_dropped_and_never_both(
            steps in any_steps(),
            left in any_left(),
        ) {
            let plan = schedule(&steps, left);
            let planned = plan.steps.iter().map(|step| &step.id);
            let mut settled: Vec<_> = planned.chain(plan.dropped.iter().map(|(id, _)| id)).collect();
            settled.sort();
            let mut all: Vec<_> = steps.iter().map(|step| &step.id).collect();
            all.sort();
            prop_assert_eq!(settled, all);
        }

        #[test]
        fn while_steps_are_pending_there_is_something_to_do(
            steps in any_steps(),
            left in any_left(),
        ) {
            let turn = next(&steps, left);
            prop_assert_eq!(turn == Turn::default(), steps.is_empty());
        }

        #[test]
        fn nothing_starts_before_something_more_important(
            mut steps in any_steps(),
            left in any_left(),
        ) {
            steps.iter_mut().for_each(|step| step.first_handled = false);
            let plan = schedule(&steps, left);
            prop_assert!(plan.steps.is_sorted_by(|one, other| one.priority >= other.priority));
            prop_assert!(plan.steps.is_sorted_by_key(|step| step.after));
        }

        #[test]
        fn what_is_dropped_for_want_of_time_does_not_start_with_less(
            steps in any_steps(),
            left in any_left(),
            lost in 0..200_000_u64,
        ) {
            let less = next(&steps, left.saturating_sub(Duration::from_millis(lost)));
            for (dropped, _) in next(&steps, left).drop {
                prop_assert!(less.start.iter().all(|(id, _)| *id != dropped));
            }
        }

        #[test]
        fn the_order_in_which_steps_are_handed_over_changes_only_ties(
            mut steps in any_steps(),
            left in any_left(),
        ) {
            let plan = schedule(&steps, left);
            steps.reverse();
            let mut reversed = schedule(&steps, left);
            let mut plan = plan;
            plan.steps.sort_by(|one, other| one.id.cmp(&other.id));
            reversed.steps.sort_by(|one, other| one.id.cmp(&other.id));
            prop_assert_eq!(plan.steps, reversed.steps);
        }
    }

    fn any_left() -> impl Strategy<Value = Duration> {
        prop_oneof![Just(0), 0..20_000_u64, 0..300_000_u64].prop_map(Duration::from_millis)
    }

    fn any_steps() -> impl Strategy<Value = Vec<Step>> {
        let times = (1..90_000_u64, 1..40_000_u64, 0..20_000_u64);
        let one = (0..6_i64, times, any::<bool>(), any::<bool>(), 0..3_u8);
        prop::collection::vec(one, 0..12).prop_map(|all| {
            let numbered = all.into_iter().enumerate();
            let steps =
                numbered.map(|(number, (priority, times, instant, first_handled, policy))| {
                    let (timeout, minimum, reserve) = times;
                    let name = format!("p{policy}");
                    Step {
                        id: StepId::stored(&format!("{name}/x#{number}")),
                        policy: name.parse().unwrap(),
                        timeout: Duration::from_millis(timeout),
                        minimum: Duration::from_millis(minimum.min(timeout)),
                        reserve: Duration::from_millis(reserve),
                        instant,
                        first_handled,
                        ..step("x", priority, 1)
                    }
                });
            steps.collect()
        })
    }

    fn plan(left: u64, steps: &[Step], expected: Expect) {
        expected.assert_eq(&schedule(steps, seconds(left)).to_string());
    }
}
