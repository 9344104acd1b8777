//! Who may do what: each check answers with what is wrong.

use super::document::{Template, all_texts, text};
use super::power::{Kind, Statement, statements};

/// What writes to a table.
const TABLE_WRITES: [&str; 7] = [
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "dynamodb:DeleteItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:PartiQLInsert",
    "dynamodb:PartiQLUpdate",
    "dynamodb:PartiQLDelete",
];

/// Statements: none writes to everything without a condition, none gives all that a service can.
pub(super) fn stars(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for statement in statements(template).iter().filter(|statement| statement.allows()) {
        let everything = statement.resources().iter().any(|resource| resource == "*");
        let is_free = statement.conditions().is_empty();
        let name = statement.name();
        match statement.kind {
            Kind::Identity => {
                if statement.actions().iter().any(|action| action.ends_with('*')) {
                    faults.push(format!("{name} gives more than one action by a star"));
                }
                if everything && statement.writes() && is_free {
                    faults.push(format!("{name} writes to everything without a condition"));
                }
            }
            // In the policy of a key, everything is that key; whoever owns the account owns it.
            Kind::Key | Kind::Resource => {
                let anybody = statement.body["Principal"] == "*"
                    || all_texts(&statement.body["Principal"]).iter().any(|one| one == "*");
                if is_free && !is_owner(statement) || anybody {
                    faults.push(format!("{name} lets in whom it does not name"));
                }
            }
            Kind::Trust => {}
        }
    }
    faults
}

fn is_owner(statement: &Statement) -> bool {
    let owner = "arn:${AWS::Partition}:iam::${AWS::AccountId}:root";
    text(&statement.body["Principal"]["AWS"]) == owner
}

/// Policies that somebody else may change: none.
pub(super) fn managed(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for (id, resource) in template.section("Resources") {
        let properties = &resource["Properties"];
        let is_function = resource["Type"] == "AWS::Serverless::Function";
        // SAM makes a role of its own, with managed policies, for a function that names none.
        if is_function && (!properties["Policies"].is_null() || properties["Role"].is_null()) {
            faults.push(format!("{id} has policies that are not those of its role"));
        }
        let named = all_texts(properties).iter().any(|text| text.contains(":iam::aws:policy/"));
        if !properties["ManagedPolicyArns"].is_null() || named {
            faults.push(format!("{id} has a managed policy"));
        }
    }
    let roles = template.functions().into_iter().map(|(id, function)| {
        let expected = format!("${{{id}Role.Arn}}");
        (id, text(&function["Role"]) == expected)
    });
    faults.extend(roles.filter(|(_, own)| !own).map(|(id, _)| format!("{id} has no own role")));
    faults
}

/// Services that are let in: they act for this account, and for what is named.
pub(super) fn services(template: &Template) -> Vec<String> {
    /// These two name no source when they take on a role for us.
    const SILENT: [&str; 2] = ["lambda.amazonaws.com", "ec2.amazonaws.com"];
    let mut faults = Vec::new();
    for statement in statements(template).iter().filter(|statement| statement.allows()) {
        for service in statement.services() {
            if statement.kind == Kind::Trust && SILENT.contains(&service.as_str()) {
                continue;
            }
            // Logs names what it encrypts instead; the ARN holds the account.
            let is_logs = service.starts_with("logs.")
                && statement.has_key("kms:EncryptionContext:aws:logs:arn");
            let source = ["aws:SourceArn", "aws:SourceAccount"];
            for key in source.into_iter().filter(|key| !is_logs && !statement.has_key(key)) {
                faults.push(format!("{} lets {service} in without {key}", statement.name()));
            }
        }
    }
    for (id, permission) in template.of_type("AWS::Lambda::Permission") {
        let properties = &permission["Properties"];
        let source = text(&properties["SourceArn"]);
        if !source.contains(":rule/${AWS::StackName}") {
            faults.push(format!("{id} has no SourceArn of our own rules"));
        }
        if text(&properties["SourceAccount"]) != "${AWS::AccountId}" {
            faults.push(format!("{id} has no SourceAccount"));
        }
    }
    faults
}

/// Queues, topics, the bus and the bucket: nobody gets in without TLS.
pub(super) fn tls(template: &Template) -> Vec<String> {
    const HOLDERS: [(&str, &str, &str); 4] = [
        ("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "Queues"),
        ("AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "Topics"),
        ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "Bucket"),
        ("AWS::Events::EventBus", "AWS::Events::EventBus", ""),
    ];
    let statements = statements(template);
    let closes = |at: &str| {
        statements.iter().any(|statement| {
            let (operator, key) = ("Bool".to_owned(), "aws:SecureTransport".to_owned());
            statement.at == at
                && statement.body["Effect"] == "Deny"
                && statement.body["Principal"] == "*"
                && statement.conditions() == [(operator, key, vec!["false".to_owned()])]
        })
    };
    let mut faults = Vec::new();
    for (kind, policy, named) in HOLDERS {
        let policies = template.of_type(policy);
        for (id, _) in template.of_type(kind) {
            let reference = format!("${{{id}}}");
            let is_of = |policy: &serde_json::Value| {
                let holders = &policy["Properties"][named];
                super::document::texts(holders).contains(&reference)
            };
            let own = policies.iter().find(|(at, policy)| *at == id || is_of(policy));
            if !own.is_some_and(|(at, _)| closes(at)) {
                faults.push(format!("{id} lets in who comes without TLS"));
            }
        }
    }
    faults
}

/// The table of policies: functions and instances are denied to write it, whatever else they are
/// given; operators alone may.
pub(super) fn writers(template: &Template) -> Vec<String> {
    const READERS: [&str; 5] =
        ["DispatchRole", "PerformRole", "RecordRole", "SweepRole", "InstanceRole"];
    let statements = statements(template);
    let of_policies = |statement: &&Statement| {
        let everywhere = ["*", "${Policies.Arn}"];
        statement.resources().iter().any(|resource| everywhere.contains(&resource.as_str()))
    };
    let mut faults = Vec::new();
    for role in READERS {
        for action in TABLE_WRITES {
            let denied = statements.iter().filter(of_policies).any(|statement| {
                statement.body["Effect"] == "Deny"
                    && statement.conditions().is_empty()
                    && statement.roles.iter().any(|known| known == role)
                    && statement.covers(action)
            });
            if !denied {
                faults.push(format!("{role} is not denied {action} on Policies"));
            }
        }
    }
    let writers = statements.iter().filter(of_policies).filter(|statement| {
        statement.kind == Kind::Identity
            && statement.allows()
            && TABLE_WRITES.iter().any(|action| statement.covers(action))
    });
    let strangers = writers.filter(|statement| statement.at != "OperatorPolicy");
    faults.extend(strangers.map(|statement| format!("{} writes policies", statement.name())));
    faults
}

/// What somebody could change who took over a role: each line a statement that does more than
/// read, in the order of roles.
pub(super) fn blast_radius(template: &Template) -> String {
    let mut lines: Vec<String> = statements(template)
        .iter()
        .filter(|statement| statement.kind == Kind::Identity && statement.writes())
        .flat_map(|statement| {
            let holders = match &statement.roles[..] {
                [] => vec![statement.at.clone()],
                roles => roles.to_vec(),
            };
            holders.into_iter().map(|holder| line(&holder, statement)).collect::<Vec<_>>()
        })
        .collect();
    lines.sort();
    lines.join("\n") + "\n"
}

fn line(holder: &str, statement: &Statement) -> String {
    let short = |resource: &String| {
        let place = ":${AWS::Region}:${AWS::AccountId}:";
        let own = resource.replace("arn:${AWS::Partition}:", "").replace(place, ":");
        own.replace("${AWS::StackName}", "S").replace("${AWS::Region}", "R")
    };
    let resources: Vec<String> = statement.resources().iter().map(short).collect();
    let conditions: Vec<String> = statement
        .conditions()
        .iter()
        .map(|(operator, key, values)| {
            let values: Vec<String> = values.iter().map(short).collect();
            format!("{key} {operator} {}", values.join(" "))
        })
        .collect();
    let actions = statement.actions().join(" ");
    let mut line = format!("{holder}: {actions} on {}", resources.join(" "));
    if !conditions.is_empty() {
        line.push_str(&format!(" if {}", conditions.join(" and ")));
    }
    line
}
