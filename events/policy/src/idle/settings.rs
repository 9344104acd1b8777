//! What an operator says about idleness.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::hours::Hours;
use super::reading::Monitor;
use crate::Fault;
use crate::strict::{Fields, Unknown};

/// How the votes of plugins join the monitors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combination {
    /// All must agree: a plugin that does not say idle keeps the instance up.
    All,
    /// The monitors, or any one plugin, are enough.
    Any,
}

/// What is measured, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The monitors that are asked.
    pub monitors: BTreeSet<Monitor>,
    /// Interfaces that do not count, by name; a `*` at the end stands for any rest.
    pub exclude_interfaces: Vec<String>,
    /// Processes whose load counts, by `comm` or by the base name of the program's file.
    pub processes: Vec<String>,
    /// Units of systemd whose load counts; `.service` may be left out.
    pub units: Vec<String>,
}

/// What an operator says about idleness.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Whether idleness is looked for at all.
    pub enabled: bool,
    /// What is measured.
    pub wanted: Wanted,
    /// The monitors that take part in the decision.
    pub used: BTreeSet<Monitor>,
    /// Where each monitor begins to be busy, in its unit.
    pub thresholds: BTreeMap<Monitor, f64>,
    /// How much of its threshold a figure may be above it before a nap ends.
    pub hysteresis: f64,
    /// For how long all must agree.
    pub naptime: Duration,
    /// How often is measured.
    pub interval: Duration,
    /// How the votes of plugins join.
    pub votes: Combination,
    /// How long after its start an instance is never idle.
    pub minimum_uptime: Duration,
    /// The same for an instance that CloudSnooze stopped and somebody started again.
    pub cooldown: Duration,
    /// How long before an instance counts as idle its users are warned.
    pub warning: Duration,
    /// What the names of tags begin with: `PREFIX:KeepAwake` keeps an instance up,
    /// `PREFIX:Status` says that it was stopped for being idle.
    pub tag_prefix: String,
    /// Hours that keep it up, or in which alone it may be stopped.
    pub hours: Vec<Hours>,
}

/// The thresholds with the keys of the source documents (S1-65), their defaults and bounds. The
/// names of the last two are our own.
const THRESHOLDS: [(Monitor, &str, f64, f64); 8] = [
    (Monitor::Cpu, "cpu_threshold_percent", 10.0, 100.0),
    (Monitor::Memory, "memory_threshold_percent", 30.0, 100.0),
    (Monitor::Network, "network_threshold_kbps", 50.0, 1e9),
    (Monitor::DiskIo, "disk_io_threshold_kbps", 100.0, 1e9),
    (Monitor::Gpu, "gpu_threshold_percent", 5.0, 100.0),
    (Monitor::Input, "input_idle_threshold_secs", 900.0, 1e6),
    (Monitor::Load, "load_threshold_percent", 5.0, 1e6),
    (Monitor::Pressure, "pressure_threshold_percent", 10.0, 100.0),
];
const NAPTIME: &str = "naptime_minutes";
const INTERVAL: &str = "check_interval_seconds";

/// The keys that stand at the top of a settings file; all others stand below `idle`.
pub const TOP_KEYS: [&str; 8] = [
    "cpu_threshold_percent",
    "memory_threshold_percent",
    "network_threshold_kbps",
    "disk_io_threshold_kbps",
    "gpu_threshold_percent",
    "input_idle_threshold_secs",
    NAPTIME,
    INTERVAL,
];

const KEYS: [&str; 14] = [
    "enabled",
    "monitors",
    "exclude_interfaces",
    "processes",
    "units",
    "load_threshold_percent",
    "pressure_threshold_percent",
    "hysteresis_percent",
    "votes",
    "minimum_uptime_minutes",
    "cooldown_minutes",
    "warning_seconds",
    "tag_prefix",
    "hours",
];

/// A week, in minutes.
const WEEK: f64 = 10_080.0;

/// What takes part where nothing is said. Memory that stays full says little.
const USUAL: [Monitor; 5] =
    [Monitor::Cpu, Monitor::Network, Monitor::DiskIo, Monitor::Gpu, Monitor::Input];

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            wanted: Wanted { monitors: Monitor::ALL.into(), ..Wanted::default() },
            used: USUAL.into(),
            thresholds: THRESHOLDS
                .iter()
                .map(|(monitor, _, usual, _)| (*monitor, *usual))
                .collect(),
            hysteresis: 0.1,
            naptime: Duration::from_secs(30 * 60),
            interval: Duration::from_secs(60),
            votes: Combination::All,
            minimum_uptime: Duration::from_secs(10 * 60),
            cooldown: Duration::from_secs(15 * 60),
            warning: Duration::from_secs(60),
            tag_prefix: "CloudSnooze".to_owned(),
            hours: Vec::new(),
        }
    }
}

impl Settings {
    /// Reads them from the members of a settings file.
    pub fn read(root: &Fields<'_>, faults: &mut Vec<Fault>) -> Self {
        let mut settings = Self::default();
        settings.read_thresholds(root, faults);
        if let Some(minutes) = root.number(NAPTIME, (0.1, WEEK), faults) {
            settings.naptime = Duration::from_secs_f64(minutes * 60.0);
        }
        if let Some(seconds) = root.number(INTERVAL, (1.0, 3600.0), faults) {
            settings.interval = Duration::from_secs_f64(seconds);
        }
        if let Some(fields) = root.object("idle", faults) {
            fields.expect(&KEYS, Unknown::Refuse, faults);
            settings.read_object(&fields, faults);
        }
        settings
    }

    fn read_thresholds(&mut self, fields: &Fields<'_>, faults: &mut Vec<Fault>) {
        for (monitor, key, _, most) in THRESHOLDS {
            if let Some(threshold) = fields.number(key, (0.0, most), faults) {
                self.thresholds.insert(monitor, threshold);
            }
        }
    }

    fn read_object(&mut self, fields: &Fields<'_>, faults: &mut Vec<Fault>) {
        self.enabled = fields.flag("enabled", self.enabled, faults);
        self.read_thresholds(fields, faults);
        self.wanted.exclude_interfaces = texts(fields, "exclude_interfaces", faults);
        self.wanted.processes = texts(fields, "processes", faults);
        self.wanted.units = texts(fields, "units", faults);
        if let Some(used) = monitors(fields, faults) {
            self.used = used;
        }
        let names_load = !self.wanted.processes.is_empty() || !self.wanted.units.is_empty();
        if names_load {
            self.used.insert(Monitor::Load);
        } else if self.used.contains(&Monitor::Load) {
            let text = "`load` needs `processes` or `units` to look at";
            faults.push(fields.fault("monitors", text));
        } else {
            self.wanted.monitors.remove(&Monitor::Load);
        }
        if let Some(percent) = fields.number("hysteresis_percent", (0.0, 100.0), faults) {
            self.hysteresis = percent / 100.0;
        }
        let words = [("all", Combination::All), ("any", Combination::Any)];
        self.votes = fields.word("votes", &words, faults).unwrap_or(self.votes);
        let mut minutes = |key: &str, usual: Duration| {
            let minutes = fields.number(key, (0.0, WEEK), faults);
            minutes.map_or(usual, |minutes| Duration::from_secs_f64(minutes * 60.0))
        };
        self.minimum_uptime = minutes("minimum_uptime_minutes", self.minimum_uptime);
        self.cooldown = minutes("cooldown_minutes", self.cooldown);
        if let Some(seconds) = fields.number("warning_seconds", (0.0, 3600.0), faults) {
            self.warning = Duration::from_secs_f64(seconds);
        }
        if let Some(prefix) = fields.text("tag_prefix", faults) {
            self.tag_prefix = prefix.to_owned();
        }
        let hours = fields.list("hours", faults);
        let hours = hours.iter().filter_map(|(path, value)| Hours::read(path, value, faults));
        self.hours = hours.collect();
    }

    /// Where a monitor begins to be busy, in its unit.
    #[must_use]
    pub fn threshold(&self, monitor: Monitor) -> f64 {
        self.thresholds.get(&monitor).copied().unwrap_or_default()
    }

    /// All of them, with their keys.
    #[must_use]
    pub fn shown(&self) -> Value {
        let minutes = |duration: Duration| json!(duration.as_secs_f64() / 60.0);
        let mut shown: Map<String, Value> = THRESHOLDS
            .iter()
            .map(|(monitor, key, _, _)| ((*key).to_owned(), json!(self.threshold(*monitor))))
            .collect();
        let votes = match self.votes {
            Combination::All => "all",
            Combination::Any => "any",
        };
        let more = [
            (NAPTIME, minutes(self.naptime)),
            (INTERVAL, json!(self.interval.as_secs_f64())),
            ("enabled", json!(self.enabled)),
            ("monitors", self.used.iter().map(|monitor| monitor.as_str()).collect()),
            ("exclude_interfaces", json!(self.wanted.exclude_interfaces)),
            ("processes", json!(self.wanted.processes)),
            ("units", json!(self.wanted.units)),
            ("hysteresis_percent", json!(self.hysteresis * 100.0)),
            ("votes", json!(votes)),
            ("minimum_uptime_minutes", minutes(self.minimum_uptime)),
            ("cooldown_minutes", minutes(self.cooldown)),
            ("warning_seconds", json!(self.warning.as_secs_f64())),
            ("tag_prefix", json!(self.tag_prefix)),
            ("hours", self.hours.iter().map(Hours::shown).collect()),
        ];
        shown.extend(more.map(|(key, value)| (key.to_owned(), value)));
        Value::Object(shown)
    }
}

fn monitors(fields: &Fields<'_>, faults: &mut Vec<Fault>) -> Option<BTreeSet<Monitor>> {
    fields.get("monitors")?;
    let names = texts(fields, "monitors", faults);
    let mut used = BTreeSet::new();
    for name in &names {
        match Monitor::of(name) {
            Some(monitor) => drop(used.insert(monitor)),
            None => {
                let known = Monitor::ALL.map(Monitor::as_str).join("`, `");
                faults.push(fields.fault("monitors", &format!("expected some of `{known}`")));
            }
        }
    }
    if !used.contains(&Monitor::Cpu) && !used.contains(&Monitor::Load) {
        let text = "expected `cpu` or `load` among them: what else is idle may still compute";
        faults.push(fields.fault("monitors", text));
    }
    Some(used)
}

/// A list of texts.
fn texts(fields: &Fields<'_>, key: &str, faults: &mut Vec<Fault>) -> Vec<String> {
    let mut texts = Vec::new();
    for (path, value) in fields.list(key, faults) {
        match value.as_str() {
            Some(text) if !text.is_empty() => texts.push(text.to_owned()),
            Some(_) | None => faults.push(Fault::new(&path, "expected a text")),
        }
    }
    texts
}
