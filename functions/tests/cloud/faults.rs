//! Services that fail, one call or one service at a time.

use snooze_cloud::fake::{Fault, When};
use snooze_functions::failure::Name;
use snooze_functions::telemetry::Metric;

use crate::stage::{AT_ONCE, ONE, Stage, THREE, TWO, state};

#[tokio::test]
async fn d8_without_the_policies_the_instance_uses_its_own_and_the_actions_follow_later() {
    let mut stage = Stage::open().await;
    let policies = || When::next("Query").holding("s-policies").always();
    stage.server.fault_when(policies(), Fault::error(500, "InternalServerError"));
    let failure = stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap_err();
    assert_eq!(failure.name, Name::PoliciesUnavailable);
    assert_eq!(stage.commands()[0].policies, None);
    // The event comes again after a minute; the table answers.
    stage.server.lift("Query");
    stage.cold();
    stage.dispatch(&stage.spot(ONE, 0), 61).await.unwrap();
    let incident = stage.incident().await;
    assert_eq!(incident.policies, Some(1));
    assert!(stage.ordered().is_superset(&AT_ONCE.map(str::to_owned).into()));
    assert_eq!(stage.commands().len(), 1);
}

#[tokio::test]
async fn d8_with_a_copy_of_the_policies_nothing_is_missed() {
    let stage = Stage::open().await;
    stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap();
    stage.server.fault_when(
        When::next("Query").holding("s-policies").always(),
        Fault::error(400, "AccessDeniedException"),
    );
    stage.dispatch(&stage.spot(TWO, 100), 101).await.unwrap();
    assert_eq!(stage.commands()[1].policies, Some(1));
    assert_eq!(stage.orders().len(), 4);
}

#[tokio::test]
async fn d8_without_the_ledger_the_instance_is_told_all_the_same() {
    let stage = Stage::open().await;
    stage.server.standing("TransactWriteItems", Fault::error(500, "InternalServerError"));
    let failure = stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap_err();
    assert_eq!(failure.name, Name::LedgerUnavailable);
    let again = stage.dispatch(&stage.spot(ONE, 0), 10).await.unwrap_err();
    assert_eq!(again.name, Name::LedgerUnavailable);
    let ids: Vec<_> = stage.commands().into_iter().map(|command| command.id).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1], "the same command has the same id");
    assert_eq!(stage.told().len(), 2);
    stage.server.lift("TransactWriteItems");
    stage.dispatch(&stage.spot(ONE, 0), 61).await.unwrap();
    assert_eq!(stage.ordered(), AT_ONCE.map(str::to_owned).into());
}

#[tokio::test]
async fn d8_a_table_that_hangs_does_not_keep_the_instance_waiting() {
    let stage = Stage::open().await;
    for operation in ["GetItem", "Query", "TransactWriteItems"] {
        stage.server.standing(operation, Fault::Hang);
    }
    let begun = std::time::Instant::now();
    let failure = stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap_err();
    assert!(begun.elapsed() < std::time::Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(failure.name, Name::LedgerUnavailable);
    assert_eq!(stage.commands().len(), 1);
    assert_eq!(stage.commands()[0].policies, None);
}

#[tokio::test]
async fn d12_a_topic_that_fails_leaves_the_command_to_the_queue() {
    let stage = Stage::open().await;
    stage.server.standing("Publish", Fault::error(500, "InternalError"));
    stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap();
    let incident = stage.incident().await;
    assert_eq!(state(&incident, "command"), "pending");
    let orders = stage.orders();
    let command = orders.iter().find(|order| order.task == "command").unwrap();
    assert_eq!(command.expires_at, stage.at(120));
    assert_eq!(orders.len(), 3);
    // Nobody took the order: the sweep publishes the command.
    stage.server.lift("Publish");
    stage.sweep(60).await.unwrap();
    assert_eq!(stage.commands()[0].id, format!("{}#command", incident.id));
    assert_eq!(state(&stage.incident().await, "command"), "done");
}

#[tokio::test]
async fn d12_a_topic_that_hangs_does_not_delay_the_orders() {
    let stage = Stage::open().await;
    stage.server.standing("Publish", Fault::Hang);
    stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap();
    let tasks = stage.ordered();
    assert!(tasks.is_superset(&AT_ONCE.map(str::to_owned).into()), "{tasks:?}");
    assert!(tasks.contains("command"));
}

#[tokio::test]
async fn d12_orders_that_the_queue_refuses_come_with_the_sweep() {
    let stage = Stage::open().await;
    let refused = Fault::Entries { at: vec![1], code: "InternalError".to_owned() };
    stage.server.fault("SendMessageBatch", refused);
    let failure = stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap_err();
    assert_eq!(failure.name, Name::OrdersNotSent);
    assert_eq!((stage.commands().len(), stage.orders().len()), (1, 1));
    stage.sweep(60).await.unwrap();
    assert_eq!(stage.ordered(), AT_ONCE.map(str::to_owned).into());
    assert_eq!((stage.commands().len(), stage.orders().len()), (1, 2));
}

/// A service that refuses, and what is done all the same: commands and orders.
const DENIED: [(&str, &str, usize, usize); 7] = [
    ("GetItem", "s-instances", 1, 1),
    ("GetItem", "s-policies", 1, 1),
    ("Query", "s-policies", 1, 1),
    ("Query", "s-incidents", 1, 2),
    ("TransactWriteItems", "", 1, 0),
    ("Publish", "", 0, 3),
    ("SendMessageBatch", "", 1, 0),
];

#[tokio::test]
async fn d16_one_denied_permission_is_named_and_the_other_branches_go_on() {
    for (operation, table, commands, orders) in DENIED {
        let stage = Stage::open().await;
        let denied = Fault::error(400, "AccessDeniedException");
        stage.server.fault_when(When::next(operation).holding(table).always(), denied);
        let failure = stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap_err();
        assert_eq!(failure.name, Name::AccessDenied, "{operation} {table}: {failure}");
        assert!(failure.text.contains(operation), "{failure}");
        let done = (stage.commands().len(), stage.orders().len());
        assert_eq!(done, (commands, orders), "{operation} {table}");
    }
}

#[tokio::test]
async fn d16_a_denied_note_of_what_was_sent_is_named_and_all_is_sent() {
    let stage = Stage::open().await;
    stage.server.standing("PutItem", Fault::error(400, "AccessDeniedException"));
    let failure = stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap_err();
    assert_eq!(failure.name, Name::AccessDenied);
    assert_eq!((stage.commands().len(), stage.orders().len()), (1, 2));
}

#[tokio::test]
async fn d16_a_denied_look_at_the_hook_is_named_and_the_hook_is_kept_waiting() {
    let stage = Stage::open().await;
    let denied = "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>";
    stage.server.answer("DescribeLifecycleHooks", 403, denied);
    let failure = stage.dispatch(&stage.hook(ONE, 0), 1).await.unwrap_err();
    assert_eq!(failure.name, Name::AccessDenied);
    let incident = stage.incident().await;
    assert_eq!(incident.hook.as_ref().unwrap().timeout_seconds, None);
    assert_eq!(state(&incident, "heartbeat"), "sent");
    assert_eq!(stage.commands().len(), 1);
}

#[tokio::test]
async fn one_instance_of_a_health_event_that_fails_does_not_stop_the_others() {
    let stage = Stage::open().await;
    let fault = Fault::error(500, "InternalServerError");
    stage.server.fault_when(When::next("TransactWriteItems").holding(TWO).always(), fault);
    let event = stage.health(&[ONE, TWO, THREE], 0, 86_400);
    let failure = stage.dispatch(&event, 1).await.unwrap_err();
    assert_eq!(failure.name, Name::LedgerUnavailable);
    assert_eq!(stage.incidents().await.len(), 2);
    stage.server.lift("TransactWriteItems");
    stage.dispatch(&event, 61).await.unwrap();
    assert_eq!(stage.incidents().await.len(), 3);
    assert_eq!(stage.meter.total(Metric::Incidents), 3);
}
