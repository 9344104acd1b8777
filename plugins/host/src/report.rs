//! What a step did and did not do, in words for its result.

use serde_json::{Value, json};
use snooze_plugin::Handled;

/// The most entries of one list in a result, so that it fits its line.
const MOST: usize = 50;

/// The most characters of one text in a result.
const LONGEST: usize = 300;

/// Things that were not done, each with the reason.
pub(crate) type Missed = Vec<(String, String)>;

/// What was done, and what was not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// What is safe.
    pub(crate) saved: Vec<String>,
    /// What is not, and why.
    pub(crate) not_done: Missed,
}

impl Report {
    pub(crate) fn missed(&mut self, what: impl Into<String>, why: impl ToString) {
        self.not_done.push((what.into(), why.to_string()));
    }

    /// The result: failed when nothing was done, and degraded when something was not.
    pub(crate) fn handled(&self, status: &str) -> Handled {
        let handled = match (self.saved.is_empty(), self.not_done.is_empty()) {
            (true, false) => Handled::failed(self.reasons()).verified(false),
            (false | true, is_whole) => Handled::with_status(status).verified(is_whole),
        };
        let missed = self.not_done.iter().take(MOST);
        let missed: Vec<Value> =
            missed.map(|(what, why)| json!({ "what": short(what), "why": short(why) })).collect();
        handled.and("saved", texts(&self.saved)).and("not_done", missed)
    }

    fn reasons(&self) -> String {
        let reasons =
            self.not_done.iter().take(3).map(|(what, why)| short(&format!("{what}: {why}")));
        reasons.collect::<Vec<_>>().join("; ")
    }
}

/// The result of a step that was only told: nothing was changed.
pub(crate) fn would(acts: &[String]) -> Handled {
    Handled::with_status("dry_run").and("would", texts(acts))
}

/// A list of texts for a result, bounded.
pub(crate) fn texts(all: &[String]) -> Value {
    all.iter().take(MOST).map(|text| short(text)).collect::<Vec<_>>().into()
}

/// A text for a result: one line, bounded.
pub(crate) fn short(text: &str) -> String {
    let mut line: String =
        text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    if text.trim().chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_did_nothing_failed_and_one_that_did_a_part_is_not_verified() {
        let mut report = Report::default();
        report.missed("a", "too late\nby far");
        let handled = report.handled("stopped");
        assert_eq!((handled.handled, handled.verified), (false, Some(false)));
        assert_eq!(handled.error.as_deref(), Some("a: too late by far"));
        report.saved.push("b".to_owned());
        let handled = report.handled("stopped");
        assert_eq!((handled.error.as_ref(), handled.verified), (None, Some(false)));
        assert_eq!(handled.more["not_done"], json!([{ "what": "a", "why": "too late by far" }]));
        report.not_done.clear();
        assert_eq!(report.handled("stopped").verified, Some(true));
    }

    #[test]
    fn a_result_stays_short_whatever_there_is_to_tell() {
        let mut report = Report { saved: vec!["x".repeat(5000); 5000], ..Report::default() };
        (0..5000).for_each(|_| report.missed("y".repeat(5000), "\u{1b}".repeat(5000)));
        assert!(report.handled("stopped").to_value().to_string().len() < 60 * 1024);
    }
}
