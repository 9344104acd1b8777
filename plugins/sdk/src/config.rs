//! Settings out of a configuration, with every fault at once.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::{PluginError, Setting};

/// Reads the configuration of a plugin by its [`Setting`]s, and collects what is wrong with it.
///
/// ```
/// use snooze_plugin::{Config, Setting};
///
/// let settings = [Setting::choice("mode", &["save", "bgsave"], "how").default("bgsave")];
/// let given = serde_json::json!({ "mod": "save" });
/// let config = Config::new(&settings, given.as_object().unwrap());
/// assert_eq!(config.text("mode").as_deref(), Some("bgsave"));
/// assert_eq!(
///     config.finish().unwrap_err().to_string(),
///     "`mod` is no setting of this plugin; did you mean `mode`?"
/// );
/// ```
#[derive(Debug)]
pub struct Config<'a> {
    settings: &'a [Setting],
    given: &'a Map<String, Value>,
    faults: Vec<String>,
}

impl<'a> Config<'a> {
    /// Checks what was given.
    #[must_use]
    pub fn new(settings: &'a [Setting], given: &'a Map<String, Value>) -> Self {
        Self { settings, given, faults: Setting::faults(settings, given) }
    }

    /// A text, or the word of a choice.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        Some(self.value(name)?.as_str()?.to_owned())
    }

    /// An absolute path; one that is not is a fault. `None` where there is neither a value nor a
    /// default, which is a fault only for a setting that is required.
    #[must_use]
    pub fn path(&mut self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.text(name)?);
        if !path.is_absolute() {
            self.fault(name, "expected an absolute path");
        }
        Some(path)
    }

    /// `true` or `false`; `false` where there is neither a value nor a default.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.value(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A whole number.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.value(name)?.as_i64()
    }

    /// A number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<f64> {
        self.value(name)?.as_f64()
    }

    /// A number of seconds.
    #[must_use]
    pub fn seconds(&self, name: &str) -> Option<Duration> {
        Duration::try_from_secs_f64(self.number(name)?).ok()
    }

    /// A list of texts; empty where there is none.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<String> {
        let list = self.value(name).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|text| Some(text.as_str()?.to_owned())).collect()
    }

    /// A map of texts; empty where there is none.
    #[must_use]
    pub fn map(&self, name: &str) -> Vec<(String, String)> {
        let map = self.value(name).and_then(Value::as_object).into_iter().flatten();
        map.filter_map(|(key, text)| Some((key.clone(), text.as_str()?.to_owned()))).collect()
    }

    /// Remembers that a setting cannot be used, and what was expected. Do not show its value: it
    /// may be secret.
    pub fn fault(&mut self, name: &str, expected: impl AsRef<str>) {
        self.faults.push(format!("`{name}`: {}", expected.as_ref()));
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// All faults in one text.
    pub fn finish(self) -> Result<(), PluginError> {
        match self.faults.is_empty() {
            true => Ok(()),
            false => Err(PluginError::new(self.faults.join("; "))),
        }
    }

    /// What was given, if it can be used; the default, if nothing was.
    fn value(&self, name: &str) -> Option<&Value> {
        let setting = self.settings.iter().find(|setting| setting.name == name)?;
        match self.given.get(name).filter(|value| !value.is_null()) {
            Some(value) => Some(value).filter(|value| setting.kind.takes(value)),
            None => setting.default.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_absent_or_null_has_its_default_and_what_is_wrong_has_none() {
        let settings = [
            Setting::text("url", "where").default("x"),
            Setting::number("timeout_seconds", 0.1..=60.0, "how long"),
            Setting::flag("verify", "whether").default(true),
            Setting::integer("retries", 0..=9, "how often").default(3),
            Setting::list("units", "which"),
            Setting::map("headers", "what"),
        ];
        let given = json!({
            "url": null, "timeout_seconds": 2.5, "retries": 10, "units": ["a"],
            "headers": { "b": "c" },
        });
        let mut config = Config::new(&settings, given.as_object().unwrap());
        assert_eq!(config.text("url").as_deref(), Some("x"));
        assert_eq!(config.seconds("timeout_seconds"), Some(Duration::from_millis(2500)));
        assert!(config.flag("verify"));
        assert_eq!(config.integer("retries"), None);
        assert_eq!(config.list("units"), ["a"]);
        assert_eq!(config.map("headers"), [("b".to_owned(), "c".to_owned())]);
        assert_eq!(config.text("never-declared"), None);
        config.fault("url", "expected a URL");
        assert_eq!(
            config.finish().unwrap_err().to_string(),
            "`retries`: expected a whole number from 0 to 9; `url`: expected a URL"
        );
    }
}
