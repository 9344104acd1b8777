//! What happens, told by the clock of the notice.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::timeline::{Row, Timeline};
use crate::incident;
use crate::text::{self, cell, list, milliseconds, seconds};

/// A line of the live report.
pub(super) fn line(seconds: f64, news: &str) -> String {
    format!("  {seconds:>6.3}  {news}\n")
}

/// What was told so far.
#[derive(Debug)]
pub(super) struct Story {
    noticed: Timestamp,
    told: BTreeSet<String>,
}

impl Story {
    /// The notice came.
    pub(super) fn begin(noticed: Timestamp) -> Self {
        Self { noticed, told: BTreeSet::new() }
    }

    /// What an incident shows that was not told: when it happened, in seconds since the notice,
    /// and what.
    pub(super) fn news(&mut self, known: &Value) -> Vec<(f64, String)> {
        let Some(heard) = self.heard(known) else { return Vec::new() };
        let mut news = vec![(heard, "snoozed hears of it and makes its plan".to_owned())];
        for step in list(known, "steps") {
            let (plugin, started) = (cell(step, "plugin"), number(step, "started_after_ms"));
            if let Some(started) = started {
                let start = heard + started / 1000.0;
                let priority = cell(step, "priority");
                news.push((start, format!("{plugin} starts (priority {priority})")));
                if let Some(took) = number(step, "milliseconds") {
                    let (outcome, took_text) =
                        (incident::step_state(step), milliseconds(step, "milliseconds"));
                    let told = format!("{plugin} {outcome} in {took_text}{}", why(step));
                    news.push((start + took / 1000.0, told));
                }
            } else if step.get("outcome").is_some_and(Value::is_string) {
                let told = format!("{plugin} {}{}", incident::step_state(step), why(step));
                news.push((heard, told));
            }
        }
        if let Some(closed) = self.since(known, "closed") {
            let margin = seconds(known, "margin_seconds");
            let told = format!("incident closed: {}, {margin} to spare", cell(known, "outcome"));
            news.push((closed, told));
        }
        news.retain(|(_, told)| self.told.insert(told.clone()));
        news.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        news
    }

    /// The whole of it as bars.
    pub(super) fn timeline(&self, known: &Value) -> Timeline {
        let heard = self.heard(known).unwrap_or_default();
        let rows = list(known, "steps").iter().map(|step| {
            let start = number(step, "started_after_ms");
            Row {
                name: cell(step, "plugin"),
                priority: cell(step, "priority"),
                start: start.map(|after| heard + after / 1000.0),
                took: number(step, "milliseconds").unwrap_or_default() / 1000.0,
                outcome: incident::step_state(step),
            }
        });
        Timeline {
            heard,
            rows: rows.collect(),
            closed: self.since(known, "closed").unwrap_or(heard),
            deadline: heard + number(known, "budget_seconds").unwrap_or_default(),
            outcome: cell(known, "outcome"),
        }
    }

    fn heard(&self, known: &Value) -> Option<f64> {
        self.since(known, "opened")
    }

    /// Seconds from the notice to a moment that a member names.
    fn since(&self, known: &Value, name: &str) -> Option<f64> {
        let moment: Timestamp = known.get(name)?.as_str()?.parse().ok()?;
        Some(moment.duration_since(self.noticed).as_secs_f64().max(0.0))
    }
}

fn number(value: &Value, name: &str) -> Option<f64> {
    value.get(name).and_then(Value::as_f64)
}

fn why(step: &Value) -> String {
    match cell(step, "text") {
        text if text == "-" => String::new(),
        text => format!(": {}", text::cut(&text, 100)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn known(closed: bool) -> Value {
        json!({
            "opened": "2026-03-14T09:00:00.400Z",
            "closed": closed.then_some("2026-03-14T09:00:00.900Z"),
            "outcome": closed.then_some("done"),
            "margin_seconds": closed.then_some(119.0),
            "budget_seconds": 119.5,
            "steps": [
                { "plugin": "a", "priority": 100, "state": "ended", "outcome": "done",
                  "started_after_ms": 5, "milliseconds": 20 },
                { "plugin": "b", "priority": 50, "state": "running", "started_after_ms": 26 },
                { "plugin": "c", "priority": 10, "state": "pending" }
            ]
        })
    }

    fn story() -> Story {
        Story::begin("2026-03-14T09:00:00Z".parse().unwrap())
    }

    #[test]
    fn each_thing_is_told_once_in_its_order() {
        let mut story = story();
        assert_eq!(story.news(&Value::Null), []);
        let lines: String =
            story.news(&known(false)).iter().map(|(seconds, news)| line(*seconds, news)).collect();
        expect_test::expect![[r#"
            news
               0.400  snoozed hears of it and makes its plan
               0.405  a starts (priority 100)
               0.425  a done in 20 ms
               0.426  b starts (priority 50)
        "#]]
        .assert_eq(&format!("news\n{lines}"));
        let last = story.news(&known(true));
        assert_eq!(last, [(0.9, "incident closed: done, 1 min 59 s to spare".to_owned())]);
    }

    #[test]
    fn the_timeline_counts_from_the_notice() {
        let timeline = story().timeline(&known(true));
        assert_eq!((timeline.heard, timeline.closed, timeline.deadline), (0.4, 0.9, 119.9));
        assert!((timeline.rows[1].start.unwrap() - 0.426).abs() < 1e-9);
        assert_eq!(timeline.rows[2].start, None);
    }
}
