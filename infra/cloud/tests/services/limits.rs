//! Limits of what is done in an hour.

use jiff::Timestamp;
use snooze_cloud::fake::Server;
use snooze_cloud::limits::Limits;
use tokio::task::JoinSet;

const TABLE: &str = "cloudsnooze-incidents";

#[tokio::test]
async fn of_many_at_once_no_more_than_the_limit_pass_and_each_counts_once() {
    let (_server, limits) = start().await;
    let mut tasks = JoinSet::new();
    for number in 0..60 {
        let limits = limits.clone();
        tasks.spawn(async move {
            let word = format!("i-{}", number % 30);
            (word.clone(), limits.pass("p", &word, 7, at("10:59:59")).await.unwrap())
        });
    }
    let passed = tasks.join_all().await.into_iter().filter(|(_, passed)| *passed);
    let words: std::collections::BTreeSet<String> = passed.map(|(word, _)| word).collect();
    assert_eq!(words.len(), 7, "{words:?}");
    let first = words.first().unwrap();
    assert!(limits.pass("p", first, 7, at("10:00:00")).await.unwrap(), "it passed already");
    // What is not done gives room for another.
    limits.take_back("p", first, at("10:00:00")).await.unwrap();
    assert!(limits.pass("p", "other", 7, at("10:00:00")).await.unwrap());
    assert!(!limits.pass("p", first, 7, at("10:00:00")).await.unwrap());
}

#[tokio::test]
async fn each_hour_and_each_scope_counts_for_itself() {
    let (_server, limits) = start().await;
    assert!(limits.pass("p", "a", 1, at("10:59:59")).await.unwrap());
    assert!(!limits.pass("p", "b", 1, at("10:59:59")).await.unwrap());
    assert!(limits.pass("p", "b", 1, at("11:00:00")).await.unwrap());
    assert!(limits.pass("q", "b", 1, at("10:59:59")).await.unwrap());
    assert!(!limits.pass("r", "b", 0, at("10:59:59")).await.unwrap());
    limits.take_back("never", "b", at("10:59:59")).await.unwrap();
}

#[tokio::test]
async fn the_first_refusal_of_an_hour_is_told_once() {
    let (_server, limits) = start().await;
    assert!(limits.is_first_refusal("p", at("10:00:00")).await.unwrap());
    assert!(!limits.is_first_refusal("p", at("10:30:00")).await.unwrap());
    assert!(limits.is_first_refusal("p", at("11:00:00")).await.unwrap());
    assert!(limits.pass("p", "a", 1, at("10:30:00")).await.unwrap(), "that alone fills nothing");
}

async fn start() -> (Server, Limits) {
    let server = Server::start().await.unwrap();
    let limits = Limits::new(&server.aws().await, TABLE);
    (server, limits)
}

fn at(time: &str) -> Timestamp {
    format!("2026-11-21T{time}Z").parse().unwrap()
}
