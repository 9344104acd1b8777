//! Losses: why an instance goes, and how long it still has.

use std::time::Duration;

use jiff::Timestamp;

use crate::LossAction;

/// Why an instance goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// EC2 takes a Spot instance, or one of an interruptible Capacity Reservation, back.
    Spot,
    /// Auto Scaling terminates it, or puts it into its warm pool.
    Lifecycle,
    /// AWS maintains the host.
    Maintenance,
    /// Its state changes: somebody stopped or terminated it.
    StateChange,
}

impl Cause {
    /// The word in incident keys and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spot => "spot",
            Self::Lifecycle => "lifecycle",
            Self::Maintenance => "maintenance",
            Self::StateChange => "state-change",
        }
    }

    /// The cause of a word written by [`Cause::as_str`].
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        [Self::Spot, Self::Lifecycle, Self::Maintenance, Self::StateChange]
            .into_iter()
            .find(|cause| cause.as_str() == word)
    }
}

/// A Spot notice comes two minutes before the instance goes; what it says beyond that is a
/// wrong clock (EC2 User Guide, "Spot Instance interruption notices", checked 2026-11).
pub const SPOT_NOTICE: Duration = Duration::from_secs(120);

/// What is left at least when a notice stands in the metadata service: a time in the past there
/// means that the clock is wrong or that the instance goes this very moment. Handlers of the
/// highest priority run first, so a guess that is too long costs only the later ones.
pub const MINIMUM_BUDGET: Duration = Duration::from_secs(30);

/// The longest budget of a loss that is not a Spot interruption: a lifecycle hook can hold an
/// instance for 48 hours (Auto Scaling User Guide, "Lifecycle hooks", checked 2026-11).
const LONGEST: Duration = Duration::from_secs(48 * 3600);

/// How long an instance still has at the first sight of a notice.
///
/// `deadline` is what the notice says, `now` our own clock, which may be wrong by hours, so that
/// the answer is always between the bounds above. Hibernation leaves no time.
#[must_use]
pub fn budget(
    cause: Cause,
    action: &LossAction,
    deadline: Option<Timestamp>,
    now: Timestamp,
) -> Duration {
    if cause == Cause::Spot && *action == LossAction::Hibernate {
        return Duration::ZERO;
    }
    let longest = match cause {
        Cause::Spot | Cause::StateChange => SPOT_NOTICE,
        Cause::Lifecycle | Cause::Maintenance => LONGEST,
    };
    let Some(deadline) = deadline else { return SPOT_NOTICE.min(longest) };
    let said = deadline.duration_since(now);
    Duration::try_from(said).unwrap_or(Duration::ZERO).clamp(MINIMUM_BUDGET, longest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a10_a11_each_notice_has_its_budget() {
        let terminate = LossAction::Terminate;
        let unknown = LossAction::of("melt");
        for (cause, action, ahead, expected) in [
            (Cause::Spot, &terminate, Some(100), 100),
            (Cause::Spot, &terminate, Some(-5), 30),
            (Cause::Spot, &terminate, Some(3600), 120),
            (Cause::Spot, &terminate, None, 120),
            (Cause::Spot, &LossAction::Stop, Some(100), 100),
            (Cause::Spot, &unknown, Some(100), 100),
            (Cause::Spot, &LossAction::Hibernate, Some(100), 0),
            (Cause::Spot, &LossAction::Hibernate, None, 0),
            (Cause::Lifecycle, &terminate, Some(3600), 3600),
            (Cause::Maintenance, &terminate, Some(10_000_000), 172_800),
        ] {
            let deadline = ahead.map(|ahead| Timestamp::from_second(1_000_000 + ahead).unwrap());
            let now = Timestamp::from_second(1_000_000).unwrap();
            let left = budget(cause, action, deadline, now);
            assert_eq!(left.as_secs(), expected, "{cause:?} {action:?} {ahead:?}");
        }
    }

    proptest! {
        #[test]
        fn a10_the_budget_of_a_spot_notice_is_within_two_minutes(
            deadline in proptest::option::of(-377_705_023_201_i64..=253_402_207_200),
            now in -377_705_023_201_i64..=253_402_207_200,
            word in "terminate|stop|hibernate|reboot|[a-z]{1,9}",
        ) {
            let moment = |second| Timestamp::from_second(second).unwrap();
            let action = LossAction::of(&word);
            let left = budget(Cause::Spot, &action, deadline.map(moment), moment(now));
            prop_assert!(left <= SPOT_NOTICE);
        }
    }
}
