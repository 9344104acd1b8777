//! How an instance stands between busy and idle, as the daemon tells it
//! ([`snooze_policy::idle::Idle::view`]).

use serde_json::{Map, Value};
use snooze_policy::idle::Monitor;

use crate::text::{self, cell, list, seconds};

/// The width of the bar of the naptime, in characters.
const BAR: u64 = 30;

/// What a daemon's status says of idleness; `None` where it does not look.
pub(crate) fn of(status: &Value) -> Option<&Value> {
    status.get("idle").filter(|idle| idle.get("phase").is_some_and(Value::is_string))
}

/// The phase in a few words, with how much of the naptime has passed.
pub(crate) fn phase(idle: &Value) -> String {
    let phase = cell(idle, "phase");
    if idle.get("enabled") == Some(&Value::Bool(false)) {
        return "not looked for: `idle.enabled` is false".to_owned();
    }
    match phase.as_str() {
        "active" => format!("no: {}", cell(idle, "reason")),
        "napping" => format!("napping {}", nap(idle)),
        "warned" => format!("napped {}, its users are warned", nap(idle)),
        _ => format!("{phase} since {}", cell(idle, "since")),
    }
}

/// Each monitor beside its threshold, the votes and what keeps the instance up.
pub(crate) fn table(idle: &Value) -> String {
    let none = Map::new();
    let monitors = idle.get("monitors").and_then(Value::as_object).unwrap_or(&none);
    let head = ["MONITOR", "NOW", "BUSY FROM", "STANDS", "WHY"].map(str::to_owned);
    let rows = Monitor::ALL.into_iter().filter_map(|monitor| {
        let known = monitors.get(monitor.key())?;
        let unit = monitor.unit();
        let number = |name: &str| known.get(name).and_then(Value::as_f64);
        let (now, threshold) = (number("value"), number("threshold"));
        let threshold = threshold.map_or_else(|| "-".to_owned(), figure);
        Some([
            monitor.as_str().to_owned(),
            now.map_or_else(|| "-".to_owned(), |now| format!("{} {unit}", figure(now))),
            match monitor {
                Monitor::Input => format!("under {threshold} {unit}"),
                Monitor::Cpu
                | Monitor::Memory
                | Monitor::Network
                | Monitor::DiskIo
                | Monitor::Gpu
                | Monitor::Load
                | Monitor::Pressure => format!("{threshold} {unit}"),
            },
            cell(known, "standing"),
            cell(known, "why"),
        ])
    });
    let mut out = text::table(&[head].into_iter().chain(rows).collect::<Vec<_>>());
    for vote in list(idle, "votes") {
        let (plugin, says, why) = (cell(vote, "plugin"), cell(vote, "vote"), cell(vote, "reason"));
        out.push_str(&format!("vote of {plugin}: {says}, {why}\n"));
    }
    for hold in list(idle, "holds").iter().filter_map(Value::as_str) {
        out.push_str(&format!("kept up: {}\n", text::word(hold)));
    }
    out
}

/// All of it, with what decided.
pub(crate) fn explained(idle: &Value) -> String {
    let verdict = match cell(idle, "verdict").as_str() {
        "idle" => "all agree that nothing goes on".to_owned(),
        "busy" => "something goes on".to_owned(),
        "unknown" => "it cannot be said, which never leads to a stop".to_owned(),
        _ => "nothing was measured yet".to_owned(),
    };
    let mut out = format!("{verdict}; decided by {}\n", cell(idle, "decided_by"));
    out.push_str(&format!("  {}\n", cell(idle, "reason")));
    out.push_str(&format!("phase: {}\n\n", phase(idle)));
    out.push_str(&text::indented(&table(idle), 2));
    let spans = list(idle, "last_hour");
    if !spans.is_empty() {
        let head = ["FROM", "TO", "VERDICT", "DECIDED BY"].map(str::to_owned);
        let rows = spans.iter().map(|span| {
            [
                text::moment(span, "from"),
                text::moment(span, "to"),
                cell(span, "verdict"),
                cell(span, "decided_by"),
            ]
        });
        let rows: Vec<_> = [head].into_iter().chain(rows).collect();
        out.push_str(&format!("\nthe last hour\n{}", text::indented(&text::table(&rows), 2)));
    }
    out
}

/// How much of the naptime has passed, as a bar and in words.
fn nap(idle: &Value) -> String {
    let count = |name: &str| idle.get(name).and_then(Value::as_u64).unwrap_or_default();
    let (napped, left) = (count("napped_seconds"), count("left_seconds"));
    let all = napped.saturating_add(left).max(1);
    let filled = napped.saturating_mul(BAR).checked_div(all).unwrap_or_default().min(BAR);
    let marks = |mark: char, count: u64| (0..count).map(|_| mark).collect::<String>();
    format!(
        "{}{} {}, {} left",
        marks('█', filled),
        marks('░', BAR - filled),
        seconds(idle, "napped_seconds"),
        seconds(idle, "left_seconds")
    )
}

/// A figure with at most one digit behind the point.
fn figure(value: f64) -> String {
    format!("{}", (value * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::super::sample;
    use super::*;

    #[test]
    fn each_monitor_stands_beside_its_threshold() {
        expect![[r#"
            all agree that nothing goes on; decided by all
              cpu 0.9 % (busy from 10 %), network 3.4 KB/s (busy from 50 KB/s), disk_io 5 KB/s (busy from 100 KB/s), input 2800 s ago (idle from 900 s)
            phase: napping █████████████████████████████░ 29 min 0 s, 1 min 0 s left

              MONITOR  NOW       BUSY FROM    STANDS    WHY
              cpu      0.9 %     10 %         idle      -
              memory   71 %      30 %         not used  -
              network  3.4 KB/s  50 KB/s      idle      -
              disk_io  5 KB/s    100 KB/s     idle      -
              gpu      -         5 %          absent    not there
              input    2800 s    under 900 s  idle      -
        "#]].assert_eq(&explained(&sample()));
    }

    #[test]
    fn votes_and_what_keeps_it_up_are_told() {
        let mut idle = sample();
        idle["phase"] = json!("active");
        idle["verdict"] = json!("busy");
        idle["decided_by"] = json!("plugin redis-monitor");
        idle["reason"] = json!("Plugin redis-monitor: 9 clients\u{1b}");
        idle["votes"] =
            json!([{ "plugin": "redis-monitor", "vote": "busy", "reason": "9 clients" }]);
        idle["holds"] = json!(["the tag `CloudSnooze:KeepAwake` is set"]);
        idle["monitors"] = json!({ "cpu_percent": { "value": null, "threshold": 10.0,
            "unit": "%", "standing": "unknown", "why": "`/proc/stat` cannot be read" } });
        expect![[r#"
            something goes on; decided by plugin redis-monitor
              Plugin redis-monitor: 9 clients\u{1b}
            phase: no: Plugin redis-monitor: 9 clients\u{1b}

              MONITOR  NOW  BUSY FROM  STANDS   WHY
              cpu      -    10 %       unknown  `/proc/stat` cannot be read
              vote of redis-monitor: busy, 9 clients
              kept up: the tag `CloudSnooze:KeepAwake` is set
        "#]]
        .assert_eq(&explained(&idle));
    }

    #[test]
    fn a_daemon_that_does_not_look_is_no_idle_one() {
        for status in [json!({}), json!({ "idle": null }), json!({ "idle": {} })] {
            assert_eq!(of(&status), None);
        }
        assert_eq!(
            phase(&json!({ "phase": "active", "enabled": false })),
            "not looked for: `idle.enabled` is false"
        );
    }
}
