//! `template.yaml`, deployed as an operator deploys it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{Cloud, tool};
use crate::functions::FUNCTIONS;
use crate::{place, programs, wait};

/// The name of the stack.
pub const STACK: &str = "cloudsnooze";

impl Cloud {
    /// Packages and deploys, with the programs of this workspace.
    pub(super) fn deploy(&self) {
        let place = self.folder.join("deployment");
        lay_out(&place);
        let paths = json!({
            "source": place::root().join("template.yaml"),
            "target": place.join("template.json"),
        });
        let _lost = self.aws.call("keeper", "adapt", paths);
        let _made = self.aws.call("s3", "create_bucket", json!({ "Bucket": "code" }));
        let aws = |arguments: &[&str]| {
            let mut command = self.foreign(tool("aws"));
            command.current_dir(&place).arg("cloudformation").args(arguments);
            let _said = place::output(command.args(["--s3-bucket", "code"]));
        };
        let files = ["--template-file", "template.json", "--output-template-file", "packaged.json"];
        aws(&[&["package", "--use-json"], &files[..]].concat());
        let deploy = ["deploy", "--template-file", "packaged.json", "--stack-name", STACK];
        let capabilities =
            ["--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"];
        let architecture = match std::env::consts::ARCH {
            "aarch64" => "Architecture=arm64",
            _ => "Architecture=x86_64",
        };
        // The emulator has no archives, and takes the numbers of parameters as text, which it
        // cannot compare with the concurrency that it counts.
        let parameters = [
            "--parameter-overrides",
            architecture,
            "ArchiveDays=0",
            // A test puts its policy and goes on; which of several processes kept an older one
            // is chance.
            "PolicyCacheSeconds=0",
            "ReserveConcurrency=false",
            "MaxStopsPerHour=100",
            "LegacyTags=true",
        ];
        aws(&[&deploy[..], &capabilities[..], &parameters[..]].concat());
        self.mend_mappings();
        self.mend_topics();
    }

    /// The emulator leaves the version of signatures out that the template sets.
    fn mend_topics(&self) {
        for output in ["CommandsTopic", "OperatorsTopic"] {
            let name = "SignatureVersion";
            let topic = self.output(output);
            let args = json!({ "TopicArn": topic, "AttributeName": name, "AttributeValue": "2" });
            let _mended = self.aws.call("sns", "set_topic_attributes", args);
        }
    }

    /// The same for the concurrency of the mapping from the queue of actions.
    fn mend_mappings(&self) {
        let mappings = self.aws.call("lambda", "list_event_source_mappings", json!({}));
        for mapping in mappings["EventSourceMappings"].as_array().into_iter().flatten() {
            let scaling = json!({ "MaximumConcurrency": 10 });
            let args = json!({ "UUID": mapping["UUID"], "ScalingConfig": scaling });
            let _mended = self.aws.call("lambda", "update_event_source_mapping", args);
        }
    }

    /// An output of the stack.
    ///
    /// # Panics
    /// When it has none of the name.
    #[must_use]
    pub fn output(&self, key: &str) -> String {
        let args = json!({ "StackName": STACK });
        let stacks = self.aws.call("cloudformation", "describe_stacks", args);
        let outputs = stacks["Stacks"][0]["Outputs"].as_array().cloned().unwrap_or_default();
        let found = outputs.iter().find(|output| output["OutputKey"] == key);
        let value = found.and_then(|output| output["OutputValue"].as_str());
        value.unwrap_or_else(|| panic!("no output {key}")).to_owned()
    }

    /// The full name of a part: `S-dispatch`.
    #[must_use]
    pub fn name(&self, part: &str) -> String {
        format!("{STACK}-{part}")
    }

    /// Invokes a function and waits for what it answers.
    ///
    /// # Panics
    /// When it cannot be invoked or fails.
    #[must_use]
    pub fn invoke(&self, function: &str, event: &Value) -> Value {
        let args = json!({ "FunctionName": self.name(function), "Payload": event.to_string() });
        let answer = self.aws.call("lambda", "invoke", args);
        assert!(answer["FunctionError"].is_null(), "{function} {event}: {answer}");
        let payload = answer["Payload"].as_str().unwrap_or_default();
        serde_json::from_str(payload).unwrap_or_default()
    }

    /// Invokes a function as a rule does: it answers nobody.
    pub fn tell(&self, function: &str, event: &Value) {
        let payload = event.to_string();
        let args = json!({ "FunctionName": self.name(function), "InvocationType": "Event", "Payload": payload });
        let _accepted = self.aws.call("lambda", "invoke", args);
    }

    /// Puts an event on the bus of the stack.
    ///
    /// # Panics
    /// When the bus does not take it.
    pub fn put(&self, source: &str, kind: &str, detail: &Value) {
        let entry = json!({
            "Source": source,
            "DetailType": kind,
            "Detail": detail.to_string(),
            "EventBusName": STACK,
        });
        let answer = self.aws.call("events", "put_events", json!({ "Entries": [entry] }));
        assert_eq!(answer["FailedEntryCount"], 0, "{answer}");
    }

    /// An item of a table, read by one key.
    #[must_use]
    pub fn item(&self, table: &str, key: &str, value: &str) -> Option<Value> {
        let key = json!({ key: { "S": value } });
        let args = json!({ "TableName": self.name(table), "Key": key, "ConsistentRead": true });
        let item = self.aws.call("dynamodb", "get_item", args).get("Item").cloned()?;
        Some(plain(&item))
    }

    /// The incidents of an instance, the oldest first, each as the ledger has it.
    #[must_use]
    pub fn incidents(&self, instance: &str) -> Vec<Value> {
        let args = json!({
            "TableName": self.name("incidents"),
            "IndexName": "by-instance",
            "KeyConditionExpression": "#i = :i",
            "ExpressionAttributeNames": { "#i": "instance_id" },
            "ExpressionAttributeValues": { ":i": { "S": instance } },
        });
        let found = self.aws.call("dynamodb", "query", args);
        let items = found["Items"].as_array().cloned().unwrap_or_default();
        let body = |item: &Value| serde_json::from_str(plain(item)["body"].as_str()?).ok();
        items.iter().filter_map(body).collect()
    }
}

impl Cloud {
    /// Puts a policy of this name, with the command, for the instances with this role: the plugin
    /// `saver`, and what else is said.
    ///
    /// # Panics
    /// When it is refused.
    pub fn policy(&self, role: &str, more: Value) {
        let kinds = ["cloud.spot.interrupt", "cloud.instance.termination"];
        let mut policy = json!({
            "name": role,
            "match": { "type": kinds, "instance": { "tags": { "role": [role] } } },
            "handlers": [{ "plugin": "saver", "priority": 50, "timeout_seconds": 20 }],
        });
        if let (Some(policy), Value::Object(more)) = (policy.as_object_mut(), more) {
            policy.extend(more);
        }
        let path = self.folder.join(format!("{role}.json"));
        fs::write(&path, policy.to_string()).expect("the policy can be written");
        let mut snooze = self.operator(programs::path("snooze"));
        let _said = place::output(snooze.args(["policy", "put"]).arg(path));
    }

    /// The version of the policies in the table.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn version(&self) -> u64 {
        let key = json!({ "event_type": { "S": "#version" }, "policy": { "S": "#version" } });
        let args =
            json!({ "TableName": self.name("policies"), "Key": key, "ConsistentRead": true });
        let item = plain(&self.aws.call("dynamodb", "get_item", args)["Item"]);
        item["version"].as_u64().unwrap_or_else(|| panic!("a version: {item}"))
    }

    /// How long a message that a function took stays away from the next one.
    pub fn visibility(&self, queue: &str, seconds: u32) {
        let attributes = json!({ "VisibilityTimeout": seconds.to_string() });
        let args = json!({ "QueueUrl": self.url_of(queue), "Attributes": attributes });
        let _set = self.aws.call("sqs", "set_queue_attributes", args);
    }

    /// Waits until a queue holds nothing, neither to be taken nor taken.
    ///
    /// # Panics
    /// When something stays.
    pub fn wait_until_empty(&self, queue: &str) {
        let url = self.url_of(queue);
        let kinds = ["", "NotVisible", "Delayed"];
        let names = kinds.map(|kind| format!("ApproximateNumberOfMessages{kind}"));
        let args = json!({ "QueueUrl": url, "AttributeNames": names });
        let left =
            || self.aws.call("sqs", "get_queue_attributes", args.clone())["Attributes"].clone();
        wait::until_or(
            || format!("{queue} to be empty: {:#}", left()),
            || {
                let left = left();
                names.iter().all(|name| left[name] == "0").then_some(())
            },
        );
    }

    /// The address of a queue of the stack.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn url_of(&self, queue: &str) -> String {
        let args = json!({ "QueueName": self.name(queue) });
        let answer = self.aws.call("sqs", "get_queue_url", args);
        answer["QueueUrl"].as_str().expect("it has one").to_owned()
    }

    /// From now on hears what the operators are told.
    ///
    /// # Panics
    /// When nothing can be heard.
    #[must_use]
    pub fn ears(&self) -> Ears<'_> {
        let made = self.aws.call("sqs", "create_queue", json!({ "QueueName": "ears" }));
        let url = made["QueueUrl"].as_str().expect("it has an address").to_owned();
        let args = json!({ "QueueUrl": url, "AttributeNames": ["QueueArn"] });
        let arn =
            self.aws.call("sqs", "get_queue_attributes", args)["Attributes"]["QueueArn"].clone();
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": { "Service": "sns.amazonaws.com" },
                "Action": "sqs:SendMessage",
                "Resource": arn,
            }],
        });
        let attributes = json!({ "Policy": policy.to_string() });
        let args = json!({ "QueueUrl": url, "Attributes": attributes });
        let _set = self.aws.call("sqs", "set_queue_attributes", args);
        let topic = self.output("OperatorsTopic");
        let args = json!({ "TopicArn": topic, "Protocol": "sqs", "Endpoint": arn });
        let _subscribed = self.aws.call("sns", "subscribe", args);
        Ears { cloud: self, url }
    }
}

/// Hears what the operators are told.
#[derive(Debug)]
pub struct Ears<'a> {
    cloud: &'a Cloud,
    url: String,
}

impl Ears<'_> {
    /// What they are told that speaks of this; all else is thrown away.
    ///
    /// # Panics
    /// When nothing comes.
    #[must_use]
    pub fn wait_for(&self, text: &str) -> String {
        let args = json!({ "QueueUrl": self.url, "MaxNumberOfMessages": 10 });
        wait::until(&format!("operators to be told of {text}"), || {
            let got = self.cloud.aws.call("sqs", "receive_message", args.clone());
            let messages = got["Messages"].as_array().cloned().unwrap_or_default();
            let mut bodies = messages.iter().filter_map(|message| message["Body"].as_str());
            bodies.find(|body| body.contains(text)).map(ToOwned::to_owned)
        })
    }
}

/// The template with what it needs beside it: the same files, the functions as they are here.
fn lay_out(place: &Path) {
    let root = place::root();
    fs::create_dir_all(place).expect("a folder can be made");
    symlink(root.join("infra"), place.join("infra")).expect("a link can be made");
    for function in FUNCTIONS {
        let folder = place.join("target/functions").join(function);
        fs::create_dir_all(&folder).expect("a folder can be made");
        // What is only for debugging would be zipped and copied for nothing.
        let mut strip = Command::new("strip");
        strip.arg("-o").arg(folder.join("bootstrap")).arg(programs::path(function));
        let _nothing = place::output(&mut strip);
    }
}

/// A value of DynamoDB, as JSON.
fn plain(item: &Value) -> Value {
    let members = item.as_object().into_iter().flatten();
    let value = |value: &Value| {
        let text = |kind: &str| value.get(kind).and_then(Value::as_str);
        let number = text("N").and_then(|text| serde_json::from_str(text).ok());
        number.or_else(|| Some(text("S")?.into())).unwrap_or_else(|| value.clone())
    };
    members.map(|(key, found)| (key.clone(), value(found))).collect()
}
