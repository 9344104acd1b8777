//! The road from a notice to saved data.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};
use snooze_imds::fake::{Notice, NoticeTime};
use snooze_tests::setup::{Daemon, POLL, Setup};
use snooze_tests::{place, plugins, promises, wait};

const PYTHON: &str = r#"#!/usr/bin/env python3
import json
import sys

for line in sys.stdin:
    request = json.loads(line)
    if request["method"] == "HandleEvent":
        with open("@LOG@", "a") as log:
            log.write("start python 1\n")
        data = request["params"]["event"]["data"]
        result = {"handled": True, "status": "saved", "remaining": data["timeRemaining"]}
    elif request["method"] == "Info":
        result = {"name": "python", "version": "1.0.0"}
    else:
        result = {"error": "Unknown method: " + request["method"]}
    print(json.dumps({"result": result, "id": request["id"]}), flush=True)
"#;

// S1-26
#[test]
fn a_notice_runs_the_handlers_by_priority_and_its_outcome_is_on_record() {
    if !place::has("python3") {
        return;
    }
    let mut setup = Setup::new();
    recorder(&setup, "first");
    recorder(&setup, "last");
    let python = PYTHON.replace("@LOG@", &setup.path("done").display().to_string());
    setup.script("plugins/python.py", &python);
    setup.policy(
        "orders",
        json!([
            { "plugin": "last", "priority": 10 },
            { "plugin": "first", "priority": 100 },
            { "plugin": "python", "priority": 50 },
        ]),
    );
    let daemon = setup.start();
    setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(120)));
    let incident = daemon.closed();
    assert_eq!(incident["outcome"], "done", "{incident:#}");
    assert_eq!(started(&setup), ["first", "python", "last"]);
    assert_eq!(outcomes(&incident), [("first", "done"), ("python", "done"), ("last", "done")]);
    let remaining = incident["steps"][1]["result"]["remaining"].as_f64().unwrap();
    assert!((100.0..=120.0).contains(&remaining), "{remaining}");
    assert!(incident["margin_seconds"].as_f64().unwrap() > 60.0);
    setup.wait_for_log("incident closed");
    let log = setup.log();
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for line in whole.lines() {
        let line: Value = serde_json::from_str(line).expect("the log is JSON");
        assert!(line["level"].is_string() && line["msg"].is_string(), "{line}");
    }
}

#[test]
fn a_stop_notice_fires_and_so_does_one_with_an_unknown_word() {
    for action in ["stop", "vaporise"] {
        let setup = one_handler();
        let daemon = setup.start();
        setup.fake.spot(Notice::ahead(action, Duration::from_secs(120)));
        assert_eq!(daemon.closed()["outcome"], "done", "{action}");
        let line = format!("start saver 1 cloud.spot.interrupt {action}");
        assert_eq!(setup.lines("done").first(), Some(&line));
    }
}

#[test]
fn a_failed_handler_is_not_reported_as_done() {
    let mut setup = Setup::new();
    let failing = plugins::handler("failing", r#"result='{"error":"no space left"}'"#);
    setup.script("plugins/failing.sh", &failing);
    setup.script("plugins/dying.sh", &plugins::handler("dying", "exit 3"));
    recorder(&setup, "saver");
    setup.policy(
        "orders",
        json!([
            { "plugin": "failing", "priority": 90 },
            { "plugin": "dying", "priority": 80 },
            { "plugin": "saver", "priority": 70 },
        ]),
    );
    let daemon = setup.start();
    setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(120)));
    let incident = daemon.closed();
    assert_eq!(incident["outcome"], "partial", "{incident:#}");
    assert_eq!(outcomes(&incident), [("failing", "failed"), ("dying", "died"), ("saver", "done")]);
    assert_eq!(incident["steps"][0]["text"], "no space left");
    assert!(!setup.log().contains("finished successfully"));
}

#[test]
fn c1_a_notice_whose_time_slides_from_answer_to_answer_is_one_incident() {
    let setup = one_handler();
    let daemon = setup.start();
    let time = NoticeTime::Sliding(Duration::from_secs(100));
    let notice = Notice { action: "terminate".to_owned(), time };
    setup.fake.spot(notice.clone());
    let _closed = daemon.closed();
    setup.wait_for_polls(8);
    assert_eq!(daemon.history().len(), 1);
    // Nor is it new when it was away for a while.
    setup.fake.clear_signals();
    setup.wait_for_polls(4);
    setup.fake.spot(notice);
    setup.wait_for_polls(4);
    // Nor after a restart.
    daemon.kill();
    let daemon = setup.start();
    setup.wait_for_polls(6);
    assert_eq!(daemon.history().len(), 1);
    assert_eq!(started(&setup), ["saver"]);
}

#[test]
fn an_auto_scaling_state_that_stands_for_long_starts_the_handlers_once() {
    let mut setup = Setup::new();
    recorder(&setup, "saver");
    let policy = json!({
        "name": "orders",
        "match": { "type": ["cloud.instance.termination"] },
        "handlers": [{ "plugin": "saver", "priority": 50 }],
    });
    setup.set("policies", json!([policy]));
    let daemon = setup.start();
    setup.fake.lifecycle("Terminated");
    assert_eq!(daemon.closed()["outcome"], "done");
    setup.wait_for_polls(10);
    assert_eq!(daemon.history().len(), 1);
    assert_eq!(started(&setup), ["saver"]);
}

#[test]
fn a2_an_outage_of_the_metadata_service_ends_nothing() {
    let setup = one_handler();
    let mut daemon = setup.start();
    metadata(&daemon, "on");
    setup.fake.down();
    let status = metadata(&daemon, "off");
    assert_eq!(status["faults"][0]["source"], "metadata", "{status:#}");
    wait::pause(POLL * 10);
    assert!(daemon.running());
    setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(100)));
    setup.fake.up();
    assert_eq!(daemon.closed()["outcome"], "done");
}

#[test]
fn a9_with_the_metadata_service_turned_off_it_starts_at_once_and_says_so() {
    let mut setup = one_handler();
    // Connections are taken by the kernel, and nobody ever answers.
    let hole = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let endpoint = format!("http://{}", hole.local_addr().unwrap());
    setup.set("sources", json!({ "imds": { "endpoints": [endpoint] } }));
    // The best of some tries, as with the promises.
    let took = || promises::to_ready(&setup);
    wait::until("a start within 2 s", || (took() < Duration::from_secs(2)).then_some(()));
    let daemon = setup.start();
    metadata(&daemon, "off");
    // News that comes over another channel is acted on.
    let event = json!({ "type": "cloud.spot.interrupt", "data": { "action": "terminate" } });
    let reply = daemon.call("EVENT", event);
    assert!(reply.success, "{reply:?}");
    assert_eq!(daemon.closed()["drill"], true);
}

/// Waits until the status calls the metadata service this.
fn metadata(daemon: &Daemon, word: &str) -> Value {
    wait::until(&format!("metadata: {word}"), || {
        let status = daemon.ask("STATUS", json!({}));
        (status["metadata"] == word).then_some(status)
    })
}

fn one_handler() -> Setup {
    let mut setup = Setup::new();
    recorder(&setup, "saver");
    setup.policy("orders", json!([{ "plugin": "saver", "priority": 50 }]));
    setup
}

fn recorder(setup: &Setup, name: &str) {
    let text = plugins::recorder(name, &setup.path("done"), 0.0);
    setup.script(&format!("plugins/{name}.sh"), &text);
}

/// The names of the plugins that started, in order.
fn started(setup: &Setup) -> Vec<String> {
    let lines = setup.lines("done");
    let names = lines.iter().filter_map(|line| line.strip_prefix("start ")?.split(' ').next());
    names.map(ToOwned::to_owned).collect()
}

fn outcomes(incident: &Value) -> Vec<(&str, &str)> {
    let steps = incident["steps"].as_array().unwrap();
    let pair = |step| word(step, "plugin").zip(word(step, "outcome"));
    steps.iter().filter_map(pair).collect()
}

fn word<'a>(step: &'a Value, key: &str) -> Option<&'a str> {
    step.get(key)?.as_str()
}
