//! The tags of a stop, by which others learn why an instance is stopped, and whether they may start
//! it. Their names and words are those that tools for it look for: `Status` is `Stopped`.

use jiff::Timestamp;
use serde_json::{Map, Value};
use snooze_cloud::ec2::Machine;
use snooze_event::Event;

use super::super::act::{Work, text};
use super::super::instances::cut;

/// The most metrics of an event that become tags.
const METRICS: usize = 10;
/// How the metrics of an instance are named in tags.
const NAMES: [(&str, &str); 6] = [
    ("cpu_percent", "CPUPercent"),
    ("memory_percent", "MemoryPercent"),
    ("network_kbps", "NetworkKBps"),
    ("disk_io_kbps", "DiskIOKBps"),
    ("gpu_percent", "GPUPercent"),
    ("input_idle_secs", "InputIdleSecs"),
];

/// The tags of the stop that a task does.
pub(super) fn of_stop(
    work: &Work<'_>,
    config: &Map<String, Value>,
    event: &Event,
    machine: Option<&Machine>,
) -> Vec<(String, String)> {
    let settings = &work.perform.settings;
    let stop = Stop {
        prefix: &settings.tag_prefix,
        event,
        reason: &super::why(config, event),
        machine,
        legacy: settings.legacy_tags,
        now: work.now,
    };
    stop.tags()
}

/// Why the instance is stopped, as the event says.
pub(in super::super) fn reason(event: &Event) -> String {
    text(&event.data, "reason").map_or_else(|| event.kind.to_string(), str::to_owned)
}

struct Stop<'a> {
    prefix: &'a str,
    event: &'a Event,
    reason: &'a str,
    machine: Option<&'a Machine>,
    legacy: bool,
    now: Timestamp,
}

impl Stop<'_> {
    fn tags(&self) -> Vec<(String, String)> {
        let at = self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut own = vec![
            ("Status", "Stopped".to_owned()),
            ("StopTimestamp", at.clone()),
            ("StopReason", self.reason.to_owned()),
        ];
        // Whoever forbade it may have done so for good.
        let restart = format!("{}:RestartAllowed", self.prefix);
        if !self.machine.is_some_and(|machine| machine.tags.contains_key(&restart)) {
            own.push(("RestartAllowed", "true".to_owned()));
        }
        if let Some(minutes) = self.event.data.get("naptime_minutes").and_then(Value::as_u64) {
            own.push(("NaptimeMinutes", minutes.to_string()));
        }
        let kind = self.machine.and_then(|machine| machine.kind.clone());
        own.extend(kind.map(|kind| ("InstanceType", kind)));
        own.extend(self.event.region.clone().map(|region| ("Region", region)));
        own.extend(self.metrics());
        let own = own.into_iter().map(|(key, value)| (format!("{}:{key}", self.prefix), value));
        let older = [("stopped_at", at), ("reason", self.reason.to_owned())];
        let older = older.into_iter().filter(|_| self.legacy);
        let older = older.map(|(key, value)| (key.to_owned(), value));
        own.chain(older).map(|(key, value)| (key, cut(&value))).collect()
    }

    fn metrics(&self) -> impl Iterator<Item = (&str, String)> {
        let is_word = |key: &str| {
            (1..=64).contains(&key.len())
                && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        let metrics = self.event.data.get("metrics").and_then(Value::as_object);
        let metrics = metrics.into_iter().flatten();
        metrics
            .filter(move |(key, value)| is_word(key) && value.is_number())
            .take(METRICS)
            .map(|(key, value)| (metric(key), value.to_string()))
    }
}

/// What a metric is called in tags.
fn metric(key: &str) -> &str {
    NAMES.iter().find(|(known, _)| *known == key).map_or(key, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_says_why_and_when_in_its_tags() {
        expect_test::expect![[r#"
            CloudSnooze:Status=Stopped
            CloudSnooze:StopTimestamp=2026-11-21T10:00:00Z
            CloudSnooze:StopReason=instance.idle
            CloudSnooze:RestartAllowed=true
            CloudSnooze:NaptimeMinutes=30
            CloudSnooze:InstanceType=m7g.large
            CloudSnooze:Load=20
            CloudSnooze:CPUPercent=1.5"#]]
        .assert_eq(&shown(&[], false));
    }

    #[test]
    fn older_tools_find_their_tags_where_that_is_wanted() {
        let all = shown(&[], true);
        assert!(all.ends_with("stopped_at=2026-11-21T10:00:00Z\nreason=instance.idle"), "{all}");
    }

    #[test]
    fn who_forbade_a_restart_is_not_overruled() {
        assert!(!shown(&["CloudSnooze:RestartAllowed"], false).contains("RestartAllowed"));
    }

    fn shown(tags: &[&str], legacy: bool) -> String {
        let now: Timestamp = "2026-11-21T10:00:00.123Z".parse().unwrap();
        let kind = "instance.idle".parse().unwrap();
        let mut event = Event::new(kind, "cloudsnooze.shim", now, "e-1".parse().unwrap());
        event.data = serde_json::from_str(
            r#"{"naptime_minutes":30,"metrics":{"cpu_percent":1.5,"a b":1,"Network":"x","Load":20}}"#,
        )
        .unwrap();
        let tags = tags.iter().map(|key| ((*key).to_owned(), "false".to_owned()));
        let machine = Machine {
            state: "running".to_owned(),
            kind: Some("m7g.large".to_owned()),
            tags: tags.collect(),
        };
        let reason = reason(&event);
        let stop = Stop {
            prefix: "CloudSnooze",
            event: &event,
            reason: &reason,
            machine: Some(&machine),
            legacy,
            now,
        };
        let tags = stop.tags().into_iter().map(|(key, value)| format!("{key}={value}"));
        tags.collect::<Vec<_>>().join("\n")
    }
}
