//! The unit of the daemon, as `systemctl show` prints it.

use std::collections::BTreeMap;
use std::time::Duration;

/// The properties that are asked for.
pub(super) const PROPERTIES: &str = "LoadState,UnitFileState,ActiveState,Type,Restart,\
    RestartUSec,WatchdogUSec,StartLimitIntervalUSec,TimeoutStopUSec";

/// The unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    /// There is a unit file.
    pub(crate) is_there: bool,
    /// It is started at boot.
    pub(crate) is_enabled: bool,
    /// It runs.
    pub(crate) is_active: bool,
    /// systemd waits until the daemon says that it is ready.
    pub(crate) is_notify: bool,
    /// It is started again whenever it ends.
    pub(crate) is_restarted: bool,
    /// How long after its end.
    pub(crate) restart_after: Option<Duration>,
    /// How long it may be silent; `None` for ever.
    pub(crate) watchdog: Option<Duration>,
    /// It may be started as often as it ends.
    pub(crate) is_unlimited: bool,
    /// How long it has to stop; `None` for ever.
    pub(crate) stop: Option<Duration>,
}

impl Unit {
    /// Reads lines `NAME=VALUE`.
    pub(super) fn read(text: &str) -> Self {
        let lines: BTreeMap<&str, &str> =
            text.lines().filter_map(|line| line.split_once('=')).collect();
        let is = |name: &str, value: &str| lines.get(name).is_some_and(|found| *found == value);
        let span = |name: &str| lines.get(name).and_then(|text| span(text));
        Self {
            is_there: is("LoadState", "loaded"),
            is_enabled: is("UnitFileState", "enabled"),
            is_active: is("ActiveState", "active"),
            is_notify: is("Type", "notify") || is("Type", "notify-reload"),
            is_restarted: is("Restart", "always"),
            restart_after: span("RestartUSec"),
            watchdog: span("WatchdogUSec").filter(|span| !span.is_zero()),
            is_unlimited: span("StartLimitIntervalUSec").is_some_and(|span| span.is_zero()),
            stop: span("TimeoutStopUSec"),
        }
    }
}

/// A time span as systemd prints it (systemd.time(7)): `1min 30s`, `200ms`, `0`, `infinity`.
fn span(text: &str) -> Option<Duration> {
    let mut whole = Duration::ZERO;
    for part in text.split_whitespace() {
        let end = part.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(part.len());
        let (number, unit) = part.split_at_checked(end)?;
        let seconds = match unit {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            "" if number == "0" => 0.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        whole = whole.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_read_as_systemd_shows_it() {
        let text = "Type=notify\nRestart=always\nRestartUSec=200ms\nWatchdogUSec=10s\n\
                    LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\
                    StartLimitIntervalUSec=0\nTimeoutStopUSec=1min 30s\n";
        let unit = Unit::read(text);
        let whole = Unit {
            is_there: true,
            is_enabled: true,
            is_active: true,
            is_notify: true,
            is_restarted: true,
            restart_after: Some(Duration::from_millis(200)),
            watchdog: Some(Duration::from_secs(10)),
            is_unlimited: true,
            stop: Some(Duration::from_secs(90)),
        };
        assert_eq!(unit, whole);
        let missing = "Restart=no\nLoadState=not-found\nActiveState=inactive\nWatchdogUSec=0\n\
                       StartLimitIntervalUSec=10s\nRestartUSec=infinity\nTimeoutStopUSec=infinity\n";
        assert_eq!(Unit::read(missing), Unit::default());
    }

    #[test]
    fn spans_are_read_as_systemd_prints_them() {
        for (text, millis) in [
            ("1min 30s", Some(90_000)),
            ("200ms", Some(200)),
            ("1.5s", Some(1_500)),
            ("0", Some(0)),
            ("1d 2h", Some(93_600_000)),
            ("infinity", None),
            ("1", None),
        ] {
            assert_eq!(span(text), millis.map(Duration::from_millis), "{text}");
        }
    }
}
