//! Whether an instance may be stopped: what its tags say, and what it last told. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use snooze_cloud::instances::Instance;
use snooze_event::Event;
use snooze_policy::idle::kept_awake;
use snooze_policy::ledger::idle_since;

/// An idle instance says so every five minutes; of one that missed two of them nothing is known.
const FRESH: Duration = Duration::from_secs(600);
/// Who keeps a report and who acts on it hear it at the same time. After this time it is not to
/// be expected any more.
const KEPT: Duration = Duration::from_secs(120);
/// How long to wait at least before looking again whether it is kept.
pub(super) const RECORDED: Duration = Duration::from_secs(2);
/// The tables keep milliseconds.
const PRECISION: Duration = Duration::from_millis(1);

/// Whether the idleness that an event told of goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Idleness {
    /// It does.
    Lasts,
    /// What the event told is not in the table yet.
    NotKept,
    /// It does not, or nobody knows.
    Over(String),
}

/// Whether the idleness that an event told of goes on: the same spell, the same boot, and a word
/// of it a moment ago.
pub(super) fn idleness(event: &Event, known: Option<&Instance>, now: Timestamp) -> Idleness {
    let over = |why: &str| Idleness::Over(why.to_owned());
    let elapsed = |moment: Timestamp| Duration::try_from(now.duration_since(moment));
    let ago = |moment: Timestamp| elapsed(moment).unwrap_or_default();
    let Some(boot) = event.data.get("boot_id").and_then(Value::as_str) else {
        return over("its report does not say in which boot it is idle");
    };
    let told = known.and_then(|known| known.idle_told);
    let is_kept = |told: &Timestamp| told.duration_since(event.time) >= -to_signed(PRECISION);
    let (Some(known), Some(told)) = (known, told.filter(is_kept)) else {
        return match ago(event.time) < KEPT {
            true => Idleness::NotKept,
            false => over("its report was not written down"),
        };
    };
    let is_other = |other: &Option<String>| other.as_deref().is_some_and(|other| other != boot);
    if is_other(&known.idle_boot) || is_other(&known.boot) {
        return over("it was started anew meanwhile");
    }
    let Some(since) = known.idle_since else {
        return Idleness::Over(format!("it is active again since {told:.0}"));
    };
    if since > idle_since(event) {
        return over("it was active meanwhile");
    }
    if ago(told) > FRESH {
        let minutes = ago(told).as_secs() / 60;
        return Idleness::Over(format!("nothing was heard of it for {minutes} minutes"));
    }
    Idleness::Lasts
}

fn to_signed(duration: Duration) -> jiff::SignedDuration {
    duration.try_into().unwrap_or_default()
}

/// Why an instance is not to be stopped, whatever policies say.
pub(super) fn protection(
    tags: &BTreeMap<String, String>,
    prefix: &str,
    now: Timestamp,
) -> Option<String> {
    let protected = format!("{prefix}:Protected");
    if tags.get(&protected).is_some_and(|value| !says(value, "false")) {
        return Some(format!("it is protected by its tag `{protected}`"));
    }
    kept_awake(tags, prefix, now)
}

/// Whether its tags say that we stopped it.
pub(in super::super) fn is_stopped(tags: &BTreeMap<String, String>, prefix: &str) -> bool {
    tags.get(&format!("{prefix}:Status")).is_some_and(|value| says(value, "stopped"))
}

/// Whether a tag says no.
pub(in super::super) fn is_false(tags: &BTreeMap<String, String>, key: &str) -> bool {
    tags.get(key).is_some_and(|value| says(value, "false"))
}

fn says(value: &str, word: &str) -> bool {
    value.trim().eq_ignore_ascii_case(word)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use snooze_event::EventType;

    use super::*;

    #[test]
    fn only_who_is_idle_still_in_the_same_boot_and_was_heard_of_is_stopped() {
        let check = |change: fn(&mut Instance), expected: &str| {
            let mut known = known();
            change(&mut known);
            let found = match idleness(&event(), Some(&known), at(900)) {
                Idleness::Lasts => "lasts".to_owned(),
                Idleness::NotKept => "not kept".to_owned(),
                Idleness::Over(why) => why,
            };
            assert_eq!(found, expected);
        };
        check(|_| {}, "lasts");
        check(|known| known.idle_told = Some(at(300)), "lasts");
        check(|known| known.idle_told = Some(at(299)), "nothing was heard of it for 10 minutes");
        check(|known| known.idle_since = None, "it is active again since 2026-11-21T10:13:20Z");
        check(|known| known.idle_since = Some(at(1)), "it was active meanwhile");
        check(|known| known.idle_since = Some(at(-1)), "lasts");
        check(|known| known.boot = Some("b2".to_owned()), "it was started anew meanwhile");
        check(|known| known.idle_boot = Some("b2".to_owned()), "it was started anew meanwhile");
        check(|known| known.boot = None, "lasts");
        check(|known| known.idle_told = Some(at(-1)), "its report was not written down");
        check(|known| known.idle_told = None, "its report was not written down");
    }

    #[test]
    fn a_report_that_is_not_written_down_yet_is_waited_for() {
        let told = Instance { idle_told: Some(at(-300)), ..known() };
        assert_eq!(idleness(&event(), Some(&told), at(1)), Idleness::NotKept);
        assert_eq!(idleness(&event(), None, at(119)), Idleness::NotKept);
        assert!(matches!(idleness(&event(), None, at(120)), Idleness::Over(_)));
        // The table knows fractions of a second less well than the event.
        let mut event = event();
        event.time = at(0) + jiff::SignedDuration::from_nanos(999_999);
        let told = Instance { idle_told: Some(at(0)), ..known() };
        assert_eq!(idleness(&event, Some(&told), at(1)), Idleness::Lasts);
        event.data.remove("boot_id");
        assert!(matches!(idleness(&event, Some(&told), at(1)), Idleness::Over(_)));
    }

    #[test]
    fn tags_protect_and_what_cannot_be_read_protects_too() {
        let now = at(0);
        let protected = |key: &str, value: &str| {
            let tags = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            protection(&tags, "CloudSnooze", now).is_some()
        };
        for (value, expected) in [
            ("true", true),
            ("TRUE", true),
            ("", true),
            ("false", false),
            (" False ", false),
            ("yes", true),
        ] {
            assert_eq!(protected("CloudSnooze:Protected", value), expected, "{value:?}");
            assert_eq!(protected("CloudSnooze:KeepAwake", value), expected, "{value:?}");
            assert!(!protected("Protected", value) && !protected("Other:Protected", value));
        }
    }

    fn event() -> Event {
        let mut event =
            Event::new(EventType::InstanceIdle, "cloudsnooze.shim", at(0), "e-1".parse().unwrap());
        let data = json!({ "since": at(0).to_string(), "boot_id": "b1" });
        event.data = data.as_object().cloned().unwrap();
        event
    }

    fn known() -> Instance {
        Instance {
            boot: Some("b1".to_owned()),
            idle_boot: Some("b1".to_owned()),
            idle_since: Some(at(0)),
            idle_told: Some(at(800)),
            ..Instance::default()
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_795_255_200 + seconds).unwrap()
    }
}
