//! Who a plugin is.

use serde_json::{Map, Value, json};

use crate::printable;

/// The versions of the protocol that this library speaks.
pub const PROTOCOL: ProtocolRange = ProtocolRange { min: 1, max: 1 };

/// What a plugin says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Info {
    /// Its identifier; a plugin is found by it.
    pub name: String,
    /// Its name for people; the identifier when it gave none.
    pub display_name: String,
    /// Its version, a semantic one by custom.
    pub version: String,
    /// Who wrote it.
    pub author: String,
    /// What it does, in a sentence.
    pub description: String,
    /// What kind of plugin it is, for example `cloud-event`.
    pub category: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Where its source is.
    pub repository: Option<String>,
    /// Where its documentation is.
    pub homepage: Option<String>,
    /// It says that it belongs to CloudSnooze; a claim, not a proof.
    pub official: bool,
    /// Its settings by name, each with `type`, `description`, `default`, `required` and
    /// `constraints` as far as it gave them.
    pub config_schema: Map<String, Value>,
    /// What it may do beyond its own process, as `network` or `read:/var/lib/postgresql`.
    pub permissions: Vec<String>,
    /// What it needs on the instance.
    pub dependencies: Vec<Dependency>,
    /// The oldest host it works with.
    pub min_host_version: Option<String>,
    /// `native` or `external` by its own words.
    pub kind: Option<String>,
    /// The language it is written in.
    pub language: Option<String>,
    /// How it runs.
    pub process_model: Option<String>,
    /// It wants `"jsonrpc":"2.0"` in every request.
    pub jsonrpc: bool,
    /// The versions of the protocol that it speaks; 1 when it does not say.
    pub protocol: ProtocolRange,
}

/// Something that a plugin needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// Which versions of it will do; empty for any.
    pub version: String,
}

/// The oldest and the newest version of the protocol that somebody speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolRange {
    /// The oldest.
    pub min: u64,
    /// The newest.
    pub max: u64,
}

impl Default for ProtocolRange {
    fn default() -> Self {
        Self { min: 1, max: 1 }
    }
}

/// Host and plugin have no version of the protocol in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the plugin speaks protocol {} to {}, this host {} to {}",
    .plugin.min, .plugin.max, .host.min, .host.max
)]
#[non_exhaustive]
pub struct ProtocolMismatch {
    /// What the plugin speaks.
    pub plugin: ProtocolRange,
    /// What the host speaks.
    pub host: ProtocolRange,
}

impl ProtocolRange {
    /// The newest version that both speak.
    ///
    /// # Errors
    /// [`ProtocolMismatch`] when there is none.
    pub fn common(self, host: Self) -> Result<u64, ProtocolMismatch> {
        let newest = self.max.min(host.max);
        if newest < self.min || newest < host.min {
            return Err(ProtocolMismatch { plugin: self, host });
        }
        Ok(newest)
    }

    /// The value of the member `protocol`.
    #[must_use]
    pub fn to_value(self) -> Value {
        json!({ "min": self.min, "max": self.max })
    }

    /// A number is a range of one; anything unreadable is the first version.
    fn read(value: &Value) -> Self {
        if let Some(only) = value.as_u64() {
            return Self { min: only, max: only };
        }
        let bound = |name| value.get(name).and_then(Value::as_u64);
        let min = bound("min").unwrap_or(1);
        Self { min, max: bound("max").unwrap_or(min) }
    }
}

/// What came as `Info` cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer to Info has no `name`")]
pub struct NoName;

impl Info {
    /// The least that a plugin has to say.
    #[must_use]
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            display_name: name.to_owned(),
            version: version.to_owned(),
            ..Self::default()
        }
    }

    /// Reads the result of `Info`. Only the name is needed; what else is absent or of another
    /// type than expected counts as not said.
    ///
    /// # Errors
    /// [`NoName`] when there is nothing to call it by.
    pub fn read(value: &Value) -> Result<Self, NoName> {
        let said = |key: &str| {
            let text = value.get(key).and_then(Value::as_str).map(printable);
            text.filter(|text| !text.is_empty())
        };
        let flag = |key: &str| value.get(key).and_then(Value::as_bool).unwrap_or(false);
        let list = |key: &str| value.get(key).and_then(Value::as_array).into_iter().flatten();
        let name = said("name").ok_or(NoName)?;
        Ok(Self {
            display_name: said("display_name").unwrap_or_else(|| name.clone()),
            name,
            version: said("version").unwrap_or_default(),
            author: said("author").unwrap_or_default(),
            description: said("description").unwrap_or_default(),
            category: said("category").unwrap_or_default(),
            tags: list("tags").filter_map(Value::as_str).map(printable).collect(),
            repository: said("repository"),
            homepage: said("homepage"),
            official: flag("official"),
            config_schema: value
                .get("config_schema")
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default(),
            permissions: list("permissions").filter_map(Value::as_str).map(printable).collect(),
            dependencies: list("dependencies").filter_map(Dependency::read).collect(),
            min_host_version: said("min_host_version"),
            kind: said("type"),
            language: said("language"),
            process_model: said("process_model"),
            jsonrpc: flag("jsonrpc"),
            protocol: value.get("protocol").map(ProtocolRange::read).unwrap_or_default(),
        })
    }

    /// Whether a host of this version may run it, by `min_host_version`: up to three numbers
    /// between dots. What is none says nothing.
    ///
    /// # Errors
    /// The plugin wants a newer host; the text says which.
    pub fn host_is_new_enough(&self, host: &str) -> Result<(), String> {
        let Some(least) = &self.min_host_version else { return Ok(()) };
        match (version(least), version(host)) {
            (Some(wanted), Some(own)) if wanted > own => {
                Err(format!("the plugin wants CloudSnooze {least} or later, this is {host}"))
            }
            _ => Ok(()),
        }
    }

    /// Whether its version is older than another, by up to three numbers between dots.
    #[must_use]
    pub fn is_older_than(&self, other: &str) -> bool {
        matches!((version(&self.version), version(other)), (Some(own), Some(other)) if own < other)
    }

    /// The result of `Info`; what was not said is left out.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
        for (key, text) in [
            ("name", &self.name),
            ("display_name", &self.display_name),
            ("version", &self.version),
            ("author", &self.author),
            ("description", &self.description),
            ("category", &self.category),
        ] {
            put(key, json!(text));
        }
        put("tags", json!(self.tags));
        put("protocol", self.protocol.to_value());
        for (key, text) in [
            ("repository", &self.repository),
            ("homepage", &self.homepage),
            ("min_host_version", &self.min_host_version),
            ("type", &self.kind),
            ("language", &self.language),
            ("process_model", &self.process_model),
        ] {
            if let Some(text) = text {
                put(key, json!(text));
            }
        }
        if self.official {
            put("official", json!(true));
        }
        if self.jsonrpc {
            put("jsonrpc", json!(true));
        }
        if !self.config_schema.is_empty() {
            put("config_schema", Value::Object(self.config_schema.clone()));
        }
        if !self.permissions.is_empty() {
            put("permissions", json!(self.permissions));
        }
        if !self.dependencies.is_empty() {
            let list = self.dependencies.iter();
            put(
                "dependencies",
                list.map(|d| json!({ "name": d.name, "version": d.version })).collect(),
            );
        }
        Value::Object(map)
    }
}

impl Dependency {
    fn read(value: &Value) -> Option<Self> {
        let name = printable(value.get("name").and_then(Value::as_str)?);
        let version = value.get("version").and_then(Value::as_str).map(printable);
        Some(Self { name, version: version.unwrap_or_default() })
    }
}

/// The numbers of a version, without what follows a `-` or a `+`.
fn version(text: &str) -> Option<[u64; 3]> {
    let core = text.split(['-', '+']).next()?;
    let mut numbers = [0; 3];
    for (part, place) in core.split('.').zip(&mut numbers) {
        *place = part.trim().parse().ok()?;
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    // S1-13
    #[test]
    fn a_plugin_that_wants_a_newer_host_is_refused_in_words() {
        let told = |least: &str, host: &str| {
            let info = Info { min_host_version: Some(least.to_owned()), ..Info::new("a", "1") };
            info.host_is_new_enough(host)
        };
        for (least, host) in
            [("0.1.0", "0.1.0"), ("0.1", "0.2.0"), ("0.9.9", "0.10.0-rc1"), ("soon", "0.1.0")]
        {
            assert_eq!(told(least, host), Ok(()), "{least} {host}");
        }
        assert_eq!(
            told("0.10", "0.9.1"),
            Err("the plugin wants CloudSnooze 0.10 or later, this is 0.9.1".to_owned())
        );
        assert_eq!(Info::new("a", "1").host_is_new_enough("0.1.0"), Ok(()));
        assert!(Info::new("a", "1.9.9").is_older_than("1.10.0"));
        assert!(!Info::new("a", "1.10").is_older_than("1.10.0"));
        assert!(!Info::new("a", "of today").is_older_than("1.10.0"));
    }

    // S1-09: the seed's Python plugin says five of the seven.
    #[test]
    fn a_plugin_that_says_only_the_first_five_is_read() {
        let info = Info::read(&json!({
            "name": "redis-monitor", "display_name": "Redis Connection Monitor",
            "version": "1.0.0", "author": "CloudSnooze Team",
            "description": "Monitors Redis for active connections",
        }))
        .unwrap();
        assert_eq!(info.display_name, "Redis Connection Monitor");
        assert_eq!((info.tags.len(), info.protocol.common(PROTOCOL)), (0, Ok(1)));
    }

    // S1-09 to S1-14
    #[test]
    fn everything_said_survives_the_wire() {
        let info = Info {
            tags: vec!["aws".to_owned()],
            repository: Some("r".to_owned()),
            homepage: Some("h".to_owned()),
            official: true,
            config_schema: json!({ "port": { "type": "int" } }).as_object().unwrap().clone(),
            permissions: vec!["network".to_owned()],
            dependencies: vec![Dependency { name: "redis".to_owned(), version: ">=6".to_owned() }],
            min_host_version: Some("0.1.0".to_owned()),
            kind: Some("external".to_owned()),
            language: Some("rust".to_owned()),
            process_model: Some("stdio".to_owned()),
            jsonrpc: true,
            protocol: ProtocolRange { min: 1, max: 3 },
            ..Info::new("a", "1.0.0")
        };
        assert_eq!(Info::read(&info.to_value()), Ok(info));
    }

    #[test]
    fn wrong_types_count_as_not_said_but_a_name_is_needed() {
        let info = Info::read(&json!({ "name": "a", "tags": "x", "version": 2, "protocol": [] }));
        assert_eq!(info, Ok(Info { version: String::new(), ..Info::new("a", "") }));
        assert_eq!(Info::read(&json!({ "name": "" })), Err(NoName));
        assert_eq!(Info::read(&json!(null)), Err(NoName));
    }

    #[test]
    fn f23_a_protocol_that_is_newer_or_older_is_found_before_any_notice() {
        let host = ProtocolRange { min: 2, max: 4 };
        let table = [
            (json!(1), None),
            (json!(2), Some(2)),
            (json!({ "min": 1, "max": 3 }), Some(3)),
            (json!({ "min": 3 }), Some(3)),
            (json!({ "min": 3, "max": 9 }), Some(4)),
            (json!({ "min": 5, "max": 9 }), None),
            (json!("x"), None),
        ];
        for (said, common) in table {
            assert_eq!(ProtocolRange::read(&said).common(host).ok(), common, "{said}");
        }
        assert_eq!(
            ProtocolRange { min: 5, max: 9 }.common(host).unwrap_err().to_string(),
            "the plugin speaks protocol 5 to 9, this host 2 to 4"
        );
    }
}
