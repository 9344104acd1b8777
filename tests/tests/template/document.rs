//! The template, read as JSON.

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;

use serde_json::{Map, Value};
use snooze_tests::place;

/// The template, whole.
#[derive(Debug, Clone)]
pub(super) struct Template(pub(super) Value);

impl Template {
    /// Read once for all tests: it is long.
    pub(super) fn read() -> Self {
        static READ: LazyLock<Template> = LazyLock::new(|| {
            let text = fs::read_to_string(place::root().join("template.yaml")).unwrap();
            Template(serde_saphyr::from_str(&text).unwrap())
        });
        READ.clone()
    }

    /// A section: `Resources`, `Parameters`.
    pub(super) fn section(&self, name: &str) -> &Map<String, Value> {
        self.0[name].as_object().unwrap_or_else(|| panic!("there is no section {name}"))
    }

    pub(super) fn resource(&self, id: &str) -> &Value {
        self.section("Resources").get(id).unwrap_or_else(|| panic!("there is no resource {id}"))
    }

    /// The resources of a type, with their ids.
    pub(super) fn of_type(&self, kind: &str) -> Vec<(&str, &Value)> {
        let all = self.section("Resources").iter();
        let found: Vec<_> = all
            .filter(|(_, resource)| resource["Type"] == kind)
            .map(|(id, resource)| (id.as_str(), resource))
            .collect();
        assert!(!found.is_empty(), "there is no {kind}");
        found
    }

    /// The properties of each function, those of all functions among them.
    pub(super) fn functions(&self) -> BTreeMap<&str, Value> {
        let own = self.of_type("AWS::Serverless::Function").into_iter();
        own.map(|(id, function)| {
            let mut properties = self.0["Globals"]["Function"].clone();
            merge(&mut properties, &function["Properties"]);
            (id, properties)
        })
        .collect()
    }

    /// A number, as it stands or from `Mappings`, a parameter's default among them.
    pub(super) fn number(&self, value: &Value) -> Option<f64> {
        if let Some([Value::String(map), Value::String(first), Value::String(second)]) =
            value["Fn::FindInMap"].as_array().map(Vec::as_slice)
        {
            return self.0["Mappings"][map][first][second].as_f64();
        }
        if let Some(name) = value["Ref"].as_str() {
            return self.0["Parameters"][name]["Default"].as_f64();
        }
        if let Some([_, then, _]) = value["Fn::If"].as_array().map(Vec::as_slice) {
            return self.number(then);
        }
        value.as_f64()
    }

    /// Whether a value is true by default: as it stands, or by a condition on a parameter whose
    /// default is "true".
    pub(super) fn is_on(&self, value: &Value) -> bool {
        if let Some([Value::String(condition), Value::Bool(true), Value::Bool(false)]) =
            value["Fn::If"].as_array().map(Vec::as_slice)
        {
            let equals = &self.0["Conditions"][condition]["Fn::Equals"];
            let parameter = equals[0]["Ref"].as_str().unwrap_or_default();
            return equals[1] == "true" && self.0["Parameters"][parameter]["Default"] == "true";
        }
        *value == true
    }
}

/// What a value says once it is put in: `${Key.Arn}` for an attribute, `${AWS::Region}` for a
/// reference.
pub(super) fn text(value: &Value) -> String {
    if let Some(text) = value.as_str() {
        return text.to_owned();
    }
    if let Some(name) = value["Ref"].as_str() {
        return format!("${{{name}}}");
    }
    if let Some([Value::String(id), Value::String(attribute)]) =
        value["Fn::GetAtt"].as_array().map(Vec::as_slice)
    {
        return format!("${{{id}.{attribute}}}");
    }
    value["Fn::Sub"].as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// One or several, as a list.
pub(super) fn list(value: &Value) -> Vec<Value> {
    if value.is_null() {
        return Vec::new();
    }
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

/// One or several, as texts.
pub(super) fn texts(value: &Value) -> Vec<String> {
    list(value).iter().map(text).collect()
}

/// Every text in a value, the names of members and intrinsic functions among them.
pub(super) fn all_texts(value: &Value) -> Vec<String> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(all_texts).collect(),
        Value::Object(members) => {
            let of = |(key, value): (&String, &Value)| {
                let mut texts = all_texts(value);
                texts.push(key.clone());
                texts
            };
            members.iter().flat_map(of).collect()
        }
    }
}

/// Every object in a value, itself among them.
pub(super) fn objects(value: &Value) -> Vec<&Map<String, Value>> {
    match value {
        Value::Array(items) => items.iter().flat_map(objects).collect(),
        Value::Object(members) => {
            let below = members.values().flat_map(objects);
            std::iter::once(members).chain(below).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}
