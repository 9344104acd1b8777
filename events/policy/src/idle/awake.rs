//! The tag that keeps an instance up, as the instance and the cloud side both read it.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// Why the tag `PREFIX:KeepAwake` keeps an instance up at a moment: it says anything but `false`,
/// or it names a moment, or a day in UTC, that is not over.
#[must_use]
pub fn kept_awake(tags: &BTreeMap<String, String>, prefix: &str, now: Timestamp) -> Option<String> {
    let tag = format!("{prefix}:KeepAwake");
    let value = tags.get(&tag)?.trim();
    match until(value) {
        _ if value.eq_ignore_ascii_case("false") => None,
        Some(until) if until <= now => None,
        Some(until) => Some(format!("its tag `{tag}` keeps it awake until {until:.0}")),
        None => Some(format!("its tag `{tag}` keeps it awake")),
    }
}

fn until(value: &str) -> Option<Timestamp> {
    let of_day = || {
        let next = value.parse::<Date>().ok()?.checked_add(1.day()).ok()?;
        Some(next.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    value.parse().ok().or_else(of_day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_keeps_an_instance_up_until_its_time_is_over_and_where_it_cannot_be_read() {
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let kept = |value: &str| {
            let tags = [("CloudSnooze:KeepAwake".to_owned(), value.to_owned())].into();
            assert_eq!(kept_awake(&tags, "Other", now), None);
            kept_awake(&tags, "CloudSnooze", now).is_some()
        };
        let up = [
            "true",
            "TRUE",
            "",
            "yes",
            "no",
            "tomorrow",
            "2026-11-21",
            "2026-11-21T10:00:01Z",
            "2026-11-21T12:00:01+02:00",
        ];
        let down =
            ["false", " False ", "2026-11-20", "2026-11-21T10:00:00Z", "2026-11-21T12:00:00+02:00"];
        assert_eq!(up.map(kept), [true; 9]);
        assert_eq!(down.map(kept), [false; 5]);
    }
}
