//! The statements of all policies in the template.

use serde_json::{Map, Value};

use super::document::{Template, list, objects, text, texts};

/// One statement, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    /// The id of the resource that holds it.
    pub(super) at: String,
    pub(super) kind: Kind,
    /// Whom it gives power to, by the ids of roles; for a policy of a role or of several.
    pub(super) roles: Vec<String>,
    pub(super) body: Value,
}

/// What a policy stands at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Somebody: a role, a group.
    Identity,
    /// A role, and says who may take it on.
    Trust,
    /// A queue, topic, bus or bucket.
    Resource,
    /// A key.
    Key,
}

impl Statement {
    pub(super) fn sid(&self) -> &str {
        self.body["Sid"].as_str().unwrap_or("-")
    }

    pub(super) fn name(&self) -> String {
        format!("{}, statement {}", self.at, self.sid())
    }

    pub(super) fn allows(&self) -> bool {
        self.body["Effect"] == "Allow"
    }

    pub(super) fn actions(&self) -> Vec<String> {
        texts(&self.body["Action"])
    }

    pub(super) fn resources(&self) -> Vec<String> {
        texts(&self.body["Resource"])
    }

    /// The services it is for.
    pub(super) fn services(&self) -> Vec<String> {
        texts(&self.body["Principal"]["Service"])
    }

    /// The conditions: operator, key, values.
    pub(super) fn conditions(&self) -> Vec<(String, String, Vec<String>)> {
        let operators = self.body["Condition"].as_object().into_iter().flatten();
        let keys = |(operator, keys): (&String, &Value)| {
            let keys = keys.as_object().into_iter().flatten();
            let of =
                |(key, values): (&String, &Value)| (operator.clone(), key.clone(), texts(values));
            keys.map(of).collect::<Vec<_>>()
        };
        operators.flat_map(keys).collect()
    }

    pub(super) fn has_key(&self, key: &str) -> bool {
        self.conditions().iter().any(|(_, known, values)| known == key && !values.is_empty())
    }

    /// It gives what does more than read.
    pub(super) fn writes(&self) -> bool {
        self.allows() && self.actions().iter().any(|action| !reads(action))
    }

    /// It gives some of these actions on the table of policies.
    pub(super) fn covers(&self, action: &str) -> bool {
        self.actions().iter().any(|pattern| matches(pattern, action))
    }
}

/// All statements of the template. Of a choice between two, both count.
pub(super) fn statements(template: &Template) -> Vec<Statement> {
    let mut found = Vec::new();
    for (id, resource) in template.section("Resources") {
        for (document, kind) in documents(resource) {
            let roles = roles(id, resource);
            for statement in list(&document["Statement"]) {
                for body in branches(&statement) {
                    let (at, roles) = (id.clone(), roles.clone());
                    found.push(Statement { at, kind, roles, body });
                }
            }
        }
    }
    assert!(found.len() > 30, "the statements were read");
    found
}

/// Whether an action only looks.
fn reads(action: &str) -> bool {
    const VERBS: [&str; 8] =
        ["Get", "BatchGet", "List", "Describe", "Query", "Scan", "ConditionCheck", "Simulate"];
    let Some((_, verb)) = action.split_once(':') else { return false };
    VERBS.iter().any(|known| verb.starts_with(known))
}

/// Whether a pattern of actions, `dynamodb:Put*`, holds an action.
fn matches(pattern: &str, action: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, "")) => action.starts_with(start),
        Some((start, end)) => action.starts_with(start) && action.ends_with(end),
        None => pattern == action,
    }
}

/// The policies of a resource.
fn documents(resource: &Value) -> Vec<(&Value, Kind)> {
    let properties = &resource["Properties"];
    let kind = resource["Type"].as_str().unwrap_or_default();
    let own = match kind {
        "AWS::IAM::Role" => vec![(&properties["AssumeRolePolicyDocument"], Kind::Trust)],
        "AWS::IAM::Policy" | "AWS::IAM::ManagedPolicy" => {
            vec![(&properties["PolicyDocument"], Kind::Identity)]
        }
        "AWS::KMS::Key" => vec![(&properties["KeyPolicy"], Kind::Key)],
        "AWS::Events::EventBus" => vec![(&properties["Policy"], Kind::Resource)],
        _ => vec![(&properties["PolicyDocument"], Kind::Resource)],
    };
    let inline = properties["Policies"].as_array().into_iter().flatten();
    let inline = inline.map(|policy| (&policy["PolicyDocument"], Kind::Identity));
    let all: Vec<_> = own.into_iter().chain(inline).filter(|(found, _)| !found.is_null()).collect();
    // No policy stands in a place that is not looked at.
    let is_policy = |members: &&Map<String, Value>| members.contains_key("Statement");
    let there = objects(properties).into_iter().filter(is_policy).count();
    assert_eq!(all.len(), there, "a policy of {kind} is not looked at");
    all
}

/// The roles that a policy is of.
fn roles(id: &str, resource: &Value) -> Vec<String> {
    if resource["Type"] == "AWS::IAM::Role" {
        return vec![id.to_owned()];
    }
    let named = resource["Properties"]["Roles"].as_array().into_iter().flatten();
    named.map(|role| text(role).replace(['$', '{', '}'], "")).collect()
}

/// A statement, or both sides of a choice.
fn branches(statement: &Value) -> Vec<Value> {
    match statement["Fn::If"].as_array().map(Vec::as_slice) {
        Some([_, then, other]) => [then, other].into_iter().flat_map(branches).collect(),
        _ if statement["Ref"] == "AWS::NoValue" => Vec::new(),
        _ => vec![statement.clone()],
    }
}
