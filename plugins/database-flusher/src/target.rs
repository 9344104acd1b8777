//! Which program does the work, and what it is told.

use serde_json::{Map, Value};
use snooze_plugin::{Config, PluginError, Setting};

/// The words of `db_type`, the program, and its own name for the place of the server.
const PROGRAMS: [(&[&str], &str, &str); 4] = [
    (&["mysql", "mariadb"], "mysql-flusher", "connection_string"),
    (&["postgres", "postgresql"], "postgres-flusher", "connection_string"),
    (&["redis", "valkey"], "redis-flusher", "redis_url"),
    (&["mongodb"], "mongodb-flusher", "connection_string"),
];

/// A program and its configuration. It holds the password, so that it has no `Debug`.
pub(crate) struct Target {
    pub(crate) program: &'static str,
    pub(crate) config: Map<String, Value>,
}

/// All settings.
pub(crate) fn settings() -> [Setting; 5] {
    let words: Vec<&str> = PROGRAMS.iter().flat_map(|(words, ..)| words.iter().copied()).collect();
    [
        Setting::choice("db_type", &words, "which database it is").required(),
        Setting::text("connection_string", "where it is, as its own flusher reads it")
            .required()
            .secret(),
        Setting::number("timeout_seconds", 0.1..=3600.0, "how long all of it may take at most"),
        Setting::flag("dry_run", "say what would be done, and do nothing"),
        Setting::any("options", "settings of the flusher itself, by its own names"),
    ]
}

impl Target {
    /// Reads a configuration. What is not given is left to the flusher's own default.
    pub(crate) fn read(given: &Map<String, Value>) -> Result<Self, PluginError> {
        let known = settings();
        let mut config = Config::new(&known, given);
        let word = config.text("db_type").unwrap_or_default();
        let found = PROGRAMS.iter().find(|(words, ..)| words.contains(&word.as_str()));
        let options = match given.get("options") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(options)) => options.clone(),
            Some(_) => {
                config.fault("options", "expected an object");
                Map::new()
            }
        };
        config.finish()?;
        let Some((_, program, place)) = found else {
            return Err(PluginError::new("`db_type` is missing"));
        };
        let mut config = options;
        for (own, theirs) in [
            ("connection_string", *place),
            ("timeout_seconds", "timeout_seconds"),
            ("dry_run", "dry_run"),
        ] {
            if let Some(value) = given.get(own).filter(|value| !value.is_null()) {
                config.insert(theirs.to_owned(), value.clone());
            }
        }
        Ok(Self { program, config })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(given: Value, expected: &str) {
        let said = match Target::read(given.as_object().unwrap()) {
            Ok(target) => format!("{} {}", target.program, Value::Object(target.config)),
            Err(error) => error.to_string(),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn s1_63_the_type_of_the_database_chooses_the_program_and_the_name_of_its_place() {
        check(
            json!({ "db_type": "mysql", "connection_string": "user:pass@tcp(localhost:3306)/mydb" }),
            r#"mysql-flusher {"connection_string":"user:pass@tcp(localhost:3306)/mydb"}"#,
        );
        for (word, program, place) in [
            ("mariadb", "mysql-flusher", "connection_string"),
            ("postgres", "postgres-flusher", "connection_string"),
            ("postgresql", "postgres-flusher", "connection_string"),
            ("redis", "redis-flusher", "redis_url"),
            ("valkey", "redis-flusher", "redis_url"),
            ("mongodb", "mongodb-flusher", "connection_string"),
        ] {
            check(
                json!({ "db_type": word, "connection_string": "x" }),
                &format!(r#"{program} {{"{place}":"x"}}"#),
            );
        }
    }

    #[test]
    fn settings_of_the_flusher_itself_are_handed_on() {
        check(
            json!({
                "db_type": "redis", "connection_string": "unix:///r", "timeout_seconds": 5,
                "options": { "mode": "save", "redis_url": "not this one" },
            }),
            r#"redis-flusher {"mode":"save","redis_url":"unix:///r","timeout_seconds":5}"#,
        );
    }

    #[test]
    fn what_cannot_be_used_is_told_without_values() {
        check(
            json!({ "db_type": "oracle", "options": [], "conection_string": "hunter2" }),
            "`db_type`: expected `mysql`, `mariadb`, `postgres`, `postgresql`, `redis`, `valkey` \
             or `mongodb`; `connection_string` is missing; `conection_string` is no setting of \
             this plugin; did you mean `connection_string`?; `options`: expected an object",
        );
    }
}
