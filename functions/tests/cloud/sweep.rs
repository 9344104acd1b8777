//! What the sweep mends.

use snooze_cloud::fake::Fault;
use snooze_functions::telemetry::Metric;
use snooze_policy::ledger::By;

use crate::stage::{ONE, Stage, TWO, state};

#[tokio::test]
async fn an_incident_that_nobody_told_the_end_of_ends_as_unknown() {
    let stage = Stage::open().await;
    stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap();
    stage.sweep(100).await.unwrap();
    assert_eq!(stage.incident().await.ended, None);
    let answer = stage.sweep(200).await.unwrap();
    assert_eq!((&answer["overdue"], &answer["mended"]), (&1.into(), &1.into()));
    let incident = stage.incident().await;
    let ended = incident.ended.as_ref().unwrap();
    assert_eq!((ended.outcome.as_str(), ended.by), ("unknown", By::Sweep));
    assert_eq!(state(&incident, "orders-db/complete-lifecycle"), "sent");
    assert_eq!(stage.meter.total(Metric::Overdue), 1);
}

#[tokio::test]
async fn an_order_that_was_lost_is_sent_again() {
    let stage = Stage::open().await;
    stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap();
    let before = stage.orders().len();
    stage.sweep(400).await.unwrap();
    assert!(stage.orders().len() >= before + 2, "{:?}", stage.orders());
}

#[tokio::test]
async fn one_incident_that_cannot_be_written_does_not_stop_the_others() {
    let stage = Stage::open().await;
    stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap();
    stage.dispatch(&stage.spot(TWO, 0), 1).await.unwrap();
    let poison = snooze_cloud::fake::When::next("PutItem").holding(ONE).always();
    stage.server.fault_when(poison, Fault::error(400, "ValidationException"));
    stage.sweep(200).await.unwrap_err();
    let ended: Vec<_> =
        stage.incidents().await.into_iter().filter(|it| it.ended.is_some()).collect();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].instance.as_deref(), Some(TWO));
}

#[tokio::test]
async fn queues_of_instances_that_are_gone_go_at_the_second_look() {
    let stage = Stage::bare().await;
    for id in [ONE, TWO] {
        stage.record(&stage.hello("instance.registered", id, 0), 1).await.unwrap();
    }
    stage.instances().remove(&ONE.parse().unwrap()).await.unwrap();
    stage.sweep(60).await.unwrap();
    stage.sweep(120).await.unwrap();
    assert_eq!(stage.server.queues().len(), 3, "an hour has not passed");
    let answer = stage.sweep(4000).await.unwrap();
    assert_eq!(answer["queues_removed"], 1);
    assert_eq!(stage.server.queues(), ["s-actions", &format!("s-instance-{TWO}")]);
    assert_eq!(stage.server.subscriptions().len(), 1);
    assert_eq!(stage.meter.total(Metric::QueuesRemoved), 1);
}

#[tokio::test]
async fn a_sweep_without_anything_due_costs_little() {
    let stage = Stage::open().await;
    stage.sweep(60).await.unwrap();
    stage.server.forget_calls();
    stage.sweep(120).await.unwrap();
    assert!(stage.server.calls().len() <= 16, "{}", stage.server.calls().len());
}
