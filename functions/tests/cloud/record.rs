//! What instances tell.

use serde_json::json;
use snooze_cloud::fake::Fault;
use snooze_event::wire::otlp;
use snooze_functions::failure::Name;
use snooze_functions::telemetry::Metric;

use crate::stage::{AT_ONCE, ONE, Stage, TWO, state};

const QUEUE: &str = "s-instance-i-0a1b2c3d4e5f60701";

#[tokio::test]
async fn hello_keeps_the_facts_and_makes_the_queue_once() {
    let stage = Stage::bare().await;
    stage.record(&stage.hello("instance.registered", ONE, 0), 1).await.unwrap();
    stage.record(&stage.hello("instance.registered", ONE, 2), 3).await.unwrap();
    assert!(stage.server.queues().contains(&QUEUE.to_owned()));
    assert_eq!(stage.server.subscriptions().len(), 1);
    let known = stage.instances().read(&ONE.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(known.facts.tags["role"], "orders-db");
    assert_eq!(known.facts.asg.as_deref(), Some("orders"));
    assert!(known.queue_url.unwrap().ends_with(QUEUE));
    assert!(known.subscription.is_some());
    assert_eq!(known.policies, Some(1));
    // A later report of an instance that has its queue asks for nothing more.
    stage.server.forget_calls();
    stage.record(&stage.hello("instance.updated", ONE, 4), 5).await.unwrap();
    let calls: Vec<_> = stage.server.calls().into_iter().map(|call| call.operation).collect();
    assert_eq!(calls, ["GetItem", "UpdateItem"]);
}

#[tokio::test]
async fn facts_from_outside_are_bounded() {
    let stage = Stage::bare().await;
    let mut hello = stage.hello("instance.registered", ONE, 0);
    let tags: serde_json::Map<_, _> =
        (0..200).map(|n| (format!("k{n}"), json!("v".repeat(1000)))).collect();
    hello["detail"]["data"]["tags"] = json!(tags);
    hello["detail"]["data"]["zone"] = json!("z\n".repeat(5000));
    hello["detail"]["data"]["faults"] = json!(vec!["f".repeat(1000); 200]);
    stage.record(&hello, 1).await.unwrap();
    let known = stage.instances().read(&ONE.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(known.facts.tags.len(), 50);
    assert!(known.facts.tags.values().all(|tag| tag.len() == 256));
    assert_eq!(known.facts.zone.unwrap(), "z".repeat(256));
    assert_eq!(known.faults.len(), 20);
}

#[tokio::test]
async fn a_queue_that_could_not_be_made_is_made_with_the_next_report() {
    let stage = Stage::bare().await;
    stage.server.standing("CreateQueue", Fault::error(400, "AccessDenied"));
    let hello = stage.hello("instance.registered", ONE, 0);
    let failure = stage.record(&hello, 1).await.unwrap_err();
    assert_eq!(failure.name, Name::AccessDenied);
    // The facts are there: policies apply to it, and a notice finds it.
    let known = stage.instances().read(&ONE.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((known.facts.tags.len(), known.queue_url), (1, None));
    stage.server.lift("CreateQueue");
    stage.record(&stage.hello("instance.updated", ONE, 900), 901).await.unwrap();
    assert!(stage.server.queues().contains(&QUEUE.to_owned()));
}

#[tokio::test]
async fn goodbye_and_termination_remove_the_queue_and_its_subscription() {
    for kind in ["instance.deleted", "terminated"] {
        let stage = Stage::bare().await;
        stage.record(&stage.hello("instance.registered", ONE, 0), 1).await.unwrap();
        let gone = match kind {
            "terminated" => stage.state(ONE, kind, 10),
            _ => stage.word(kind, ONE, 10, json!({ "reason": "shutdown" })),
        };
        stage.record(&gone, 11).await.unwrap();
        stage.record(&gone, 12).await.unwrap();
        assert_eq!(stage.server.queues(), ["s-actions"], "{kind}");
        assert_eq!(stage.server.subscriptions().len(), 0, "{kind}");
        let known = stage.instances().read(&ONE.parse().unwrap()).await.unwrap();
        assert_eq!(known.is_none(), kind == "terminated");
    }
}

#[tokio::test]
async fn a_goodbye_that_comes_after_the_next_hello_removes_nothing() {
    let stage = Stage::bare().await;
    stage.record(&stage.hello("instance.registered", ONE, 20), 21).await.unwrap();
    let old = stage.word("instance.deleted", ONE, 10, json!({ "reason": "reboot" }));
    stage.record(&old, 22).await.unwrap();
    assert!(stage.server.queues().contains(&QUEUE.to_owned()));
}

#[tokio::test]
async fn idle_is_kept_until_the_instance_is_active_again() {
    let stage = Stage::open().await;
    stage.record(&stage.word("instance.idle", ONE, 5, json!({})), 6).await.unwrap();
    let id = ONE.parse().unwrap();
    let known = stage.instances().read(&id).await.unwrap().unwrap();
    assert!(known.idle_since.is_some());
    stage.record(&stage.word("instance.active", ONE, 7, json!({})), 8).await.unwrap();
    let known = stage.instances().read(&id).await.unwrap().unwrap();
    assert_eq!(known.idle_since, None);
}

#[tokio::test]
async fn a_hello_that_passes_a_word_of_idleness_does_not_hide_it() {
    let stage = Stage::open().await;
    let data = json!({ "since": stage.at(-1800).to_string(), "boot_id": "b1" });
    stage.record(&stage.hello("instance.updated", ONE, 9), 9).await.unwrap();
    stage.record(&stage.word("instance.idle", ONE, 5, data), 10).await.unwrap();
    let id = ONE.parse().unwrap();
    let known = stage.instances().read(&id).await.unwrap().unwrap();
    assert_eq!(known.idle_boot.as_deref(), Some("b1"));
    assert!(known.idle_since.is_some() && known.idle_told.is_some());
}

#[tokio::test]
async fn an_outcome_ends_the_incident_and_releases_what_waited() {
    let stage = Stage::open().await;
    stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap();
    let id = stage.incident().await.id;
    stage.record(&stage.report(ONE, "spot", None, &[&id], 2), 3).await.unwrap();
    assert!(stage.incident().await.ended.is_none());
    let outcome = stage.report(ONE, "spot", Some("done"), &[&id], 20);
    stage.record(&outcome, 21).await.unwrap();
    stage.record(&outcome, 22).await.unwrap();
    let incident = stage.incident().await;
    assert_eq!(incident.word().unwrap().outcome, "done");
    assert_eq!(state(&incident, "orders-db/complete-lifecycle"), "sent");
    assert_eq!(stage.orders().len(), 3);
    assert_eq!(stage.meter.total(Metric::Outcomes), 1);
    assert_eq!(stage.meter.total(Metric::Handlers), 1);
    assert_eq!(stage.meter.total(Metric::HandlerFailures), 0);
    assert!(!incident.unseen);
}

#[tokio::test]
async fn s4_46_an_incident_that_ended_is_one_trace_that_follows_from_its_key() {
    let stage = Stage::open().await;
    stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap();
    let id = stage.incident().await.id;
    assert_eq!(stage.meter.traces(), Vec::<serde_json::Value>::new());
    let outcome = stage.report(ONE, "spot", Some("failed"), &[&id], 20);
    stage.record(&outcome, 21).await.unwrap();
    stage.record(&outcome, 22).await.unwrap();
    let traces = stage.meter.traces();
    assert_eq!(traces.len(), 1, "{traces:#?}");
    let spans = traces[0]["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    let names: Vec<&str> = spans.iter().filter_map(|span| span["name"].as_str()).collect();
    assert_eq!(names[..2], ["incident cloud.spot.interrupt", "dispatch"], "{names:?}");
    assert_eq!(spans[0]["spanId"], otlp::span_id(&id, otlp::ROOT));
    assert_eq!(spans[0]["status"]["code"], 2);
    for span in spans {
        assert_eq!(span["traceId"], otlp::trace_id(&id));
    }
    for span in spans.iter().skip(1) {
        assert_eq!(span["parentSpanId"], spans[0]["spanId"]);
    }
}

#[tokio::test]
async fn the_trace_of_what_no_command_told_is_that_of_the_instance() {
    let stage = Stage::open().await;
    let report = stage.report(ONE, "spot", Some("done"), &[], 20);
    stage.record(&report, 21).await.unwrap();
    let traces = stage.meter.traces();
    let key = report["detail"]["data"]["incident"].as_str().unwrap();
    let root = &traces[0]["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(root["traceId"], otlp::trace_id(key));
}

#[tokio::test]
async fn an_outcome_answers_the_lifecycle_hook_that_waits() {
    let stage = Stage::open().await;
    let hooks = "<DescribeLifecycleHooksResponse><DescribeLifecycleHooksResult/>\
                 </DescribeLifecycleHooksResponse>";
    stage.server.answer("DescribeLifecycleHooks", 200, hooks);
    stage.dispatch(&stage.hook(ONE, 0), 1).await.unwrap();
    stage.dispatch(&stage.spot(ONE, 2), 3).await.unwrap();
    stage.record(&stage.report(ONE, "spot", Some("failed"), &[], 20), 21).await.unwrap();
    for incident in stage.incidents().await {
        assert_eq!(incident.word().unwrap().outcome, "failed", "{}", incident.id);
        assert_eq!(state(&incident, "orders-db/complete-lifecycle"), "sent");
    }
    assert_eq!(stage.meter.total(Metric::HandlerFailures), 1);
}

#[tokio::test]
async fn an_instance_ends_no_incident_but_its_own() {
    let stage = Stage::open().await;
    stage.dispatch(&stage.spot(ONE, 0), 1).await.unwrap();
    let id = stage.incident().await.id;
    stage.record(&stage.report(TWO, "spot", Some("done"), &[&id], 2), 3).await.unwrap();
    let one = stage.ledger().read(&id).await.unwrap().unwrap();
    assert_eq!(one.incident.ended, None);
}

#[tokio::test]
async fn a_drill_is_ended_by_its_id_alone_and_its_day_is_kept() {
    let stage = Stage::open().await;
    let mut drill = stage.spot(ONE, 0);
    drill["source"] = json!("cloudsnooze.drill");
    stage.dispatch(&drill, 1).await.unwrap();
    let id = stage.incident().await.id;
    // A real outcome of the same kind is not the drill's.
    stage.record(&stage.report(ONE, "spot", Some("done"), &[], 5), 6).await.unwrap();
    let drill = stage.ledger().read(&id).await.unwrap().unwrap();
    assert_eq!(drill.incident.ended, None);
    let mut outcome = stage.report(ONE, "spot", Some("done"), &[&id], 7);
    outcome["detail"]["drill"] = json!(true);
    stage.record(&outcome, 8).await.unwrap();
    let drill = stage.ledger().read(&id).await.unwrap().unwrap();
    assert_eq!(drill.incident.word().unwrap().outcome, "done");
    let known = stage.instances().read(&ONE.parse().unwrap()).await.unwrap().unwrap();
    assert!(known.drilled_at.is_some());
}

#[tokio::test]
async fn d17_a_loss_that_no_event_told_of_is_written_down_as_unseen() {
    let stage = Stage::open().await;
    stage.record(&stage.report(ONE, "spot", None, &[], 2), 3).await.unwrap();
    stage.record(&stage.report(ONE, "spot", Some("done"), &[], 20), 21).await.unwrap();
    stage.sweep(300).await.unwrap();
    let incident = stage.incident().await;
    assert!(incident.unseen);
    assert_eq!(incident.word().unwrap().outcome, "done");
    assert_eq!(incident.steps[0].step, "orders-db/postgres-flusher");
    assert_eq!(stage.commands(), []);
}

#[tokio::test]
async fn d17_an_event_that_comes_after_the_word_of_the_instance_brings_the_actions() {
    let stage = Stage::open().await;
    stage.record(&stage.report(ONE, "spot", Some("done"), &[], 1), 2).await.unwrap();
    stage.dispatch(&stage.spot(ONE, 0), 4).await.unwrap();
    let incident = stage.incident().await;
    assert!(!incident.unseen);
    let mut expected: std::collections::BTreeSet<_> = AT_ONCE.map(str::to_owned).into();
    expected.insert("orders-db/complete-lifecycle".to_owned());
    assert_eq!(stage.ordered(), expected);
    assert_eq!(stage.commands(), [], "it has done its work");
}

#[tokio::test]
async fn c7_a_report_that_is_none_is_counted_and_comes_no_more() {
    let stage = Stage::open().await;
    let report = stage.word("incident.outcome", ONE, 1, json!({ "outcome": 7 }));
    stage.record(&report, 2).await.unwrap();
    assert_eq!(stage.meter.total(Metric::Unreadable), 1);
    assert!(stage.incidents().await.is_empty());
}
