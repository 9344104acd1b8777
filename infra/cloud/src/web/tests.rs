use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

#[tokio::test]
async fn a_call_bears_its_key_and_the_signature_of_its_body() {
    let (status, request) = told("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(status, Ok(204));
    let request = request.to_ascii_lowercase();
    assert!(request.starts_with("post /hook?a=b http/1.1\r\n"), "{request}");
    for line in [
        "content-type: application/json",
        "idempotency-key: i/p/webhook",
        &format!("x-cloudsnooze-signature: {}", signature("key", "{}")),
        "\r\n\r\n{}",
    ] {
        assert!(request.contains(line), "{line}: {request}");
    }
}

#[tokio::test]
async fn a_redirect_is_told_and_not_followed() {
    let there = "HTTP/1.1 302 Found\r\nLocation: /inside\r\nContent-Length: 0\r\n\r\n";
    let (status, _request) = told(there).await;
    assert_eq!(status, Ok(302));
}

#[tokio::test]
async fn an_answer_without_end_is_not_read() {
    let (status, _request) = told("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nx").await;
    assert_eq!(status, Ok(200));
}

#[tokio::test]
async fn what_is_no_answer_may_have_worked() {
    let (status, _request) = told("hunter2\r\n\r\n").await;
    let error = status.unwrap_err();
    assert_eq!((error.code.as_str(), error.kind), ("Unreachable", Kind::Unreachable));
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

/// What comes of one call that is answered so, and the request.
async fn told(answer: &str) -> (Result<u16, CloudError>, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/hook?a=b", listener.local_addr().unwrap());
    let web = Web::new(Reach::Loopback);
    let post = Post { url: &url, body: "{}", key: "i/p/webhook", secret: Some("key") };
    let served = async {
        let (mut stream, _peer) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n{}") {
            let mut part = [0; 1024];
            let length = stream.read(&mut part).await.unwrap();
            assert_ne!(length, 0);
            request.extend_from_slice(&part[..length]);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        (stream, String::from_utf8(request).unwrap())
    };
    // The connection stands until the call has ended.
    let (status, (_stream, request)) = tokio::join!(web.post(&post), served);
    (status, request)
}

#[test]
fn addresses_that_lead_inside_are_not_public() {
    for inside in [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.31.0.1",
        "192.0.0.8",
        "192.168.1.1",
        "198.18.0.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "2001::1",
        "::127.0.0.1",
        "64:ff9b:1::1",
    ] {
        assert!(!is_public(inside.parse().unwrap()), "{inside}");
    }
    for public in ["8.8.8.8", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
        assert!(is_public(public.parse().unwrap()), "{public}");
    }
}

#[test]
fn an_address_that_may_not_be_called_is_refused_and_not_shown() {
    for (text, code) in [
        ("http://hooks.example/hunter2", "BadAddress"),
        ("file:///etc/hunter2", "BadAddress"),
        ("https://me:hunter2@hooks.example/", "BadAddress"),
        ("hunter2", "BadAddress"),
        ("https://169.254.169.254/hunter2", "NotPublic"),
        ("https://[fd00:ec2::254]/hunter2", "NotPublic"),
        ("https://127.1/hunter2", "NotPublic"),
        ("https://0x7f000001/hunter2", "NotPublic"),
        ("https://2130706433/hunter2", "NotPublic"),
    ] {
        let error = address(text, Reach::Public).unwrap_err();
        assert_eq!((error.code.as_str(), error.kind), (code, Kind::Invalid), "{text}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    assert!(address("https://hooks.example/hunter2", Reach::Public).is_ok());
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_called() {
    let web = Web::new(Reach::Public);
    let url = "https://localhost:1/hunter2";
    let error = web.post(&Post { url, body: "{}", key: "k", secret: None }).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.kind), ("NotPublic", Kind::Invalid));
}

/// RFC 4231, test case 2.
#[test]
fn the_signature_is_that_of_the_rfc() {
    let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(signature("Jefe", "what do ya want for nothing?"), expected);
}
