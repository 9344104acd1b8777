//! What is counted, since nothing else keeps it: incidents, steps, alarms and commands, from what
//! is written down of them. Begins anew with the daemon.

use std::collections::BTreeMap;
use std::time::Duration;

use snooze_event::{Cause, Event, EventType, PluginName};

use super::page::{Histogram, Page, whole};
use super::{
    ALARMS, CLOSED, CONSUME_SECONDS, CONSUMED, FIRST_HANDLER, LAG, MARGIN, OPENED, STEP_SECONDS,
    STEPS,
};
use crate::incident::Incident;
use crate::record::{Entry, Record};

/// Policies may name other plugins again and again; those beyond are counted together.
const PLUGINS: usize = 64;
/// Their name.
const OTHERS: &str = "others";

/// From the first signal to the first handler, in seconds: the promise is 5, usual is 0.002.
const TO_HANDLER: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0];
/// What is left of the time at the end, in seconds; a Spot notice leaves 120.
const LEFT: [f64; 9] = [0.0, 1.0, 5.0, 10.0, 30.0, 60.0, 90.0, 120.0, 600.0];

/// Counts since the start of the daemon.
#[derive(Debug)]
pub struct Tally {
    /// By cause, and whether it was a drill.
    opened: BTreeMap<(&'static str, bool), u64>,
    /// By cause, outcome, and whether it was a drill.
    closed: BTreeMap<(&'static str, &'static str, bool), u64>,
    to_handler: Histogram,
    left: Histogram,
    /// By plugin and how they ended.
    steps: BTreeMap<(String, &'static str), u64>,
    /// How long they took together and how many, by plugin.
    took: BTreeMap<String, (f64, u64)>,
    alarms: BTreeMap<&'static str, u64>,
    /// Events of commands: how long it took until they were on disk, and how many.
    consumed: BTreeMap<&'static str, (f64, u64)>,
    lag: Duration,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            opened: BTreeMap::new(),
            closed: BTreeMap::new(),
            to_handler: Histogram::new(&TO_HANDLER),
            left: Histogram::new(&LEFT),
            steps: BTreeMap::new(),
            took: BTreeMap::new(),
            alarms: BTreeMap::new(),
            consumed: BTreeMap::new(),
            lag: Duration::ZERO,
        }
    }
}

impl Tally {
    /// Counts what was written down of an incident, which has taken it in.
    pub fn note(&mut self, entry: &Entry, known: &Incident) {
        let cause = cause(known);
        let drill = known.event.drill;
        match &entry.record {
            Record::Opened { .. } => add(self.opened.entry((cause, drill)).or_default()),
            Record::Ended { step, outcome } => {
                let step = known.steps.iter().find(|state| state.step.id.as_str() == step);
                let Some(step) = step else { return };
                let plugin = self.plugin(&step.step.plugin);
                add(self.steps.entry((plugin.clone(), outcome.kind.as_str())).or_default());
                if step.attempts > 0 {
                    let took = Duration::from_millis(outcome.milliseconds);
                    more(self.took.entry(plugin).or_default(), took);
                }
            }
            Record::Closed { outcome, .. } => {
                add(self.closed.entry((cause, outcome.as_str(), drill)).or_default());
                let first = known.steps.iter().filter_map(|step| step.started).min();
                if let Some(first) = first {
                    let after = first.saturating_sub(known.opened_at);
                    self.to_handler.observe(after.as_secs_f64());
                }
                if let Some(margin) = known.closed.as_ref().and_then(|closed| closed.margin) {
                    self.left.observe(margin.as_secs_f64());
                }
            }
            Record::Joined { .. }
            | Record::Seen
            | Record::Started { .. }
            | Record::Cancelled
            | Record::Survived
            | Record::Told { .. }
            | Record::Reported { .. } => {}
        }
    }

    /// Counts an event about the system itself.
    pub fn alarm(&mut self, event: &Event) {
        add(self.alarms.entry(known_type(event.kind.as_str())).or_default());
    }

    /// Counts a command that was taken: how old it was, and how long it took to be on disk.
    pub fn consumed(&mut self, kind: &EventType, age: Duration, took: Duration) {
        more(self.consumed.entry(known_type(kind.as_str())).or_default(), took);
        self.lag = age;
    }

    fn plugin(&self, name: &PluginName) -> String {
        let plugins: std::collections::BTreeSet<&str> =
            self.steps.keys().map(|(plugin, _)| plugin.as_str()).collect();
        match plugins.len() < PLUGINS || plugins.contains(name.as_str()) {
            true => name.to_string(),
            false => OTHERS.to_owned(),
        }
    }

    pub(super) fn show(&self, page: &mut Page) {
        for ((cause, drill), count) in &self.opened {
            page.put(&OPENED, &[cause, yes(*drill)], whole(*count));
        }
        for ((cause, outcome, drill), count) in &self.closed {
            page.put(&CLOSED, &[cause, outcome, yes(*drill)], whole(*count));
        }
        page.histogram(&FIRST_HANDLER, &self.to_handler);
        page.histogram(&MARGIN, &self.left);
        for ((plugin, outcome), count) in &self.steps {
            page.put(&STEPS, &[plugin, outcome], whole(*count));
        }
        for (plugin, (seconds, count)) in &self.took {
            page.summary(&STEP_SECONDS, &[plugin], *seconds, *count);
        }
        for (kind, count) in &self.alarms {
            page.put(&ALARMS, &[kind], whole(*count));
        }
        for (kind, (seconds, count)) in &self.consumed {
            page.put(&CONSUMED, &[kind], whole(*count));
            page.summary(&CONSUME_SECONDS, &[kind], *seconds, *count);
        }
        page.put(&LAG, &["commands"], self.lag.as_secs_f64());
    }
}

/// The cause of a loss, in one of few words.
fn cause(known: &Incident) -> &'static str {
    known.event.cause.filter(|_| !known.is_undo()).map_or("none", Cause::as_str)
}

/// A type of events, in one of few words: own ones of others have any name.
pub(crate) fn known_type(kind: &str) -> &'static str {
    let named = EventType::names().find(|name| *name == kind);
    named.unwrap_or(if kind == "custom" || kind.starts_with("custom.") {
        "custom"
    } else {
        "other"
    })
}

fn yes(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

fn add(count: &mut u64) {
    *count = count.saturating_add(1);
}

/// Adds a duration to a sum.
pub(crate) fn more(sum: &mut (f64, u64), took: Duration) {
    sum.0 += took.as_secs_f64();
    add(&mut sum.1);
}
