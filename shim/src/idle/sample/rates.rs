//! Counters of bytes that rise, and what they rose by a second.

use std::collections::BTreeMap;
use std::time::Duration;

use snooze_policy::idle::Reading;

use super::{FIRST, Figure, float};

/// What has a counter, and whether it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It counts.
    Real,
    /// It counts where nothing is real.
    Perhaps,
    /// It never counts.
    No,
}

/// The counters at the last look.
#[derive(Debug, Default)]
pub(super) struct Rates {
    at: Option<Duration>,
    look: u64,
    counters: BTreeMap<String, Counter>,
}

#[derive(Debug)]
struct Counter {
    kind: Kind,
    bytes: u64,
    rise: Option<Rise>,
    look: u64,
}

/// What became of a counter since the last look.
#[derive(Debug, Clone, Copy)]
enum Rise {
    By(u64),
    Backwards,
}

impl Rates {
    /// Notes one counter. What kind it is of is asked once, when it is first seen.
    pub(super) fn see(&mut self, name: &str, bytes: u64, kind: impl FnOnce() -> Kind) {
        let look = self.look;
        if let Some(counter) = self.counters.get_mut(name) {
            counter.rise = Some(bytes.checked_sub(counter.bytes).map_or(Rise::Backwards, Rise::By));
            (counter.bytes, counter.look) = (bytes, look);
            return;
        }
        self.counters.insert(name.to_owned(), Counter { kind: kind(), bytes, rise: None, look });
    }

    /// The rate of all counters that were noted since the last call, in 1000 bytes a second;
    /// `none` says what is missing where nothing counts.
    ///
    /// What was not there the last time begins to count the next time. What is gone is forgotten.
    pub(super) fn rate(&mut self, at: Duration, none: &str) -> Figure {
        let (look, before) = (self.look, self.at.replace(at));
        self.counters.retain(|_, counter| counter.look == look);
        self.look = look.wrapping_add(1);
        let counting = match self.counters.values().any(|counter| counter.kind == Kind::Real) {
            true => Kind::Real,
            false => Kind::Perhaps,
        };
        let mut is_there = false;
        let mut bytes: Option<u64> = None;
        for (name, counter) in &self.counters {
            if counter.kind != counting {
                continue;
            }
            is_there = true;
            match counter.rise {
                Some(Rise::By(more)) => bytes = Some(bytes.unwrap_or(0).saturating_add(more)),
                Some(Rise::Backwards) => {
                    return Err(format!("the counters of `{name}` went backwards"));
                }
                None => {}
            }
        }
        if !is_there {
            return Ok(Reading::Absent(none.to_owned()));
        }
        let (Some(bytes), Some(before)) = (bytes, before) else { return Err(FIRST.to_owned()) };
        match at.checked_sub(before).filter(|time| !time.is_zero()) {
            Some(time) => Ok(Reading::Value(float(bytes) / 1000.0 / time.as_secs_f64())),
            None => Err("no time has passed between two samples".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(rates: &mut Rates, at: u64, counters: &[(&str, u64, Kind)]) -> String {
        for (name, bytes, kind) in counters {
            rates.see(name, *bytes, || *kind);
        }
        match rates.rate(Duration::from_secs(at), "none") {
            Ok(Reading::Value(value)) => format!("{value}"),
            Ok(Reading::Absent(reason) | Reading::Unknown(reason)) | Err(reason) => reason,
        }
    }

    #[test]
    fn idle_what_comes_and_goes_counts_while_it_is_there() {
        let mut rates = Rates::default();
        let (eth, ens, lo) = (("eth0", Kind::Real), ("ens6", Kind::Real), ("lo", Kind::No));
        let with = |(name, kind): (&'static str, Kind), bytes| (name, bytes, kind);
        assert_eq!(look(&mut rates, 10, &[with(eth, 5000), with(lo, 1)]), FIRST);
        assert_eq!(look(&mut rates, 12, &[with(eth, 9000), with(lo, 9)]), "2");
        // A second one was attached: what it did before nobody knows.
        assert_eq!(look(&mut rates, 13, &[with(eth, 9000), with(ens, 7_000_000)]), "0");
        assert_eq!(look(&mut rates, 14, &[with(eth, 9000), with(ens, 7_003_000)]), "3");
        // The first one was detached, and comes again with a new counter.
        assert_eq!(look(&mut rates, 15, &[with(ens, 7_003_000)]), "0");
        assert_eq!(look(&mut rates, 16, &[with(ens, 7_004_000), with(eth, 10)]), "1");
        assert_eq!(look(&mut rates, 17, &[with(lo, 1)]), "none");
        assert_eq!(look(&mut rates, 18, &[with(eth, 1)]), FIRST);
    }

    #[test]
    fn idle_a_counter_that_wraps_or_a_clock_that_stands_gives_no_figure_once() {
        let mut rates = Rates::default();
        let eth = |bytes| [("eth0", bytes, Kind::Real)];
        assert_eq!(look(&mut rates, 1, &eth(u64::from(u32::MAX))), FIRST);
        assert_eq!(look(&mut rates, 2, &eth(100)), "the counters of `eth0` went backwards");
        assert_eq!(look(&mut rates, 3, &eth(1100)), "1");
        assert_eq!(look(&mut rates, 3, &eth(2100)), "no time has passed between two samples");
        assert_eq!(look(&mut rates, 2, &eth(3100)), "no time has passed between two samples");
        assert_eq!(look(&mut rates, 3, &eth(3100)), "0");
    }

    #[test]
    fn idle_what_is_perhaps_real_counts_only_where_nothing_is() {
        let mut rates = Rates::default();
        let both = |veth, ens| [("eth0", veth, Kind::Perhaps), ("ens5", ens, Kind::Real)];
        look(&mut rates, 1, &both(0, 0));
        assert_eq!(look(&mut rates, 2, &both(9_000, 1_000)), "1");
        assert_eq!(look(&mut rates, 3, &both(10_000, 1_000)[..1]), "1");
    }
}
