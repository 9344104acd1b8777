//! Certificates from a server.

use std::net::SocketAddr;
use std::time::Instant;

use super::super::fetch::Web;
use super::server::{Does, Server};
use super::*;

const HOST: &str = "sns.us-east-1.amazonaws.com";

#[tokio::test]
async fn a_certificate_is_fetched_once() {
    let (server, mut verifier) = trusted(Does::ok(&SIGNER.certificate())).await;
    for _ in 0..3 {
        verifier.verify(&body(), now()).await.unwrap();
    }
    assert_eq!((server.connections(), server.requests()), (1, 1));
    drop(server);
    verifier.verify(&body(), now()).await.expect("what is known needs no network");
}

#[tokio::test]
async fn e4_a_server_with_a_wrong_chain_gets_no_request() {
    let server = Server::start(&tls(), HOST, Does::ok(&SIGNER.certificate())).await;
    let mut verifier = reached(server.address, None);
    let refused = verifier.verify(&body(), now()).await.unwrap_err();
    assert!(refused.again() && refused.to_string().contains("certificate"), "{refused}");
    assert_eq!((server.connections(), server.requests()), (1, 0));
}

#[tokio::test]
async fn e4_a_server_of_another_name_gets_no_request() {
    let name = "sns.us-west-2.amazonaws.com";
    let server = Server::start(&tls(), name, Does::ok(&SIGNER.certificate())).await;
    let mut verifier = reached(server.address, Some(root(name)));
    let refused = verifier.verify(&body(), now()).await.unwrap_err();
    assert!(refused.again() && refused.to_string().contains("not valid for name"), "{refused}");
    assert_eq!((server.connections(), server.requests()), (1, 0));
}

#[tokio::test]
async fn e4_a_redirect_is_never_followed() {
    let (other, _) = trusted(Does::ok(&SIGNER.certificate())).await;
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let location = format!("Location: https://{HOST}:{}/x.pem\r\n", other.address.port());
        let (server, mut verifier) = trusted(Does::status(status, &location, "")).await;
        let refused = verifier.verify(&body(), now()).await.unwrap_err();
        assert!(matches!(refused, Refused::Certificate(_)) && !refused.again(), "{refused}");
        assert_eq!((server.requests(), other.connections()), (1, 0));
    }
}

#[tokio::test]
async fn e4_a_long_file_is_not_read_to_its_end() {
    let long = SIGNER.certificate() + &"\n".repeat(64 << 10);
    let endless = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n{long}");
    for does in [Does::ok(&long), Does::Answers(endless.into_bytes())] {
        let (_server, mut verifier) = trusted(does).await;
        let refused = verifier.verify(&body(), now()).await.unwrap_err();
        assert!(matches!(refused, Refused::Certificate(_)), "{refused}");
        assert!(refused.to_string().contains("longer than 65536 bytes"), "{refused}");
    }
}

#[tokio::test]
async fn e6_a_server_that_is_unwell_may_work_later_and_one_that_refuses_never() {
    let cut = Does::Answers(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n-----BEGIN".to_vec());
    let garbage = Does::Answers(b"\x00\x01garbage\r\n\r\n".to_vec());
    for (does, again) in [
        (Does::status("500 Error", "", ""), true),
        (Does::status("503 Slow Down", "", ""), true),
        (Does::status("429 Slow Down", "", ""), true),
        (Does::status("403 Forbidden", "", ""), false),
        (Does::status("404 Not Found", "", ""), false),
        (Does::ok("<html>"), false),
        (cut, true),
        (garbage, true),
    ] {
        let (server, mut verifier) = trusted(does).await;
        let refused = verifier.verify(&body(), now()).await.unwrap_err();
        assert_eq!(refused.again(), again, "{refused}");
        assert_eq!(server.requests(), 1);
    }
}

#[tokio::test]
async fn e6_a_hanging_server_costs_one_wait_of_two_seconds() {
    for does in [Does::Hangs, Does::HangsAfterTls] {
        let (server, mut verifier) = trusted(does).await;
        let started = Instant::now();
        for _ in 0..10 {
            let refused = verifier.verify(&body(), now()).await.unwrap_err();
            assert!(refused.again(), "{refused}");
        }
        let took = started.elapsed();
        // Ten waits would take twenty seconds; the rest is slack for a busy machine.
        assert!(took < 5 * fetch::LIMIT, "{took:?}");
        assert_eq!(server.connections(), 1);
        assert!(verifier.verify(&body(), now() + PAUSE).await.unwrap_err().again());
        assert_eq!(server.connections(), 2, "asked again after a pause");
    }
}

#[tokio::test]
async fn e6_a_port_where_nobody_listens_may_work_later() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut verifier = reached(listener.local_addr().unwrap(), None);
    drop(listener);
    let refused = verifier.verify(&body(), now()).await.unwrap_err();
    assert!(refused.again() && refused.to_string().contains("onnection refused"), "{refused}");
}

#[tokio::test]
async fn e5_no_address_in_a_message_is_fetched() {
    let (server, mut verifier) = trusted(Does::ok(&SIGNER.certificate())).await;
    let port = server.address.port();
    let addresses = [
        format!("http://127.0.0.1:{port}/"),
        format!("https://127.0.0.1:{port}/SimpleNotificationService-a.pem"),
        format!("http://localhost:{port}/?Action=ConfirmSubscription"),
        format!("https://{HOST}:{port}/?Action=ConfirmSubscription&Token=x"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
    ];
    for kind in ["SubscriptionConfirmation", "UnsubscribeConfirmation"] {
        for address in &addresses {
            let mut members = members();
            members.insert("Type".to_owned(), kind.into());
            members.insert("Token".to_owned(), "2336412f37".into());
            members.insert("SubscribeURL".to_owned(), address.clone().into());
            let body = SIGNER.envelope(members).unwrap();
            let refused = verifier.verify(&body, now()).await.unwrap_err();
            assert_eq!(refused, Refused::NoCommand(kind.to_owned()));
        }
    }
    for address in &addresses {
        let mut members = members();
        members.insert("SigningCertURL".to_owned(), address.clone().into());
        let refused = verifier.verify(&SIGNER.envelope(members).unwrap(), now()).await;
        assert!(matches!(refused, Err(Refused::Address(_))), "{refused:?}");
    }
    for name in ["sns-http-subscription-confirmation", "sns-http-unsubscribe-confirmation"] {
        let file: Value = serde_json::from_str(&sample(&format!("{name}.json"))).unwrap();
        let refused = verifier.verify(file["body"].as_str().unwrap(), now()).await.unwrap_err();
        assert!(matches!(refused, Refused::NoCommand(_)) && !refused.again(), "{refused}");
    }
    assert_eq!(server.connections(), 0);
    let mut members = members();
    members.insert("UnsubscribeURL".to_owned(), addresses[0].clone().into());
    members.insert("SubscribeURL".to_owned(), addresses[1].clone().into());
    let refused = verifier.verify(&SIGNER.envelope(members).unwrap(), now()).await.unwrap_err();
    assert_eq!(refused, Refused::Signature, "a notification has no such member");
    assert_eq!(server.requests(), 1, "the certificate");
}

#[tokio::test]
async fn nothing_is_fetched_for_a_message_that_cannot_be_ours() {
    let (server, mut verifier) = trusted(Does::ok(&SIGNER.certificate())).await;
    let other = "arn:aws:sns:us-east-1:999999999999:cloudsnooze-commands";
    let old = moment("2026-11-21T09:00:00Z");
    for body in [
        SIGNER.notification(other, ID, TEXT, now()).unwrap(),
        SIGNER.notification(TOPIC, ID, TEXT, old).unwrap(),
        "{}".to_owned(),
    ] {
        assert!(verifier.verify(&body, now()).await.is_err());
    }
    assert_eq!(server.connections(), 0);
}

/// A server whose chain is right, and a verifier that is led there.
async fn trusted(does: Does) -> (Server, Verifier) {
    let server = Server::start(&tls(), HOST, does).await;
    let verifier = reached(server.address, Some(root(HOST)));
    (server, verifier)
}

fn reached(to: SocketAddr, root: Option<reqwest::Certificate>) -> Verifier {
    let mut verifier = Verifier::new(rules(None)).unwrap();
    let roots = root.map(|root| vec![root]);
    verifier.source = Source::Web(Web { to: Some(to), roots });
    verifier
}

/// The key of the server, whose certificate is valid on the day the test runs.
fn tls() -> Signer {
    let today = Timestamp::now();
    let days = |days: i64| Timestamp::from_second(today.as_second() + days * 86_400).unwrap();
    SIGNER.clone().named("a test").valid(days(-1), days(1))
}

fn root(name: &str) -> reqwest::Certificate {
    reqwest::Certificate::from_der(&tls().der(name)).unwrap()
}

fn body() -> String {
    SIGNER.notification(TOPIC, ID, TEXT, now()).unwrap()
}
