//! The environment of a function, checked: read once in `main`, all faults at once.
//!
//! Each function reads only the variables that it uses:
//!
//! ```
//! use std::collections::BTreeMap;
//! use snooze_functions::settings::{self, Variables};
//!
//! struct Settings { stack: String, incidents: String }
//!
//! fn settings(from: &mut Variables<'_>) -> Settings {
//!     Settings { stack: from.text("STACK"), incidents: from.text("INCIDENTS_TABLE") }
//! }
//!
//! let faults = settings::read(&BTreeMap::new(), settings).err().unwrap();
//! assert_eq!(faults.to_string(), "`STACK` is not set; `INCIDENTS_TABLE` is not set");
//! ```

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use snooze_event::Home;

/// The longest value that a fault shows, in characters.
const SHOWN: usize = 64;
/// A day, in seconds.
const DAY: u64 = 24 * 3600;

/// The variables of the environment.
pub type Environment = BTreeMap<String, String>;

/// What is wrong with the environment: each fault names its variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Faults(pub Vec<String>);

/// Reads settings, and fails with every fault of every variable that was asked for.
///
/// # Errors
/// At least one variable is missing or unusable.
pub fn read<T>(
    environment: &Environment,
    settings: impl FnOnce(&mut Variables<'_>) -> T,
) -> Result<T, Faults> {
    let mut variables = Variables { environment, faults: Vec::new() };
    let settings = settings(&mut variables);
    if variables.faults.is_empty() { Ok(settings) } else { Err(Faults(variables.faults)) }
}

/// The variables, while they are read. What is at fault reads as empty or as the default, and
/// [`read`] answers with the faults instead.
#[derive(Debug)]
pub struct Variables<'a> {
    environment: &'a Environment,
    faults: Vec<String>,
}

/// The name of a resource of AWS, with the place that it tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arn {
    /// The whole name.
    pub text: String,
    /// The partition: `aws`, `aws-cn`, `aws-us-gov`.
    pub partition: String,
    /// Its Region.
    pub region: String,
    /// Its account.
    pub account: String,
}

impl Arn {
    /// The place as that of our own events.
    #[must_use]
    pub fn home(&self) -> Home<'_> {
        Home { account: Some(&self.account), region: Some(&self.region), instance: None }
    }
}

impl Variables<'_> {
    /// A text that must be set.
    pub fn text(&mut self, name: &str) -> String {
        match self.environment.get(name).map(|value| value.trim()) {
            Some(value) if !value.is_empty() => value.to_owned(),
            Some(_) | None => self.fault(format!("`{name}` is not set")),
        }
    }

    /// A text that may be left out.
    pub fn text_or(&mut self, name: &str, default: &str) -> String {
        let value = self.environment.get(name).map(|value| value.trim());
        value.filter(|value| !value.is_empty()).unwrap_or(default).to_owned()
    }

    /// An ARN that must be set.
    pub fn arn(&mut self, name: &str) -> Arn {
        let text = self.text(name);
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        if let ["arn", partition, _service, region, account, _resource] = parts[..] {
            let [partition, region, account] = [partition, region, account].map(str::to_owned);
            return Arn { text, partition, region, account };
        }
        self.unusable(name, &text, "an ARN")
    }

    /// The address of a queue, that must be set.
    pub fn url(&mut self, name: &str) -> String {
        let text = self.text(name);
        if text.starts_with("https://") || text.starts_with("http://") {
            return text;
        }
        self.unusable(name, &text, "an address that begins with `https://`")
    }

    /// A number of seconds within bounds, that may be left out.
    pub fn seconds(&mut self, name: &str, default: u64, bounds: RangeInclusive<u64>) -> Duration {
        Duration::from_secs(self.number(name, default, bounds))
    }

    /// A number of days within bounds, that may be left out.
    pub fn days(&mut self, name: &str, default: u64, bounds: RangeInclusive<u64>) -> Duration {
        Duration::from_secs(self.number(name, default, bounds).saturating_mul(DAY))
    }

    /// A count within bounds, that may be left out.
    pub fn count(&mut self, name: &str, default: u64, bounds: RangeInclusive<u64>) -> u64 {
        self.number(name, default, bounds)
    }

    /// `true` or `false`, that may be left out.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        let text = self.text_or(name, if default { "true" } else { "false" });
        match text.as_str() {
            "true" => true,
            "false" => false,
            _ => self.unusable(name, &text, "`true` or `false`"),
        }
    }

    fn number(&mut self, name: &str, default: u64, bounds: RangeInclusive<u64>) -> u64 {
        let text = self.text_or(name, &default.to_string());
        match text.parse() {
            Ok(number) if bounds.contains(&number) => number,
            Ok(_) | Err(_) => {
                let (least, most) = bounds.into_inner();
                self.unusable(name, &text, &format!("a number from {least} to {most}"))
            }
        }
    }

    fn unusable<T: Default>(&mut self, name: &str, value: &str, expected: &str) -> T {
        if value.is_empty() {
            // That it is not set was said.
            return T::default();
        }
        let value: String = value.chars().take(SHOWN).collect();
        self.fault(format!("`{name}` is {value:?}: expected {expected}"))
    }

    fn fault<T: Default>(&mut self, text: String) -> T {
        self.faults.push(text);
        T::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_told_at_once() {
        let environment = environment(&[
            ("STACK", " "),
            ("COMMANDS_TOPIC_ARN", "commands"),
            ("ACTIONS_QUEUE_URL", "ftp://x"),
            ("RETENTION_DAYS", "0"),
            ("LEGACY_TAGS", "yes"),
            ("MAX_STOPS_PER_HOUR", "1001"),
        ]);
        let faults = read(&environment, |from| {
            from.text("STACK");
            from.arn("COMMANDS_TOPIC_ARN");
            from.arn("OPERATORS_TOPIC_ARN");
            from.url("ACTIONS_QUEUE_URL");
            from.days("RETENTION_DAYS", 90, 1..=3653);
            from.flag("LEGACY_TAGS", false);
            from.count("MAX_STOPS_PER_HOUR", 20, 0..=1000);
        });
        expect_test::expect![[r#"
            `STACK` is not set
            `COMMANDS_TOPIC_ARN` is "commands": expected an ARN
            `OPERATORS_TOPIC_ARN` is not set
            `ACTIONS_QUEUE_URL` is "ftp://x": expected an address that begins with `https://`
            `RETENTION_DAYS` is "0": expected a number from 1 to 3653
            `LEGACY_TAGS` is "yes": expected `true` or `false`
            `MAX_STOPS_PER_HOUR` is "1001": expected a number from 0 to 1000"#]]
        .assert_eq(&faults.unwrap_err().0.join("\n"));
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let read = read(&Environment::new(), |from| {
            let budget = from.seconds("LIFECYCLE_BUDGET_SECONDS", 120, 30..=7200);
            (budget, from.text_or("TAG_PREFIX", "CloudSnooze"))
        });
        assert_eq!(read.unwrap(), (Duration::from_secs(120), "CloudSnooze".to_owned()));
    }

    #[test]
    fn an_arn_tells_where_we_are() {
        let arn = "arn:aws-cn:sns:cn-north-1:123456789012:cloudsnooze-commands";
        let environment = environment(&[("COMMANDS_TOPIC_ARN", arn)]);
        let arn = read(&environment, |from| from.arn("COMMANDS_TOPIC_ARN")).unwrap();
        let home = arn.home();
        assert_eq!((home.account, home.region), (Some("123456789012"), Some("cn-north-1")));
        assert_eq!(arn.partition, "aws-cn");
    }

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }
}
