//! What is asked of a server in which state, and what is told of it.

use mongodb_plugins::Flusher;
use serde_json::{Value, json};
use snooze_plugin::{Handled, Plugin as _, PluginEvent};

use crate::stand_in::StandIn;

#[test]
fn a_primary_hands_its_part_over_and_then_all_is_on_disk() {
    for closes in [false, true] {
        let server = StandIn::start(Some(true));
        server.play.lock().unwrap().closes_at_step_down = closes;
        let handled = handle(&server, json!({}), &notice());
        assert_eq!(handled.status.as_deref(), Some("mongodb_flushed"), "{handled:?}");
        assert_eq!((handled.verified, &handled.error), (Some(true), &None), "{handled:?}");
        assert_eq!(handled.more["role"], "primary");
        assert_eq!(handled.more["stepped_down"], true);
        assert_eq!(handled.more["replicated"], true);
        assert_eq!(handled.more["saved"], "changes up to 1770000000:7");
        assert_eq!(server.asked(), ["replSetStepDown", "fsync"]);
        let asked = server.command("replSetStepDown");
        let catch_up = asked.get_i64("secondaryCatchUpPeriodSecs").unwrap();
        assert!((1..=15).contains(&catch_up), "half of the step at most: {asked}");
        assert!(asked.get_i64("replSetStepDown").unwrap() > catch_up, "{asked}");
        assert!(!asked.contains_key("force"), "{asked}");
    }
}

#[test]
fn a_set_in_which_nobody_can_take_over_is_flushed_and_that_is_told() {
    let server = StandIn::start(Some(true));
    let text = "No electable secondaries caught up";
    let refused = ("replSetStepDown", 262, "ExceededTimeLimit", text);
    server.play.lock().unwrap().refused = Some(refused);
    let handled = handle(&server, json!({}), &notice());
    assert!(handled.degraded() && handled.handled, "{handled:?}");
    assert_eq!((handled.verified, &handled.more["stepped_down"]), (Some(true), &json!(false)));
    let error = handled.error.unwrap();
    assert!(error.contains("`replSetStepDown` was refused") && error.contains(text), "{error}");
    assert_eq!(server.asked(), ["replSetStepDown", "fsync"]);
}

#[test]
fn nobody_loses_a_primary_while_the_instance_may_stay() {
    for event in [
        json!({ "type": "cloud.spot.rebalance" }),
        json!({ "type": "instance.idle" }),
        json!({ "type": "custom.backup" }),
    ] {
        let server = StandIn::start(Some(true));
        let handled = handle(&server, json!({ "strategy": "shutdown" }), &event);
        assert_eq!((handled.verified, handled.error.as_deref()), (Some(true), None), "{event}");
        assert_eq!(server.asked(), ["fsync"], "{event}");
    }
    let server = StandIn::start(Some(true));
    handle(&server, json!({ "step_down": false }), &notice());
    assert_eq!(server.asked(), ["fsync"]);
    let secondary = StandIn::start(Some(false));
    let handled = handle(&secondary, json!({}), &notice());
    assert_eq!((handled.verified, &handled.more["role"]), (Some(true), &json!("secondary")));
    assert_eq!(secondary.asked(), ["fsync"]);
}

#[test]
fn what_did_not_reach_the_disk_is_not_called_saved() {
    let server = StandIn::start(Some(false));
    server.play.lock().unwrap().lag = u32::MAX;
    let handled = handle(&server, json!({ "timeout_seconds": 20 }), &notice());
    assert_eq!((handled.verified, handled.degraded()), (Some(false), true), "{handled:?}");
    let server = StandIn::start(Some(false));
    server.play.lock().unwrap().is_cut_off = true;
    let handled = handle(&server, json!({ "timeout_seconds": 20 }), &notice());
    assert_eq!((handled.verified, &handled.more["replicated"]), (Some(true), &json!(false)));
    let server = StandIn::start(Some(false));
    server.play.lock().unwrap().refused =
        Some(("fsync", 13, "Unauthorized", "not authorized on admin"));
    let handled = handle(&server, json!({}), &notice());
    let error = handled.error.unwrap();
    assert!(!handled.handled && error.contains("`fsync` was refused"), "{error}");
    assert!(error.contains("not authorized on admin (Unauthorized)"), "{error}");
}

#[test]
fn a_server_without_a_set_has_nothing_to_read_back() {
    let server = StandIn::start(None);
    let handled = handle(&server, json!({}), &notice());
    assert_eq!((handled.verified, &handled.more["role"]), (None, &json!("standalone")));
    assert_eq!(handled.more["saved"], "all that was written");
    assert_eq!(server.asked(), ["fsync"]);
}

#[test]
fn a_shutdown_has_the_time_that_is_left_and_is_over_when_nobody_listens() {
    let server = StandIn::start(Some(true));
    let handled = handle(&server, json!({ "strategy": "shutdown" }), &notice());
    assert_eq!(handled.status.as_deref(), Some("mongodb_ending"), "{handled:?}");
    assert_eq!((handled.verified, &handled.more["ending"]), (Some(true), &json!(true)));
    assert_eq!(server.asked(), ["replSetStepDown", "fsync", "shutdown"]);
    let asked = server.command("shutdown");
    assert!((1..=5).contains(&asked.get_i64("timeoutSecs").unwrap()), "{asked}");
    assert!(!asked.contains_key("force"), "{asked}");

    let stays = StandIn::start(Some(true));
    stays.play.lock().unwrap().refused =
        Some(("shutdown", 13, "Unauthorized", "not authorized on admin"));
    let handled = handle(&stays, json!({ "strategy": "shutdown" }), &notice());
    assert_eq!((handled.degraded(), &handled.more["ending"]), (true, &json!(false)));
    assert_eq!(handled.verified, Some(true), "it was flushed before");

    let busy = StandIn::start(Some(true));
    busy.play.lock().unwrap().refused =
        Some(("fsync", 5_841_000, "Location5841000", "fsync is not possible now"));
    let handled = handle(&busy, json!({ "strategy": "shutdown" }), &notice());
    assert_eq!(busy.asked(), ["replSetStepDown", "fsync", "shutdown"]);
    assert!(handled.handled && handled.degraded(), "a clean end saves, too: {handled:?}");
}

#[test]
fn a_step_down_that_hangs_leaves_time_to_flush() {
    let server = StandIn::start(Some(true));
    server.play.lock().unwrap().deaf_to = Some("replSetStepDown");
    let handled = handle(&server, json!({ "timeout_seconds": 20 }), &notice());
    assert_eq!((handled.verified, &handled.more["stepped_down"]), (Some(true), &json!(false)));
    let error = handled.error.unwrap();
    assert!(error.contains("`replSetStepDown` was not done in time"), "{error}");
}

#[test]
fn a_server_that_stepped_down_stays_so_for_longer_than_the_instance_is_there() {
    let server = StandIn::start(Some(true));
    let mut late = notice();
    late["data"]["timeRemaining"] = json!(3600);
    handle(&server, json!({ "timeout_seconds": 3600 }), &late);
    let asked = server.command("replSetStepDown");
    let seconds = asked.get_i64("replSetStepDown").unwrap();
    assert_eq!(seconds, 3660, "{asked}");
    assert!(asked.get_i64("secondaryCatchUpPeriodSecs").unwrap() < seconds, "{asked}");
}

#[test]
fn a_drill_and_a_dry_run_only_say_what_would_be_done() {
    let server = StandIn::start(Some(true));
    let mut drill = notice();
    drill["data"]["drill"] = json!(true);
    let config = json!({ "strategy": "shutdown" });
    let handled = handle(&server, config, &drill);
    assert_eq!(handled.more["would"], json!(["replSetStepDown", "fsync", "shutdown"]));
    let handled = handle(&server, json!({ "dry_run": true }), &notice());
    assert_eq!(handled.status.as_deref(), Some("dry_run"));
    assert_eq!(handled.more["would"], json!(["replSetStepDown", "fsync"]));
    assert_eq!(server.asked(), [""; 0]);
}

// H1
#[test]
fn a_server_that_is_absent_silent_or_a_router_is_named_and_the_password_is_not() {
    let absent = "mongodb://u:hunter2@127.0.0.1:1/";
    let mut plugin = Flusher::default();
    let config = json!({ "connection_string": absent, "timeout_seconds": 110 });
    plugin.configure(config.as_object().unwrap()).unwrap();
    let handled = plugin.handle_event(&PluginEvent::read(notice())).unwrap();
    let error = handled.error.unwrap();
    assert!(error.starts_with("cannot connect to MongoDB at `127.0.0.1:1`"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    assert!(plugin.health().is_err());

    for options in ["tls=true&tlsCAFile=/not/there", "authMechanism=NONE"] {
        let config = json!({ "connection_string": format!("mongodb://u:hunter2@h/?{options}") });
        let error = Flusher::default().configure(config.as_object().unwrap()).unwrap_err();
        assert!(error.to_string().contains("`connection_string`"), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    let silent = StandIn::start(Some(false));
    silent.play.lock().unwrap().deaf_to = Some("fsync");
    let handled = handle(&silent, json!({ "timeout_seconds": 10 }), &notice());
    let error = handled.error.unwrap();
    assert!(error.starts_with("`fsync` was not done in time on MongoDB at"), "{error}");

    let router = StandIn::start(None);
    router.play.lock().unwrap().is_router = true;
    let handled = handle(&router, json!({}), &notice());
    assert!(handled.error.unwrap().contains("is a router (mongos), which holds no data"));
    assert_eq!(router.asked(), [""; 0]);
}

/// A Spot notice.
fn notice() -> Value {
    let deadline = "2026-03-14T09:28:53Z";
    json!({ "type": "cloud.spot.interrupt", "deadline": deadline,
        "data": { "timeRemaining": 118.5 } })
}

/// Configures a flusher for the server and hands it an event.
fn handle(server: &StandIn, mut config: Value, event: &Value) -> Handled {
    let members = config.as_object_mut().unwrap();
    members.insert("connection_string".to_owned(), json!(server.url()));
    let mut plugin = Flusher::default();
    plugin.configure(members).unwrap_or_else(|error| panic!("{error}"));
    snooze_plugin::handle(&mut plugin, &PluginEvent::read(event.clone())).unwrap()
}
