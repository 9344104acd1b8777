//! What it costs to look at this machine: the processor time of an hour's samples at one a second.
//!
//! `cargo run --release --example idle_cost`

#![expect(clippy::print_stdout, reason = "it is run by a person, who reads it")]

use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use snooze_policy::idle::Monitor;
use snooze_policy::idle::Wanted;
use snoozed::clock::Now;
use snoozed::idle::sample::Sampler;
use snoozed::idle::system::Looker;

/// An hour of samples at one a second.
const SAMPLES: u32 = 3600;

fn main() {
    let root = Path::new("/");
    let sampler = |monitors: &[Monitor], processes: &[&str]| {
        let processes = processes.iter().map(ToString::to_string).collect();
        let monitors = monitors.iter().copied().collect();
        Sampler::new(Wanted { monitors, processes, ..Wanted::default() }, root)
    };
    for monitor in Monitor::ALL {
        let mut one = sampler(&[monitor], &[]);
        report(monitor.as_str(), |at| drop(one.sample(at)));
    }
    let mut all = sampler(&Monitor::ALL, &[]);
    report("all of these", |at| drop(all.sample(at)));
    let mut named = sampler(&[Monitor::Load], &["postgres"]);
    report("load, one process named", |at| drop(named.sample(at)));
    let mut looker = Looker::new(root);
    report("alarms of the system", |at| drop(looker.look(at)));
}

fn report(what: &str, mut sample: impl FnMut(Duration)) {
    let start = Now::read().boot;
    let before = used();
    for second in 0..SAMPLES {
        sample(start + Duration::from_secs(second.into()));
    }
    let each = (used() - before) / SAMPLES;
    let share = 100.0 * each.as_secs_f64();
    println!("{what:24} {:7.1} us a sample, {share:.4} % of one core", each.as_secs_f64() * 1e6);
}

/// Processor time of this process, that of the kernel for it included.
fn used() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(used.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(used.tv_nsec).unwrap_or_default())
}
