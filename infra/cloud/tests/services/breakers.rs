//! Circuit breakers.

use std::time::Duration;

use snooze_cloud::breakers::{Breakers, FAILURES, OPEN, Pass};
use snooze_cloud::fake::{Fault, Server};
use tokio::task::JoinSet;

use super::common::moment;

const TABLE: &str = "cloudsnooze-incidents";
const HOOK: &str = "webhook/example.com";

#[tokio::test]
async fn five_failures_in_a_row_open_a_circuit_for_thirty_seconds() {
    let (_server, breakers) = start().await;
    for _ in 0..FAILURES {
        assert_eq!(breakers.pass(HOOK, moment(0)).await.unwrap(), Pass::Go);
        breakers.told(HOOK, false, moment(0)).await.unwrap();
    }
    assert_eq!(breakers.pass(HOOK, moment(0)).await.unwrap(), Pass::Wait(OPEN));
    let left = Duration::from_secs(1);
    assert_eq!(breakers.pass(HOOK, moment(29)).await.unwrap(), Pass::Wait(left));
    assert_eq!(breakers.pass("webhook/other", moment(0)).await.unwrap(), Pass::Go);
    assert_eq!(breakers.pass(HOOK, moment(30)).await.unwrap(), Pass::Go, "the trial");
    assert_eq!(breakers.pass(HOOK, moment(31)).await.unwrap(), Pass::Wait(OPEN - left));
}

#[tokio::test]
async fn a_success_between_failures_begins_a_new_row() {
    let (server, breakers) = start().await;
    for _ in 0..FAILURES - 1 {
        breakers.told(HOOK, false, moment(0)).await.unwrap();
    }
    breakers.told(HOOK, true, moment(0)).await.unwrap();
    assert_eq!(server.items(TABLE).len(), 0);
    for _ in 0..FAILURES - 1 {
        breakers.told(HOOK, false, moment(1)).await.unwrap();
    }
    assert_eq!(breakers.pass(HOOK, moment(1)).await.unwrap(), Pass::Go);
}

#[tokio::test]
async fn the_trial_decides() {
    let (_server, breakers) = start().await;
    open(&breakers).await;
    assert_eq!(breakers.pass(HOOK, moment(30)).await.unwrap(), Pass::Go);
    breakers.told(HOOK, false, moment(32)).await.unwrap();
    assert_eq!(breakers.pass(HOOK, moment(33)).await.unwrap(), Pass::Wait(OPEN - seconds(1)));
    assert_eq!(breakers.pass(HOOK, moment(62)).await.unwrap(), Pass::Go);
    breakers.told(HOOK, true, moment(63)).await.unwrap();
    assert_eq!(breakers.pass(HOOK, moment(63)).await.unwrap(), Pass::Go);
    assert_eq!(breakers.pass(HOOK, moment(63)).await.unwrap(), Pass::Go, "all may again");
}

#[tokio::test]
async fn who_died_on_trial_does_not_keep_the_circuit_open() {
    let (_server, breakers) = start().await;
    open(&breakers).await;
    assert_eq!(breakers.pass(HOOK, moment(30)).await.unwrap(), Pass::Go);
    assert_eq!(breakers.pass(HOOK, moment(60)).await.unwrap(), Pass::Go);
}

#[tokio::test]
async fn of_many_at_once_one_gets_the_trial() {
    let (server, breakers) = start().await;
    open(&breakers).await;
    let aws = server.aws().await;
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        let breakers = Breakers::new(&aws, TABLE);
        callers.spawn(async move { breakers.pass(HOOK, moment(30)).await.unwrap() });
    }
    let passes = callers.join_all().await;
    assert_eq!(passes.iter().filter(|pass| **pass == Pass::Go).count(), 1);
}

#[tokio::test]
async fn failures_seen_by_several_processes_count_together() {
    let (server, first) = start().await;
    let second = Breakers::new(&server.aws().await, TABLE);
    let mut tellers = JoinSet::new();
    for teller in [first.clone(), second.clone(), first.clone(), second.clone(), second.clone()] {
        tellers.spawn(async move { teller.told(HOOK, false, moment(0)).await.unwrap() });
    }
    tellers.join_all().await;
    assert_eq!(first.pass(HOOK, moment(1)).await.unwrap(), Pass::Wait(OPEN - seconds(1)));
    assert_eq!(second.pass(HOOK, moment(1)).await.unwrap(), Pass::Wait(OPEN - seconds(1)));
    second.reset(HOOK).await.unwrap();
    assert_eq!(first.pass(HOOK, moment(1)).await.unwrap(), Pass::Go);
}

#[tokio::test]
async fn a_destination_that_works_is_not_written_down() {
    let (server, breakers) = start().await;
    assert_eq!(breakers.pass(HOOK, moment(0)).await.unwrap(), Pass::Go);
    breakers.told(HOOK, true, moment(0)).await.unwrap();
    assert_eq!(server.calls().len(), 1);
}

#[tokio::test]
async fn a_table_that_cannot_be_read_is_an_error_of_its_own() {
    let (server, breakers) = start().await;
    server.standing("GetItem", Fault::error(400, "AccessDeniedException"));
    assert!(breakers.pass(HOOK, moment(0)).await.is_err());
}

async fn start() -> (Server, Breakers) {
    let server = Server::start().await.unwrap();
    let breakers = Breakers::new(&server.aws().await, TABLE);
    (server, breakers)
}

async fn open(breakers: &Breakers) {
    for _ in 0..FAILURES {
        breakers.told(HOOK, false, moment(0)).await.unwrap();
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
