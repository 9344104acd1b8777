//! How the promises of the README are measured.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::setup::{Daemon, RESTART, Setup};
use crate::{place, programs, wait};

/// Nanoseconds of the monotonic clock, which all processes share.
#[must_use]
pub fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// Adds a policy for the event type `custom.NAME`, with so many handlers of one priority that say
/// when they read the event.
///
/// # Panics
/// When a plugin cannot be written.
pub fn stamps(setup: &mut Setup, name: &str, count: usize) {
    // A copy beside the others, so that they can be links to it.
    let original = setup.path("stamp");
    if !original.exists() {
        place::install(&programs::beside("stamp"), &original, None);
    }
    let names: Vec<String> = (0..count).map(|number| format!("{name}-{number}")).collect();
    for plugin in &names {
        let path = setup.path(&format!("plugins/{plugin}"));
        fs::hard_link(&original, path).expect("a link can be made");
    }
    let handlers: Vec<Value> =
        names.iter().map(|plugin| json!({ "plugin": plugin, "priority": 50 })).collect();
    let kind = format!("custom.{name}");
    let policy = json!({ "name": name, "match": { "type": [kind] }, "handlers": handlers });
    let policies = setup.settings.get_mut("policies").and_then(Value::as_array_mut);
    policies.expect("the settings hold policies").push(policy);
}

/// Waits until every handler of the daemon's policies can take an event.
pub fn wait_until_warm(daemon: &Daemon) {
    wait::until_or(
        || format!("all plugins: {:#}", daemon.ask("PLUGINS_LIST", json!({}))),
        || {
            let list = daemon.ask("PLUGINS_LIST", json!({}));
            let running = list.get("running").and_then(Value::as_array)?;
            running.iter().all(|plugin| plugin.get("state") == Some(&json!("ready"))).then_some(())
        },
    );
}

/// Sends an event of the type `custom.NAME`, and says how long it took from before the client
/// connected until its last handler had read it.
///
/// # Panics
/// When a handler does not say when.
#[must_use]
pub fn to_handlers(daemon: &Daemon, name: &str) -> Duration {
    let start = monotonic();
    let sent = daemon.ask("EVENT", json!({ "type": format!("custom.{name}") }));
    let incident = wait::until("the incident to close", || {
        let mut history = daemon.ask("HISTORY", json!({ "limit": 1 }));
        let newest = history.get_mut(0)?.take();
        let ours = newest.get("event_id") == sent.get("event_id");
        (ours && newest.get("closed")?.is_string()).then_some(newest)
    });
    let steps = incident.get("steps").and_then(Value::as_array).expect("it has steps");
    let read = |step: &Value| step.get("result")?.get("read_ns")?.as_u64();
    let reads: Option<Vec<u64>> = steps.iter().map(read).collect();
    let reads = reads.unwrap_or_else(|| panic!("a handler did not read it: {incident:#}"));
    let last = reads.into_iter().max().expect("there are handlers");
    Duration::from_nanos(last.saturating_sub(start))
}

/// From the start of the process until it says that it is ready.
#[must_use]
pub fn to_ready(setup: &Setup) -> Duration {
    let start = Instant::now();
    setup.start().ready_at().duration_since(start)
}

/// From SIGKILL until the next daemon is ready, with what systemd waits in between.
pub fn to_ready_again(setup: &Setup) -> Duration {
    let daemon = setup.start();
    wait_until_warm(&daemon);
    let start = Instant::now();
    daemon.kill();
    wait::pause(RESTART);
    let next = setup.start();
    let time = next.ready_at().duration_since(start);
    next.kill();
    // A child that it was about to start may hold its lock for a moment.
    wait::pause(RESTART);
    time
}

/// The resident memory of a process, in bytes.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kilobytes.expect("a process has memory").saturating_mul(1024)
}

/// The time that a process has spent on processors.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn processor_time(process: u32) -> Duration {
    let tasks = fs::read_dir(Path::new("/proc").join(process.to_string()).join("task"));
    let nanoseconds = tasks.expect("it runs").filter_map(|task| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// The value below which such a part of all values lies; the parts are 0 to 100.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn percentile(mut values: Vec<Duration>, part: usize) -> Duration {
    values.sort();
    let place = (values.len() * part).div_ceil(100).saturating_sub(1);
    *values.get(place).expect("something was measured")
}
