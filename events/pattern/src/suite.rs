//! Files of patterns, events and the answers that are right.
//!
//! ```
//! let suite = snooze_pattern::suite::Suite::read(
//!     r#"{ "cases": [
//!         { "name": "a list", "pattern": "{\"a\": [1]}", "valid": true,
//!           "events": [{ "event": "{\"a\": [1, 2]}", "match": true }] },
//!         { "name": "no array", "pattern": "{\"a\": 1}", "valid": false }
//!     ] }"#,
//! )?;
//! let report = suite.run();
//! assert_eq!((report.passed, report.failed), (2, 0));
//! # Ok::<(), snooze_pattern::suite::SuiteError>(())
//! ```

use serde::Deserialize;

use crate::Pattern;

/// Cases to run.
#[derive(Debug, Deserialize)]
pub struct Suite {
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    /// JSON text, so that spellings and keys written twice survive.
    pattern: String,
    valid: bool,
    #[serde(default)]
    events: Vec<Answer>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    event: String,
    r#match: bool,
}

/// A text is not a suite.
#[derive(Debug, thiserror::Error)]
#[error("suite is not a JSON object with `cases`, each with `name`, `pattern`, `valid`, `events`")]
pub struct SuiteError(#[source] serde_json::Error);

/// What came of the cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Cases that gave all the right answers.
    pub passed: usize,
    /// Cases that gave a wrong one.
    pub failed: usize,
    /// Each wrong answer, for people.
    pub disagreements: Vec<String>,
}

impl Suite {
    /// Reads a suite from its JSON text. Members that are not known are left aside.
    ///
    /// # Errors
    /// The text is not JSON or not of the form.
    pub fn read(text: &str) -> Result<Suite, SuiteError> {
        serde_json::from_str(text).map_err(SuiteError)
    }

    /// Runs every case. A case passes when the pattern is valid as said and each event matches as said.
    #[must_use]
    pub fn run(&self) -> Report {
        let mut report = Report { passed: 0, failed: 0, disagreements: Vec::new() };
        for case in &self.cases {
            let mut disagreements = case.run();
            if disagreements.is_empty() {
                report.passed += 1;
            } else {
                report.failed += 1;
            }
            report.disagreements.append(&mut disagreements);
        }
        report
    }
}

impl Case {
    fn run(&self) -> Vec<String> {
        let name = &self.name;
        match (Pattern::compile(&self.pattern), self.valid) {
            (Err(_), false) => Vec::new(),
            (Ok(_), false) => vec![format!("{name}: `{}` compiles", self.pattern)],
            (Err(fault), true) => vec![format!("{name}: `{}`: {fault}", self.pattern)],
            (Ok(pattern), true) => {
                let wrong = self.events.iter().filter_map(|answer| answer.disagreement(&pattern));
                wrong.map(|wrong| format!("{name}: `{}` {wrong}", self.pattern)).collect()
            }
        }
    }
}

impl Answer {
    fn disagreement(&self, pattern: &Pattern) -> Option<String> {
        let verb = match pattern.matches_text(&self.event) {
            Ok(matched) if matched == self.r#match => return None,
            Ok(true) => "matches",
            Ok(false) => "does not match",
            Err(fault) => return Some(format!("was given what is no event: {fault}")),
        };
        Some(format!("{verb} `{}`", self.event))
    }
}
