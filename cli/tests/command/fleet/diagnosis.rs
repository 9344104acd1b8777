//! `snooze doctor`, `breaker`, `iam-policy`, and what AWS refuses.

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_cloud::fake::{Fault, Server};

use super::{Cloud, ID, ORDERS, run};

const TOPIC: &str = "<GetTopicAttributesResponse \
    xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><GetTopicAttributesResult><Attributes>\
    <entry><key>SignatureVersion</key><value>2</value></entry></Attributes>\
    </GetTopicAttributesResult></GetTopicAttributesResponse>";

const HOOKS: &str = "<DescribeLifecycleHooksResponse \
    xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\"><DescribeLifecycleHooksResult>\
    <LifecycleHooks><member><LifecycleHookName>drain</LifecycleHookName>\
    <LifecycleTransition>autoscaling:EC2_INSTANCE_TERMINATING</LifecycleTransition>\
    <HeartbeatTimeout>300</HeartbeatTimeout></member></LifecycleHooks>\
    </DescribeLifecycleHooksResult></DescribeLifecycleHooksResponse>";

/// A stack in which nothing is wrong.
async fn healthy() -> Cloud {
    let cloud = Cloud::start().await;
    for queue in ["actions", "actions-dead", "events-dead"] {
        cloud.server.make_queue(&format!("cloudsnooze-{queue}"));
    }
    cloud.server.answer("GetTopicAttributes", 200, TOPIC);
    cloud.server.answer("DescribeLifecycleHooks", 200, HOOKS);
    cloud.server.answer("DescribeEventBus", 200, r#"{ "Name": "cloudsnooze" }"#);
    cloud.policies().put(ORDERS, "operator", Timestamp::now()).await.unwrap();
    cloud.hello(ID).await;
    cloud
}

fn of<'a>(found: &'a Value, severity: &str) -> Vec<&'a str> {
    let of = |finding: &&Value| finding["severity"] == severity;
    let part = |finding: &'a Value| finding["part"].as_str().unwrap();
    found.as_array().unwrap().iter().filter(of).map(part).collect()
}

#[tokio::test]
async fn a_healthy_stack_has_no_finding() {
    let cloud = healthy().await;
    let all = cloud.snooze(&["--json", "doctor"]).await;
    assert_eq!(all.code, 0, "{all:?}");
    let found = all.json();
    assert_eq!((of(&found, "error"), of(&found, "warning")), (vec![], vec![]), "{found:#}");
    assert_eq!(of(&found, "note"), ["daemon"]);
    let told = cloud.snooze(&["doctor", "--cloud"]).await;
    assert!(told.out.ends_with("0 errors, 0 warnings\n"), "{told:?}");
}

#[tokio::test]
async fn d16_each_call_that_is_denied_is_one_finding_and_the_others_go_on() {
    let cloud = healthy().await;
    for denied in ["GetItem", "Scan", "GetQueueAttributes", "GetTopicAttributes"] {
        cloud.server.standing(denied, Fault::error(400, "AccessDeniedException"));
    }
    let run = cloud.snooze(&["--json", "doctor", "--cloud"]).await;
    assert_eq!(run.code, 1, "{run:?}");
    let found = run.json();
    assert_eq!(
        of(&found, "error"),
        [
            "cloudsnooze-policies",
            "cloudsnooze-actions",
            "cloudsnooze-actions-dead",
            "cloudsnooze-events-dead",
            "cloudsnooze-instances",
            "cloudsnooze-incidents",
            "cloudsnooze-commands",
            "cloudsnooze-operators"
        ],
        "{found:#}"
    );
    assert_eq!(of(&found, "ok"), ["sweep", "cloudsnooze"]);
    assert!(found[0]["mend"].as_str().unwrap().contains("`dynamodb:GetItem`"), "{found:#}");
}

#[tokio::test]
async fn letters_that_are_dead_and_stacks_that_are_not_there_are_found() {
    let cloud = healthy().await;
    cloud.server.put_message("cloudsnooze-actions-dead", "{}");
    let run = cloud.snooze(&["--json", "doctor", "--cloud"]).await;
    assert_eq!(
        (run.code, of(&run.json(), "error")),
        (1, vec!["cloudsnooze-actions-dead"]),
        "{run:?}"
    );
    let run = cloud.snooze(&["--json", "doctor", "--cloud", "--stack", "other"]).await;
    assert!(of(&run.json(), "error").contains(&"other-actions"), "{run:?}");
}

#[tokio::test]
async fn doctor_works_without_aws_and_without_a_daemon() {
    let none = run(&["--json", "doctor"], &[]).await;
    assert_eq!(none.code, 1, "{none:?}");
    let found = none.json();
    assert_eq!((of(&found, "note"), of(&found, "error")), (vec!["daemon"], vec!["AWS"]));
    let local = run(&["doctor", "--local"], &[]).await;
    assert_eq!(local.code, 0, "{local:?}");
}

#[tokio::test]
async fn d16_a_verb_that_aws_refuses_names_the_permission_and_ends_with_8() {
    let cloud = Cloud::start().await;
    cloud.server.standing("Scan", Fault::error(400, "AccessDeniedException"));
    let refused = cloud.snooze(&["instances"]).await;
    assert_eq!(refused.code, 8, "{refused:?}");
    for word in ["cloudsnooze-instances", "`dynamodb:Scan`", "snooze iam-policy operator"] {
        assert!(refused.err.contains(word), "{word}: {refused:?}");
    }
    cloud.server.standing("GetItem", Fault::error(400, "ResourceNotFoundException"));
    let missing = cloud.snooze(&["policy", "list", "--stack", "other"]).await;
    assert_eq!(missing.code, 8, "{missing:?}");
    assert!(missing.err.contains("there is no `other-policies` here"), "{missing:?}");
}

#[tokio::test]
async fn without_a_region_or_an_answer_the_verb_says_what_to_do() {
    let nowhere = run(&["instances"], &[]).await;
    assert_eq!(nowhere.code, 2, "{nowhere:?}");
    assert!(nowhere.err.contains("`--region`"), "{nowhere:?}");
    let gone = Server::start().await.unwrap().url().to_owned();
    let args = ["instances", "--region", "eu-central-1"];
    let silent = run(&args, &[("AWS_ENDPOINT_URL", &gone)]).await;
    assert_eq!(silent.code, 8, "{silent:?}");
    assert!(silent.err.contains("AWS did not answer"), "{silent:?}");
    let bad = run(&["instances", "--stack", "a b"], &[("AWS_REGION", "eu-central-1")]).await;
    assert_eq!(bad.code, 2, "{bad:?}");
}

#[tokio::test]
async fn an_open_breaker_is_listed_and_reset() {
    let cloud = Cloud::start().await;
    let until = Timestamp::now().as_millisecond() + 20_000;
    let item = json!({ "incident": { "S": "breaker/hooks.example.com" }, "failures": { "N": "5" },
        "until": { "N": until.to_string() } });
    let Value::Object(item) = item else { unreachable!() };
    cloud.server.put_item("cloudsnooze-incidents", item);
    let listed = cloud.snooze(&["breaker", "list"]).await;
    assert!(listed.out.contains("hooks.example.com  are held back, a trial in"), "{listed:?}");
    let reset = cloud.snooze(&["breaker", "reset", "hooks.example.com"]).await;
    assert_eq!(
        (reset.code, reset.out.as_str()),
        (0, "hooks.example.com: calls go through again\n")
    );
    let listed = cloud.snooze(&["breaker", "list"]).await;
    assert_eq!(listed.out, "no destination failed lately\n");
}

#[tokio::test]
async fn a_policy_for_a_role_is_printed_without_asking_aws() {
    let args = ["iam-policy", "operator", "--account", "123456789012", "--key", "k"];
    let narrow = run(&[&args[..], &["--region", "eu-central-1"]].concat(), &[]).await;
    assert_eq!((narrow.code, narrow.err.as_str()), (0, ""), "{narrow:?}");
    assert_eq!(narrow.json()["Version"], "2012-10-17");
    let table = "arn:aws:dynamodb:eu-central-1:123456789012:table/cloudsnooze-policies";
    assert!(narrow.out.contains(table), "{narrow:?}");
    let open = run(&["iam-policy", "instance"], &[]).await;
    assert!(open.err.contains("--account, --region, --key"), "{open:?}");
    assert_eq!(open.json()["Version"], "2012-10-17");
    assert_eq!(run(&["iam-policy", "nobody"], &[]).await.code, 2);
}
