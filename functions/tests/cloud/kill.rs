//! A function that is killed in the middle, and events that come again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use snooze_cloud::fake::{Fault, When};
use snooze_functions::failure::Failure;
use tokio::time;

use crate::stage::{AT_ONCE, ONE, Stage, state};

#[tokio::test]
async fn d1_killed_after_any_call_the_next_attempt_sends_what_is_missing() {
    let calls = calls_of_a_notice().await;
    for (killed_at, happens) in (0..calls).flat_map(|at| [(at, false), (at, true)]) {
        let stage = Stage::open().await;
        kill(&stage, killed_at, happens).await;
        stage.dispatch(&stage.spot(ONE, 0), 61).await.unwrap();
        check(&stage, &format!("killed at call {killed_at}, which happens: {happens}")).await;
    }
}

#[tokio::test]
async fn d1_killed_after_any_call_the_sweep_sends_what_is_missing() {
    let calls = calls_of_a_notice().await;
    for (killed_at, happens) in (0..calls).flat_map(|at| [(at, false), (at, true)]) {
        let stage = Stage::open().await;
        kill(&stage, killed_at, happens).await;
        if stage.incidents().await.is_empty() {
            // Killed before anything was written down: only the event itself can bring it back.
            continue;
        }
        stage.sweep(60).await.unwrap();
        check(&stage, &format!("killed at call {killed_at}, which happens: {happens}")).await;
    }
}

#[tokio::test]
async fn d1_a_report_that_was_cut_at_any_call_is_finished_by_the_next_attempt() {
    for (killed_at, happens) in (0..4).flat_map(|at| [(at, false), (at, true)]) {
        let stage = Stage::open().await;
        stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap();
        let outcome = stage.report(ONE, "spot", Some("done"), &[], 20);
        stage.server.forget_calls();
        cut(&stage, stage.record.handle(stage.invocation(&outcome, 21)), killed_at, happens).await;
        stage.record(&outcome, 81).await.unwrap();
        let when = format!("killed at call {killed_at}, which happens: {happens}");
        let incident = stage.incident().await;
        assert_eq!(incident.word().unwrap().outcome, "done", "{when}");
        assert_eq!(state(&incident, "orders-db/complete-lifecycle"), "sent", "{when}");
        assert!(stage.ordered().contains("orders-db/complete-lifecycle"), "{when}");
    }
}

#[tokio::test]
async fn d2_an_event_that_comes_again_after_60_or_180_seconds_finds_all_done() {
    let stage = Stage::open().await;
    let event = stage.spot(ONE, 0);
    stage.dispatch(&event, 1).await.unwrap();
    for seconds in [61, 181] {
        stage.dispatch(&event, seconds).await.unwrap();
        let incident = stage.incident().await;
        assert_eq!(incident.signals.len(), 1);
        assert_eq!((stage.commands().len(), stage.orders().len()), (1, 2), "{seconds} s");
    }
}

#[tokio::test]
async fn d2_an_event_that_first_succeeds_after_180_seconds_has_expired() {
    let stage = Stage::open().await;
    stage.dispatch(&stage.spot(ONE, 0), 181).await.unwrap();
    let incident = stage.incident().await;
    assert_eq!(incident.ended.unwrap().outcome, "expired");
    assert_eq!((stage.commands().len(), stage.orders().len()), (0, 0));
}

/// Starts `dispatch` with a notice, and ends it at a call.
async fn kill(stage: &Stage, call: usize, happens: bool) {
    let event = stage.spot(ONE, 0);
    let run = Arc::clone(&stage.dispatch).handle(stage.invocation(&event, 1));
    cut(stage, run, call, happens).await;
}

/// Ends a function at a call: before the call does anything, or after it did and before the
/// answer came.
async fn cut(
    stage: &Stage,
    run: impl Future<Output = Result<Value, Failure>>,
    call: usize,
    happens: bool,
) {
    let fault = if happens { Fault::HangAfter } else { Fault::Hang };
    stage.server.fault_when(When::next("*").after(call).always(), fault);
    let reached = async {
        while stage.server.calls().len() <= call {
            time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        answer = run => panic!("it ended by itself: {answer:?}"),
        () = reached => {}
    }
    stage.server.lift("*");
}

async fn check(stage: &Stage, when: &str) {
    let incident = stage.incident().await;
    assert_eq!(state(&incident, "command"), "done", "{when}");
    for task in AT_ONCE {
        assert_eq!(state(&incident, task), "sent", "{when}: {task}");
    }
    let commands: BTreeSet<_> = stage.commands().into_iter().map(|command| command.id).collect();
    assert_eq!(commands, [format!("{}#command", incident.id)].into(), "{when}");
    let orders: BTreeSet<_> =
        stage.orders().into_iter().map(|order| (order.incident, order.task)).collect();
    let expected = AT_ONCE.map(|task| (incident.id.clone(), task.to_owned()));
    assert_eq!(orders, expected.into(), "{when}");
}

async fn calls_of_a_notice() -> usize {
    let stage = Stage::open().await;
    stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap();
    stage.server.calls().len()
}
