//! What the daemon tells of itself in figures, as the text that Prometheus reads.
//!
//! Figures live where the state lives, and are read when somebody asks; [`Tally`] counts what
//! nothing else keeps. Every name and label stands in [`FAMILIES`] and in `docs/metrics.md`.
//!
//! Invariants: what decides how many lines there are is bounded, by the settings or by a constant;
//! no label holds an instance, an incident or a text from outside; nothing here does I/O but
//! [`serve`] and [`Own::read`].

mod own;
mod page;
pub mod serve;
mod settings;
mod tally;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use snooze_policy::idle::{Idle, Monitor, Phase};

use crate::clock::Now;
use crate::cloud::{Cloud, Part, Published, State};
use crate::plugins::{PluginState, PluginStatus};
use crate::sources::Polls;
use crate::watch::Watch;
pub use own::Own;
pub use page::{ALIAS, CONTENT_TYPE, Family, Kind, PREFIX};
use page::{Page, whole};
pub use settings::{Settings, read};
pub use tally::Tally;
pub(crate) use tally::{known_type, more};

macro_rules! families {
    ($($id:ident: $name:literal $kind:ident [$($label:literal),*] $alias:literal $help:literal;)*) => {
        $(const $id: Family = Family {
            name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help, alias: $alias,
        };)*
        /// All metrics, in the order of the text.
        pub const FAMILIES: &[Family] = &[$($id),*];
    };
}

families! {
    BUILD: "build_info" Gauge ["version"] false "Always 1; the version of the daemon.";
    START: "start_time_seconds" Gauge [] false "When the daemon started, in seconds since 1970.";
    CPU: "process_cpu_seconds_total" Counter [] false "Processor time of the daemon, plugins left out.";
    MEMORY: "process_resident_memory_bytes" Gauge [] false "Memory of the daemon, plugins left out.";
    FILES: "process_open_fds" Gauge [] false "Open descriptors of the daemon.";
    FAULTS: "faults" Gauge [] false "What keeps this instance from being safe; `snooze status` lists it.";
    POLICIES: "policies" Gauge [] false "Policies that are in force and switched on.";
    DURABLE: "journal_durable" Gauge [] false "1 while the journal can be written, else 0.";
    JOURNAL: "journal_bytes" Gauge [] false "Length of the journal.";
    OPEN: "incidents_open" Gauge [] false "Incidents that are open.";
    OPENED: "incidents_opened_total" Counter ["cause", "drill"] false "Incidents that were opened.";
    CLOSED: "incidents_closed_total" Counter ["cause", "outcome", "drill"] false "Incidents that ended.";
    IGNORED: "events_ignored_total" Counter [] false "Events that changed nothing: stale, called off, or of another instance.";
    FIRST_HANDLER: "first_handler_seconds" Histogram [] false "From the first signal of an incident to its first handler.";
    MARGIN: "margin_seconds" Histogram [] false "What was left before the deadline when an incident ended.";
    STEPS: "steps_total" Counter ["plugin", "outcome"] false "Steps that ended, or were never begun.";
    STEP_SECONDS: "step_seconds" Summary ["plugin"] false "How long steps took, of those that were begun.";
    PLUGINS: "plugins" Gauge ["state"] false "Processes of handlers, by their state.";
    RESTARTS: "plugin_restarts_total" Counter ["plugin"] false "How often the processes of a plugin were started again, since they are there.";
    POLLS: "metadata_polls_total" Counter ["path"] false "Questions to the metadata service.";
    MISSES: "metadata_misses_total" Counter ["path"] false "Questions to the metadata service without a usable answer.";
    ALARMS: "alarms_total" Counter ["event_type"] false "Events about the system itself.";
    IDLE_ENABLED: "idle_enabled" Gauge [] false "1 while idleness is watched for, else 0.";
    IDLE_PHASE: "idle_phase" Gauge ["phase"] false "1 for the phase that the instance is in, 0 for the others.";
    IDLE_VALUE: "idle_value" Gauge ["monitor"] false "The last figure of a monitor of idleness, in its unit.";
    IDLE_THRESHOLD: "idle_threshold" Gauge ["monitor"] false "Where a monitor of idleness begins to be busy.";
    IDLE_NAPPED: "idle_napped_seconds" Gauge [] false "For how long all has been idle, of the naptime.";
    IDLE_NAPTIME: "idle_naptime_seconds" Gauge [] false "For how long all has to be idle.";
    COMMANDS: "commands_total" Counter ["result"] false "Messages on the queue of commands, by what became of them.";
    WAITING: "reports_waiting" Gauge [] false "Outcomes that the bus has not taken.";
    PUBLISHED: "events_published_total" Counter ["event_type"] true "Events that the bus took.";
    PUBLISH_SECONDS: "event_publish_duration_seconds" Summary ["event_type"] true "How long the bus took to answer.";
    PUBLISH_ERRORS: "event_publish_errors_total" Counter ["event_type"] true "Events that the bus did not take; those that matter are put again.";
    PRODUCER: "producer_health_status" Gauge ["component"] true "1 while a part that tells the cloud works, else 0.";
    CONSUMED: "events_consumed_total" Counter ["event_type"] true "Events of commands that were taken.";
    CONSUME_SECONDS: "event_consume_duration_seconds" Summary ["event_type"] true "How long a command took until it was on disk and its steps begun.";
    LAG: "consumer_lag" Gauge ["topic"] true "Age of the last command when it was taken, in seconds.";
    CONSUMER: "consumer_health_status" Gauge ["component"] true "1 while a part that listens to the cloud works, else 0.";
    DEAD: "dlq_messages_total" Counter ["event_type"] true "Events that the bus refuses for good; the log has the reason.";
}

/// All that is shown.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The time.
    pub now: Now,
    /// When the daemon started.
    pub started: Now,
    /// What the kernel says of the daemon.
    pub own: Own,
    /// Incidents and policies.
    pub watch: &'a Watch,
    /// What was counted.
    pub tally: &'a Tally,
    /// How many faults there are.
    pub faults: usize,
    /// Whether the journal can be written.
    pub durable: bool,
    /// How long the journal is; `None` where there is none.
    pub journal: Option<u64>,
    /// The processes of handlers.
    pub plugins: &'a [PluginStatus],
    /// Questions to the metadata service.
    pub polls: &'a Polls,
    /// How far the instance is asleep.
    pub idle: &'a Idle,
    /// The cloud side; `None` where it is off.
    pub cloud: Option<&'a Cloud>,
}

/// The text; with `alias`, some of it a second time under the names of another system.
#[must_use]
pub fn text(seen: &Seen<'_>, alias: bool) -> String {
    let mut page = Page::default();
    general(seen, &mut page);
    seen.tally.show(&mut page);
    plugins(seen.plugins, &mut page);
    for (path, asked, missed) in seen.polls.counts() {
        let path = path.to_string();
        page.put(&POLLS, &[&path], whole(asked));
        page.put(&MISSES, &[&path], whole(missed));
    }
    idle(seen.idle, &mut page);
    if let Some(cloud) = seen.cloud {
        cloud_side(cloud, &mut page);
    }
    page.text(FAMILIES, alias)
}

fn general(seen: &Seen<'_>, page: &mut Page) {
    let Seen { now, started, own, watch, .. } = seen;
    let up = now.boot.saturating_sub(started.boot);
    let start = now.wall.checked_sub(up).unwrap_or(Timestamp::UNIX_EPOCH);
    page.put(&BUILD, &[env!("CARGO_PKG_VERSION")], 1.0);
    page.put(&START, &[], start.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64());
    page.put(&CPU, &[], own.cpu.as_secs_f64());
    page.put(&MEMORY, &[], whole(own.memory_bytes));
    page.put(&FILES, &[], whole(own.descriptors));
    page.put(&FAULTS, &[], length(seen.faults));
    page.put(&POLICIES, &[], length(watch.policies().iter().filter(|one| one.enabled).count()));
    page.put(&DURABLE, &[], flag(seen.durable));
    page.put(&JOURNAL, &[], whole(seen.journal.unwrap_or_default()));
    let open = watch.incidents().filter(|known| known.closed.is_none());
    page.put(&OPEN, &[], length(open.count()));
    page.put(&IGNORED, &[], whole(watch.ignored()));
}

fn plugins(plugins: &[PluginStatus], page: &mut Page) {
    for state in PluginState::ALL {
        let there = plugins.iter().filter(|status| status.state == state);
        page.put(&PLUGINS, &[state.as_str()], length(there.count()));
    }
    let mut restarts: BTreeMap<&str, u64> = BTreeMap::new();
    for status in plugins {
        *restarts.entry(status.plugin.as_str()).or_default() += status.stats.restarts;
    }
    for (plugin, count) in restarts {
        page.put(&RESTARTS, &[plugin], whole(count));
    }
}

fn idle(idle: &Idle, page: &mut Page) {
    let settings = idle.settings();
    page.put(&IDLE_ENABLED, &[], flag(settings.enabled));
    for phase in Phase::WORDS {
        page.put(&IDLE_PHASE, &[phase], flag(phase == idle.phase().as_str()));
    }
    for monitor in Monitor::ALL {
        page.put(&IDLE_THRESHOLD, &[monitor.as_str()], settings.threshold(monitor));
    }
    // What cannot be read has no line: a figure of yesterday would be a wrong one.
    for check in idle.latest().iter().flat_map(|latest| &latest.checks) {
        if let Some(value) = check.reading.value() {
            page.put(&IDLE_VALUE, &[check.monitor.as_str()], value);
        }
    }
    page.put(&IDLE_NAPPED, &[], idle.napped().as_secs_f64());
    page.put(&IDLE_NAPTIME, &[], settings.naptime.as_secs_f64());
}

fn cloud_side(cloud: &Cloud, page: &mut Page) {
    let counts = cloud.counts();
    let results = [
        ("taken", counts.taken),
        ("repeated", counts.repeated),
        ("expired", counts.expired),
        ("foreign", counts.foreign),
        ("refused", counts.refused),
    ];
    for (result, count) in results {
        page.put(&COMMANDS, &[result], whole(count));
    }
    page.put(&WAITING, &[], length(cloud.unreported()));
    for (part, state) in cloud.states() {
        let family = match part {
            Part::Hello | Part::Reports => &PRODUCER,
            Part::Policies | Part::Commands | Part::Secrets => &CONSUMER,
        };
        if state != State::Off {
            page.put(family, &[part.as_str()], flag(state == State::On));
        }
    }
    for (kind, Published { taken, failed, dead, took: (seconds, answers) }) in cloud.published() {
        page.put(&PUBLISHED, &[kind], whole(taken));
        page.put(&PUBLISH_ERRORS, &[kind], whole(failed));
        page.put(&DEAD, &[kind], whole(dead));
        page.summary(&PUBLISH_SECONDS, &[kind], seconds, answers);
    }
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

fn length(count: usize) -> f64 {
    whole(u64::try_from(count).unwrap_or(u64::MAX))
}

/// How old what was told at `at` is; nothing where clocks disagree.
pub(crate) fn age(at: Timestamp, now: Now) -> Duration {
    Duration::try_from(now.wall.duration_since(at)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
