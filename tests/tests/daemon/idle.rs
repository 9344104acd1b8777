//! Idleness, as whole processes: what is measured is the load of one program, so that nothing else
//! on this machine decides.

use std::fs::File;
use std::process::Stdio;

use serde_json::{Value, json};
use snooze_event::{Event, EventType};
use snooze_tests::busybody::{self, Busybody};
use snooze_tests::services::Cloud;
use snooze_tests::setup::{Daemon, Setup};
use snooze_tests::{plugins, programs, wait};

/// A daemon that is idle after a nap of some seconds, unless the busybody works.
fn setup() -> Setup {
    let mut setup = Setup::new();
    busybody::decides(&mut setup);
    setup
}

/// Lets a handler have `instance.idle`.
fn handle_idleness(setup: &mut Setup, handler: &Value) {
    let kind = "instance.idle";
    let policy = json!({ "name": "idle", "match": { "type": [kind] }, "handlers": [handler] });
    setup.set("policies", json!([policy]));
}

fn idle(daemon: &Daemon) -> Value {
    daemon.ask("IDLE", json!({}))
}

fn wait_for_phase(daemon: &Daemon, phase: &str) -> Value {
    wait::until_or(
        || format!("{phase}, not {:#}", idle(daemon)),
        || Some(idle(daemon)).filter(|idle| idle["phase"] == phase),
    )
}

#[test]
fn s1_65_an_instance_falls_asleep_and_work_wakes_it() {
    let setup = setup();
    let daemon = setup.start();
    let asleep = wait_for_phase(&daemon, "idle");
    assert_eq!(asleep["decided_by"], "all");
    assert_eq!(asleep["metrics"]["load_percent"], 0.0);
    let told = wait::until("users to be told", || setup.lines("told").into_iter().next());
    assert!(told.contains("In 1 seconds this instance counts as idle"), "{told:?}");
    let busy = Busybody::start(&setup);
    let awake = wait_for_phase(&daemon, "active");
    assert_eq!(awake["decided_by"], "load");
    assert_eq!(awake["monitors"]["load_percent"]["standing"], "busy");
    drop(busy);
    wait_for_phase(&daemon, "idle");
    let spans = idle(&daemon)["last_hour"].as_array().cloned().unwrap();
    let verdicts: Vec<_> = spans.iter().map(|span| span["verdict"].as_str().unwrap()).collect();
    assert!(verdicts.windows(3).any(|three| three == ["idle", "busy", "idle"]), "{verdicts:?}");
}

#[test]
fn a_nap_outlives_the_daemon() {
    let mut setup = setup();
    setup.set("naptime_minutes", json!(60));
    let mut daemon = setup.start();
    let napped = |daemon: &Daemon| idle(daemon)["napped_seconds"].as_u64().unwrap();
    wait::until("a nap", || (napped(&daemon) >= 2).then_some(()));
    daemon.terminate();
    assert!(daemon.ended().success());
    let daemon = setup.start();
    assert_eq!(idle(&daemon)["phase"], "napping");
    assert!(napped(&daemon) >= 1);
}

#[test]
fn a_person_or_a_program_keeps_the_instance_up() {
    let setup = setup();
    let daemon = setup.start();
    wait_for_phase(&daemon, "idle");
    let woken = daemon.ask("WAKE", json!({ "seconds": 3600 }));
    let awake = wait_for_phase(&daemon, "active");
    assert_eq!(awake["awake_until"], woken["awake_until"]);
    assert!(awake["reason"].as_str().unwrap().starts_with("`snooze wake` keeps it up"), "{awake}");
    let slept = daemon.ask("WAKE", json!({ "seconds": 0 }));
    assert!(slept["awake_until"].is_null());
    wait_for_phase(&daemon, "idle");

    let lock = File::open(setup.path("run/keep-awake")).unwrap();
    lock.lock().unwrap();
    let awake = wait_for_phase(&daemon, "active");
    assert!(awake["reason"].as_str().unwrap().contains("holds a lock"), "{awake}");
    drop(lock);
    wait_for_phase(&daemon, "idle");
    assert!(!daemon.call("WAKE", json!({ "seconds": -1 })).success);
}

#[test]
fn d_8_a_voter_that_says_busy_keeps_the_instance_up() {
    let mut setup = setup();
    let voter = setup.path("vote");
    std::fs::write(&voter, "true").unwrap();
    let text = format!(
        "#!/bin/sh\nwhile read -r line; do\nid=$(echo \"$line\" | sed 's/.*\"id\":\\([0-9]*\\).*/\\1/')\n\
         case \"$line\" in\n\
         *CheckIdle*) echo '{{\"result\":{{\"is_idle\":'$(cat '{}')',\"reason\":\"3 jobs\"}},\"id\":'$id'}}';;\n\
         *) echo '{{\"result\":{{\"name\":\"jobs\",\"version\":\"1.0.0\",\"success\":true}},\"id\":'$id'}}';;\n\
         esac\ndone\n",
        voter.display()
    );
    setup.script("plugins/jobs.sh", &text);
    let directories = setup.settings["plugins"]["directories"].clone();
    setup.set("plugins", json!({ "directories": directories, "plugin_configs": { "jobs": {} } }));
    let daemon = setup.start();
    let asleep = wait_for_phase(&daemon, "idle");
    assert_eq!(asleep["votes"][0]["vote"], "idle", "{asleep:#}");
    let beside = setup.path("beside");
    std::fs::write(&beside, "false").unwrap();
    std::fs::rename(&beside, &voter).unwrap();
    let awake = wait_for_phase(&daemon, "active");
    assert_eq!(awake["reason"], "Plugin jobs: 3 jobs");
}

#[test]
fn s1_66_an_instance_without_a_cloud_side_stops_itself_only_where_that_is_confirmed() {
    let mut setup = setup();
    let done = setup.path("done");
    let script = setup.path("bin/stop");
    setup.script("bin/stop", &format!("#!/bin/sh\necho stopped >> '{}'\n", done.display()));
    let action = |confirm: &str| json!({ "do": "script", "script": script, "confirm": confirm });
    setup.set("local_action", action("yes"));
    setup.write_settings();
    let refused = setup.command().stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("write `stop this instance when it is idle` here"), "{text}");

    setup.set("local_action", action("stop this instance when it is idle"));
    let log = setup.path("handled");
    setup.script("plugins/flush.py", &plugins::recorder("flush", &log, 0.0));
    handle_idleness(&mut setup, &json!({ "plugin": "flush" }));
    let daemon = setup.start();
    wait::until("the action", || (!setup.lines("done").is_empty()).then_some(()));
    assert!(!setup.lines("handled").is_empty(), "the handler ran first");
    assert_eq!(daemon.history()[0]["event_type"], "instance.idle");
    assert_eq!(setup.lines("done").len(), 1);
}

#[test]
fn an_official_handler_that_a_policy_names_saves_before_an_idle_instance_is_stopped() {
    let mut setup = setup();
    setup.script("bin/stop", &format!("#!/bin/sh\n>'{}'\n", setup.path("done").display()));
    let (script, confirm) = (setup.path("bin/stop"), "stop this instance when it is idle");
    setup.set("local_action", json!({ "do": "script", "script": script, "confirm": confirm }));
    let program = programs::path("volume-sync");
    setup.script("plugins/volume-sync", &format!("#!/bin/sh\nexec '{}'\n", program.display()));
    let paths = json!({ "paths": [setup.path("state")] });
    let handler = json!({ "plugin": "volume-sync", "timeout_seconds": 60, "config": paths });
    handle_idleness(&mut setup, &handler);
    let daemon = setup.start();
    wait::until("the action", || setup.path("done").exists().then_some(()));
    let step = &daemon.history()[0]["steps"][0];
    assert_eq!((&step["outcome"], &step["verified"]), (&json!("done"), &json!(true)), "{step:#}");
}

#[test]
fn s1_66_an_instance_asks_ec2_to_stop_it_where_no_group_would_replace_it() {
    for (state, said) in [
        (None, "EC2 stops this instance"),
        (Some("InService"), "a member of an Auto Scaling group"),
    ] {
        let cloud = Cloud::start();
        let mut setup = setup();
        cloud.serve(&mut setup);
        // There is EC2, and no stack.
        let settings = setup.settings.as_object_mut().unwrap();
        settings.remove("cloud").unwrap();
        cloud.answer("StopInstances", 200, "<StopInstancesResponse/>");
        let confirm = "stop this instance when it is idle";
        setup.set("local_action", json!({ "do": "stop-instance", "confirm": confirm }));
        if let Some(state) = state {
            setup.fake.lifecycle(state);
        }
        let _daemon = setup.start();
        setup.wait_for_log(said);
        let calls = cloud.calls().into_iter().filter(|call| call.operation == "StopInstances");
        let stopped: Vec<_> = calls.map(|call| call.param("InstanceId.1").unwrap()).collect();
        let expected =
            if state.is_none() { vec![snooze_tests::services::INSTANCE] } else { vec![] };
        assert_eq!(stopped, expected);
    }
}

#[test]
fn the_local_action_is_left_out_where_a_handler_failed() {
    let mut setup = setup();
    let done = setup.path("done");
    setup.script("bin/stop", &format!("#!/bin/sh\necho stopped >> '{}'\n", done.display()));
    let confirm = "stop this instance when it is idle";
    let script = setup.path("bin/stop");
    setup.set("local_action", json!({ "do": "script", "script": script, "confirm": confirm }));
    handle_idleness(&mut setup, &json!({ "plugin": "not-there" }));
    let daemon = setup.start();
    setup.wait_for_log("local action left out");
    assert_eq!(setup.lines("done"), [""; 0]);
    assert_eq!(idle(&daemon)["phase"], "idle");
}

#[test]
fn the_cloud_side_hears_of_it_and_its_order_comes_too_late_for_an_instance_in_use() {
    let cloud = Cloud::start();
    let mut setup = setup();
    cloud.serve(&mut setup);
    let log = setup.path("handled");
    setup.script("plugins/flush.py", &plugins::recorder("flush", &log, 0.0));
    handle_idleness(&mut setup, &json!({ "plugin": "flush" }));
    cloud.make_queue(&Cloud::queue());
    let daemon = setup.start();
    let told = &cloud.wait_for("instance.idle", 1)[0];
    assert_eq!(told["data"]["naptime_minutes"], 0.1);
    assert_eq!(told["data"]["metrics"]["load_percent"], 0.0);
    assert!(told["data"]["boot_id"].is_string() && told["data"]["since"].is_string());
    assert_eq!(setup.lines("handled"), [""; 0], "the cloud side decides");

    let now = jiff::Timestamp::now();
    let order = |id: &str| {
        let mut event =
            Event::new(EventType::InstanceIdle, "cloudsnooze.shim", now, id.parse().unwrap());
        event.instance = snooze_tests::services::INSTANCE.parse().ok();
        Cloud::handle(&format!("cloud-{id}"), &event, None)
    };
    cloud.send(&order("one"));
    wait::until("the handler", || (!setup.lines("handled").is_empty()).then_some(()));
    let outcome = &cloud.wait_for("incident.outcome", 1)[0];
    let handled = setup.lines("handled");
    assert_eq!(outcome["data"]["told_by"], json!(["cloud-one"]));

    let _busy = Busybody::start(&setup);
    wait_for_phase(&daemon, "active");
    let active = &cloud.wait_for("instance.active", 1)[0];
    assert!(active["data"]["reason"].as_str().unwrap().starts_with("load "), "{active}");
    cloud.send(&order("two"));
    setup.wait_for_log("the instance is in use again");
    assert_eq!(setup.lines("handled"), handled);
}
