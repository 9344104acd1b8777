//! When the system's alarms are raised, and how often.

use std::time::Duration;

use snooze_policy::Fault;
use snooze_policy::strict::{Fields, Unknown};

/// The settings of all alarms, the object `system_events` of the settings file.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmSettings {
    /// `disk_low`: percent of a file system's space or inodes in use.
    pub disk: Level,
    /// `cpu_high`: percent of all processors that work.
    pub cpu: Level,
    /// `memory_pressure`: percent of the last minute in which something waited for memory.
    pub memory_pressure: Level,
    /// `memory_used`: percent of the memory in use, where the kernel has no PSI.
    pub memory_used: Level,
    /// `network_down`: only its times count.
    pub network: Level,
}

/// When one kind of alarm is raised.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// Whether it is raised at all.
    pub enabled: bool,
    /// At or above it for [`Level::hold`], the alarm is raised.
    pub threshold: f64,
    /// At or below it, the alarm is over and can be raised again.
    pub clear: f64,
    /// How long the threshold must be passed without a break.
    pub hold: Duration,
    /// How long after one event the next one about the same thing comes at the earliest.
    pub cool_down: Duration,
}

impl Level {
    const fn new(threshold: f64, clear: f64, hold: u64, cool_down: u64) -> Self {
        let (hold, cool_down) = (Duration::from_secs(hold), Duration::from_secs(cool_down));
        Self { enabled: true, threshold, clear, hold, cool_down }
    }
}

impl Default for AlarmSettings {
    /// Our own choice, since the source documents name none. A full disk is told at once and
    /// rarely again; a burst of work is none; a network is gone when it does not come back soon.
    fn default() -> Self {
        Self {
            disk: Level::new(90.0, 85.0, 0, 3600),
            cpu: Level::new(90.0, 75.0, 300, 900),
            memory_pressure: Level::new(20.0, 10.0, 30, 300),
            memory_used: Level::new(95.0, 90.0, 30, 300),
            network: Level::new(100.0, 0.0, 10, 60),
        }
    }
}

impl AlarmSettings {
    /// What the object `system_events` says; what it does not say is as usual.
    pub fn read(fields: &Fields<'_>, faults: &mut Vec<Fault>) -> Self {
        let mut settings = Self::default();
        let known = ["disk_low", "cpu_high", "memory_pressure", "memory_used", "network_down"];
        fields.expect(&known, Unknown::Refuse, faults);
        let levels = [
            &mut settings.disk,
            &mut settings.cpu,
            &mut settings.memory_pressure,
            &mut settings.memory_used,
        ];
        for (key, level) in known.iter().zip(levels) {
            read_level(fields, key, true, level, faults);
        }
        read_level(fields, "network_down", false, &mut settings.network, faults);
        settings
    }

    /// Whether any alarm can be raised.
    #[must_use]
    pub fn any_enabled(&self) -> bool {
        [&self.disk, &self.cpu, &self.memory_pressure, &self.memory_used, &self.network]
            .iter()
            .any(|level| level.enabled)
    }
}

fn read_level(
    parent: &Fields<'_>,
    key: &str,
    has_percent: bool,
    level: &mut Level,
    faults: &mut Vec<Fault>,
) {
    let Some(fields) = parent.object(key, faults) else { return };
    let times = ["enabled", "for_seconds", "cool_down_seconds"];
    let percents: &[&str] = if has_percent { &["threshold_percent", "clear_percent"] } else { &[] };
    let known: Vec<&str> = times.into_iter().chain(percents.iter().copied()).collect();
    fields.expect(&known, Unknown::Refuse, faults);
    level.enabled = fields.flag("enabled", level.enabled, faults);
    let mut seconds =
        |key: &str, usual| fields.seconds(key, Duration::ZERO, faults).unwrap_or(usual);
    level.hold = seconds("for_seconds", level.hold);
    level.cool_down = seconds("cool_down_seconds", level.cool_down);
    if !has_percent {
        return;
    }
    let gap = level.threshold - level.clear;
    if let Some(threshold) = fields.number("threshold_percent", (1.0, 100.0), faults) {
        level.threshold = threshold;
        // As far below as usual, where it is not said.
        level.clear = (threshold - gap).max(0.0);
    }
    if let Some(clear) = fields.number("clear_percent", (0.0, 100.0), faults) {
        level.clear = clear;
    }
    if level.clear >= level.threshold {
        let text = "expected less than `threshold_percent`, so that the alarm does not flutter";
        faults.push(fields.fault("clear_percent", text));
    }
}
