//! What is done in the time there is. Pure: no I/O, no clock.

use std::fmt;
use std::time::Duration;

use crate::settings::{Settings, Strategy};

/// What is kept for reading back and answering, at most; a tenth of shorter budgets.
const MARGIN: Duration = Duration::from_secs(1);

/// What shipping a WAL file gets at least, since the flush is worth less than the copy away.
const SHIP_LEAST: Duration = Duration::from_secs(2);

/// What a fast stop gets: clients are cut and what changed since the checkpoint is written.
const STOP_SHARE: Duration = Duration::from_secs(10);

/// What is known before anything is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation {
    /// The time for all of it.
    pub(crate) budget: Duration,
    /// How long the checkpoint will take.
    pub(crate) expected: Duration,
    /// The server follows another.
    pub(crate) standby: bool,
    /// Why clients are not cut and the server is not stopped, if so.
    pub(crate) held_back: Option<&'static str>,
}

/// One thing to do, with the longest it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// No new sessions; those that are in a transaction may end it.
    Drain(Duration),
    /// `CHECKPOINT`.
    Checkpoint(Duration),
    /// `pg_switch_wal()`, until the file is away.
    Ship(Duration),
    /// The fast stop.
    Stop(Duration),
}

/// What is done in this order, and what is not, with the reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) skipped: Vec<String>,
}

/// Decides. When time is short the copy away comes first, then the flush, then the clients'
/// transactions.
pub(crate) fn plan(settings: &Settings, situation: &Situation) -> Plan {
    let Situation { budget, expected, .. } = *situation;
    let room = budget.saturating_sub(MARGIN.min(budget / 10));
    let mut skipped = Vec::new();
    let mut not = |what: &str, why: &str| skipped.push(format!("{what}: {why}"));
    let slow = format!("a checkpoint needs about {} of {}", seconds(expected), seconds(room));
    let steps = match (settings.strategy, situation.held_back) {
        (Strategy::Checkpoint, _) => vec![Step::Checkpoint(room)],
        (Strategy::SwitchWal, _) if situation.standby => {
            not("WAL switch", "a standby writes no WAL of its own");
            vec![Step::Checkpoint(room)]
        }
        (Strategy::SwitchWal, _) => {
            let least = SHIP_LEAST.min(settings.archive_wait).min(room / 3);
            if expected + least <= room {
                vec![Step::Checkpoint(room - least), Step::Ship(settings.archive_wait)]
            } else {
                not("checkpoint first", &format!("{slow}; the WAL goes away before it"));
                vec![Step::Ship(settings.archive_wait.min(room / 2)), Step::Checkpoint(room)]
            }
        }
        (Strategy::Quiesce, Some(why)) => {
            not("end of sessions", why);
            vec![Step::Checkpoint(room)]
        }
        (Strategy::Quiesce, None) => {
            let drain = settings.drain.min(room.saturating_sub(expected));
            if drain < settings.drain {
                let gets = format!("{slow}; transactions get {}", seconds(drain));
                not(&format!("drain of {}", seconds(settings.drain)), &gets);
            }
            vec![Step::Drain(drain), Step::Checkpoint(room)]
        }
        (Strategy::FastStop, Some(why)) => {
            not("stop", why);
            vec![Step::Checkpoint(room)]
        }
        (Strategy::FastStop, None) => {
            let limit = room - STOP_SHARE.min(room / 3);
            if expected <= limit {
                vec![Step::Checkpoint(limit), Step::Stop(room)]
            } else {
                not("checkpoint", &format!("{slow}; the stop makes its own"));
                vec![Step::Stop(room)]
            }
        }
    };
    Plan { steps, skipped }
}

/// How long writing takes at a rate in bytes a second.
pub(crate) fn expected(bytes: u64, rate: f64) -> Duration {
    let bytes =
        u32::try_from(bytes / 1024).map_or(f64::MAX, |kilobytes| 1024.0 * f64::from(kilobytes));
    Duration::try_from_secs_f64(bytes / rate).unwrap_or(Duration::MAX / 4)
}

/// A duration for people.
fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, most) = match self {
            Self::Drain(most) => ("let no session in and transactions end", most),
            Self::Checkpoint(most) => ("checkpoint", most),
            Self::Ship(most) => ("switch the WAL file and wait until it is away", most),
            Self::Stop(most) => ("stop the server", most),
        };
        write!(f, "{what} within {}", seconds(*most))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(
        strategy: Strategy,
        budget: u64,
        expected: u64,
        more: fn(&mut Situation),
        to_be: Expect,
    ) {
        let mut situation = Situation {
            budget: Duration::from_secs(budget),
            expected: Duration::from_secs(expected),
            standby: false,
            held_back: None,
        };
        more(&mut situation);
        let plan = plan(&Settings { strategy, ..Settings::default() }, &situation);
        let steps = plan.steps.iter().map(|step| format!("{step}\n"));
        let skipped = plan.skipped.iter().map(|text| format!("not {text}\n"));
        to_be.assert_eq(&steps.chain(skipped).collect::<String>());
    }

    #[test]
    fn a_checkpoint_gets_all_of_the_time() {
        check(
            Strategy::Checkpoint,
            30,
            100,
            |_| (),
            expect![[r#"
            checkpoint within 29.0 s
        "#]],
        );
    }

    #[test]
    fn the_wal_goes_first_when_the_checkpoint_does_not_fit() {
        check(
            Strategy::SwitchWal,
            30,
            5,
            |_| (),
            expect![[r#"
            checkpoint within 27.0 s
            switch the WAL file and wait until it is away within 10.0 s
        "#]],
        );
        check(
            Strategy::SwitchWal,
            30,
            40,
            |_| (),
            expect![[r#"
            switch the WAL file and wait until it is away within 10.0 s
            checkpoint within 29.0 s
            not checkpoint first: a checkpoint needs about 40.0 s of 29.0 s; the WAL goes away before it
        "#]],
        );
        check(
            Strategy::SwitchWal,
            30,
            5,
            |s| s.standby = true,
            expect![[r#"
            checkpoint within 29.0 s
            not WAL switch: a standby writes no WAL of its own
        "#]],
        );
    }

    #[test]
    fn transactions_lose_their_time_first() {
        check(
            Strategy::Quiesce,
            30,
            1,
            |_| (),
            expect![[r#"
            let no session in and transactions end within 5.0 s
            checkpoint within 29.0 s
        "#]],
        );
        check(
            Strategy::Quiesce,
            30,
            27,
            |_| (),
            expect![[r#"
            let no session in and transactions end within 2.0 s
            checkpoint within 29.0 s
            not drain of 5.0 s: a checkpoint needs about 27.0 s of 29.0 s; transactions get 2.0 s
        "#]],
        );
        check(
            Strategy::Quiesce,
            30,
            60,
            |_| (),
            expect![[r#"
            let no session in and transactions end within 0.0 s
            checkpoint within 29.0 s
            not drain of 5.0 s: a checkpoint needs about 60.0 s of 29.0 s; transactions get 0.0 s
        "#]],
        );
    }

    #[test]
    fn h2_a_checkpoint_that_is_too_slow_leaves_its_work_to_the_stop() {
        check(
            Strategy::FastStop,
            30,
            5,
            |_| (),
            expect![[r#"
            checkpoint within 19.3 s
            stop the server within 29.0 s
        "#]],
        );
        check(
            Strategy::FastStop,
            30,
            25,
            |_| (),
            expect![[r#"
            stop the server within 29.0 s
            not checkpoint: a checkpoint needs about 25.0 s of 29.0 s; the stop makes its own
        "#]],
        );
    }

    #[test]
    fn in_a_drill_nobody_is_cut_and_nothing_stops() {
        check(
            Strategy::Quiesce,
            30,
            1,
            |s| s.held_back = Some("this is a drill"),
            expect![[r#"
            checkpoint within 29.0 s
            not end of sessions: this is a drill
        "#]],
        );
        check(
            Strategy::FastStop,
            30,
            1,
            |s| s.held_back = Some("this is a drill"),
            expect![[r#"
            checkpoint within 29.0 s
            not stop: this is a drill
        "#]],
        );
    }

    #[test]
    fn the_expected_time_has_no_edge() {
        assert_eq!(expected(500_000_000, 1e8).as_secs(), 4);
        assert!(expected(u64::MAX, 1e8) > Duration::from_secs(3600));
        assert_eq!(expected(0, 1e8), Duration::ZERO);
    }
}
