use std::sync::atomic::{AtomicU32, Ordering};

use aws_smithy_runtime_api::http::StatusCode;
use aws_types::service_config::LoadServiceConfig;
use serde_json::json;
use snooze_imds::fake::Fake;

use super::*;
use crate::stub::{REGION, Stub};

const SERVICE: Service =
    Service { name: "Some Thing", host: "thing", target: "Thing_1", content: "application/x" };

#[tokio::test]
async fn a_call_is_signed_for_its_service_and_region() {
    let stub = Stub::start(|_| (200, json!({ "Made": 1 }).to_string())).await;
    let (aws, _metadata) = stub.aws().await;
    let answer = make(&aws).await.unwrap();
    assert_eq!(answer, json!({ "Made": 1 }));
    let asked = stub.asked();
    assert_eq!((asked[0].call.as_str(), &asked[0].body), ("Make", &json!({ "Name": "x" })));
    let headers = &asked[0].headers;
    assert_eq!(headers["x-amz-target"], "Thing_1.Make");
    assert_eq!(headers["content-type"], "application/x");
    assert!(headers["user-agent"].starts_with("aws-sdk-rust/"), "{headers:?}");
    let signature = &headers["authorization"];
    assert!(signature.contains(&format!("/{REGION}/thing/aws4_request")), "{signature}");
    assert!(signature.contains("x-amz-security-token;x-amz-target"), "{signature}");
}

#[tokio::test]
async fn what_may_work_again_is_tried_again_and_the_rest_is_not() {
    for (refusal, calls) in [
        ((500, "{}"), 2),
        ((503, "<html>"), 2),
        ((400, r#"{"__type":"ThrottlingException"}"#), 2),
        ((400, r#"{"__type":"ValidationException"}"#), 1),
        ((200, "no JSON"), 2),
    ] {
        let times = AtomicU32::new(0);
        let stub = Stub::start(move |_| {
            let first = times.fetch_add(1, Ordering::Relaxed) == 0;
            let (status, body) = if first { refusal } else { (200, "{}") };
            (status, body.to_owned())
        })
        .await;
        let (aws, _metadata) = stub.aws().await;
        let answer = make(&aws).await;
        assert_eq!((answer.is_ok(), stub.asked().len()), (calls == 2, calls), "{answer:?}");
    }
}

#[tokio::test]
async fn nothing_is_asked_without_a_region() {
    let stub = Stub::start(|_| (200, "{}".to_owned())).await;
    let (aws, _metadata) = stub.aws().await;
    let aws = aws.into_builder().region(None).build();
    let refused = make(&aws).await.unwrap_err();
    assert_eq!(refused.to_string(), "`Make` failed: NotSent: the settings name no Region");
    assert_eq!(stub.asked(), []);
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unreachable() {
    let metadata = Fake::on_loopback().await.unwrap();
    let stub = Stub::start(|_| (200, "{}".to_owned())).await;
    let (aws, _metadata) = stub.aws().await;
    metadata.down();
    let refused = make(&aws.into_builder().endpoint_url(metadata.url()).build()).await.unwrap_err();
    assert_eq!((refused.kind, refused.code.as_str()), (Kind::Unreachable, "Unreachable"));
}

/// The variables of the environment, or the lines of the profile.
#[derive(Debug)]
struct Own;

impl LoadServiceConfig for Own {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let key = (key.service_id(), key.env(), key.profile());
        let own = key == ("Some Thing", "AWS_ENDPOINT_URL", "endpoint_url");
        own.then(|| "http://own".to_owned())
    }
}

#[test]
fn an_address_is_that_of_the_service_that_of_all_or_the_public_one() {
    let region = Region::from_static("eu-west-1");
    let none = Aws::builder().region(region).build();
    let public = "https://thing.eu-west-1.amazonaws.com";
    assert_eq!(endpoint(&none, &SERVICE, "eu-west-1"), public);
    let all = none.to_builder().endpoint_url("http://all").build();
    assert_eq!(endpoint(&all, &SERVICE, "eu-west-1"), "http://all");
    let own = all.to_builder().service_config(Own).build();
    assert_eq!(endpoint(&own, &SERVICE, "eu-west-1"), "http://own");
    let fips = none.to_builder().use_fips(true).use_dual_stack(true).build();
    assert_eq!(endpoint(&fips, &SERVICE, "eu-west-1"), "https://thing-fips.eu-west-1.api.aws");
}

#[test]
fn public_addresses_are_those_that_the_sdks_know() {
    for (host, region, fips, dual_stack, expected) in [
        ("ssm", "us-east-1", false, false, "ssm.us-east-1.amazonaws.com"),
        ("ssm", "us-east-1", true, true, "ssm-fips.us-east-1.api.aws"),
        ("ssm", "cn-north-1", false, false, "ssm.cn-north-1.amazonaws.com.cn"),
        ("ssm", "cn-north-1", false, true, "ssm.cn-north-1.api.amazonwebservices.com.cn"),
        ("ssm", "us-gov-east-1", true, false, "ssm.us-gov-east-1.amazonaws.com"),
        ("ssm", "us-gov-east-1", true, true, "ssm-fips.us-gov-east-1.api.aws"),
        ("sqs", "us-gov-east-1", true, false, "sqs.us-gov-east-1.amazonaws.com"),
        ("sqs", "us-gov-east-1", true, true, "sqs-fips.us-gov-east-1.api.aws"),
        ("events", "us-gov-west-1", true, false, "events.us-gov-west-1.amazonaws.com"),
        ("events", "us-gov-west-1", true, true, "events.us-gov-west-1.api.aws"),
        ("events", "us-east-1", true, true, "events-fips.us-east-1.api.aws"),
        ("ec2", "eu-central-1", false, false, "ec2.eu-central-1.amazonaws.com"),
        ("ec2", "us-gov-east-1", true, false, "ec2.us-gov-east-1.amazonaws.com"),
        ("ec2", "us-gov-east-1", true, true, "ec2-fips.us-gov-east-1.api.aws"),
        ("ssm", "us-iso-east-1", false, false, "ssm.us-iso-east-1.c2s.ic.gov"),
        ("ssm", "us-isob-east-1", true, false, "ssm-fips.us-isob-east-1.sc2s.sgov.gov"),
        ("ssm", "eusc-de-east-1", false, false, "ssm.eusc-de-east-1.amazonaws.eu"),
        (
            "secretsmanager",
            "us-gov-west-1",
            true,
            false,
            "secretsmanager-fips.us-gov-west-1.amazonaws.com",
        ),
        (
            "secretsmanager",
            "cn-northwest-1",
            false,
            false,
            "secretsmanager.cn-northwest-1.amazonaws.com.cn",
        ),
    ] {
        assert_eq!(public(host, region, fips, dual_stack), format!("https://{expected}"));
    }
}

#[test]
fn a_refusal_is_named_by_its_header_or_else_by_its_body() {
    for (header, body, code, text) in [
        (None, json!({ "__type": "a.b#Nope", "message": "no" }), Some("Nope"), Some("no")),
        (None, json!({ "code": "Nope:http://a", "Message": "no" }), Some("Nope"), Some("no")),
        (Some("a#Nope:http://a#b"), json!({ "__type": "Other" }), Some("Nope"), None),
        (None, json!("Nope"), None, None),
        (None, Value::Null, None, None),
    ] {
        let mut response = HttpResponse::new(StatusCode::try_from(400).unwrap(), SdkBody::empty());
        if let Some(header) = header {
            response.headers_mut().insert("x-amzn-errortype", header);
        }
        let refusal = refusal(&response, &body);
        assert_eq!((refusal.code(), refusal.message()), (code, text), "{body}");
    }
}

async fn make(aws: &Aws) -> Result<Value, CloudError> {
    Client::new(aws, &SERVICE).call("Make", &json!({ "Name": "x" })).await
}
