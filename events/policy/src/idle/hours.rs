//! Hours in which an instance stays up, and hours in which alone it may be stopped.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cron::Minutes;
use crate::Fault;
use crate::strict::{Fields, Unknown};

/// What an hour means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The instance stays up in it.
    Awake,
    /// It may be stopped in it, and in no minute that no other such entry names.
    MayStop,
}

/// The minutes that one cron expression names.
#[derive(Debug, Clone)]
pub struct Hours {
    meaning: Meaning,
    text: String,
    minutes: Minutes,
}

impl PartialEq for Hours {
    fn eq(&self, other: &Self) -> bool {
        (self.meaning, &self.text) == (other.meaning, &other.text)
    }
}

impl Hours {
    /// Reads one entry of `idle.hours`. The five fields of cron (crontab(5)) name minutes, and a
    /// sixth the time zone, UTC where it is missing: `* 8-17 * * mon-fri Europe/Berlin` is every
    /// minute from 08:00 to 17:59 on working days there. The rules of the zone are those of the
    /// machine's own database.
    pub(super) fn read(path: &str, value: &Value, faults: &mut Vec<Fault>) -> Option<Self> {
        let fields = Fields::of(path, value, faults)?;
        fields.expect(&["awake", "may_stop"], Unknown::Refuse, faults);
        let (key, meaning) = match (fields.get("awake"), fields.get("may_stop")) {
            (Some(_), None) => ("awake", Meaning::Awake),
            (None, Some(_)) => ("may_stop", Meaning::MayStop),
            (Some(_), Some(_)) | (None, None) => {
                let text =
                    "expected one of the keys `awake` and `may_stop`, with a cron expression";
                faults.push(Fault::new(path, text));
                return None;
            }
        };
        let text = fields.text(key, faults)?.to_owned();
        match Minutes::parse(&text) {
            Ok(minutes) => Some(Self { meaning, text, minutes }),
            Err(error) => {
                faults.push(fields.fault(key, &error));
                None
            }
        }
    }

    fn covers(&self, at: Timestamp) -> bool {
        self.minutes.name(at)
    }

    /// As it stands in the settings.
    pub(super) fn shown(&self) -> Value {
        match self.meaning {
            Meaning::Awake => json!({ "awake": self.text }),
            Meaning::MayStop => json!({ "may_stop": self.text }),
        }
    }
}

/// Why the instance stays up at this moment; `None`: these hours do not ask for it.
pub(super) fn hold(hours: &[Hours], at: Timestamp) -> Option<String> {
    let awake = hours.iter().find(|hours| hours.meaning == Meaning::Awake && hours.covers(at));
    if let Some(Hours { text, .. }) = awake {
        return Some(format!("the hours `{text}` keep it up"));
    }
    let mut may_stop = hours.iter().filter(|hours| hours.meaning == Meaning::MayStop).peekable();
    may_stop.peek()?;
    if may_stop.any(|hours| hours.covers(at)) {
        return None;
    }
    Some("none of the hours in which it may be stopped".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(entries: &[Value], at: &str) -> Option<String> {
        let mut faults = Vec::new();
        let hours: Vec<_> =
            entries.iter().filter_map(|entry| Hours::read("$", entry, &mut faults)).collect();
        assert_eq!(faults, []);
        hold(&hours, at.parse().unwrap())
    }

    #[test]
    fn working_hours_keep_an_instance_up() {
        let hours = [json!({ "awake": "* 8-17 * * mon-fri" })];
        let friday = |time: &str| held(&hours, &format!("2026-11-20T{time}Z")).is_some();
        assert_eq!(
            ["07:59:59", "08:00:00", "17:59:59", "18:00:00"].map(friday),
            [false, true, true, false]
        );
        assert_eq!(held(&hours, "2026-11-21T10:00:00Z"), None, "a Saturday");
    }

    #[test]
    fn where_hours_of_stopping_are_named_no_other_hour_is_one() {
        let hours = [json!({ "may_stop": "* 22,23 * * *" }), json!({ "may_stop": "* 0-5 * * *" })];
        let at = |time: &str| held(&hours, &format!("2026-11-20T{time}:30Z")).is_some();
        assert_eq!(["21:59", "22:00", "05:59", "06:00"].map(at), [true, false, false, true]);
        assert_eq!(held(&[], "2026-11-20T12:00:00Z"), None);
    }

    #[test]
    fn what_is_wrong_with_hours_is_said() {
        let faults = |value: Value| {
            let mut faults = Vec::new();
            assert_eq!(Hours::read("$.idle.hours[0]", &value, &mut faults), None);
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let texts = [
            faults(json!({ "awake": "* 8-17 * *" })),
            faults(json!({ "awake": "* 25 * * *" })),
            faults(json!({ "awake": "* * * * * Europe/Nowhere" })),
            faults(json!({ "awake": "* * * * *", "may_stop": "* * * * *" })),
            faults(json!({})),
        ];
        expect_test::expect![[r#"
            $.idle.hours[0].awake: expected the five fields of cron, and a time zone where it is not UTC
            $.idle.hours[0].awake: `25` is no hour: expected 0-23, `*`, lists, ranges, steps
            $.idle.hours[0].awake: no time zone of this machine: expected a name such as `Europe/Berlin`
            $.idle.hours[0]: expected one of the keys `awake` and `may_stop`, with a cron expression
            $.idle.hours[0]: expected one of the keys `awake` and `may_stop`, with a cron expression"#]].assert_eq(&texts.join("\n"));
    }
}
