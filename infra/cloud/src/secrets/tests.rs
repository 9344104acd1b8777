use serde_json::json;
use snooze_imds::fake::Fake;
use snooze_policy::secret_reference;

use super::*;
use crate::stub::{Asked, Stub};

const CANARY: &str = "S3CR3T-CANARY";

#[tokio::test]
async fn a_parameter_is_read_decrypted() {
    let Store { stub, secrets, .. } = &store(|_| parameter(CANARY)).await;
    let secret = read(secrets, "ssm:/slack/url").await.unwrap();
    assert_eq!(&*secret, CANARY);
    let asked = stub.asked();
    assert_eq!(asked[0].call, "GetParameter");
    assert_eq!(asked[0].body, json!({ "Name": "/slack/url", "WithDecryption": true }));
    assert_eq!(asked.len(), 1);
}

#[tokio::test]
async fn a_secret_is_read_whole_or_one_member_of_it() {
    let text = json!({ "user": "orders", "password": CANARY, "port": 5432 }).to_string();
    let whole = text.clone();
    let Store { stub, secrets, .. } = &store(move |_| secret(&text)).await;
    let name = "arn:aws:secretsmanager:us-east-1:123456789012:secret:orders-AbC";
    for (reference, expected) in [
        (format!("secretsmanager:{name}"), whole.as_str()),
        (format!("secretsmanager:{name}#password"), CANARY),
        (format!("secretsmanager:{name}#port"), "5432"),
    ] {
        assert_eq!(&*read(secrets, &reference).await.unwrap(), expected);
    }
    for asked in stub.asked() {
        assert_eq!(
            (asked.call.as_str(), &asked.body["SecretId"]),
            ("GetSecretValue", &json!(name))
        );
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_without_the_secret() {
    type Answers = fn() -> (u16, String);
    let cases: [(&str, Answers, Kind, &str); 12] = [
        (
            "ssm:/x",
            || (400, r#"{"__type":"ParameterNotFound"}"#.to_owned()),
            Kind::Missing,
            "`GetParameter` failed: ParameterNotFound",
        ),
        (
            "ssm:/x",
            || (400, r#"{"__type":"AccessDeniedException","message":"no"}"#.to_owned()),
            Kind::Denied,
            "`GetParameter` failed: AccessDeniedException: no",
        ),
        (
            "ssm:/x",
            || parameter(&CANARY.repeat(5050)),
            Kind::Invalid,
            "`GetParameter` failed: TooLong: the value is longer than 65536 bytes",
        ),
        (
            "ssm:/x",
            || (200, "{}".to_owned()),
            Kind::Missing,
            "`GetParameter` failed: NoText: it holds no text",
        ),
        (
            "secretsmanager:x",
            || (400, r#"{"__type":"ResourceNotFoundException"}"#.to_owned()),
            Kind::Missing,
            "`GetSecretValue` failed: ResourceNotFoundException",
        ),
        (
            "secretsmanager:x",
            || (200, json!({ "SecretBinary": "UzNDUjNULUNBTkFSWQ==" }).to_string()),
            Kind::Missing,
            "`GetSecretValue` failed: NoText: it holds no text",
        ),
        (
            "secretsmanager:x#k",
            || secret(CANARY),
            Kind::Invalid,
            "`GetSecretValue` failed: NoMember: the secret is no JSON object, so it has no members",
        ),
        (
            "secretsmanager:x#k",
            || secret(r#"["S3CR3T-CANARY"]"#),
            Kind::Invalid,
            "`GetSecretValue` failed: NoMember: the secret is no JSON object, so it has no members",
        ),
        (
            "secretsmanager:x#k",
            || secret(r#"{"S3CR3T-CANARY":"S3CR3T-CANARY"}"#),
            Kind::Missing,
            "`GetSecretValue` failed: NoMember: the secret has no member `k`",
        ),
        (
            "secretsmanager:x#k",
            || secret(r#"{"k":["S3CR3T-CANARY"]}"#),
            Kind::Invalid,
            "`GetSecretValue` failed: NoMember: member `k` is neither a text nor a number",
        ),
        (
            "credential:x",
            || (200, String::new()),
            Kind::Invalid,
            "`GetSecretValue` failed: NotRemote: credentials and variables are read on the instance itself",
        ),
        (
            "env:X",
            || (200, String::new()),
            Kind::Invalid,
            "`GetSecretValue` failed: NotRemote: credentials and variables are read on the instance itself",
        ),
    ];
    for (reference, answer, kind, text) in cases {
        let Store { secrets, .. } = &store(move |_| answer()).await;
        let error = read(secrets, reference).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.kind), (text, kind), "{reference}");
        assert!(!format!("{error:?}").contains("S3CR3T"), "{error:?}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_shows_nothing_of_the_secret() {
    for body in [
        format!("{{\"Parameter\":{{\"Value\":\"{CANARY}\"}}"),
        format!("{{\"Parameter\":{{\"Value\":[\"{CANARY}\"]}}}}"),
        format!("\"{CANARY}\""),
        CANARY.to_owned(),
    ] {
        let Store { secrets, .. } = &store(move |_| (200, body.clone())).await;
        let error = read(secrets, "ssm:/x").await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("S3CR3T"), "{error:?}");
    }
}

#[tokio::test]
async fn a_secret_is_never_shown() {
    let Store { secrets, .. } = &store(|_| parameter(CANARY)).await;
    let secret = read(secrets, "ssm:/slack/url").await.unwrap();
    assert_eq!(format!("{secret:?}"), "Secret(***)");
}

/// The stores, the service behind them, and where the credentials come from.
struct Store {
    secrets: Secrets,
    stub: Stub,
    _metadata: Fake,
}

async fn store(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Store {
    let stub = Stub::start(answer).await;
    let (aws, metadata) = stub.aws().await;
    Store { secrets: Secrets::new(&aws), stub, _metadata: metadata }
}

async fn read(secrets: &Secrets, reference: &str) -> Result<Secret, CloudError> {
    secrets.read(&secret_reference(reference).unwrap()).await
}

fn parameter(value: &str) -> (u16, String) {
    (200, json!({ "Parameter": { "Name": "x", "Value": value } }).to_string())
}

fn secret(text: &str) -> (u16, String) {
    (200, json!({ "Name": "x", "SecretString": text }).to_string())
}
