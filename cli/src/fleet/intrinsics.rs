//! Values of a CloudFormation template with their intrinsic functions worked out, as far as they
//! follow from the template, its parameters and where the stack stands.
//!
//! Only the long forms are read (`Ref`, `Fn::Sub`), and of resources only names and ARNs that the
//! template itself gives.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Where a stack stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) stack: String,
    pub(super) account: String,
    pub(super) region: String,
    pub(super) partition: &'static str,
    /// The id of its key, which only the stack knows.
    pub(super) key: String,
}

/// A template with the values of its parameters.
#[derive(Debug)]
pub(super) struct Template<'a> {
    template: &'a Value,
    place: &'a Place,
    parameters: BTreeMap<String, Value>,
}

/// A value that does not follow from what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unknown(pub(super) String);

/// How deep values may stand in each other.
const DEPTH: usize = 64;

impl<'a> Template<'a> {
    /// A template with other values than the defaults for some parameters.
    pub(super) fn new(
        template: &'a Value,
        place: &'a Place,
        given: &[(String, String)],
    ) -> Result<Self, Unknown> {
        let known = template.get("Parameters").and_then(Value::as_object);
        let mut parameters: BTreeMap<String, Value> = known
            .into_iter()
            .flatten()
            .filter_map(|(name, parameter)| Some((name.clone(), parameter.get("Default")?.clone())))
            .collect();
        for (name, value) in given {
            if known.is_none_or(|known| !known.contains_key(name)) {
                let names: Vec<&str> =
                    known.into_iter().flat_map(|known| known.keys().map(String::as_str)).collect();
                let text =
                    format!("the template has no parameter `{name}`: it has {}", names.join(", "));
                return Err(Unknown(text));
            }
            parameters.insert(name.clone(), value.clone().into());
        }
        Ok(Self { template, place, parameters })
    }

    /// The resources of a type, by their logical ids.
    pub(super) fn resources(&self, kind: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let all = self.template.get("Resources").and_then(Value::as_object).into_iter().flatten();
        let is_kind =
            move |resource: &Value| resource.get("Type").and_then(Value::as_str) == Some(kind);
        let found: Vec<_> = all
            .filter(|(_, resource)| is_kind(resource))
            .filter_map(|(id, resource)| Some((id.as_str(), resource.get("Properties")?)))
            .collect();
        found.into_iter()
    }

    /// A value with all functions worked out; `None` where the template leaves it away.
    pub(super) fn resolve(&self, value: &Value) -> Result<Option<Value>, Unknown> {
        self.at_depth(value, DEPTH)
    }

    fn at_depth(&self, value: &Value, depth: usize) -> Result<Option<Value>, Unknown> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(Unknown("the template is nested too deep".to_owned()));
        };
        Ok(Some(match value {
            Value::Array(values) => {
                let values = values.iter().map(|value| self.at_depth(value, depth));
                Value::Array(values.filter_map(Result::transpose).collect::<Result<_, _>>()?)
            }
            Value::Object(members) => match function(members) {
                Some((name, argument)) => return self.call(name, argument, depth),
                None => {
                    let mut resolved = Map::new();
                    for (name, value) in members {
                        if let Some(value) = self.at_depth(value, depth)? {
                            resolved.insert(name.clone(), value);
                        }
                    }
                    Value::Object(resolved)
                }
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }))
    }

    fn call(&self, name: &str, argument: &Value, depth: usize) -> Result<Option<Value>, Unknown> {
        let unknown =
            || Unknown(format!("`{name}` of `{argument}` does not follow from the template"));
        let known = match (name, argument) {
            ("Ref", Value::String(id)) if id == "AWS::NoValue" => return Ok(None),
            ("Ref", Value::String(id)) => self.reference(id).ok_or_else(unknown)?,
            ("Fn::GetAtt", Value::Array(path)) => {
                let [Value::String(id), Value::String(attribute)] = path.as_slice() else {
                    return Err(unknown());
                };
                self.attribute(id, attribute).ok_or_else(unknown)?.into()
            }
            ("Fn::Sub", Value::String(text)) => self.substitute(text).ok_or_else(unknown)?.into(),
            ("Fn::If", Value::Array(branches)) => {
                let [Value::String(condition), yes, no] = branches.as_slice() else {
                    return Err(unknown());
                };
                let holds = self.holds_named(condition, depth)?;
                return self.at_depth(if holds { yes } else { no }, depth);
            }
            ("Fn::Join", Value::Array(parts)) => {
                let [Value::String(between), values] = parts.as_slice() else {
                    return Err(unknown());
                };
                match self.at_depth(values, depth)? {
                    Some(Value::Array(values)) => {
                        let texts: Vec<String> = values.iter().map(plain).collect();
                        texts.join(between).into()
                    }
                    // A list of a parameter is written with commas.
                    Some(Value::String(text)) => {
                        text.split(',').collect::<Vec<_>>().join(between).into()
                    }
                    _ => return Err(unknown()),
                }
            }
            _ => return Err(unknown()),
        };
        Ok(Some(known))
    }

    fn reference(&self, id: &str) -> Option<Value> {
        let place = self.place;
        let pseudo = match id {
            "AWS::StackName" => Some(place.stack.as_str()),
            "AWS::AccountId" => Some(place.account.as_str()),
            "AWS::Region" => Some(place.region.as_str()),
            "AWS::Partition" => Some(place.partition),
            "AWS::URLSuffix" => Some(suffix(place.partition)),
            _ => None,
        };
        if let Some(text) = pseudo {
            return Some(text.into());
        }
        if let Some(value) = self.parameters.get(id) {
            return Some(value.clone());
        }
        match self.kind(id)? {
            "AWS::SNS::Topic" => self.attribute(id, "Arn").map(Value::from),
            "AWS::KMS::Key" => Some(place.key.clone().into()),
            _ => self.own_name(id).map(Value::from),
        }
    }

    /// The ARN of a resource (AWS General Reference and Service Authorization Reference, checked
    /// 2026-11), or its name.
    fn attribute(&self, id: &str, attribute: &str) -> Option<String> {
        let Place { account, region, partition, key, .. } = self.place;
        let kind = self.kind(id)?;
        let name = || self.own_name(id);
        if matches!(attribute, "QueueName" | "TopicName" | "Name") {
            return name();
        }
        if !matches!(attribute, "Arn" | "TopicArn") {
            return None;
        }
        let (service, resource) = match kind {
            "AWS::DynamoDB::Table" => ("dynamodb", format!("table/{}", name()?)),
            "AWS::SQS::Queue" => ("sqs", name()?),
            "AWS::SNS::Topic" => ("sns", name()?),
            "AWS::Events::EventBus" => ("events", format!("event-bus/{}", name()?)),
            "AWS::KMS::Key" => ("kms", format!("key/{key}")),
            "AWS::Serverless::Function" => ("lambda", format!("function:{}", name()?)),
            _ => return None,
        };
        Some(format!("arn:{partition}:{service}:{region}:{account}:{resource}"))
    }

    fn kind(&self, id: &str) -> Option<&'a str> {
        self.template.get("Resources")?.get(id)?.get("Type")?.as_str()
    }

    /// The name that the template gives a resource.
    fn own_name(&self, id: &str) -> Option<String> {
        const KEYS: [&str; 5] = ["TableName", "QueueName", "TopicName", "FunctionName", "Name"];
        let properties = self.template.get("Resources")?.get(id)?.get("Properties")?;
        let name = KEYS.iter().find_map(|key| properties.get(key))?;
        match self.resolve(name).ok()?? {
            Value::String(name) => Some(name),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => None,
        }
    }

    fn substitute(&self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}')?;
            out.push_str(before);
            out.push_str(&match name.split_once('.') {
                Some((id, attribute)) => self.attribute(id, attribute)?,
                None => plain(&self.reference(name)?),
            });
            rest = after;
        }
        Some(out + rest)
    }

    fn holds_named(&self, name: &str, depth: usize) -> Result<bool, Unknown> {
        let condition = self.template.get("Conditions").and_then(|all| all.get(name));
        let condition = condition.ok_or_else(|| Unknown(format!("no condition `{name}`")))?;
        self.holds(condition, depth)
    }

    fn holds(&self, condition: &Value, depth: usize) -> Result<bool, Unknown> {
        let unknown = || Unknown(format!("the condition `{condition}` is not understood"));
        let Some(depth) = depth.checked_sub(1) else { return Err(unknown()) };
        let members = condition.as_object().ok_or_else(unknown)?;
        let all = |conditions: &[Value]| -> Result<Vec<bool>, Unknown> {
            conditions.iter().map(|one| self.holds(one, depth)).collect()
        };
        match members.iter().next() {
            Some((name, Value::String(other))) if name == "Condition" => {
                self.holds_named(other, depth)
            }
            Some((name, Value::Array(parts))) => match (name.as_str(), parts.as_slice()) {
                ("Fn::Equals", [one, other]) => {
                    let plain = |value| -> Result<_, Unknown> {
                        Ok(self.at_depth(value, depth)?.as_ref().map(plain))
                    };
                    Ok(plain(one)? == plain(other)?)
                }
                ("Fn::Not", [one]) => Ok(!self.holds(one, depth)?),
                ("Fn::And", parts) => Ok(all(parts)?.into_iter().all(|holds| holds)),
                ("Fn::Or", parts) => Ok(all(parts)?.into_iter().any(|holds| holds)),
                _ => Err(unknown()),
            },
            Some(_) | None => Err(unknown()),
        }
    }
}

/// The function that an object stands for.
fn function(members: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, argument) = members.iter().next().filter(|_| members.len() == 1)?;
    (name == "Ref" || name.starts_with("Fn::")).then_some((name.as_str(), argument))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn suffix(partition: &str) -> &'static str {
    if partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place() -> Place {
        Place {
            stack: "prod".to_owned(),
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            partition: "aws",
            key: "*".to_owned(),
        }
    }

    fn resolved(value: Value, given: &[(&str, &str)]) -> Result<Option<Value>, Unknown> {
        let template = json!({
            "Parameters": {
                "Scope": { "Default": "managed" }, "Days": { "Default": 0 },
                "Subnets": { "Default": "" }, "NoDefault": {}
            },
            "Conditions": {
                "Keeps": { "Fn::Not": [{ "Fn::Equals": [{ "Ref": "Days" }, 0] }] },
                "Both": { "Fn::And": [{ "Condition": "Keeps" },
                    { "Fn::Equals": [{ "Ref": "Scope" }, "managed"] }] },
                "Either": { "Fn::Or": [{ "Condition": "Keeps" },
                    { "Fn::Equals": [{ "Fn::Join": ["", { "Ref": "Subnets" }] }, ""] }] },
                "Circle": { "Condition": "Circle" }
            },
            "Resources": {
                "Table": { "Type": "AWS::DynamoDB::Table",
                    "Properties": { "TableName": { "Fn::Sub": "${AWS::StackName}-t" } } },
                "Topic": { "Type": "AWS::SNS::Topic", "Properties": { "TopicName": "news" } },
                "Queue": { "Type": "AWS::SQS::Queue", "Properties": { "QueueName": "q" } },
                "Bus": { "Type": "AWS::Events::EventBus",
                    "Properties": { "Name": { "Ref": "AWS::StackName" } } },
                "Key": { "Type": "AWS::KMS::Key", "Properties": {} }
            }
        });
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let given: Vec<_> = given.iter().map(own).collect();
        let place = place();
        Template::new(&template, &place, &given)?.resolve(&value)
    }

    #[test]
    fn names_and_arns_follow_from_the_template() {
        for (value, text) in [
            (json!({ "Ref": "AWS::Region" }), "eu-west-1"),
            (json!({ "Ref": "Scope" }), "managed"),
            (json!({ "Ref": "Table" }), "prod-t"),
            (json!({ "Ref": "Topic" }), "arn:aws:sns:eu-west-1:123456789012:news"),
            (
                json!({ "Fn::GetAtt": ["Table", "Arn"] }),
                "arn:aws:dynamodb:eu-west-1:123456789012:table/prod-t",
            ),
            (
                json!({ "Fn::Sub": "${Table.Arn}/index/*" }),
                "arn:aws:dynamodb:eu-west-1:123456789012:table/prod-t/index/*",
            ),
            (json!({ "Fn::GetAtt": ["Queue", "Arn"] }), "arn:aws:sqs:eu-west-1:123456789012:q"),
            (
                json!({ "Fn::GetAtt": ["Bus", "Arn"] }),
                "arn:aws:events:eu-west-1:123456789012:event-bus/prod",
            ),
            (json!({ "Fn::GetAtt": ["Key", "Arn"] }), "arn:aws:kms:eu-west-1:123456789012:key/*"),
            (
                json!({ "Fn::Sub": "${Topic}:*/${Scope}.${AWS::URLSuffix}" }),
                "arn:aws:sns:eu-west-1:123456789012:news:*/managed.amazonaws.com",
            ),
        ] {
            assert_eq!(resolved(value.clone(), &[]), Ok(Some(text.into())), "{value}");
        }
    }

    #[test]
    fn conditions_decide_by_the_parameters() {
        let choice = |name| json!({ "Fn::If": [name, "yes", { "Ref": "AWS::NoValue" }] });
        let all = json!([choice("Keeps"), choice("Both"), choice("Either")]);
        assert_eq!(resolved(all.clone(), &[]), Ok(Some(json!(["yes"]))));
        assert_eq!(resolved(all, &[("Days", "7")]), Ok(Some(json!(["yes", "yes", "yes"]))));
    }

    #[test]
    fn what_does_not_follow_is_an_error() {
        for value in [
            json!({ "Ref": "NoDefault" }),
            json!({ "Ref": "Nobody" }),
            json!({ "Fn::GetAtt": ["Table", "StreamArn"] }),
            json!({ "Fn::Sub": "${Nobody.Arn}" }),
            json!({ "Fn::Sub": "${broken" }),
            json!({ "Fn::ImportValue": "x" }),
            json!({ "Fn::If": ["Circle", 1, 2] }),
        ] {
            assert!(resolved(value.clone(), &[]).is_err(), "{value}");
        }
        assert!(resolved(json!(1), &[("Nobody", "x")]).is_err());
    }
}
