//! The template is what it must be.

use std::fs;

use serde_json::Value;
use snooze_functions::telemetry::METRICS;
use snooze_tests::place;

use super::document::{Template, objects, text};
use super::{access, settings};

/// A check of the template: answers with what is wrong.
pub(super) type Check = fn(&Template) -> Vec<String>;

fn check(check: Check) {
    let faults = check(&Template::read());
    assert!(faults.is_empty(), "template.yaml:\n  {}", faults.join("\n  "));
}

#[test]
fn every_target_has_a_dead_letter_queue_and_an_age() {
    check(settings::targets);
}

#[test]
fn every_rule_names_the_account() {
    check(settings::accounts);
}

#[test]
fn every_function_has_a_destination_a_limit_json_logs_retention_and_a_key() {
    check(settings::functions);
}

#[test]
fn i8_no_statement_writes_to_everything_without_a_condition() {
    check(access::stars);
}

#[test]
fn nobody_has_a_managed_policy_and_each_function_has_a_role_of_its_own() {
    check(access::managed);
}

#[test]
fn i9_services_are_let_in_for_this_account_and_a_named_source_only() {
    check(access::services);
}

#[test]
fn i9_queues_topics_bus_and_bucket_take_nobody_without_tls() {
    check(access::tls);
}

#[test]
fn tables_have_their_keys_recovery_protection_encryption_and_expiry() {
    check(settings::tables);
}

#[test]
fn i8_all_but_operators_are_denied_to_write_policies() {
    check(access::writers);
}

#[test]
fn topics_sign_with_version_2() {
    check(settings::topics);
}

#[test]
fn there_is_an_alarm_for_whatever_goes_wrong_and_operators_hear_it() {
    check(settings::alarms);
}

#[test]
fn functions_are_arm64_by_default_and_end_within_15_seconds() {
    check(settings::architecture);
}

#[test]
fn what_holds_data_outlives_the_stack() {
    check(settings::retention);
}

#[test]
fn every_parameter_is_used_described_and_bounded() {
    check(settings::parameters);
}

// Whoever changes what a role may do has to say so here, too.
#[test]
fn i8_what_a_role_that_was_taken_over_could_change_is_what_is_written_down() {
    let file = place::root().join("infra/blast-radius.txt");
    let written = fs::read_to_string(&file).unwrap_or_default();
    let found = access::blast_radius(&Template::read());
    if place::variable("UPDATE_EXPECT").is_some() {
        fs::write(&file, found).unwrap();
        return;
    }
    let lines = |one: &str, other: &str| -> Vec<String> {
        one.lines()
            .filter(|line| !other.lines().any(|known| known == *line))
            .map(ToOwned::to_owned)
            .collect()
    };
    let (gone, new) = (lines(&written, &found), lines(&found, &written));
    assert!(
        written == found,
        "infra/blast-radius.txt, which UPDATE_EXPECT=1 writes anew:\n- {}\n+ {}",
        gone.join("\n- "),
        new.join("\n+ "),
    );
}

#[test]
fn every_name_begins_with_that_of_the_stack() {
    const NAMES: [&str; 12] = [
        "TableName",
        "QueueName",
        "TopicName",
        "FunctionName",
        "LogGroupName",
        "AlarmName",
        "AliasName",
        "DashboardName",
        "DeliveryStreamName",
        "Name",
        "RoleName",
        "BucketName",
    ];
    const STARTS: [&str; 4] = ["", "alias/", "/aws/lambda/", "/aws/kinesisfirehose/"];
    let template = Template::read();
    let mut named = 0;
    for (id, resource) in template.section("Resources") {
        for name in NAMES {
            let value = text(&resource["Properties"][name]);
            // A reference to another resource is its name.
            let is_reference = template.0["Resources"].get(reference(&value)).is_some();
            if value == "null" || is_reference {
                continue;
            }
            named += 1;
            let fine = |start: &&str| value.starts_with(&format!("{start}${{AWS::StackName}}"));
            assert!(STARTS.iter().any(fine), "{id} is named {value}");
        }
    }
    assert!(named > 40, "the names were read");
}

fn reference(value: &str) -> &str {
    value.trim_start_matches("${").trim_end_matches('}')
}

#[test]
fn an_order_is_not_seen_twice_while_it_is_done_and_dies_after_five_tries() {
    let template = Template::read();
    let actions = &template.resource("Actions")["Properties"];
    let functions = template.functions();
    let perform = &functions["Perform"];
    let timeout = template.number(&perform["Timeout"]).unwrap();
    let visibility = template.number(&actions["VisibilityTimeout"]).unwrap();
    assert!(visibility >= 6.0 * timeout, "{visibility} s for {timeout} s");
    let redrive = &actions["RedrivePolicy"];
    assert_eq!(template.number(&redrive["maxReceiveCount"]), Some(5.0));
    assert_eq!(text(&redrive["deadLetterTargetArn"]), "${ActionsDead.Arn}");
    let orders = &perform["Events"]["Orders"]["Properties"];
    assert_eq!(text(&orders["Queue"]), "${Actions.Arn}");
    assert_eq!(orders["BatchSize"], 10);
    assert_eq!(orders["MaximumBatchingWindowInSeconds"], 0);
    assert_eq!(orders["FunctionResponseTypes"], serde_json::json!(["ReportBatchItemFailures"]));
    assert!(template.number(&orders["ScalingConfig"]["MaximumConcurrency"]).is_some());
}

#[test]
fn dispatch_gives_a_spot_notice_up_after_two_minutes() {
    let template = Template::read();
    let functions = template.functions();
    let invoke = &functions["Dispatch"]["EventInvokeConfig"];
    assert_eq!(template.number(&invoke["MaximumEventAgeInSeconds"]), Some(120.0));
    assert_eq!(invoke["MaximumRetryAttempts"], 2);
}

#[test]
fn queues_and_the_bucket_are_encrypted_and_the_bucket_is_not_public() {
    let template = Template::read();
    for (id, queue) in template.of_type("AWS::SQS::Queue") {
        assert_eq!(text(&queue["Properties"]["KmsMasterKeyId"]), "${Key.Arn}", "{id}");
    }
    let bucket = &template.resource("DeadLetters")["Properties"];
    let public = bucket["PublicAccessBlockConfiguration"].as_object().unwrap();
    assert_eq!(public.len(), 4);
    assert!(public.values().all(|closed| *closed == true));
    assert_eq!(bucket["VersioningConfiguration"]["Status"], "Enabled");
    let rule = &bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0];
    let encryption = &rule["ServerSideEncryptionByDefault"];
    assert_eq!(text(&encryption["KMSMasterKeyID"]), "${Key.Arn}");
}

// Short forms need a reader that knows the tags of CloudFormation.
#[test]
fn intrinsic_functions_are_written_in_their_long_form() {
    let text = fs::read_to_string(place::root().join("template.yaml")).unwrap();
    let tagged = |line: &&str| {
        let code = line.split(" #").next().unwrap_or_default();
        [": !", "- !", "[!", "{ !", ", !"].iter().any(|start| code.contains(start))
    };
    assert_eq!(text.lines().filter(tagged).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn the_dashboard_is_json_and_shows_metrics_that_functions_write() {
    let template = Template::read();
    let body = text(&template.resource("Dashboard")["Properties"]["DashboardBody"]);
    let board: Value = serde_json::from_str(&body).unwrap();
    let known = METRICS.map(|(_, name, ..)| name);
    let mut own = 0;
    for widget in board["widgets"].as_array().unwrap() {
        let mut namespace = String::new();
        for metric in widget["properties"]["metrics"].as_array().unwrap() {
            match metric[0].as_str().unwrap() {
                // As the one before, in all or in its namespace.
                "..." => continue,
                "." => {}
                name => name.clone_into(&mut namespace),
            }
            let name = metric[1].as_str().unwrap();
            own += usize::from(namespace == "CloudSnooze");
            assert!(namespace != "CloudSnooze" || known.contains(&name), "{name} is not written");
        }
    }
    assert!(own > 5, "the metrics were read");
}

#[test]
fn alarms_are_about_metrics_that_functions_write() {
    let template = Template::read();
    let known = METRICS.map(|(_, name, ..)| name);
    let alarms = template.of_type("AWS::CloudWatch::Alarm").into_iter();
    let metrics: Vec<String> = alarms
        .flat_map(|(_, alarm)| objects(&alarm["Properties"]))
        .filter(|members| members.get("Namespace").is_some_and(|name| name == "CloudSnooze"))
        .map(|members| text(&members["MetricName"]))
        .collect();
    assert_eq!(metrics.len(), 4, "{metrics:?}");
    for name in &metrics {
        assert!(known.contains(&name.as_str()), "{name} is not written");
    }
}

#[test]
fn every_output_is_described() {
    for (name, output) in Template::read().section("Outputs") {
        assert!(output["Description"].is_string(), "{name}");
    }
}

#[test]
fn every_stage_sets_parameters_that_the_template_has() {
    let settings = fs::read_to_string(place::root().join("samconfig.toml")).unwrap();
    for stage in ["default", "staging", "prod"] {
        assert!(settings.contains(&format!("[{stage}.deploy.parameters]")), "{stage}");
    }
    let template = Template::read();
    let parameters = template.section("Parameters");
    // Strings of the file, and what stands between them.
    let words = settings.split('"').filter(|word| !word.contains(char::is_whitespace));
    let mut set = 0;
    for (name, value) in words.filter_map(|word| word.split_once('=')) {
        // Tags are written the same way.
        if ["project", "stage"].contains(&name) {
            continue;
        }
        set += 1;
        let parameter = parameters.get(name).unwrap_or_else(|| panic!("there is no {name}"));
        if let Some(allowed) = parameter["AllowedValues"].as_array() {
            let is = |known: &Value| text(known) == *value;
            assert!(allowed.iter().any(is), "{name}={value}");
        }
    }
    assert!(set > 5, "the parameters were read");
}
