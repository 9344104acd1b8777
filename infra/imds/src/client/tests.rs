//! The client against the fake: each fault once.

use std::time::Duration;

use super::*;
use crate::SignalPath;
use crate::fake::{Fake, Mode, Reply};

const SPOT: &str = "/latest/meta-data/spot/instance-action";
const NOTICE: &str = r#"{"action":"terminate","time":"2026-03-14T09:28:53Z"}"#;
const TTL: &str = "X-aws-ec2-metadata-token-ttl-seconds";

/// Of a client that is to wait in vain: long enough for a busy machine, short enough to wait for.
const LIMIT: Duration = Duration::from_secs(1);

/// Of the others; never reached when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_path_answers_its_body_or_that_there_is_none() {
    let (fake, client) = pair().await;
    assert_eq!(spot(&client).await, Ok(Answer::Absent));
    fake.set(SPOT, [Reply::ok(NOTICE)]);
    assert_eq!(spot(&client).await, found(NOTICE));
    fake.clear(SPOT);
    assert_eq!(spot(&client).await, Ok(Answer::Absent));
    assert_eq!((fake.puts(), fake.most_in_flight()), (1, 1));
}

#[tokio::test]
async fn a1_a_refused_token_is_replaced_and_the_same_get_asked_again_at_once() {
    let (fake, client) = pair().await;
    assert_eq!(spot(&client).await, Ok(Answer::Absent));
    fake.set(SPOT, [Reply::status(401), Reply::ok(NOTICE)]);
    assert_eq!(spot(&client).await, found(NOTICE));
    assert_eq!((fake.puts(), fake.asked(SPOT)), (2, 3));
}

#[tokio::test]
async fn a1_the_tokens_of_before_a_stop_and_start_are_replaced() {
    let (fake, client) = pair().await;
    fake.set(SPOT, [Reply::ok(NOTICE)]);
    assert_eq!(spot(&client).await, found(NOTICE));
    fake.forget_tokens();
    assert_eq!(spot(&client).await, found(NOTICE));
    assert_eq!(fake.puts(), 2);
}

#[tokio::test]
async fn a1_a_service_that_refuses_its_own_token_is_a_fault_and_asked_twice_only() {
    let (fake, client) = pair().await;
    fake.set(SPOT, [Reply::status(401)]);
    assert_eq!(spot(&client).await, Err(Fault::Refused));
    assert_eq!((fake.puts(), fake.asked(SPOT)), (2, 2));
}

#[tokio::test]
async fn a_token_is_kept_for_its_life_and_renewed_before_its_end() {
    let (fake, client) = pair().await;
    for (passes, puts) in [(0, 1), (21_500, 1), (200, 2), (21_300, 2)] {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(passes)).await;
        tokio::time::resume();
        assert_eq!(spot(&client).await, Ok(Answer::Absent));
        assert_eq!(fake.puts(), puts, "after {passes} s more");
    }
}

#[tokio::test]
async fn a2_each_way_of_refusing_a_token_is_a_fault_and_passes() {
    let whole = || Reply::ok("word").header(TTL, "60");
    let cases = [
        (Reply::status(400), Fault::Token(TokenFault::Status(400))),
        (Reply::status(403), Fault::Off),
        (Reply::status(404), Fault::Token(TokenFault::Status(404))),
        (Reply::status(503), Fault::Token(TokenFault::Status(503))),
        (Reply::hang(), Fault::TimedOut(LIMIT)),
        (Reply::reset(), Fault::Broken),
        (Reply::raw("pardon?\r\n\r\n"), Fault::Broken),
        (Reply::ok("word"), Fault::Token(TokenFault::Life)),
        (Reply::ok("word").header(TTL, "soon"), Fault::Token(TokenFault::Life)),
        (Reply::ok("").header(TTL, "60"), Fault::Token(TokenFault::Text)),
        (whole().mode(Mode::CutAfter(2)), Fault::Token(TokenFault::Body)),
    ];
    let fake = Fake::on_loopback().await.unwrap();
    let client = client([&fake], LIMIT);
    fake.set(SPOT, [Reply::ok(NOTICE)]);
    for (reply, fault) in cases {
        fake.forget_tokens();
        fake.set(TOKEN_PATH, [reply.clone()]);
        client.state.lock().await.token = None;
        assert_eq!(spot(&client).await, Err(fault), "{reply:?}");
        fake.clear(TOKEN_PATH);
        assert_eq!(spot(&client).await, found(NOTICE), "after {reply:?}");
    }
}

#[tokio::test]
async fn a4_a_broken_answer_is_a_fault_and_never_an_absence() {
    let cases = [
        (Reply::status(500), Fault::Status(500)),
        (Reply::status(503), Fault::Status(503)),
        (Reply::status(429), Fault::Status(429)),
        (Reply::status(204), Fault::Status(204)),
        (Reply::status(403), Fault::Off),
        (Reply::reset(), Fault::Broken),
        (Reply::raw("404 Not Found\r\n\r\n"), Fault::Broken),
        (Reply::raw(""), Fault::Broken),
        (Reply::ok(NOTICE).mode(Mode::CutAfter(20)), Fault::Body),
        (Reply::ok(NOTICE).mode(Mode::CutAfter(0)), Fault::Body),
        (Reply::ok([b'"', 0xff, 0xfe, b'"']), Fault::Body),
        (
            Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"),
            Fault::Body,
        ),
    ];
    let (fake, client) = pair().await;
    for (reply, fault) in cases {
        fake.set(SPOT, [reply.clone()]);
        assert_eq!(spot(&client).await, Err(fault), "{reply:?}");
    }
    fake.set(SPOT, [Reply::ok(NOTICE)]);
    assert_eq!(spot(&client).await, found(NOTICE));
}

#[tokio::test]
async fn a5_a_slow_answer_is_waited_for_up_to_the_limit_and_not_a_moment_longer() {
    let fake = Fake::on_loopback().await.unwrap();
    let client = client([&fake], LIMIT);
    assert_eq!(spot(&client).await, Ok(Answer::Absent));
    fake.set(SPOT, [Reply::ok(NOTICE).after(LIMIT / 4)]);
    assert_eq!(spot(&client).await, found(NOTICE));
    let slow = [
        Reply::ok(NOTICE).after(LIMIT + Duration::from_millis(20)),
        Reply::ok(NOTICE).after(Duration::from_secs(30)),
        Reply::ok(NOTICE).mode(Mode::Drip(Duration::from_secs(1))),
        Reply::ok(NOTICE).mode(Mode::Drip(LIMIT / 10)),
        Reply::hang(),
    ];
    for reply in slow {
        fake.set(SPOT, [reply.clone()]);
        let start = Instant::now();
        assert_eq!(spot(&client).await, Err(Fault::TimedOut(LIMIT)), "{reply:?}");
        assert!(start.elapsed() < 10 * LIMIT, "{reply:?} took {:?}", start.elapsed());
    }
    assert_eq!(fake.most_in_flight(), 1);
}

#[tokio::test]
async fn a5_a_slow_token_and_a_slow_answer_share_one_limit_and_the_token_is_kept() {
    let limit = 3 * LIMIT;
    let fake = Fake::on_loopback().await.unwrap();
    let client = client([&fake], limit);
    let token = Reply::ok("word").header(TTL, "60").after(limit * 2 / 3);
    fake.set(TOKEN_PATH, [token]);
    fake.set(SPOT, [Reply::ok(NOTICE).after(limit * 2 / 3)]);
    assert_eq!(spot(&client).await, Err(Fault::TimedOut(limit)));
    assert_eq!(spot(&client).await, found(NOTICE));
    assert_eq!(fake.puts(), 1);
}

#[tokio::test]
async fn a5_two_questions_at_once_are_asked_one_after_the_other() {
    let (fake, client) = pair().await;
    fake.set(SPOT, [Reply::ok(NOTICE).after(LIMIT / 10)]);
    let (one, two) = tokio::join!(spot(&client), spot(&client));
    assert_eq!((one, two), (found(NOTICE), found(NOTICE)));
    assert_eq!((fake.most_in_flight(), fake.puts()), (1, 1));
}

#[tokio::test]
async fn a8_a_redirect_is_a_fault_and_its_target_is_never_asked() {
    let (fake, client) = pair().await;
    let elsewhere = Fake::on_loopback().await.unwrap();
    for status in [301, 302, 307, 308] {
        let target = format!("{}{SPOT}", elsewhere.url());
        fake.set(SPOT, [Reply::status(status).header("Location", &target)]);
        assert_eq!(spot(&client).await, Err(Fault::Redirect(status)));
    }
    assert!(elsewhere.counts().is_empty());
}

#[tokio::test]
async fn a8_an_answer_over_the_limit_is_cut_off() {
    let (fake, client) = pair().await;
    fake.set(SPOT, [Reply::ok("x".repeat(BODY_LIMIT))]);
    assert_eq!(spot(&client).await, found(&"x".repeat(BODY_LIMIT)));
    fake.set(SPOT, [Reply::ok("x".repeat(BODY_LIMIT + 1))]);
    assert_eq!(spot(&client).await, Err(Fault::TooLarge));
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(4_000_000));
    fake.set(SPOT, [Reply::raw(endless)]);
    assert_eq!(spot(&client).await, Err(Fault::TooLarge));
}

#[tokio::test]
async fn a12_the_second_endpoint_is_used_after_three_failures_of_the_first() {
    let first = Fake::on_loopback().await.unwrap();
    let second = on_ipv6_or_4().await;
    let client = client([&first, &second], PATIENCE);
    first.down();
    second.set(SPOT, [Reply::ok(NOTICE)]);
    for _ in 0..3 {
        assert!(spot(&client).await.is_err());
    }
    assert!(second.counts().is_empty());
    let before = first.counts();
    for _ in 0..3 {
        assert_eq!(spot(&client).await, found(NOTICE));
    }
    assert_eq!(first.counts(), before, "no double polling");
    assert_eq!((second.puts(), second.asked(SPOT)), (1, 3));
}

#[tokio::test]
async fn a12_trouble_with_one_path_alone_moves_nothing() {
    let (first, second) = (Fake::on_loopback().await.unwrap(), Fake::on_loopback().await.unwrap());
    let client = client([&first, &second], PATIENCE);
    first.set(SPOT, [Reply::status(500)]);
    for _ in 0..9 {
        assert_eq!(spot(&client).await, Err(Fault::Status(500)));
    }
    assert!(second.counts().is_empty());
}

#[tokio::test]
async fn nothing_listening_is_said_in_the_words_of_the_system() {
    let fake = Fake::on_loopback().await.unwrap();
    let client = client([&fake], PATIENCE);
    drop(fake);
    tokio::task::yield_now().await;
    let Err(fault) = spot(&client).await else { panic!("somebody answered") };
    assert!(fault.to_string().starts_with("cannot connect: Connection refused"), "{fault}");
}

#[tokio::test]
async fn a_token_is_never_printed() {
    let (fake, client) = pair().await;
    fake.set(TOKEN_PATH, [Reply::ok("swordfish").header(TTL, "60")]);
    assert_eq!(spot(&client).await, Ok(Answer::Absent));
    let state = client.state.lock().await;
    assert!(format!("{:?}", state.token).contains("***"));
    assert!(!format!("{client:?} {:?}", state.token).contains("swordfish"));
}

#[test]
fn only_the_plain_address_of_an_http_server_is_an_endpoint() {
    let bad =
        ["", "169.254.169.254", "https://a", "http://", "http://a/b", "http://u:p@a", "ftp://a"];
    for text in bad {
        let refused = Client::new(Settings::at(text));
        assert!(matches!(refused, Err(SettingsError::Endpoint(_))), "{text:?}");
    }
    let none = Settings { endpoints: Vec::new(), ..Settings::default() };
    assert!(matches!(Client::new(none), Err(SettingsError::NoEndpoint)));
    let never = Settings { timeout: Duration::ZERO, ..Settings::default() };
    assert!(matches!(Client::new(never), Err(SettingsError::Timeout)));
    for token_ttl in [0, 21_601] {
        let refused = Client::new(Settings { token_ttl, ..Settings::default() });
        assert!(matches!(refused, Err(SettingsError::TokenTtl(_))));
    }
    assert!(Client::new(Settings::default()).is_ok());
}

async fn pair() -> (Fake, Client) {
    let fake = Fake::on_loopback().await.unwrap();
    let client = client([&fake], PATIENCE);
    (fake, client)
}

fn client<const N: usize>(fakes: [&Fake; N], timeout: Duration) -> Client {
    let endpoints = fakes.iter().map(|fake| fake.url()).collect();
    Client::new(Settings { endpoints, timeout, ..Settings::default() }).unwrap()
}

async fn on_ipv6_or_4() -> Fake {
    match Fake::start("[::1]:0".parse().unwrap()).await {
        Ok(fake) => fake,
        // Some machines have no IPv6 at all.
        Err(_) => Fake::on_loopback().await.unwrap(),
    }
}

async fn spot(client: &Client) -> Result<Answer, Fault> {
    client.get(&Path::Signal(SignalPath::SpotInstanceAction)).await
}

fn found(body: &str) -> Result<Answer, Fault> {
    Ok(Answer::Found(body.to_owned()))
}
