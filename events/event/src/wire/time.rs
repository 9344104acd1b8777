//! Moments, as the outside world writes them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::{rfc2822, temporal};
use jiff::tz::TimeZone;

/// Weekdays are redundant, and AWS's own examples carry wrong ones.
static RFC_1123: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new().relaxed_weekday(true);

static WRITER: temporal::DateTimePrinter = temporal::DateTimePrinter::new();

/// The best reading of a text as a moment.
///
/// RFC 3339 with or without a fraction, a zone (without one, UTC) or a leap second; RFC 1123
/// with or without a weekday, as in AWS Health and in the maintenance list. `None` for the rest.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment);
    }
    let has_clock = text.contains(':');
    if let Some(local) = text.parse::<DateTime>().ok().filter(|_| has_clock) {
        return local.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    }
    RFC_1123.parse_timestamp(text).ok()
}

/// A moment in RFC 3339.
pub(super) fn text(moment: Timestamp) -> String {
    WRITER.timestamp_to_string(&moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_that_aws_uses_is_read() {
        for (text, expected) in [
            ("2017-09-18T08:22:00Z", Some("2017-09-18T08:22:00Z")),
            ("2022-06-01T15:10:37.214Z", Some("2022-06-01T15:10:37.214Z")),
            ("2017-09-18T10:22:00+02:00", Some("2017-09-18T08:22:00Z")),
            ("2017-09-18T08:22:00", Some("2017-09-18T08:22:00Z")),
            ("2017-09-18 08:22:00", Some("2017-09-18T08:22:00Z")),
            (" 2017-09-18T08:22:00Z\n", Some("2017-09-18T08:22:00Z")),
            ("2016-12-31T23:59:60Z", Some("2016-12-31T23:59:59Z")),
            ("21 Jan 2019 09:00:43 GMT", Some("2019-01-21T09:00:43Z")),
            ("Sat, 28 Mar 2026 15:10:09 GMT", Some("2026-03-28T15:10:09Z")),
            // The example of the AWS Health guide: that day was a Sunday.
            ("Sat, 05 Jun 2016 15:10:09 GMT", Some("2016-06-05T15:10:09Z")),
            ("2017-09-18", None),
            ("2017-13-40T99:99:99Z", None),
            ("soon", None),
            ("", None),
        ] {
            let read = moment(text).map(|moment| moment.to_string());
            assert_eq!(read.as_deref(), expected, "{text:?}");
        }
    }
}
