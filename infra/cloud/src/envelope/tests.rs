use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::*;

mod server;
mod urls;
mod web;

const REGION: &str = "us-east-1";
const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:cloudsnooze-commands";
const ID: &str = "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324";
const TEXT: &str = "{\"say\":\"Grüße\\n\"}\n€ \"q\"";

/// Making a key takes a while; one is enough.
static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::new(REGION, now()).unwrap());

#[tokio::test]
async fn what_sns_signed_for_our_topic_is_opened() {
    let body = SIGNER.notification(TOPIC, ID, TEXT, now()).unwrap();
    let opened = Pinned::new(&SIGNER).open(&body).await.unwrap();
    assert_eq!(opened, Opened { message_id: ID.to_owned(), text: TEXT.to_owned() });
}

#[test]
fn e1_the_vectors_are_judged_as_they_should_be() {
    let file: Value = serde_json::from_str(&sample("sns-signature-vectors.json")).unwrap();
    let pem = file["certificate_pem"].as_str().unwrap();
    let certificate = Certificate::read(pem.as_bytes(), &address::names(REGION)).unwrap();
    let mut told = String::new();
    for vector in file["vectors"].as_array().unwrap() {
        let result = Envelope::read(&vector["message"].to_string()).and_then(|envelope| {
            assert_eq!(envelope.string_to_sign(), vector["string_to_sign"].as_str().unwrap());
            certificate.verify(&envelope.string_to_sign(), &envelope.signature)
        });
        let name = vector["name"].as_str().unwrap();
        let accept = vector["accept"].as_bool().unwrap();
        assert!(accept || result.is_err(), "{name}");
        let result = result.map_or_else(|refused| refused.to_string(), |()| "taken".to_owned());
        told += &format!("{name}: {result}\n");
    }
    let expected = "\
notification, version 1: signature version `1`: expected `2`; set `SignatureVersion` of the topic to 2, since 1 signs with SHA-1
notification, version 2: taken
notification without Subject: taken
notification with attributes (not signed): taken
subscription confirmation: `SubscriptionConfirmation` brings no command
unsubscribe confirmation (Token is signed): `UnsubscribeConfirmation` brings no command
message changed after signing: the signature does not fit
signed by another key: the signature does not fit
version lowered: signature version `1`: expected `2`; set `SignatureVersion` of the topic to 2, since 1 signs with SHA-1
unknown version: signature version `3`: expected `2`; set `SignatureVersion` of the topic to 2, since 1 signs with SHA-1
Subject removed: the signature does not fit
";
    assert_eq!(told, expected);
}

#[tokio::test]
async fn e1_no_bit_of_a_field_can_be_flipped() {
    let mut pinned = Pinned::new(&SIGNER);
    let mut members = members();
    members.insert("Subject".to_owned(), "a command".into());
    let body = SIGNER.envelope(members).unwrap();
    assert!(pinned.open(&body).await.is_ok());
    let members: Map<String, Value> = serde_json::from_str(&body).unwrap();
    let mut tried = 0;
    for (name, value) in &members {
        // Not signed, and not used.
        if name == "UnsubscribeURL" {
            continue;
        }
        for (place, flipped) in flips(value.as_str().unwrap()) {
            let mut members = members.clone();
            members.insert(name.clone(), flipped.into());
            let result = pinned.open(&Value::Object(members).to_string()).await;
            assert!(result.is_err(), "{name}, bit {place}: {result:?}");
            tried += 1;
        }
    }
    assert!(tried > 4000, "{tried}");
}

#[tokio::test]
async fn e1_a_bit_flipped_anywhere_never_changes_what_is_opened() {
    let mut pinned = Pinned::new(&SIGNER);
    let body = SIGNER.notification(TOPIC, ID, "short", now()).unwrap();
    let expected = pinned.open(&body).await.unwrap();
    let mut refused = 0;
    for (place, flipped) in flips(&body) {
        match pinned.open(&flipped).await {
            Ok(opened) => assert_eq!(opened, expected, "bit {place}: {flipped}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 3000, "{refused}");
}

#[tokio::test]
async fn e1_a_signature_of_version_1_is_refused_even_when_it_fits() {
    for version in ["1", "0", "3", "", "02", "2 ", "\u{1b}[31m"] {
        let mut members = members();
        members.insert("SignatureVersion".to_owned(), version.into());
        let body = SIGNER.envelope(members).unwrap();
        let refused = Pinned::new(&SIGNER).open(&body).await.unwrap_err();
        assert!(matches!(refused, Refused::Version(_)), "{refused}");
        assert!(!refused.again() && !refused.to_string().contains('\u{1b}'), "{refused}");
    }
}

#[tokio::test]
async fn e1_a_field_that_is_missing_doubled_or_of_another_type_is_refused() {
    let mut pinned = Pinned::new(&SIGNER);
    let body = SIGNER.notification(TOPIC, ID, TEXT, now()).unwrap();
    let members: Map<String, Value> = serde_json::from_str(&body).unwrap();
    for name in members.keys().filter(|name| *name != "UnsubscribeURL") {
        let mut missing = members.clone();
        missing.remove(name);
        let mut spoiled = vec![Value::Object(missing).to_string()];
        for value in [json!(null), json!(7), json!([]), json!({}), json!("")] {
            let mut copy = members.clone();
            copy.insert(name.clone(), value);
            spoiled.push(Value::Object(copy).to_string());
        }
        let doubled = body.replacen('{', &format!("{{{}:{},", json!(name), members[name]), 1);
        spoiled.push(doubled);
        for body in spoiled {
            let result = pinned.open(&body).await;
            assert!(result.as_ref().is_err_and(|refused| !refused.again()), "{body}: {result:?}");
        }
    }
}

#[tokio::test]
async fn bodies_that_are_no_envelopes_are_refused() {
    let mut pinned = Pinned::new(&SIGNER);
    let long = format!("{{\"Type\":\"{}\"}}", "x".repeat(MAX_BODY));
    let deep = format!("{{\"Type\":{}", "[".repeat(100_000));
    let list = json!(["Notification", ID, TOPIC, null, TEXT, "t", "2", "s", "u"]).to_string();
    for body in ["", "{}", "null", "\"Notification\"", "{", "\u{0}", &long, &deep, &list] {
        let refused = pinned.open(body).await.unwrap_err();
        assert!(matches!(refused, Refused::Unreadable(_)), "{refused}");
        assert!(refused.to_string().len() < 1000 && !refused.again());
    }
}

#[tokio::test]
async fn e2_what_sns_signed_for_another_topic_is_refused() {
    let mut pinned = Pinned::new(&SIGNER);
    for topic in [
        "arn:aws:sns:us-east-1:999999999999:cloudsnooze-commands",
        "arn:aws:sns:us-east-1:123456789012:cloudsnooze-command",
        "arn:aws:sns:us-east-1:123456789012:cloudsnooze-commands2",
        "arn:aws:sns:us-east-1:123456789012:CloudSnooze-commands",
        "arn:aws:sns:us-west-2:123456789012:cloudsnooze-commands",
        "arn:aws:sns:us-east-1:123456789012:cloudsnooze-commands\n",
        "",
    ] {
        let body = SIGNER.notification(topic, ID, TEXT, now()).unwrap();
        let refused = pinned.open(&body).await.unwrap_err();
        assert!(matches!(refused, Refused::Topic(_)) && !refused.again(), "{refused}");
    }
}

#[tokio::test]
async fn e2_line_feeds_in_a_message_make_no_message_of_our_topic() {
    let other = "arn:aws:sns:us-east-1:999999999999:other";
    let at = "2026-11-21T10:00:00.000Z";
    let forged =
        format!("evil\nMessageId\n{ID}\nTimestamp\n{at}\nTopicArn\n{TOPIC}\nType\nNotification");
    let body = SIGNER.notification(other, ID, &forged, now()).unwrap();
    let members: Map<String, Value> = serde_json::from_str(&body).unwrap();
    let mut pinned = Pinned::new(&SIGNER);
    for (topic, message) in [(TOPIC, "evil"), (TOPIC, forged.as_str()), (other, "evil")] {
        let mut members = members.clone();
        members.insert("TopicArn".to_owned(), topic.into());
        members.insert("Message".to_owned(), message.into());
        members.insert("Timestamp".to_owned(), at.into());
        assert!(pinned.open(&Value::Object(members).to_string()).await.is_err());
    }
}

#[tokio::test]
async fn a_message_is_taken_for_ten_minutes_and_keeps_its_id() {
    let mut pinned = Pinned::new(&SIGNER);
    let body = SIGNER.notification(TOPIC, ID, TEXT, now()).unwrap();
    let mut at = async |seconds: i64| {
        let now = Timestamp::from_second(now().as_second() + seconds).unwrap();
        pinned.verifier.verify(&body, now).await
    };
    for seconds in [0, 1, 9 * 60, 10 * 60, -4 * 60, -5 * 60] {
        assert_eq!(at(seconds).await.unwrap().message_id, ID, "{seconds}");
    }
    for seconds in [10 * 60 + 1, 11 * 60, 86_400] {
        assert_eq!(at(seconds).await.unwrap_err(), Refused::Old(now()), "{seconds}");
    }
    for seconds in [-5 * 60 - 1, -6 * 60, -86_400] {
        assert_eq!(at(seconds).await.unwrap_err(), Refused::Ahead(now()), "{seconds}");
    }
}

#[tokio::test]
async fn a_certificate_is_taken_within_its_validity_only() {
    let (from, to) = (moment("2026-11-21T09:55:00Z"), moment("2026-11-21T10:02:00Z"));
    let mut pinned = Pinned::new(&SIGNER.clone().valid(from, to));
    let mut at = async |text: &str| {
        let now = moment(text);
        let body = SIGNER.notification(TOPIC, ID, TEXT, now).unwrap();
        pinned.verifier.verify(&body, now).await
    };
    let early = at("2026-11-21T09:54:59Z").await.unwrap_err().to_string();
    assert!(early.ends_with("valid from 2026-11-21T09:55:00Z to 2026-11-21T10:02:00Z"), "{early}");
    assert!(at("2026-11-21T09:55:00Z").await.is_ok());
    assert!(at("2026-11-21T10:02:00Z").await.is_ok());
    let late = at("2026-11-21T10:02:01Z").await.unwrap_err();
    assert!(matches!(late, Refused::Certificate(_)) && !late.again(), "{late}");
}

#[tokio::test]
async fn a_certificate_must_bear_a_name_of_sns_in_our_region() {
    let names = [
        ("sns.amazonaws.com", true),
        ("sns-signing.us-east-1.amazonaws.com", true),
        ("sns-us-east-1.amazonaws.com", true),
        ("sns-signing.eu-south-1.amazonaws.com", false),
        ("sns.amazonaws.com.evil.example", false),
        ("evil.example", false),
        ("", false),
    ];
    for (name, fine) in names {
        let body = SIGNER.notification(TOPIC, ID, TEXT, now()).unwrap();
        let result = Pinned::new(&SIGNER.clone().named(name)).open(&body).await;
        assert_eq!(result.is_ok(), fine, "{name}: {result:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_certificate_is_of_no_use_and_one_that_is_missing_may_come() {
    let mut pinned = Pinned::new(&SIGNER);
    let path = SIGNER.pin(pinned.directory.path()).unwrap();
    let body = SIGNER.notification(TOPIC, ID, TEXT, now()).unwrap();
    let certificate = SIGNER.certificate();
    let key = certificate.replace("CERTIFICATE", "PRIVATE KEY");
    let garbled = certificate.replace("MII", "AAA");
    let long = certificate.clone() + &"\n".repeat(64 << 10);
    for file in ["", "no certificate", &key, &garbled, &long] {
        std::fs::write(&path, file).unwrap();
        let refused = pinned.open(&body).await.unwrap_err();
        assert!(matches!(refused, Refused::Certificate(_)) && !refused.again(), "{refused}");
    }
    std::fs::remove_file(&path).unwrap();
    let refused = pinned.open(&body).await.unwrap_err();
    assert!(refused.again() && refused.to_string().contains("No such file"), "{refused}");
    std::fs::write(&path, certificate).unwrap();
    assert!(pinned.open(&body).await.unwrap_err().again(), "asked for a moment ago");
    let later = now() + PAUSE;
    assert!(pinned.verifier.verify(&body, later).await.is_ok());
}

/// A verifier with a directory of certificates.
struct Pinned {
    directory: tempfile::TempDir,
    verifier: Verifier,
}

impl Pinned {
    fn new(signer: &Signer) -> Self {
        let directory = tempfile::tempdir().unwrap();
        signer.pin(directory.path()).unwrap();
        let verifier = Verifier::new(rules(Some(directory.path()))).unwrap();
        Self { directory, verifier }
    }

    async fn open(&mut self, body: &str) -> Result<Opened, Refused> {
        self.verifier.verify(body, now()).await
    }
}

fn rules(certificates: Option<&Path>) -> Rules {
    let certificates = certificates.map(Path::to_owned);
    Rules { topic_arn: TOPIC.to_owned(), region: REGION.to_owned(), certificates }
}

/// The members of a notification.
fn members() -> Map<String, Value> {
    let body = SIGNER.notification(TOPIC, ID, TEXT, now()).unwrap();
    let mut members: Map<String, Value> = serde_json::from_str(&body).unwrap();
    for name in ["Signature", "SignatureVersion", "SigningCertURL"] {
        members.remove(name);
    }
    members
}

/// The text with each bit flipped, where that is a text.
fn flips(text: &str) -> impl Iterator<Item = (usize, String)> {
    (0..text.len() * 8).filter_map(|bit| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        Some((bit, String::from_utf8(bytes).ok()?))
    })
}

fn sample(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/samples");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn now() -> Timestamp {
    moment("2026-11-21T10:00:00Z")
}

fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}
