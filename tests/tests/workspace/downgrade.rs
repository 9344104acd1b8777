//! Nobody talks us into something older and weaker.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::{Value, json};
use snooze_cloud::envelope::{Refused, Rules, Verifier};
use snooze_cloud::fake::Server;
use snooze_cloud::instances::Instances;
use snooze_event::wire::{cloudevents, command};
use snooze_imds::fake::{Fake, Reply};
use snooze_imds::{Client, Path, Settings, SignalPath, TOKEN_PATH};
use snooze_plugin::{Info, PROTOCOL};
use snooze_tests::targets::now;

#[test]
fn i7_an_older_format_is_refused_whoever_sends_it() {
    let policy = |version: &str| {
        json!({ "version": version, "name": "orders", "match": { "type": ["custom.x"] },
            "handlers": [{ "plugin": "flush" }] })
        .to_string()
    };
    assert!(snooze_policy::check(&policy("1.0")).is_ok());
    for older in ["0.9", "0", "2.0"] {
        assert!(snooze_policy::check(&policy(older)).is_err(), "policy {older}");
        let (read, faults) = snooze_policy::read_all([("table", policy(older).as_str())]);
        assert!(read.is_empty() && !faults.is_empty(), "policy {older} at the last moment");
    }
    let order = json!({ "version": 1, "id": "a", "kind": "policies-changed", "instance": "*",
        "issued_at": "2026-03-14T09:26:53Z", "expires_at": "2026-03-14T09:28:53Z" });
    let with = |mut order: Value, key: &str, value: Value| {
        order[key] = value;
        order
    };
    assert!(command::read(&order.to_string()).is_ok());
    assert!(command::read(&with(order, "version", json!(0)).to_string()).is_err());
    let event = json!({ "specversion": "1.0", "type": "custom.x", "source": "a", "id": "b" });
    assert!(cloudevents::read(&event, now()).is_ok());
    for (key, older) in [("specversion", "0.3"), ("schemaversion", "0")] {
        let older = with(event.clone(), key, json!(older));
        assert!(cloudevents::read(&older, now()).is_err(), "{older}");
    }
}

#[test]
fn i7_a_plugin_for_another_protocol_or_a_newer_host_is_refused() {
    let says = |extra: (&str, Value)| {
        let mut info = json!({ "name": "flush" });
        info[extra.0] = extra.1;
        Info::read(&info).unwrap()
    };
    assert!(says(("version", json!("1"))).protocol.common(PROTOCOL).is_ok());
    for range in [json!(0), json!({ "min": 0, "max": 0 }), json!({ "min": 99, "max": 99 })] {
        let text = range.to_string();
        assert!(says(("protocol", range)).protocol.common(PROTOCOL).is_err(), "{text}");
    }
    let newer = says(("min_host_version", json!("99.0")));
    assert!(newer.host_is_new_enough(env!("CARGO_PKG_VERSION")).is_err());
}

#[tokio::test]
async fn i7_a_signature_of_version_1_is_refused_before_anything_is_fetched() {
    let topic_arn = "arn:aws:sns:eu-central-1:123456789012:commands".to_owned();
    let (region, certificates) = ("eu-central-1".to_owned(), Some("/nonexistent".into()));
    let rules = Rules { topic_arn: topic_arn.clone(), region, certificates };
    let mut verifier = Verifier::new(rules).unwrap();
    for version in ["1", "0", "", "2.0"] {
        let body = json!({ "Type": "Notification", "MessageId": "a", "TopicArn": topic_arn,
            "Message": "{}", "Timestamp": now().to_string(), "Signature": "AAAA",
            "SignatureVersion": version,
            "SigningCertURL": "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-a.pem",
        });
        let refused = verifier.verify(&body.to_string(), now()).await;
        assert!(matches!(refused, Err(Refused::Version(_))), "{version}: {refused:?}");
    }
}

/// A service that knows only version 1 refuses the `PUT` and answers any `GET`.
#[tokio::test]
async fn i7_metadata_of_version_1_is_never_asked_for() {
    for refused in [403, 404, 405] {
        let fake = Fake::on_loopback().await.unwrap();
        fake.set(TOKEN_PATH, [Reply::status(refused)]);
        let path = SignalPath::SpotInstanceAction;
        let client = Client::new(Settings::at(&fake.url())).unwrap();
        for _ in 0..3 {
            assert!(client.get(&Path::Signal(path)).await.is_err());
        }
        assert_eq!(fake.asked(path.as_str()), 0, "after {refused}");
    }
}

#[tokio::test]
async fn i7_tls_1_1_is_neither_offered_nor_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let old_server = thread::spawn(move || greet(listener.accept().unwrap().0));
    let aws = Server::start().await.unwrap().aws().await;
    let aws = aws.to_builder().endpoint_url(url).build();
    let instances = Instances::new(&aws, "s-instances", std::time::Duration::from_secs(60));
    let id = "i-0a1b2c3d4e5f60718".parse().unwrap();
    assert!(instances.read(&id).await.is_err());
    let (offered, answer) = old_server.join().unwrap();
    assert!(!offered.is_empty(), "the client names its versions");
    assert!(offered.iter().all(|version| *version >= 0x0303), "{offered:04x?}");
    assert_eq!(answer.first(), Some(&0x15), "an alert and nothing else: {answer:02x?}");
}

/// Takes a greeting, answers it with TLS 1.1, and returns which versions were offered and what
/// came then.
fn greet(mut client: TcpStream) -> (Vec<u16>, Vec<u8>) {
    let mut header = [0; 5];
    client.read_exact(&mut header).unwrap();
    let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    client.read_exact(&mut hello).unwrap();
    // A `ServerHello` with a cipher that TLS 1.1 has, and no extensions.
    let body = [&[3, 2][..], &[7; 32], &[0, 0xc0, 0x14, 0]].concat();
    let message = [&[2, 0, 0, 38][..], &body].concat();
    client.write_all(&[&[0x16, 3, 2, 0, 42][..], &message].concat()).unwrap();
    let mut answer = Vec::new();
    // Whoever refuses may also reset the connection.
    let _ = client.read_to_end(&mut answer);
    (offered(&hello), answer)
}

/// The versions in the extension `supported_versions` (RFC 8446, 4.2.1) of a `ClientHello`.
fn offered(hello: &[u8]) -> Vec<u16> {
    let number = |at: usize| usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
    let session = 4 + 2 + 32;
    let ciphers = session + 1 + usize::from(hello[session]);
    let compression = ciphers + 2 + number(ciphers);
    let mut at = compression + 1 + usize::from(hello[compression]) + 2;
    while at + 4 <= hello.len() {
        let (kind, length) = (number(at), number(at + 2));
        let content = &hello[at + 4..at + 4 + length];
        if kind == 0x002b {
            return content[1..]
                .chunks(2)
                .map(|two| u16::from_be_bytes([two[0], two[1]]))
                .collect();
        }
        at += 4 + length;
    }
    Vec::new()
}
