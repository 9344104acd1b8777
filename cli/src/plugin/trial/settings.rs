//! Configurations that a plugin must refuse, and those that it must take.

use std::time::Instant;

use serde_json::{Map, Value, json};
use snooze_plugin::wire::{Answer, Method};
use snooze_plugin::{Handled, Kind, Setting};

use super::CALL;
use super::talk::Talk;

/// A value by which a text is found out that shows it.
const CANARY: &str = "canary-5b1f";
/// A setting that no plugin has.
const NO_SETTING: &str = "cloudsnooze_no_such_setting";

type Config = Map<String, Value>;

/// What a plugin says to a configuration.
enum Said {
    Taken,
    Refused(String),
}

impl Talk {
    /// Gives it configurations that are like `given` but for one setting, and `given` at the end.
    pub(super) fn settings(&mut self, given: &Config) {
        self.unknown_setting(given);
        self.wrong_values(given);
        self.missing_settings(given);
        self.defaults(given);
        self.done("Configure again", Method::Configure, json!({ "config": given }));
    }

    fn configure(&mut self, config: &Config) -> Result<Said, String> {
        let answer = self.call(Method::Configure, json!({ "config": config }), CALL)?;
        Ok(answer.done().map_or_else(Said::Refused, |()| Said::Taken))
    }

    fn unknown_setting(&mut self, given: &Config) {
        let (name, start) = ("unknown setting", Instant::now());
        match self.configure(&with(given, NO_SETTING, CANARY.into())) {
            Ok(Said::Taken) if self.settings.is_empty() => {
                let text = "takes it; with a `config_schema` the daemon would refuse it";
                self.absent(name, start, text);
            }
            Ok(Said::Taken) => {
                self.note(name, start, Err("takes a setting that it does not declare".to_owned()));
            }
            Ok(Said::Refused(text)) => {
                let seen = discreet(NO_SETTING, text);
                self.note(name, start, seen);
            }
            Err(fault) => self.note(name, start, Err(fault)),
        }
    }

    fn wrong_values(&mut self, given: &Config) {
        let (name, start) = ("wrong values", Instant::now());
        let wrong: Vec<(String, Value)> = self
            .settings
            .iter()
            .flat_map(|setting| {
                wrong(&setting.kind).into_iter().map(|value| (setting.name.clone(), value))
            })
            .collect();
        if wrong.is_empty() {
            return;
        }
        let count = wrong.len();
        let mut seen = Ok(format!("refuses {}", crate::text::counted(count, "wrong value")));
        for (setting, value) in wrong {
            let fault = match self.configure(&with(given, &setting, value.clone())) {
                Ok(Said::Taken) => Some(format!("takes {value} for `{setting}`")),
                Ok(Said::Refused(text)) => discreet(&setting, text).err(),
                Err(fault) => Some(fault),
            };
            if let Some(fault) = fault {
                seen = Err(fault);
                break;
            }
        }
        self.note(name, start, seen);
    }

    fn missing_settings(&mut self, given: &Config) {
        let (name, start) = ("missing settings", Instant::now());
        let required = self.required();
        if required.is_empty() {
            return;
        }
        let mut seen = Ok(format!("names {}", required.join(", ")));
        for setting in required {
            let mut config = given.clone();
            config.remove(&setting);
            let fault = match self.configure(&config) {
                Ok(Said::Taken) => Some(format!("does without `{setting}`, which is required")),
                Ok(Said::Refused(text)) if text.contains(&setting) => None,
                Ok(Said::Refused(text)) => {
                    Some(format!("does not name `{setting}`, which is missing: {text}"))
                }
                Err(fault) => Some(fault),
            };
            if let Some(fault) = fault {
                seen = Err(fault);
                break;
            }
        }
        self.note(name, start, seen);
    }

    /// The defaults of the schema, written out; what has none is as it was given.
    fn defaults(&mut self, given: &Config) {
        let (name, start) = ("defaults", Instant::now());
        let (mut config, mut has_defaults) = (Config::new(), false);
        for Setting { name: setting, kind, default, .. } in &self.settings {
            let Some(value) = default else {
                if let Some(value) = given.get(setting) {
                    config.insert(setting.clone(), value.clone());
                }
                continue;
            };
            has_defaults = true;
            if !kind.takes(value) {
                let text = format!("`{setting}`: its default is not {}", kind.expected());
                return self.note(name, start, Err(text));
            }
            config.insert(setting.clone(), value.clone());
        }
        if !has_defaults {
            return;
        }
        if let Some(setting) = self.required().iter().find(|name| !config.contains_key(*name)) {
            let text = format!("not tried: give `{setting}` with --config");
            return self.absent(name, start, text);
        }
        let seen = match self.configure(&config) {
            Ok(Said::Taken) => Ok("takes its own defaults".to_owned()),
            Ok(Said::Refused(text)) => Err(format!("refuses its own defaults: {text}")),
            Err(fault) => Err(fault),
        };
        self.note(name, start, seen);
    }

    fn required(&self) -> Vec<String> {
        self.settings.iter().filter(|s| s.required).map(|s| s.name.clone()).collect()
    }

    /// Has it say what it would do, where it declares that it can. That it does nothing cannot be
    /// seen from here.
    pub(super) fn dry_run(&mut self, given: &Config, event: &Value) {
        let (name, start) = ("dry_run", Instant::now());
        let is_it = |setting: &Setting| setting.name == name && setting.kind == Kind::Flag;
        if !self.settings.iter().any(is_it) {
            return self.absent(name, start, "no such setting, by which it would do nothing");
        }
        match self.configure(&with(given, name, true.into())) {
            Ok(Said::Taken) => self.dry_event(name, start, event),
            Ok(Said::Refused(text)) | Err(text) => self.note(name, start, Err(text)),
        }
        // What follows has the configuration that it was given.
        let _ = self.configure(given);
    }

    fn dry_event(&mut self, name: &'static str, start: Instant, event: &Value) {
        let seen = match self.call(Method::HandleEvent, json!({ "event": event }), CALL) {
            Ok(Answer::NotSupported) => Err("it does not know HandleEvent any more".to_owned()),
            Ok(Answer::Failed(error)) => return self.said(name, start, error),
            Ok(Answer::Result(value)) => {
                let handled = Handled::read(&value);
                let status = handled.status.unwrap_or_default();
                let says_so = value.get("dry_run") == Some(&Value::Bool(true))
                    || ["dry", "would"].iter().any(|word| status.contains(word));
                match (handled.error, handled.handled, says_so) {
                    (Some(error), ..) => return self.said(name, start, error),
                    (None, false, _) => Ok("says that the event is not its business".to_owned()),
                    (None, true, true) => Ok(format!("says so: {status}")),
                    (None, true, false) => Err("the result has no `\"dry_run\":true`".to_owned()),
                }
            }
            Err(fault) => Err(fault),
        };
        self.note(name, start, seen);
    }
}

fn with(given: &Config, name: &str, value: Value) -> Config {
    let mut config = given.clone();
    config.insert(name.to_owned(), value);
    config
}

/// The text of a refusal, which may not show the value that was refused: it may be secret.
fn discreet(setting: &str, text: String) -> Result<String, String> {
    match text.contains(CANARY) {
        true => Err(format!("shows the value of `{setting}`: {text}")),
        false => Ok(text),
    }
}

/// Values that are none of the kind.
fn wrong(kind: &Kind) -> Vec<Value> {
    match kind {
        Kind::Text => vec![json!([CANARY])],
        Kind::Choice(_) | Kind::Flag | Kind::List | Kind::Map => vec![json!(CANARY)],
        Kind::Integer(bounds) => {
            let beyond = [bounds.end().checked_add(1), bounds.start().checked_sub(1)];
            [json!(CANARY)]
                .into_iter()
                .chain(beyond.into_iter().flatten().map(Value::from))
                .collect()
        }
        Kind::Number(bounds) => {
            let beyond =
                [bounds.end().abs().mul_add(2.0, 1.0), bounds.start().abs().mul_add(-2.0, -1.0)];
            let beyond = beyond.into_iter().filter(|number| number.is_finite());
            [json!(CANARY)].into_iter().chain(beyond.map(Value::from)).collect()
        }
        Kind::Any => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_are_wrong_for_every_kind() {
        let kinds = [
            Kind::Text,
            Kind::Choice(vec!["fast".to_owned()]),
            Kind::Flag,
            Kind::Integer(0..=9),
            Kind::Integer(i64::MIN..=i64::MAX),
            Kind::Number(0.0..=60.0),
            Kind::Number(-5.0..=-1.0),
            Kind::Number(f64::NEG_INFINITY..=f64::INFINITY),
            Kind::List,
            Kind::Map,
        ];
        for kind in kinds {
            let wrong = wrong(&kind);
            assert!(!wrong.is_empty(), "{kind:?}");
            assert!(!wrong.iter().any(|value| kind.takes(value)), "{kind:?}: {wrong:?}");
        }
        assert_eq!(wrong(&Kind::Any), Vec::<Value>::new());
    }
}
