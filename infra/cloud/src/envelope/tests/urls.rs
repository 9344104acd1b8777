//! Where certificates may be.

use super::super::address::{base, file};
use super::*;

#[test]
fn e4_the_vectors_of_addresses_are_judged_as_they_should_be() {
    let vectors: Value = serde_json::from_str(&sample("sns-cert-url-vectors.json")).unwrap();
    let urls = |list: &str| {
        let urls = vectors[list].as_array().unwrap().iter();
        urls.map(|url| url.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let regions =
        ["us-east-1", "eu-central-2", "us-gov-west-1", "cn-north-1", "us-west-2"].map(|region| {
            assert!(address::is_region(region));
            region
        });
    for url in urls("accept") {
        let fit: Vec<_> = regions.iter().filter(|region| file(&url, region).is_some()).collect();
        assert_eq!(fit.len(), 1, "{url}: {fit:?}");
    }
    for url in urls("refuse") {
        for region in regions {
            assert_eq!(file(&url, region), None, "{url} in {region}");
        }
    }
    assert_eq!(urls("accept").len() + urls("refuse").len(), 23);
}

#[test]
fn e4_an_address_is_compared_to_the_letter() {
    let fine = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0a.pem";
    assert_eq!(file(fine, REGION), Some("SimpleNotificationService-0a.pem"));
    for url in [
        "https://sns.us-east-1.amazonaws.com:443/SimpleNotificationService-0a.pem",
        "https://sns.us-east-1.amazonaws.com./SimpleNotificationService-0a.pem",
        "https://SNS.us-east-1.amazonaws.com/SimpleNotificationService-0a.pem",
        "HTTPS://sns.us-east-1.amazonaws.com/SimpleNotificationService-0a.pem",
        "https:/sns.us-east-1.amazonaws.com/SimpleNotificationService-0a.pem",
        "https:\\\\sns.us-east-1.amazonaws.com/SimpleNotificationService-0a.pem",
        "https://u@sns.us-east-1.amazonaws.com/SimpleNotificationService-0a.pem",
        "https://sns.us-east-1.amazonaws.com//SimpleNotificationService-0a.pem",
        "https://sns.us-east-1.amazonaws.com/x/../SimpleNotificationService-0a.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-../0a.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-%2e.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0a.pem#x",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0a.pem/",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0a.pem ",
        " https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0a.pem",
        "https://sns.us-east-1.amazonaws.com\t/SimpleNotificationService-0a.pem",
        "https://sns.us-east-1.amazonaws.com.cn/SimpleNotificationService-0a.pem",
        "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-0a.pem",
        "",
    ] {
        assert_eq!(file(url, REGION), None, "{url}");
    }
    let long = format!("{}SimpleNotificationService-{}.pem", base(REGION), "a".repeat(65));
    assert_eq!(file(&long, REGION), None);
}

#[tokio::test]
async fn e4_a_message_with_another_address_is_refused_though_its_signature_fits() {
    for url in ["https://sns.s3-us-west-2.amazonaws.com/SimpleNotificationService-a.pem", ""] {
        let mut members = members();
        members.insert("SigningCertURL".to_owned(), url.into());
        let body = SIGNER.envelope(members).unwrap();
        let refused = Pinned::new(&SIGNER).open(&body).await.unwrap_err();
        assert!(matches!(refused, Refused::Address(_)) && !refused.again(), "{refused}");
    }
}

#[test]
fn rules_that_no_message_can_fit_are_refused() {
    let check = |topic: &str, region: &str| {
        let rules =
            Rules { topic_arn: topic.to_owned(), region: region.to_owned(), certificates: None };
        Verifier::new(rules).map(drop).map_err(|bad| bad.to_string())
    };
    assert_eq!(check(TOPIC, REGION), Ok(()));
    assert_eq!(check("arn:aws-cn:sns:cn-north-1:123456789012:s-commands", "cn-north-1"), Ok(()));
    for region in ["", "us-east", "s3-us-west-2", "us--1", "us-east-123", "US-EAST-1", "us-e.x-1"] {
        let text = check(TOPIC, region).unwrap_err();
        assert_eq!(text, format!("`{region}` is no Region: expected the like of `eu-central-1`"));
    }
    for topic in [
        "",
        "arn:aws:sns:us-west-2:123456789012:s-commands",
        "arn:aws:sqs:us-east-1:123456789012:s-commands",
        "arn:aws:sns:us-east-1:12345:s-commands",
        "arn:aws:sns:us-east-1:123456789012:",
        "arn:aws:sns:us-east-1:123456789012:s-commands:subscription",
    ] {
        let text = check(topic, REGION).unwrap_err();
        let expected = "`arn:aws:sns:us-east-1:ACCOUNT:NAME`";
        assert!(text.starts_with(&format!("`{topic}` is no topic")), "{text}");
        assert!(text.ends_with(expected), "{text}");
    }
}
