//! `snooze iam-policy`.

use serde_json::{Value, json};
use snoozed::exit;

use super::doctor::partition;
use super::intrinsics::{Place, Template, Unknown};
use crate::daemon::Context;
use crate::failure::Failure;
use crate::{screen, text};

/// The template that the stack is deployed from.
const TEMPLATE: &str = include_str!("../../../template.yaml");

/// Print the least that a part of CloudSnooze must be allowed, as an IAM policy
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples: snooze iam-policy operator --account 123456789012 --region eu-west-1
          snooze iam-policy instance --parameter SecretPath=orders > instance.json

It is what the template gives that part, from the same source.")]
pub(crate) struct Args {
    /// Whose
    #[arg(value_enum)]
    role: Role,
    /// The account of the stack; without it, any
    #[arg(long, value_parser = account, value_name = "DIGITS")]
    account: Option<String>,
    /// The id of the stack's key, as `aws kms describe-key --key-id alias/STACK` tells; without
    /// it, any key of the account
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// Another value than the default for a parameter of the template
    #[arg(long, value_parser = parameter, value_name = "NAME=VALUE")]
    parameter: Vec<(String, String)>,
}

/// The parts that have a role, or a policy for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// The daemon on an instance
    Instance,
    /// A person or a pipeline that uses `snooze`
    Operator,
    /// The function that hears events
    Dispatch,
    /// The function that does actions
    Perform,
    /// The function that hears instances
    Record,
    /// The function that mends, every minute
    Sweep,
}

impl Role {
    /// The role's id in the template.
    fn logical_id(self) -> &'static str {
        match self {
            Self::Instance => "InstanceRole",
            Self::Operator => "OperatorPolicy",
            Self::Dispatch => "DispatchRole",
            Self::Perform => "PerformRole",
            Self::Record => "RecordRole",
            Self::Sweep => "SweepRole",
        }
    }
}

fn account(text: &str) -> Result<String, String> {
    match text.len() == 12 && text.bytes().all(|c| c.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => Err("expected 12 digits".to_owned()),
    }
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let any = || "*".to_owned();
    let region = context.fleet.region.clone().unwrap_or_else(any);
    let place = Place {
        stack: context.fleet.stack.clone(),
        account: args.account.clone().unwrap_or_else(any),
        partition: partition(&region),
        region,
        key: args.key.clone().unwrap_or_else(any),
    };
    let template: Value = serde_saphyr::from_str(TEMPLATE).map_err(|fault| {
        Failure::new(exit::SYSTEM, format!("the template in this program is not YAML: {fault}"))
    })?;
    let policy = policy(&template, args.role, &place, &args.parameter)
        .map_err(|Unknown(why)| Failure::usage(why))?;
    screen::raw(text::json(&policy).as_bytes())?;
    let open = [("--account", &place.account), ("--region", &place.region), ("--key", &place.key)];
    let open: Vec<&str> =
        open.into_iter().filter(|(_, value)| *value == "*").map(|(option, _)| option).collect();
    if !open.is_empty() {
        let open = open.join(", ");
        screen::complain(&format!("`*` stands where {open} would make it narrower\n"));
    }
    Ok(exit::OK)
}

/// All statements for a role: its own policies, and those that name it.
fn policy(
    template: &Value,
    role: Role,
    place: &Place,
    parameters: &[(String, String)],
) -> Result<Value, Unknown> {
    let template = Template::new(template, place, parameters)?;
    let id = role.logical_id();
    let mut documents: Vec<&Value> = Vec::new();
    for (own, properties) in template.resources("AWS::IAM::Role") {
        let policies = properties.get("Policies").and_then(Value::as_array).into_iter().flatten();
        if own == id {
            documents.extend(policies.filter_map(|policy| policy.get("PolicyDocument")));
        }
    }
    let managed = template.resources("AWS::IAM::ManagedPolicy").filter(|(own, _)| *own == id);
    documents.extend(managed.filter_map(|(_, properties)| properties.get("PolicyDocument")));
    let is_named = |properties: &Value| {
        let roles = properties.get("Roles").and_then(Value::as_array).into_iter().flatten();
        roles.filter_map(|role| role.get("Ref")?.as_str()).any(|role| role == id)
    };
    let shared = template.resources("AWS::IAM::Policy").filter(|(_, policy)| is_named(policy));
    documents.extend(shared.filter_map(|(_, properties)| properties.get("PolicyDocument")));

    let mut statements = Vec::new();
    for document in documents {
        let resolved = document.get("Statement").map(|all| template.resolve(all)).transpose()?;
        match resolved.flatten() {
            Some(Value::Array(all)) => statements.extend(all),
            Some(one) => statements.push(one),
            None => {}
        }
    }
    if statements.is_empty() {
        return Err(Unknown(format!("the template gives `{id}` no permission")));
    }
    Ok(json!({ "Version": "2012-10-17", "Statement": statements }))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    fn place() -> Place {
        Place {
            stack: "prod".to_owned(),
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            partition: "aws",
            key: "1234abcd".to_owned(),
        }
    }

    fn of(role: Role) -> Value {
        let template: Value = serde_saphyr::from_str(TEMPLATE).unwrap();
        policy(&template, role, &place(), &[]).unwrap()
    }

    #[test]
    fn every_role_of_the_template_is_worked_out_whole() {
        for role in Role::value_variants() {
            let text = of(*role).to_string();
            for left in ["Fn::", "\"Ref\"", "${", "null"] {
                assert!(!text.contains(left), "{role:?} has {left}: {text}");
            }
        }
    }

    #[test]
    fn every_statement_has_an_effect_actions_and_resources() {
        for role in Role::value_variants() {
            for statement in of(*role)["Statement"].as_array().unwrap() {
                for member in ["Effect", "Action", "Resource"] {
                    assert!(!statement[member].is_null(), "{role:?}: {statement}");
                }
            }
        }
    }

    // IAM refuses a policy in which two statements have one name.
    #[test]
    fn no_two_statements_of_a_role_have_one_name() {
        for role in Role::value_variants() {
            let policy = of(*role);
            let statements = policy["Statement"].as_array().unwrap();
            let mut names: Vec<&str> =
                statements.iter().filter_map(|statement| statement["Sid"].as_str()).collect();
            names.sort_unstable();
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all, "{role:?}: {names:?}");
        }
    }

    #[test]
    fn an_instance_may_report_to_its_bus_and_not_write_policies() {
        let policy = of(Role::Instance);
        let statements = policy["Statement"].as_array().unwrap();
        let with = |action: &str, effect: &str| {
            let has = |statement: &&Value| {
                statement["Effect"] == effect && statement["Action"].to_string().contains(action)
            };
            statements.iter().find(has).unwrap_or_else(|| panic!("{action}: {policy:#}"))
        };
        let bus = "arn:aws:events:eu-west-1:123456789012:event-bus/prod";
        assert_eq!(with("events:PutEvents", "Allow")["Resource"], bus);
        let table = "arn:aws:dynamodb:eu-west-1:123456789012:table/prod-policies";
        assert_eq!(with("dynamodb:PutItem", "Deny")["Resource"], table);
        assert!(policy.to_string().contains(":key/1234abcd"), "{policy:#}");
    }

    #[test]
    fn functions_get_what_all_of_them_may_do() {
        for role in [Role::Dispatch, Role::Perform, Role::Record, Role::Sweep] {
            assert!(of(role).to_string().contains("logs:PutLogEvents"), "{role:?}");
        }
    }

    #[test]
    fn parameters_are_given_by_their_names() {
        let template: Value = serde_saphyr::from_str(TEMPLATE).unwrap();
        let given = [("SecretPath".to_owned(), "orders".to_owned())];
        let text = policy(&template, Role::Instance, &place(), &given).unwrap().to_string();
        assert!(text.contains("secret:orders/*"), "{text}");
        let wrong = [("SecretPat".to_owned(), "orders".to_owned())];
        assert!(policy(&template, Role::Instance, &place(), &wrong).is_err());
    }
}
