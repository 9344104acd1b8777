//! What the fake holds its clients to, and how it is driven.

use std::time::Duration;

use reqwest::{Client, Method, Response};

use super::*;
use crate::TOKEN_PATH;

const SPOT: &str = "/latest/meta-data/spot/instance-action";
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aws-ec2-metadata-token";

#[tokio::test]
async fn a_get_without_a_living_token_is_refused() {
    let fake = Fake::on_loopback().await.unwrap();
    fake.token_life(Duration::ZERO);
    let dead = token(&fake).await;
    fake.token_life(Duration::from_secs(60));
    let living = token(&fake).await;
    let id = "/latest/meta-data/instance-id";
    assert_eq!(ask(&fake, Method::GET, id, &[], "").await.status(), 401);
    assert_eq!(ask(&fake, Method::GET, id, &[(TOKEN, "made up")], "").await.status(), 401);
    assert_eq!(ask(&fake, Method::GET, id, &[(TOKEN, &dead)], "").await.status(), 401);
    let answer = ask(&fake, Method::GET, id, &[(TOKEN, &living)], "").await;
    assert_eq!(answer.text().await.unwrap(), INSTANCE_ID);
    fake.forget_tokens();
    assert_eq!(ask(&fake, Method::GET, id, &[(TOKEN, &living)], "").await.status(), 401);
    assert_eq!(fake.asked(id), 5);
}

#[tokio::test]
async fn a_put_follows_the_rules_of_the_service() {
    let fake = Fake::on_loopback().await.unwrap();
    let cases = [
        (TOKEN_PATH, vec![(TTL, "21600")], 200),
        (TOKEN_PATH, vec![], 400),
        (TOKEN_PATH, vec![(TTL, "0")], 400),
        (TOKEN_PATH, vec![(TTL, "21601")], 400),
        (TOKEN_PATH, vec![(TTL, "60"), ("x-forwarded-for", "10.0.0.1")], 403),
        ("/2021-03-23/api/token", vec![(TTL, "60")], 403),
    ];
    for (path, headers, status) in cases {
        let answer = ask(&fake, Method::PUT, path, &headers, "").await;
        assert_eq!(answer.status(), status, "{path} {headers:?}");
    }
}

#[tokio::test]
async fn answers_come_in_order_and_the_last_one_stays() {
    let fake = Fake::on_loopback().await.unwrap();
    fake.set(SPOT, [Reply::status(503), Reply::ok("one"), Reply::ok("two")]);
    let mut seen = Vec::new();
    for _ in 0..4 {
        let (status, text) = spot(&fake).await;
        seen.push(if status == 200 { text } else { status.to_string() });
    }
    assert_eq!(seen, ["503", "one", "two", "two"]);
}

#[tokio::test]
async fn another_process_drives_it_over_the_control_path() {
    let fake = Fake::on_loopback().await.unwrap();
    let pinned = r#"{"action":"stop","time":"2026-03-14T09:28:53Z"}"#;
    assert_eq!(control(&fake, "spot", pinned).await, (200, String::new()));
    assert_eq!(spot(&fake).await, (200, pinned.to_owned()));
    let sliding = r#"{"action":"terminate","in_seconds":120,"sliding":true}"#;
    assert_eq!(control(&fake, "spot", sliding).await.0, 200);
    assert!(spot(&fake).await.1.starts_with(r#"{"action":"terminate","time":"20"#));
    assert_eq!(control(&fake, "clear", "").await.0, 200);
    assert_eq!(spot(&fake).await.0, 404);
    let script = format!(
        r#"{{"path":"{SPOT}","answers":[{{"status":429,"headers":{{"Retry-After":"1"}}}},{{"body":"x","delay_ms":1}}]}}"#
    );
    assert_eq!(control(&fake, "set", &script).await.0, 200);
    assert_eq!(spot(&fake).await.0, 429);
    assert_eq!(spot(&fake).await, (200, "x".to_owned()));
    let counts = ask(&fake, Method::GET, "/_control/counts", &[], "").await.text().await.unwrap();
    assert!(counts.contains(&format!("\"{SPOT}\":5")), "{counts}");
}

#[tokio::test]
async fn a_role_can_be_attached_made_to_fail_and_detached() {
    let fake = Fake::on_loopback().await.unwrap();
    let orders = format!("{ROLE_PATH}orders");
    assert_eq!(read(&fake, ROLE_PATH).await.0, 404);
    let made_up = r#"{"name":"orders","life_seconds":60}"#;
    assert_eq!(control(&fake, "role", made_up).await.0, 200);
    assert_eq!(read(&fake, ROLE_PATH).await, (200, "orders".to_owned()));
    for id in ["ASIAFAKE00000001", "ASIAFAKE00000002"] {
        let (_, text) = read(&fake, &orders).await;
        let credentials: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(credentials["AccessKeyId"], id);
        let end: jiff::Timestamp = credentials["Expiration"].as_str().unwrap().parse().unwrap();
        let left = end.duration_since(jiff::Timestamp::now()).as_secs();
        assert!((1..=60).contains(&left), "{left}");
    }
    assert_eq!(read(&fake, &format!("{ROLE_PATH}other")).await.0, 404);
    fake.set(&orders, [Reply::status(500)]);
    assert_eq!(read(&fake, &orders).await.0, 500);
    fake.clear(&orders);
    let given =
        r#"{"name":"orders","life_seconds":60,"access_key":"A","secret_key":"S","token":"T"}"#;
    assert_eq!(control(&fake, "role", given).await.0, 200);
    let (_, text) = read(&fake, &orders).await;
    assert!(text.contains(r#""AccessKeyId":"A""#) && text.contains(r#""Token":"T""#), "{text}");
    assert_eq!(control(&fake, "role", "").await.0, 200);
    assert_eq!(read(&fake, &orders).await.0, 404);
}

#[tokio::test]
async fn a_control_that_makes_no_sense_is_refused_and_changes_nothing() {
    let fake = Fake::on_loopback().await.unwrap();
    let mode = format!(r#"{{"path":"{SPOT}","answers":[{{"mode":"sideways"}}]}}"#);
    let bad = [
        ("spot", r#"{"action":"stop"}"#, 400),
        ("spot", r#"{"action":"stop","time":"tomorrow"}"#, 400),
        ("spot", r#"{"action":"stop","in_seconds":1,"when":2}"#, 400),
        ("spot", "", 400),
        ("set", &mode, 400),
        ("lifecycle", "Terminated", 400),
        ("role", r#"{"name":"orders","life_seconds":60,"access_key":"A"}"#, 400),
        ("explode", "", 404),
    ];
    for (verb, body, status) in bad {
        assert_eq!(control(&fake, verb, body).await.0, status, "{verb} {body}");
    }
    assert_eq!(spot(&fake).await.0, 404);
}

#[tokio::test]
async fn while_it_is_down_only_the_control_path_answers() {
    let fake = Fake::on_loopback().await.unwrap();
    assert_eq!(control(&fake, "down", "").await.0, 200);
    let put = client().put(format!("{}{TOKEN_PATH}", fake.url())).header(TTL, "60").send().await;
    assert!(put.is_err());
    assert_eq!(control(&fake, "up", "").await.0, 200);
    assert_eq!(spot(&fake).await.0, 404);
}

#[test]
fn a_program_without_a_runtime_can_run_it_and_end_it() {
    let server = Server::spawn().unwrap();
    let address = server.address();
    server.lifecycle("Terminated");
    assert!(std::net::TcpStream::connect(address).is_ok());
    drop(server);
    assert!(std::net::TcpStream::connect(address).is_err());
}

async fn token(fake: &Fake) -> String {
    ask(fake, Method::PUT, TOKEN_PATH, &[(TTL, "60")], "").await.text().await.unwrap()
}

async fn spot(fake: &Fake) -> (u16, String) {
    read(fake, SPOT).await
}

async fn read(fake: &Fake, path: &str) -> (u16, String) {
    let token = token(fake).await;
    let answer = ask(fake, Method::GET, path, &[(TOKEN, &token)], "").await;
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn control(fake: &Fake, verb: &str, body: &str) -> (u16, String) {
    let answer = ask(fake, Method::PUT, &format!("/_control/{verb}"), &[], body).await;
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn ask(
    fake: &Fake,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let mut request = client().request(method, format!("{}{path}", fake.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.to_owned()).send().await.unwrap()
}

fn client() -> Client {
    Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}
