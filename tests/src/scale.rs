//! What a mass reclaim costs: a discrete simulation of the cloud side, with the quotas of AWS as
//! token buckets.
//!
//! Notices arrive spread over a minute. Each takes a place among the functions that may run at
//! once, makes its calls one after the other, each when its service has a token, and gives the
//! place back. Nothing here is measured: the times of calls are assumptions that [`Quotas`]
//! names, so that the answer shows what grows with the fleet, not what a second is worth.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::dice::Dice;

/// A service: so many calls at once, so many a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quota {
    /// What it is.
    pub name: &'static str,
    /// Calls that may come at once.
    pub burst: f64,
    /// Calls a second in the long run.
    pub rate: f64,
    /// How long one call takes.
    pub call: Duration,
}

/// The account that is simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct Quotas {
    /// Functions that may run at once (Lambda quotas, default for an account, checked 2026-11).
    pub concurrency: usize,
    /// What a function needs to start, once for each place.
    pub cold_start: Duration,
    /// The calls of one notice up to its command, in order.
    pub to_command: Vec<Quota>,
    /// The calls after it.
    pub after_command: Vec<Quota>,
    /// From the topic through the queue to the instance.
    pub delivery: Duration,
}

/// What a notice of ours asks for: reads and one transaction of DynamoDB before the command, a
/// batch of orders and one write after it.
///
/// The rates are the smaller ones of what AWS grants a new account: a fresh on-demand table takes
/// 4,000 writes and 12,000 reads a second (DynamoDB Developer Guide, "On-demand capacity"), SNS
/// 300 publishes a second in its smallest Regions (AWS General Reference, "SNS quotas"). From
/// memory, unverified; the large Regions grant up to a hundred times that.
#[must_use]
pub fn ours() -> Quotas {
    let quota = |name, rate: f64, milliseconds| {
        let call = Duration::from_millis(milliseconds);
        Quota { name, burst: rate, rate, call }
    };
    Quotas {
        concurrency: 1000,
        cold_start: Duration::from_millis(150),
        to_command: vec![
            quota("read instance", 12_000.0, 5),
            quota("read other incidents", 12_000.0, 5),
            // Two items in a transaction, twice the units of two writes.
            quota("claim incident", 1000.0, 12),
            quota("publish command", 300.0, 15),
        ],
        after_command: vec![quota("send orders", 3000.0, 10), quota("write incident", 3000.0, 8)],
        delivery: Duration::from_millis(60),
    }
}

/// The same, with a call of EC2 for each notice: 100 at once, then 20 a second (EC2 API
/// reference, "Request throttling", non-mutating describe calls; checked 2026-11).
#[must_use]
pub fn with_describe() -> Quotas {
    let mut quotas = ours();
    let call = Duration::from_millis(80);
    let describe = Quota { name: "describe instance", burst: 100.0, rate: 20.0, call };
    quotas.to_command.insert(0, describe);
    quotas
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Drain {
    /// Notices.
    pub notices: usize,
    /// Calls of AWS.
    pub calls: usize,
    /// From the event to the command at the instance, for the middle one.
    pub median: Duration,
    /// The same, for all but one in a hundred.
    pub p99: Duration,
    /// From the first event to the last command.
    pub drained: Duration,
    /// Commands that came later than an instance lives.
    pub too_late: usize,
}

/// A notice arrives, or goes on with its next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    at: Duration,
    notice: usize,
    call: usize,
}

/// Simulates `notices` within `spread`.
#[must_use]
pub fn drain(quotas: &Quotas, notices: usize, spread: Duration, dice: &mut Dice) -> Drain {
    let mut events: BinaryHeap<Reverse<Step>> = (0..notices)
        .map(|notice| Reverse(Step { at: dice.time(Duration::ZERO, spread), notice, call: 0 }))
        .collect();
    let mut arrived = vec![Duration::ZERO; notices];
    let all: Vec<Quota> = [quotas.to_command.as_slice(), &quotas.after_command].concat();
    let mut buckets: Vec<Bucket> = all.iter().map(|quota| Bucket::new(*quota)).collect();
    let (mut free, mut warm) = (quotas.concurrency, 0_usize);
    let mut waiting: VecDeque<usize> = VecDeque::new();
    let mut latencies = Vec::with_capacity(notices);
    let (mut calls, mut drained) = (0_usize, Duration::ZERO);
    while let Some(Reverse(Step { at, notice, call })) = events.pop() {
        let mut start = at;
        if call == 0 {
            if let Some(slot) = arrived.get_mut(notice)
                && slot.is_zero()
            {
                *slot = at;
            }
            if free == 0 {
                waiting.push_back(notice);
                continue;
            }
            free -= 1;
            if warm == 0 {
                start += quotas.cold_start;
            } else {
                warm -= 1;
            }
        }
        let Some(bucket) = buckets.get_mut(call) else {
            free += 1;
            warm += 1;
            if let Some(next) = waiting.pop_front() {
                events.push(Reverse(Step { at, notice: next, call: 0 }));
            }
            continue;
        };
        calls += 1;
        let done = bucket.take(start) + bucket.quota.call;
        if call + 1 == quotas.to_command.len() {
            let told = done + quotas.delivery;
            drained = drained.max(told);
            let came = arrived.get(notice).copied().unwrap_or_default();
            latencies.push(told.saturating_sub(came));
        }
        events.push(Reverse(Step { at: done, notice, call: call + 1 }));
    }
    latencies.sort_unstable();
    let of = |percent: usize| {
        let index = latencies.len().saturating_sub(1) * percent / 100;
        latencies.get(index).copied().unwrap_or_default()
    };
    let too_late = latencies.iter().filter(|latency| **latency >= LIFE).count();
    Drain { notices, calls, median: of(50), p99: of(99), drained, too_late }
}

/// An instance lives this long after its notice.
const LIFE: Duration = Duration::from_secs(120);

/// A token bucket in the form of the time at which it would be full of debt (GCRA).
#[derive(Debug)]
struct Bucket {
    quota: Quota,
    next: Duration,
}

impl Bucket {
    fn new(quota: Quota) -> Self {
        Self { quota, next: Duration::ZERO }
    }

    /// When a call that wants to start at a moment may.
    fn take(&mut self, at: Duration) -> Duration {
        let tolerance = Duration::from_secs_f64((self.quota.burst - 1.0) / self.quota.rate);
        let start = at.max(self.next.saturating_sub(tolerance));
        self.next = self.next.max(start) + Duration::from_secs_f64(1.0 / self.quota.rate);
        start
    }
}

/// The table of docs/scale.md.
#[must_use]
pub fn table() -> String {
    let mut lines = vec![
        "| instances | notices in 60 s | calls of AWS | median | p99 | all told after | too late | \
         with a describe call each: p99 | too late | broadcast deliveries |"
            .to_owned(),
        "|---|---|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for (fleet, notices) in FLEETS {
        let minute = Duration::from_secs(60);
        let ours = drain(&ours(), notices, minute, &mut Dice::new(1));
        let theirs = drain(&with_describe(), notices, minute, &mut Dice::new(1));
        lines.push(format!(
            "| {fleet} | {notices} | {} | {} | {} | {} | {} | {} | {} | {} |",
            ours.calls,
            seconds(ours.median),
            seconds(ours.p99),
            seconds(ours.drained),
            ours.too_late,
            seconds(theirs.p99),
            theirs.too_late,
            fleet.saturating_mul(notices),
        ));
    }
    lines.join("\n") + "\n"
}

/// Fleets, and how many of their instances are taken within a minute.
pub const FLEETS: [(usize, usize); 6] = [
    (100, 100),
    (1000, 1000),
    (10_000, 1000),
    (10_000, 10_000),
    (100_000, 10_000),
    (100_000, 100_000),
];

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
