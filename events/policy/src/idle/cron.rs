//! The minutes that a cron expression names: crontab(5) as a mask, without a next time to look for.

use jiff::Timestamp;
use jiff::tz::TimeZone;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// What one field of an expression may say.
struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    words: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, words: &[] },
    Field { name: "hour", least: 0, most: 23, words: &[] },
    Field { name: "day of the month", least: 1, most: 31, words: &[] },
    Field { name: "month", least: 1, most: 12, words: &MONTHS },
    // Sunday is 0 and 7.
    Field { name: "day of the week", least: 0, most: 7, words: &WEEKDAYS },
];

/// Minutes by the clock of a time zone. Each field is a mask, a bit for each value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Minutes {
    fields: [u64; 5],
    /// Both days have to fit, since one of them begins with `*`; otherwise one is enough
    /// (crontab(5)).
    both_days: bool,
    zone: TimeZone,
}

impl Minutes {
    /// Reads five fields, and the name of a time zone where a sixth follows.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split_ascii_whitespace().collect();
        let (fields, zone) = match parts.as_slice() {
            [fields @ .., zone] if fields.len() == FIELDS.len() => (fields, *zone),
            fields => (fields, "UTC"),
        };
        if fields.len() != FIELDS.len() {
            return Err(
                "expected the five fields of cron, and a time zone where it is not UTC".to_owned()
            );
        }
        let zone = match zone {
            "UTC" => TimeZone::UTC,
            zone => TimeZone::get(zone).map_err(|_unknown| {
                "no time zone of this machine: expected a name such as `Europe/Berlin`".to_owned()
            })?,
        };
        let mut masks = [0; 5];
        for ((mask, text), field) in masks.iter_mut().zip(fields).zip(&FIELDS) {
            *mask = field.mask(text)?;
        }
        let [_, _, _, _, weekdays] = &mut masks;
        *weekdays |= *weekdays >> 7;
        let is_star = |text: Option<&&str>| text.is_some_and(|text| text.starts_with('*'));
        let both_days = is_star(fields.get(2)) || is_star(fields.get(4));
        Ok(Self { fields: masks, both_days, zone })
    }

    /// Whether they name the minute of a moment.
    pub(super) fn name(&self, at: Timestamp) -> bool {
        let at = at.to_zoned(self.zone.clone());
        let [minute, hour, day, month, weekday] = self.fields;
        let has = |mask: u64, value: i8| mask >> value.clamp(0, 63) & 1 == 1;
        let (day, weekday) =
            (has(day, at.day()), has(weekday, at.weekday().to_sunday_zero_offset()));
        let is_day = if self.both_days { day && weekday } else { day || weekday };
        is_day && has(month, at.month()) && has(hour, at.hour()) && has(minute, at.minute())
    }
}

impl Field {
    fn mask(&self, text: &str) -> Result<u64, String> {
        let wrong = || {
            let Self { name, least, most, .. } = self;
            let text = text.chars().take(32).collect::<String>().escape_debug().to_string();
            format!("`{text}` is no {name}: expected {least}-{most}, `*`, lists, ranges, steps")
        };
        text.split(',').try_fold(0, |mask, part| {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0)),
                None => (part, Some(1_usize)),
            };
            let (first, last) = match range.split_once('-') {
                None if range == "*" => (self.least, self.most),
                None => {
                    let value = self.value(range).ok_or_else(wrong)?;
                    // `5/10` is no range: crontab(5) has steps of ranges only.
                    (value, if part == range { value } else { return Err(wrong()) })
                }
                Some((first, last)) => {
                    let value = |text| self.value(text).ok_or_else(wrong);
                    (value(first)?, value(last)?)
                }
            };
            if first > last {
                return Err(wrong());
            }
            let values = (first..=last).step_by(step.ok_or_else(wrong)?);
            Ok(values.fold(mask, |mask, value| mask | 1 << value))
        })
    }

    fn value(&self, text: &str) -> Option<u8> {
        let word = self.words.iter().position(|word| word.eq_ignore_ascii_case(text));
        let value = match word {
            Some(index) => u8::try_from(index).ok()? + self.least,
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
            None => return None,
        };
        (self.least..=self.most).contains(&value).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(text: &str, at: &str) -> bool {
        Minutes::parse(text).unwrap().name(at.parse().unwrap())
    }

    #[test]
    fn lists_ranges_steps_and_words_name_minutes() {
        let saturday = "2026-11-21T10:20:59Z";
        let fit = [
            "* * * * *",
            "20 10 21 11 6",
            "*/20 * * * *",
            "0-30/10 9-17 * * *",
            "1,2,20 10 * nov sat",
            "* * * * mon-sat",
            "* * 21 * mon",
            "* * 1 * sat",
            "* * * * 6,7",
        ];
        for text in fit {
            assert!(names(text, saturday), "{text}");
        }
        let others = [
            "21 * * * *",
            "* 9 * * *",
            "*/7 * * * *",
            "* * * * mon-fri",
            "* * 1 * mon",
            "* * */2 * mon",
            "* * * dec *",
        ];
        for text in others {
            assert!(!names(text, saturday), "{text}");
        }
        assert!(
            names("* * * * 7", "2026-11-22T00:00:00Z")
                && names("* * * * 0", "2026-11-22T00:00:00Z")
        );
    }

    #[test]
    fn minutes_are_those_of_their_time_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let minutes = Minutes { zone, ..Minutes::parse("* 8 * * fri").unwrap() };
        let at = |time: &str| minutes.name(format!("2026-11-{time}Z").parse().unwrap());
        assert_eq!(
            ["20T05:59:59", "20T06:00:00", "20T06:59:59", "20T07:00:00"].map(at),
            [false, true, true, false]
        );
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        let wrong = [
            "",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "*/0 * * * *",
            "5-1 * * * *",
            "5/10 * * * *",
            "1,,2 * * * *",
            "x * * * *",
            "+1 * * * *",
            "* * * * * Europe/Nowhere",
            "* * * * * UTC more",
            "-1 * * * *",
            "*/x * * * *",
        ];
        for text in wrong {
            assert!(Minutes::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-*/,0-9a-z ]{0,40}|\\PC{0,40}") {
            let _ = Minutes::parse(&text);
        }
    }
}
