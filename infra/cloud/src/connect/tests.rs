//! Whose credentials calls are signed with. The tests suppose an environment without keys of AWS.

use std::time::Instant;

use serde_json::json;
use snooze_imds::fake::{Fake, ROLE_PATH, Reply, Role as FakeRole};
use snooze_policy::SecretRef;

use super::*;
use crate::CloudError;
use crate::error::Kind;
use crate::secrets::{Secret, Secrets};
use crate::stub::{REGION, Stub};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn e10_credentials_that_live_one_minute_are_refreshed_and_long_ones_are_kept() {
    for (life, keys) in [
        (Duration::from_secs(60), ["ASIAFAKE00000001", "ASIAFAKE00000002", "ASIAFAKE00000003"]),
        (HOUR, ["ASIAFAKE00000001"; 3]),
    ] {
        let stub = Stub::start(|_| parameter()).await;
        let metadata = Fake::on_loopback().await.unwrap();
        metadata.role(Some(FakeRole::lasting("orders", life)));
        let secrets = Secrets::new(&stub.lead(connect_daemon(REGION, Some(&metadata.url())).await));
        for _ in keys {
            ask(&secrets).await.unwrap();
        }
        let asked = stub.asked();
        assert_eq!(asked.iter().map(|asked| asked.key()).collect::<Vec<_>>(), keys);
        assert!(asked.iter().all(|asked| asked.headers["x-amz-security-token"].contains("fake")));
    }
}

#[tokio::test]
async fn e10_clients_share_their_credentials() {
    let stub = Stub::start(|_| parameter()).await;
    let (aws, metadata) = stub.aws().await;
    for _ in 0..3 {
        ask(&Secrets::new(&aws)).await.unwrap();
    }
    assert_eq!(metadata.asked(ROLE_PATH), 1);
}

#[tokio::test]
async fn e10_without_a_role_a_call_fails_soon_and_works_once_there_is_one() {
    let stub = Stub::start(|_| parameter()).await;
    let metadata = Fake::on_loopback().await.unwrap();
    let secrets = Secrets::new(&stub.lead(connect_daemon(REGION, Some(&metadata.url())).await));
    let refused = soon(&secrets).await.unwrap_err();
    assert!(refused.again() && refused.to_string().contains("redentials"), "{refused}");
    assert_eq!(stub.asked(), []);
    metadata.role(Some(FakeRole::lasting("orders", HOUR)));
    soon(&secrets).await.unwrap();
}

#[tokio::test]
async fn e10_a_metadata_service_that_fails_hangs_nothing() {
    let orders = format!("{ROLE_PATH}orders");
    let page = || Reply::ok("<html>not credentials");
    for (path, reply) in [
        (ROLE_PATH, Reply::hang()),
        (ROLE_PATH, Reply::reset()),
        (ROLE_PATH, Reply::status(500)),
        (&orders, Reply::hang()),
        (&orders, Reply::status(404)),
        (&orders, page()),
        (snooze_imds::TOKEN_PATH, Reply::status(403)),
        (snooze_imds::TOKEN_PATH, Reply::hang()),
    ] {
        let stub = Stub::start(|_| parameter()).await;
        let metadata = Fake::on_loopback().await.unwrap();
        metadata.role(Some(FakeRole::lasting("orders", HOUR)));
        metadata.set(path, [reply.clone()]);
        let secrets = Secrets::new(&stub.lead(connect_daemon(REGION, Some(&metadata.url())).await));
        let refused = soon(&secrets).await.unwrap_err();
        assert!(refused.again(), "{path} {reply:?}: {refused}");
        assert_eq!(stub.asked(), []);
        metadata.clear(path);
        soon(&secrets).await.unwrap();
    }
}

#[tokio::test]
async fn e10_when_the_metadata_service_goes_the_old_credentials_are_used_on() {
    let stub = Stub::start(|_| parameter()).await;
    let metadata = Fake::on_loopback().await.unwrap();
    metadata.role(Some(FakeRole::lasting("orders", Duration::from_secs(60))));
    let secrets = Secrets::new(&stub.lead(connect_daemon(REGION, Some(&metadata.url())).await));
    soon(&secrets).await.unwrap();
    metadata.down();
    soon(&secrets).await.unwrap();
    metadata.up();
    metadata.role(None);
    soon(&secrets).await.unwrap();
    let asked = stub.asked();
    assert!(asked.iter().all(|asked| asked.key() == "ASIAFAKE00000001"), "{asked:?}");
}

#[tokio::test]
async fn e10_what_aws_refuses_is_told_and_not_asked_again_and_again() {
    for (code, kind) in [
        ("ExpiredTokenException", Kind::Later),
        ("AccessDeniedException", Kind::Denied),
        ("UnrecognizedClientException", Kind::Denied),
    ] {
        let stub = Stub::start(move |_| (400, json!({ "__type": code }).to_string())).await;
        let (aws, _metadata) = stub.aws().await;
        let refused = soon(&Secrets::new(&aws)).await.unwrap_err();
        assert_eq!((refused.code.as_str(), refused.kind), (code, kind));
        assert!(stub.asked().len() <= 2, "{:?}", stub.asked());
    }
}

/// One call, which must end within the limit of an operation.
async fn soon(secrets: &Secrets) -> Result<Secret, CloudError> {
    let started = Instant::now();
    let result = ask(secrets).await;
    let took = started.elapsed();
    assert!(took < daemon::PATIENCE.operation + Duration::from_secs(1), "{took:?}");
    result
}

async fn ask(secrets: &Secrets) -> Result<Secret, CloudError> {
    secrets.read(&SecretRef::Ssm("/slack/url".to_owned())).await
}

fn parameter() -> (u16, String) {
    (200, json!({ "Parameter": { "Name": "/slack/url", "Value": "x" } }).to_string())
}
