//! A thousand interruptions at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_cloud::web::Reach;
use snooze_functions::perform::{self, Perform};
use snooze_functions::settings;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::stage::{AT_ONCE, SAVE, Stage, environment, state};

/// How many notices come at once.
const NOTICES: usize = 1000;
/// How many go on through `perform`, which makes many more calls for each.
const PERFORMED: usize = if cfg!(debug_assertions) { 100 } else { NOTICES };
/// How many batches are worked on side by side.
const PERFORMERS: usize = if cfg!(debug_assertions) { 2 } else { SANDBOXES };
/// How often a message comes before it goes to the dead letters.
const ROUNDS: i64 = 5;
/// How many orders a batch has (Lambda developer guide, "Using Lambda with Amazon SQS").
const BATCH: usize = 10;
/// How many sandboxes work on them side by side; the loopback server has one processor or two.
const SANDBOXES: usize = 16;
/// What the thousand may take on two processors; far more where nothing is optimised.
const LIMIT: Duration = Duration::from_secs(if cfg!(debug_assertions) { 300 } else { 15 });

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d14_a_thousand_interruptions_are_all_sent_once_by_calls_that_grow_with_them() {
    let (stage, ids) = stormy(NOTICES).await;
    let begun = Instant::now();
    let again = dispatch_all(&stage, &ids).await;
    let took = begun.elapsed();
    let calls = stage.server.calls().len();
    println!("{NOTICES} notices, {again} given again: {calls} calls, {took:?}");
    assert!(took < LIMIT, "{took:?}");
    let told: BTreeSet<_> =
        stage.commands().into_iter().map(|command| command.instance.unwrap().to_string()).collect();
    assert_eq!(told, ids.into_iter().collect());
    let orders: BTreeSet<_> =
        stage.orders().into_iter().map(|order| (order.incident, order.task)).collect();
    assert_eq!(orders.len(), NOTICES * AT_ONCE.len());
    if again == 0 {
        // Six for each, and the policies once.
        assert!(calls <= 6 * NOTICES + 3, "{calls}");
        assert_eq!(stage.commands().len(), NOTICES);
        assert_eq!(stage.orders().len(), NOTICES * AT_ONCE.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d14_all_that_was_ordered_in_a_storm_is_done_once() {
    let (stage, ids) = stormy(PERFORMED).await;
    let begun = Instant::now();
    let again = dispatch_all(&stage, &ids).await;
    let settings = settings::read(&environment(&stage.server), perform::settings).unwrap();
    let perform = Arc::new(Perform::new(&stage.aws, settings, Reach::Loopback));
    let mut left = stage.server.messages("s-actions");
    let mut rounds = 0;
    // What a batch gives back comes again when its visibility time-out is over.
    while !left.is_empty() {
        assert!(rounds < ROUNDS, "{left:?}");
        left = perform_all(&perform, &left, stage.at(60 * rounds)).await;
        rounds += 1;
    }
    let calls = stage.server.calls().len();
    println!("{PERFORMED} notices, done: {calls} calls, {:?}", begun.elapsed());
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    // Beside those of `dispatch`, a task reads and writes its incident and its breaker, and acts.
    if (again, rounds) == (0, 1) {
        assert!(calls <= PERFORMED * (6 + AT_ONCE.len() * 8) + 3, "{calls}");
        assert_eq!((stage.told().len(), stage.server.entries().len()), (PERFORMED, PERFORMED));
    }
    for incident in stage.incidents().await {
        for task in AT_ONCE {
            assert_eq!(state(&incident, task), "done", "{}: {task}", incident.id);
        }
    }
}

/// Gives all messages to `perform` in batches, and answers with those that it gave back.
async fn perform_all(perform: &Arc<Perform>, messages: &[String], now: Timestamp) -> Vec<String> {
    let sandboxes = Arc::new(Semaphore::new(PERFORMERS));
    let mut work = JoinSet::new();
    for batch in messages.chunks(BATCH) {
        let (perform, sandboxes) = (Arc::clone(perform), Arc::clone(&sandboxes));
        let batch = batch.to_vec();
        work.spawn(async move {
            let _one = sandboxes.acquire().await.unwrap();
            let records: Vec<Value> = batch
                .iter()
                .enumerate()
                .map(|(n, body)| json!({ "messageId": n.to_string(), "body": body }))
                .collect();
            let text = json!({ "Records": records }).to_string();
            let answer = perform.batch(&text, now).await.unwrap();
            let failed = answer["batchItemFailures"].as_array().unwrap().clone();
            let number = |item: &Value| item["itemIdentifier"].as_str().unwrap().parse().unwrap();
            let failed: Vec<usize> = failed.iter().map(number).collect();
            failed.into_iter().map(|n| batch[n].clone()).collect::<Vec<_>>()
        });
    }
    work.join_all().await.into_iter().flatten().collect()
}

/// A stack with so many instances.
async fn stormy(notices: usize) -> (Arc<Stage>, Vec<String>) {
    let stage = Arc::new(Stage::earnest().await);
    stage.policy(SAVE).await;
    let ids: Vec<String> = (0..notices).map(|n| format!("i-0a1b2c3d4e5f{n:05x}")).collect();
    let mut known = JoinSet::new();
    for ids in ids.chunks(notices.div_ceil(SANDBOXES)) {
        let (stage, ids) = (Arc::clone(&stage), ids.to_vec());
        known.spawn(async move {
            for id in ids {
                stage.know(&id).await;
            }
        });
    }
    known.join_all().await;
    stage.server.forget_calls();
    (stage, ids)
}

/// Gives all notices to `dispatch`; returns how many it had to be given again. On a machine that
/// stands still for a moment the limits of its calls are over for all that were under way.
async fn dispatch_all(stage: &Arc<Stage>, ids: &[String]) -> usize {
    let sandboxes = Arc::new(Semaphore::new(SANDBOXES));
    let mut work = JoinSet::new();
    for id in ids {
        let event = stage.spot(id, 0);
        let (stage, sandboxes) = (Arc::clone(stage), Arc::clone(&sandboxes));
        work.spawn(async move {
            let _one = sandboxes.acquire().await.unwrap();
            // Lambda gives an event twice more that failed.
            let mut again = 0;
            while let Err(failure) = stage.dispatch(&event, 1).await {
                again += 1;
                assert!(again < 3, "{failure}");
            }
            again
        });
    }
    work.join_all().await.into_iter().sum()
}
