//! Each check finds a fault that was planted, so that none of them passes whatever it reads.

use serde_json::{Value, json};

use super::document::Template;
use super::shape::Check;
use super::{access, settings};

#[test]
fn a_target_without_dead_letters_or_age_is_found() {
    let target = "/Resources/SpotInterruptionRule/Properties/Targets/0";
    let queue: &str = &format!("{target}/DeadLetterConfig");
    let age: &str = &format!("{target}/RetryPolicy/MaximumEventAgeInSeconds");
    found(settings::targets, queue, Value::Null, "no dead-letter queue");
    found(settings::targets, age, Value::Null, "how old an event may be");
    found(settings::targets, age, json!(121), "may be 121 s old");
    let targets = "/Resources/SweepRule/Properties/Targets";
    found(settings::targets, targets, json!([]), "no target");
}

#[test]
fn a_rule_for_any_account_is_found() {
    let account = "/Resources/HealthRule/Properties/EventPattern/account";
    found(settings::accounts, account, Value::Null, "HealthRule does not name");
    found(settings::accounts, account, json!([{ "exists": true }]), "HealthRule does not name");
}

#[test]
fn a_function_without_its_settings_is_found() {
    let of = "/Resources/Record/Properties";
    for (at, what) in [
        ("EventInvokeConfig/DestinationConfig", "on-failure destination"),
        ("EventInvokeConfig/MaximumEventAgeInSeconds", "age"),
        ("ReservedConcurrentExecutions", "limit of concurrency"),
        ("LoggingConfig/LogFormat", "JSON logs"),
        ("LoggingConfig/LogGroup", "retention"),
    ] {
        found(settings::functions, &format!("{of}/{at}"), Value::Null, what);
    }
    let retention = "/Resources/RecordLogs/Properties/RetentionInDays";
    found(settings::functions, retention, Value::Null, "Record has no retention");
    let key = "/Globals/Function/KmsKeyArn";
    found(settings::functions, key, Value::Null, "Sweep has no key");
}

#[test]
fn a_statement_that_writes_to_everything_is_found() {
    let statement = "/Resources/PerformRole/Properties/Policies/0/PolicyDocument/Statement/0";
    let star: &str = &format!("{statement}/Resource");
    found(access::stars, star, json!("*"), "PerformRole, statement TakeOrders writes");
    let action: &str = &format!("{statement}/Action");
    found(access::stars, action, json!(["sqs:*"]), "by a star");
    let principal = "/Resources/EventsDeadPolicy/Properties/PolicyDocument/Statement/1/Principal";
    found(access::stars, principal, json!("*"), "whom it does not name");
    let key = "/Resources/Key/Properties/KeyPolicy/Statement/1/Condition";
    found(access::stars, key, Value::Null, "Key, statement Logs lets in");
    // Behind a choice, too.
    let choice = "/Resources/FunctionsPolicy/Properties/PolicyDocument/Statement/5/Fn::If/1";
    found(access::stars, &format!("{choice}/Condition"), Value::Null, "statement Trace writes");
}

#[test]
fn a_managed_policy_is_found() {
    let arns = "/Resources/SweepRole/Properties/ManagedPolicyArns";
    let arn = json!(["arn:aws:iam::aws:policy/AdministratorAccess"]);
    found(access::managed, arns, arn, "SweepRole has a managed policy");
    let policies = "/Resources/Sweep/Properties/Policies";
    found(access::managed, policies, json!(["DynamoDBCrudPolicy"]), "not those of its role");
    let role = "/Resources/Sweep/Properties/Role";
    found(access::managed, role, json!({ "Fn::GetAtt": ["RecordRole", "Arn"] }), "no own role");
}

#[test]
fn a_service_that_may_act_for_others_is_found() {
    let of = "/Resources/EventsDeadPolicy/Properties/PolicyDocument/Statement/1/Condition";
    found(access::services, &format!("{of}/ArnLike"), Value::Null, "without aws:SourceArn");
    found(
        access::services,
        &format!("{of}/StringEquals"),
        Value::Null,
        "without aws:SourceAccount",
    );
    let trust = "/Resources/DeadLettersPipeRole/Properties/AssumeRolePolicyDocument/Statement/0";
    found(access::services, &format!("{trust}/Condition"), Value::Null, "lets pipes.amazonaws.com");
    let permission = "/Resources/DispatchByBus/Properties";
    found(access::services, &format!("{permission}/SourceArn"), Value::Null, "no SourceArn");
    found(
        access::services,
        &format!("{permission}/SourceAccount"),
        Value::Null,
        "no SourceAccount",
    );
}

#[test]
fn a_door_without_tls_is_found() {
    for (policy, what) in [
        ("QueuesPolicy/Properties/PolicyDocument", "ActionsDead lets in"),
        ("EventsDeadPolicy/Properties/PolicyDocument", "EventsDead lets in"),
        ("CommandsPolicy/Properties/PolicyDocument", "Commands lets in"),
        ("OperatorsPolicy/Properties/PolicyDocument", "Operators lets in"),
        ("DeadLettersPolicy/Properties/PolicyDocument", "DeadLetters lets in"),
        ("Bus/Properties/Policy", "Bus lets in"),
    ] {
        let effect = format!("/Resources/{policy}/Statement/0/Effect");
        found(access::tls, &effect, json!("Allow"), what);
    }
    let queues = "/Resources/QueuesPolicy/Properties/Queues";
    found(access::tls, queues, json!([{ "Ref": "Actions" }]), "ActionsDead lets in");
}

#[test]
fn a_table_with_other_settings_is_found() {
    for (at, what) in [
        ("Incidents/Properties/GlobalSecondaryIndexes/1", "other indexes"),
        ("Incidents/Properties/TimeToLiveSpecification", "another expiry"),
        ("Policies/Properties/PointInTimeRecoverySpecification", "no recovery"),
        ("Policies/Properties/DeletionProtectionEnabled", "no protection"),
        ("Instances/Properties/SSESpecification", "not encrypted"),
        ("Instances/Properties/KeySchema", "another key"),
        ("Instances/Properties/BillingMode", "not paid by request"),
    ] {
        found(settings::tables, &format!("/Resources/{at}"), Value::Null, what);
    }
    let switch = "/Parameters/DeletionProtection/Default";
    found(settings::tables, switch, json!("false"), "Policies: no protection");
}

#[test]
fn a_writer_of_policies_is_found() {
    let deny = "/Resources/FunctionsPolicy/Properties/PolicyDocument/Statement/0";
    let missing = "SweepRole is not denied dynamodb:PutItem";
    found(access::writers, &format!("{deny}/Effect"), json!("Allow"), missing);
    let roles = "/Resources/FunctionsPolicy/Properties/Roles/3";
    found(access::writers, roles, Value::Null, missing);
    let conditions = json!({ "Bool": { "aws:SecureTransport": "false" } });
    found(access::writers, &format!("{deny}/Condition"), conditions, missing);
    let read = "/Resources/DispatchRole/Properties/Policies/0/PolicyDocument/Statement/0/Action";
    let put = json!(["dynamodb:PutItem"]);
    found(access::writers, read, put, "DispatchRole, statement ReadPolicies writes policies");
}

#[test]
fn a_topic_with_old_signatures_is_found() {
    let version = "/Resources/Commands/Properties/SignatureVersion";
    found(settings::topics, version, Value::Null, "Commands signs");
    found(settings::topics, version, json!("1"), "Commands signs");
}

#[test]
fn a_missing_or_silent_alarm_is_found() {
    let overdue = "/Resources/OverdueAlarm/Properties";
    let name: &str = &format!("{overdue}/AlarmName");
    found(settings::alarms, name, json!("x"), "no alarm overdue");
    let actions: &str = &format!("{overdue}/AlarmActions");
    found(settings::alarms, actions, Value::Null, "OverdueAlarm tells nobody");
    found(settings::alarms, &format!("{overdue}/Threshold"), json!(5), "one overdue incident");
    let failures = "/Resources/HandlerFailuresAlarm/Properties/Threshold";
    found(settings::alarms, failures, json!(10), "1 per cent");
}

#[test]
fn another_architecture_or_a_long_time_out_is_found() {
    let default = "/Parameters/Architecture/Default";
    found(settings::architecture, default, json!("x86_64"), "not arm64 by default");
    let seconds = "/Mappings/Limits/Function/Seconds";
    found(settings::architecture, seconds, json!(16), "longer than 15 s");
    let own = "/Resources/Sweep/Properties/Timeout";
    found(settings::architecture, own, json!(900), "Sweep may take longer");
}

#[test]
fn data_that_goes_with_the_stack_is_found() {
    for at in ["Incidents/DeletionPolicy", "Key/DeletionPolicy", "DeadLetters/UpdateReplacePolicy"]
    {
        let (id, _) = at.split_once('/').unwrap();
        let what = format!("{id} is not kept");
        found(settings::retention, &format!("/Resources/{at}"), Value::Null, &what);
    }
}

#[test]
fn a_parameter_that_is_idle_silent_or_boundless_is_found() {
    let idle = json!({ "Type": "String", "Description": "Nothing.", "AllowedValues": ["a"] });
    found(settings::parameters, "/Parameters/Idle", idle, "Idle is not used");
    let scope = "/Parameters/TagScope";
    let (described, bounded) = (format!("{scope}/Description"), format!("{scope}/AllowedPattern"));
    found(settings::parameters, &described, Value::Null, "TagScope is not described");
    found(settings::parameters, &bounded, Value::Null, "TagScope has no bounds");
}

/// Plants one fault, a value that stands where a pointer says or `null` for nothing there, and
/// expects the check to name it.
fn found(check: Check, pointer: &str, value: Value, expected: &str) {
    let mut template = Template::read();
    assert_eq!(check(&template), Vec::<String>::new(), "before");
    plant(&mut template.0, pointer, value);
    let faults = check(&template);
    assert!(faults.iter().any(|fault| fault.contains(expected)), "{pointer}: {faults:?}");
}

/// Sets what a pointer names, or takes it away.
fn plant(root: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = root.pointer_mut(parent).unwrap_or_else(|| panic!("there is no {parent}"));
    if let Some(items) = parent.as_array_mut() {
        let at: usize = name.parse().unwrap();
        if value.is_null() {
            drop(items.remove(at))
        } else {
            items[at] = value
        }
        return;
    }
    let members = parent.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(name).unwrap_or_else(|| panic!("there is no {pointer}"));
    } else {
        members.insert(name.to_owned(), value);
    }
}
