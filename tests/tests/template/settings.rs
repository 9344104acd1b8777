//! Functions, rules, tables, topics and parameters: each check answers with what is wrong.

use serde_json::{Value, json};

use super::document::{Template, all_texts, objects, text};

/// The longest that a function may take, in seconds.
const TIMEOUT: f64 = 15.0;
/// How long a Spot notice is worth something, in seconds.
const SPOT: f64 = 120.0;

/// Targets: a dead-letter queue and an age for every one.
pub(super) fn targets(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for (id, rule) in template.of_type("AWS::Events::Rule") {
        let properties = &rule["Properties"];
        let targets = properties["Targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        if targets.is_empty() {
            faults.push(format!("{id} has no target"));
        }
        for target in targets {
            if text(&target["DeadLetterConfig"]["Arn"]) != "${EventsDead.Arn}" {
                faults.push(format!("{id}: a target has no dead-letter queue"));
            }
            match template.number(&target["RetryPolicy"]["MaximumEventAgeInSeconds"]) {
                None => faults.push(format!("{id}: a target does not say how old an event may be")),
                Some(age) if age > SPOT && is_spot(properties) => {
                    faults.push(format!("{id}: a Spot notice may be {age} s old"));
                }
                Some(_) => {}
            }
        }
    }
    faults
}

fn is_spot(rule: &Value) -> bool {
    let kinds = all_texts(&rule["EventPattern"]["detail-type"]);
    kinds.iter().any(|kind| kind.contains("Interruption") || kind.contains("Rebalance"))
}

/// Rules: each names the account, unless a clock is all that it hears.
pub(super) fn accounts(template: &Template) -> Vec<String> {
    let named = json!([{ "Ref": "AWS::AccountId" }]);
    let rules = template.of_type("AWS::Events::Rule").into_iter();
    let strangers = rules.filter(|(_, rule)| {
        let properties = &rule["Properties"];
        let is_clock = properties["ScheduleExpression"].is_string();
        !(is_clock && properties["EventPattern"].is_null())
            && properties["EventPattern"]["account"] != named
    });
    strangers.map(|(id, _)| format!("{id} does not name the account")).collect()
}

/// Functions: on-failure destination, limit of concurrency, JSON logs, retention, key.
pub(super) fn functions(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for (id, function) in template.functions() {
        let mut expect = |fine: bool, what: &str| {
            if !fine {
                faults.push(format!("{id} has no {what}"));
            }
        };
        let invoke = &function["EventInvokeConfig"];
        let on_failure = text(&invoke["DestinationConfig"]["OnFailure"]["Destination"]);
        expect(on_failure == "${EventsDead.Arn}", "on-failure destination");
        let age = template.number(&invoke["MaximumEventAgeInSeconds"]);
        expect(age.is_some(), "limit to the age of its events");
        let reserved = template.number(&function["ReservedConcurrentExecutions"]);
        expect(reserved.is_some_and(|count| count >= 1.0), "limit of concurrency");
        let logging = &function["LoggingConfig"];
        expect(logging["LogFormat"] == "JSON", "JSON logs");
        let group = logging["LogGroup"]["Ref"].as_str().unwrap_or_default();
        let group = &template.section("Resources").get(group).cloned().unwrap_or_default();
        let kept = template.number(&group["Properties"]["RetentionInDays"]);
        expect(kept.is_some_and(|days| days > 0.0), "retention of its logs");
        expect(text(&group["Properties"]["KmsKeyId"]) == "${Key.Arn}", "key for its logs");
        expect(text(&function["KmsKeyArn"]) == "${Key.Arn}", "key for its environment");
        expect(function["Tracing"]["Ref"] == "Tracing", "switch for tracing");
    }
    faults
}

/// Tables: keys, recovery, protection, encryption, expiry.
pub(super) fn tables(template: &Template) -> Vec<String> {
    // Name, key, indexes, what expires.
    type Expected = (&'static str, Value, Value, Option<&'static str>);
    let hash = |name: &str| json!({ "AttributeName": name, "KeyType": "HASH" });
    let range = |name: &str| json!({ "AttributeName": name, "KeyType": "RANGE" });
    let index = |name: &str, one: &str, two: &str, projected: &str| {
        json!({
            "IndexName": name,
            "KeySchema": [hash(one), range(two)],
            "Projection": { "ProjectionType": projected },
        })
    };
    let indexes = json!([
        index("by-instance", "instance_id", "opened_at", "ALL"),
        index("open-due", "open", "due", "KEYS_ONLY"),
    ]);
    let expected: [Expected; 3] = [
        ("Policies", json!([hash("event_type"), range("policy")]), Value::Null, None),
        ("Instances", json!([hash("instance_id")]), Value::Null, Some("expires_at")),
        ("Incidents", json!([hash("incident")]), indexes, Some("expires_at")),
    ];
    let mut faults = Vec::new();
    if template.of_type("AWS::DynamoDB::Table").len() != expected.len() {
        faults.push("there are other tables than Policies, Instances and Incidents".to_owned());
    }
    for (id, keys, indexes, expires) in expected {
        let table = &template.resource(id)["Properties"];
        let mut expect = |fine: bool, what: &str| {
            if !fine {
                faults.push(format!("{id}: {what}"));
            }
        };
        let name = format!("${{AWS::StackName}}-{}", id.to_lowercase());
        expect(text(&table["TableName"]) == name, "another name");
        expect(table["KeySchema"] == keys, "another key");
        expect(table["GlobalSecondaryIndexes"] == indexes, "other indexes");
        expect(table["BillingMode"] == "PAY_PER_REQUEST", "not paid by request");
        let recovery = &table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"];
        expect(*recovery == true, "no recovery to a point in time");
        expect(template.is_on(&table["DeletionProtectionEnabled"]), "no protection from deletion");
        let encryption = &table["SSESpecification"];
        let is_ours = encryption["SSEEnabled"] == true
            && encryption["SSEType"] == "KMS"
            && text(&encryption["KMSMasterKeyId"]) == "${Key.Arn}";
        expect(is_ours, "not encrypted with our key");
        let expiry = &table["TimeToLiveSpecification"];
        let named = (expiry["Enabled"] == true).then(|| expiry["AttributeName"].as_str()).flatten();
        expect(named == expires, "another expiry");
    }
    faults
}

/// Topics: the second version of signatures, and our key.
pub(super) fn topics(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for (id, topic) in template.of_type("AWS::SNS::Topic") {
        let properties = &topic["Properties"];
        if properties["SignatureVersion"] != "2" {
            faults.push(format!("{id} signs with another version than 2"));
        }
        if text(&properties["KmsMasterKeyId"]) != "${Key.Arn}" {
            faults.push(format!("{id} is not encrypted with our key"));
        }
    }
    faults
}

/// Alarms: one for each thing that can go wrong, and operators are told.
pub(super) fn alarms(template: &Template) -> Vec<String> {
    const NEEDED: [&str; 20] = [
        "actions-depth",
        "actions-age",
        "actions-dead",
        "actions-dead-age",
        "events-dead",
        "events-dead-age",
        "dispatch-errors",
        "perform-errors",
        "record-errors",
        "sweep-errors",
        "dispatch-throttles",
        "perform-throttles",
        "record-throttles",
        "sweep-throttles",
        "sweep-silent",
        "overdue",
        "handler-failures",
        "denied",
        "drill-age",
        "archive-late",
    ];
    let alarms = template.of_type("AWS::CloudWatch::Alarm");
    let mut faults: Vec<String> = NEEDED
        .iter()
        .filter(|name| {
            let full = format!("${{AWS::StackName}}-{name}");
            !alarms.iter().any(|(_, alarm)| text(&alarm["Properties"]["AlarmName"]) == full)
        })
        .map(|name| format!("there is no alarm {name}"))
        .collect();
    for (id, alarm) in &alarms {
        let properties = &alarm["Properties"];
        if properties["AlarmActions"] != json!([{ "Ref": "Operators" }]) {
            faults.push(format!("{id} tells nobody"));
        }
        if !properties["TreatMissingData"].is_string() {
            faults.push(format!("{id} does not say what silence means"));
        }
        if !properties["AlarmDescription"].is_string() {
            faults.push(format!("{id} does not say what it means"));
        }
    }
    let overdue = &template.resource("OverdueAlarm")["Properties"];
    if (overdue["Threshold"] != 0) || (overdue["MetricName"] != "Overdue") {
        faults.push("OverdueAlarm is not about one overdue incident".to_owned());
    }
    let failures = &template.resource("HandlerFailuresAlarm")["Properties"];
    if failures["Threshold"] != 1 || failures["Metrics"][0]["Expression"] != "100 * failed / steps"
    {
        faults.push("HandlerFailuresAlarm is not about 1 per cent of the handlers".to_owned());
    }
    faults
}

/// Functions: arm64 unless somebody says otherwise, and at most 15 s.
pub(super) fn architecture(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    let parameter = &template.0["Parameters"]["Architecture"];
    if parameter["Default"] != "arm64" || parameter["AllowedValues"] != json!(["arm64", "x86_64"]) {
        faults.push("the architecture is not arm64 by default, or x86_64".to_owned());
    }
    for (id, function) in template.functions() {
        if function["Architectures"] != json!([{ "Ref": "Architecture" }]) {
            faults.push(format!("{id} has an architecture of its own"));
        }
        if (function["Runtime"] != "provided.al2023") || (function["Handler"] != "bootstrap") {
            faults.push(format!("{id} does not run on provided.al2023"));
        }
        match template.number(&function["Timeout"]) {
            Some(seconds) if seconds <= TIMEOUT => {}
            Some(_) | None => faults.push(format!("{id} may take longer than {TIMEOUT} s")),
        }
    }
    faults
}

/// Whatever holds data is kept when the stack goes.
pub(super) fn retention(template: &Template) -> Vec<String> {
    const DATA: [&str; 3] = ["AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::KMS::Key"];
    let data = DATA.into_iter().flat_map(|kind| template.of_type(kind));
    let kept = |resource: &Value| {
        resource["DeletionPolicy"] == "Retain" && resource["UpdateReplacePolicy"] == "Retain"
    };
    data.filter(|(_, resource)| !kept(resource))
        .map(|(id, _)| format!("{id} is not kept"))
        .collect()
}

/// Parameters: used, described, bounded.
pub(super) fn parameters(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    let used: Vec<String> = ["Resources", "Conditions", "Globals"]
        .iter()
        .flat_map(|section| objects(&template.0[*section]))
        .filter(|members| members.contains_key("Ref") || members.contains_key("Fn::Sub"))
        .map(|members| text(&Value::Object(members.clone())))
        .collect();
    for (name, parameter) in template.section("Parameters") {
        let inside = format!("${{{name}}}");
        if !used.iter().any(|text| text.contains(&inside)) {
            faults.push(format!("{name} is not used"));
        }
        let description = parameter["Description"].as_str().unwrap_or_default();
        if !description.ends_with('.') {
            faults.push(format!("{name} is not described in a sentence"));
        }
        let has = |key: &str| !parameter[key].is_null();
        let is_bounded = has("AllowedValues")
            || (has("AllowedPattern") && has("MaxLength"))
            || (has("MinValue") && has("MaxValue"))
            || parameter["Type"] == "CommaDelimitedList";
        if !is_bounded {
            faults.push(format!("{name} has no bounds"));
        }
        if !has("Default") {
            faults.push(format!("{name} has no default"));
        }
    }
    faults
}
