//! Spans of time as people write them, and moments as they read them.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::text;

/// The longest span that is taken: a year.
const LONGEST: u64 = 366 * 24 * 3600;

/// A span of time, such as `90s`, `30m`, `24h` or `7d`.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    let found = units.iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*seconds)
    });
    match found.filter(|seconds| (1..=LONGEST).contains(seconds)) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err(NOT_A_SPAN.to_owned()),
    }
}

const NOT_A_SPAN: &str =
    "expected a number with a unit, such as `90s`, `30m`, `24h` or `7d`, of a year at most";

/// A moment, or how long ago it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// So long ago.
    Span(Duration),
    /// At this moment.
    Moment(Timestamp),
}

impl Since {
    /// The moment, as it is seen now.
    pub(crate) fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Span(span) => before(now, span),
            Self::Moment(moment) => moment,
        }
    }
}

/// A span of time as [`span`] takes it, a day such as `2026-11-01` (UTC), or a moment.
pub(crate) fn since(text: &str) -> Result<Since, String> {
    let day = text.parse::<Date>().ok().and_then(|day| day.to_zoned(TimeZone::UTC).ok());
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(Since::Moment(moment));
    }
    match day {
        Some(day) => Ok(Since::Moment(day.timestamp())),
        None => span(text)
            .map(Since::Span)
            .map_err(|expected| format!("{expected}; or a day such as `2026-11-01`")),
    }
}

/// The moment that long before another.
pub(crate) fn before(now: Timestamp, span: Duration) -> Timestamp {
    now.checked_sub(span).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// How long ago a moment is, or that it was never.
pub(crate) fn ago(moment: Option<Timestamp>, now: Timestamp) -> String {
    let Some(moment) = moment else { return "never".to_owned() };
    match Duration::try_from(now.duration_since(moment)) {
        Ok(age) if age.as_secs() == 0 => "now".to_owned(),
        Ok(age) => format!("{} ago", text::took(Duration::from_secs(age.as_secs()))),
        // Clocks differ a little.
        Err(_ahead) => "now".to_owned(),
    }
}

/// What was left at the end, or how much it was late.
pub(crate) fn margin(margin: SignedDuration) -> String {
    let took = text::took(margin.unsigned_abs());
    if margin.is_negative() { format!("{took} too late") } else { format!("{took} to spare") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_span_a_day_or_a_moment() {
        let day: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("7d", Since::Span(Duration::from_secs(7 * 86_400))),
            ("2026-11-01", Since::Moment(day)),
            ("2026-11-01T01:00:00+01:00", Since::Moment(day)),
        ] {
            assert_eq!(since(text), Ok(expected), "{text}");
        }
        for text in ["", "7", "yesterday", "2026-13-01"] {
            assert!(since(text).unwrap_err().contains("2026-11-01"), "{text}");
        }
    }

    #[test]
    fn spans_have_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "7", "d", "-1h", "0s", "1.5h", "400d", "99999999999999999999d", "1 h"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn moments_are_told_by_their_age() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let told = ["2026-11-21T09:59:18.4Z", "2026-11-20T08:00:00Z", "2026-11-21T10:00:03Z"]
            .map(|moment| ago(Some(moment.parse().unwrap()), now));
        assert_eq!(told, ["41.0 s ago", "1 d 2 h ago", "now"]);
        assert_eq!(ago(None, now), "never");
    }

    #[test]
    fn a_margin_may_be_missed() {
        let told = [SignedDuration::from_secs(118), SignedDuration::from_millis(-1500)].map(margin);
        assert_eq!(told, ["1 min 58 s to spare", "1.5 s too late"]);
    }
}
