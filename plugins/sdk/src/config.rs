//! Settings out of a configuration, with every fault at once.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::PluginError;

/// Reads the settings of a plugin by name, and collects what is wrong with them.
///
/// ```
/// use snooze_plugin::Config;
///
/// let given = serde_json::json!({ "mod": "save" });
/// let mut config = Config::new(given.as_object().unwrap());
/// let mode = config.text("mode").unwrap_or_else(|| "bgsave".to_owned());
/// assert_eq!(
///     config.finish().unwrap_err().to_string(),
///     "`mod` is no setting of this plugin; did you mean `mode`?"
/// );
/// ```
#[derive(Debug)]
pub struct Config<'a> {
    given: &'a Map<String, Value>,
    known: Vec<&'a str>,
    faults: Vec<String>,
}

impl<'a> Config<'a> {
    /// Starts to read what was given.
    #[must_use]
    pub fn new(given: &'a Map<String, Value>) -> Self {
        Self { given, known: Vec::new(), faults: Vec::new() }
    }

    /// A text that is not empty.
    pub fn text(&mut self, name: &'a str) -> Option<String> {
        match self.value(name)?.as_str() {
            Some(text) if !text.is_empty() => Some(text.to_owned()),
            _ => self.fault(name, "expected a text that is not empty"),
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &'a str) -> Option<bool> {
        let value = self.value(name)?;
        value.as_bool().or_else(|| self.fault(name, "expected `true` or `false`"))
    }

    /// A number of seconds, whole or broken, within bounds.
    pub fn seconds(&mut self, name: &'a str, bounds: RangeInclusive<f64>) -> Option<Duration> {
        match self.value(name)?.as_f64() {
            Some(seconds) if bounds.contains(&seconds) => Duration::try_from_secs_f64(seconds).ok(),
            _ => {
                let (least, most) = bounds.into_inner();
                self.fault(name, format!("expected a number of seconds from {least} to {most}"))
            }
        }
    }

    /// A map of texts.
    pub fn texts(&mut self, name: &'a str) -> Option<Vec<(String, String)>> {
        let map = self.value(name)?.as_object();
        let texts = map.and_then(|map| {
            map.iter().map(|(key, text)| Some((key.clone(), text.as_str()?.to_owned()))).collect()
        });
        texts.or_else(|| self.fault(name, "expected an object whose values are texts"))
    }

    /// Remembers that a setting cannot be used, and why. Do not show its value: it may be secret.
    pub fn fault<T>(&mut self, name: &str, expected: impl AsRef<str>) -> Option<T> {
        self.faults.push(format!("`{name}`: {}", expected.as_ref()));
        None
    }

    /// Ends the reading. Names that were not asked for are faults.
    ///
    /// # Errors
    /// All faults in one text.
    pub fn finish(mut self) -> Result<(), PluginError> {
        for name in self.given.keys().filter(|name| !self.known.contains(&name.as_str())) {
            let nearest = self.known.iter().min_by_key(|known| distance(name, known));
            self.faults.push(match nearest {
                Some(nearest) if distance(name, nearest) <= 1 + nearest.len() / 3 => {
                    format!("`{name}` is no setting of this plugin; did you mean `{nearest}`?")
                }
                _ => format!("`{name}` is no setting of this plugin"),
            });
        }
        match self.faults.is_empty() {
            true => Ok(()),
            false => Err(PluginError::new(self.faults.join("; "))),
        }
    }

    fn value(&mut self, name: &'a str) -> Option<&'a Value> {
        self.known.push(name);
        self.given.get(name).filter(|value| !value.is_null())
    }
}

/// How many letters must be put in, taken out or changed to make one word of the other.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, a) in left.bytes().enumerate() {
        let mut next = vec![above + 1];
        for ((b, diagonal), up) in right.bytes().zip(&row).zip(row.iter().skip(1)) {
            let beside = next.last().copied().unwrap_or(0);
            next.push((diagonal + usize::from(a != b)).min(beside + 1).min(up + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    // S1-04
    #[test]
    fn every_fault_of_a_configuration_is_told_at_once() {
        let given = json!({ "url": "", "timeout_seconds": -1, "verify": "yes", "headers": [1], "x": 1, "ur": 2 });
        let mut config = Config::new(given.as_object().unwrap());
        config.text("url");
        config.seconds("timeout_seconds", 0.1..=60.0);
        config.flag("verify");
        config.texts("headers");
        expect![[r#"
            `url`: expected a text that is not empty
            `timeout_seconds`: expected a number of seconds from 0.1 to 60
            `verify`: expected `true` or `false`
            `headers`: expected an object whose values are texts
            `ur` is no setting of this plugin; did you mean `url`?
            `x` is no setting of this plugin
        "#]]
        .assert_eq(&(config.finish().unwrap_err().to_string().replace("; `", "\n`") + "\n"));
    }

    #[test]
    fn what_is_absent_or_null_is_left_to_the_default() {
        let given = json!({ "url": null, "timeout_seconds": 2.5 });
        let mut config = Config::new(given.as_object().unwrap());
        assert_eq!(config.text("url"), None);
        let read = config.seconds("timeout_seconds", 0.1..=60.0);
        assert_eq!(read, Some(Duration::from_millis(2500)));
        assert_eq!(config.finish(), Ok(()));
    }
}
