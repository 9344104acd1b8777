//! Events about the system itself: a disk that is nearly full, busy processors, too little memory,
//! a network that is gone.
//!
//! ```text
//!          over the threshold for long enough, and the cool-down of the last one is over
//!  calm ------------------------------------------------------------------------------> raised
//!   ^                                                                          (one event) |
//!   +---------------------------------- below the lower threshold --------------------------+
//! ```
//!
//! No I/O and no clock: what was read and the time come in, events go out. What is not known
//! neither raises an alarm nor ends one.

mod settings;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use snooze_event::{Event, EventId, EventType};
use snooze_policy::idle::Reading;

use super::system::{Disk, Link, System};
use crate::clock::{Now, milliseconds};
pub use settings::{AlarmSettings, Level};

/// Who tells these events.
pub const SOURCE: &str = "cloudsnooze.system";

/// All alarms, and what they have told.
#[derive(Debug)]
pub struct Alarms {
    settings: AlarmSettings,
    told: u64,
    cpu: Alarm,
    memory: Alarm,
    link: Alarm,
    /// By mount point.
    disks: BTreeMap<String, Alarm>,
}

impl Alarms {
    /// Alarms that have told nothing yet.
    #[must_use]
    pub fn new(settings: AlarmSettings) -> Self {
        Self {
            settings,
            told: 0,
            cpu: Alarm::default(),
            memory: Alarm::default(),
            link: Alarm::default(),
            disks: BTreeMap::new(),
        }
    }

    /// What is to be told of the system as it is now. The events name no instance: whoever knows
    /// it puts it in.
    pub fn on(&mut self, system: &System, now: Now) -> Vec<Event> {
        let mut events = Vec::new();
        let mut tell = |kind: EventType, data: Value| {
            self.told = self.told.wrapping_add(1);
            events.extend(event(kind, data, self.told, now));
        };
        let levels = &self.settings;
        if self.cpu.on(&levels.cpu, system.cpu.value(), now.boot) {
            let data = json!({ "cpu_percent": system.cpu.value().map(rounded) });
            tell(EventType::CpuHigh, with_level(data, &levels.cpu));
        }
        let (level, value, key) = memory(levels, system);
        if self.memory.on(level, value, now.boot) {
            let data = json!({
                key: value.map(rounded),
                "memory_percent": system.memory.value().map(rounded),
            });
            tell(EventType::MemoryPressure, with_level(data, level));
        }
        // A link is up or not; its level is the share of it that is gone.
        let (value, data) = match &system.link {
            Link::Up { .. } => (Some(0.0), Value::Null),
            Link::Down { interface, reason } => {
                (Some(100.0), json!({ "interface": interface, "reason": reason }))
            }
            Link::Unknown(_) | Link::Absent => (None, Value::Null),
        };
        if self.link.on(&levels.network, value, now.boot) {
            tell(EventType::NetworkDown, data);
        }
        let Ok(disks) = &system.disks else { return events };
        self.disks.retain(|mount, _| disks.iter().any(|disk| disk.mount == *mount));
        for disk in disks {
            let alarm = self.disks.entry(disk.mount.clone()).or_default();
            let worst = disk.used_percent.max(disk.inodes_used_percent.unwrap_or(0.0));
            if alarm.on(&levels.disk, Some(worst), now.boot) {
                tell(EventType::DiskLow, with_level(disk_data(disk), &levels.disk));
            }
        }
        events
    }
}

/// How long tasks wait for memory says it best; without PSI, how much is in use.
fn memory<'a>(
    settings: &'a AlarmSettings,
    system: &System,
) -> (&'a Level, Option<f64>, &'static str) {
    match &system.memory_pressure {
        Reading::Absent(_) => (&settings.memory_used, system.memory.value(), "memory_percent"),
        Reading::Value(_) | Reading::Unknown(_) => {
            let value = system.memory_pressure.value();
            (&settings.memory_pressure, value, "memory_pressure_percent")
        }
    }
}

fn disk_data(disk: &Disk) -> Value {
    json!({
        "mount": disk.mount,
        "device": disk.device,
        "filesystem": disk.filesystem,
        "used_percent": rounded(disk.used_percent),
        "inodes_used_percent": disk.inodes_used_percent.map(rounded),
        "available_bytes": disk.available_bytes,
        "size_bytes": disk.size_bytes,
    })
}

fn with_level(mut data: Value, level: &Level) -> Value {
    if let Some(data) = data.as_object_mut() {
        data.insert("threshold_percent".to_owned(), json!(level.threshold));
        data.retain(|_, value| !value.is_null());
    }
    data
}

/// Tenths are all that anybody reads.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn event(kind: EventType, data: Value, number: u64, now: Now) -> Option<Event> {
    let id = format!("{kind}-{}-{}-{number}", now.wall.as_millisecond(), milliseconds(now.boot));
    let id: EventId = id.parse().ok()?;
    let data = match data {
        Value::Object(data) => data,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    };
    Some(Event { data, ..Event::new(kind, SOURCE, now.wall, id) })
}

/// One alarm about one thing.
#[derive(Debug, Clone, Copy, Default)]
struct Alarm {
    /// Since when it is over the threshold without a break.
    over_since: Option<Duration>,
    is_raised: bool,
    told: Option<Duration>,
}

impl Alarm {
    /// Whether it is to be told now.
    fn on(&mut self, level: &Level, value: Option<f64>, at: Duration) -> bool {
        let Some(value) = value.filter(|_| level.enabled) else {
            self.over_since = None;
            return false;
        };
        if self.is_raised {
            self.is_raised = value > level.clear;
            return false;
        }
        if value < level.threshold {
            self.over_since = None;
            return false;
        }
        let since = *self.over_since.get_or_insert(at);
        let is_long = at.saturating_sub(since) >= level.hold;
        let is_cool = self.told.is_none_or(|told| at.saturating_sub(told) >= level.cool_down);
        if is_long && is_cool {
            *self = Self { over_since: None, is_raised: true, told: Some(at) };
        }
        self.is_raised
    }
}

#[cfg(test)]
mod tests;
